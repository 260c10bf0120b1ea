"""Following another service: its signals and its coming and going count, and nobody else's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from bus_harness import NAME, private_bus
from dbus_next.message import Message

from ipfod.bus.connection import Connection, bus_call, system_bus_address
from ipfod.bus.remote import Remote

PATIENCE_S = 10.0
PATH = "/org/ipfod/Ipfod1"


@pytest.fixture
def bus() -> Iterator[None]:
    with private_bus():
        yield


@pytest.fixture
async def remote(bus: None) -> AsyncIterator[Remote]:
    made = Remote()
    await made.open()
    yield made
    await made.aclose()


async def service() -> Connection:
    """Somebody who has the name."""
    made = await Connection.open(system_bus_address(), lambda _: None)
    await made.call(bus_call("RequestName", "su", NAME, 0), timeout_s=PATIENCE_S)
    return made


def signal(destination: str = "") -> Message:
    message = Message.new_signal(PATH, f"{NAME}.Manager", "ProblemRaised", "a{sv}", [{}])
    message.destination = destination or None  # type: ignore[assignment]  # dbus-next has no such type
    return message


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not happened():
            await asyncio.sleep(0.005)


async def test_coming_signals_and_going_are_told_and_the_owner_is_known(remote: Remote) -> None:
    told: list[str] = []
    await remote.follow(NAME, lambda: told.append(remote.owner(NAME)))
    assert (remote.owner(NAME), told) == ("", [])
    owner = await service()
    await until(lambda: told == [owner.unique_name])
    owner.send(signal())
    await until(lambda: told == [owner.unique_name] * 2)
    await owner.aclose()
    await until(lambda: told[2:] == [""])
    assert remote.owner(NAME) == ""


async def test_who_has_the_name_already_is_known_at_once(remote: Remote) -> None:
    owner = await service()
    await remote.follow(NAME, lambda: None)
    assert remote.owner(NAME) == owner.unique_name
    await owner.aclose()


async def test_signals_of_strangers_do_not_count(remote: Remote) -> None:
    told: list[None] = []
    await remote.follow(NAME, lambda: told.append(None))
    stranger = await Connection.open(system_bus_address(), lambda _: None)
    [names] = await stranger.call(bus_call("ListNames"), timeout_s=PATIENCE_S)
    stranger.send(signal(), *(signal(name) for name in names if name.startswith(":")))
    await stranger.call(bus_call("GetId"), timeout_s=PATIENCE_S)
    await remote.ask("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "GetId", "")
    assert told == []
    await stranger.aclose()
