"""The end of somebody else's connection to the bus: seen by all who wait for it, and by nobody else."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from bus_harness import private_bus
from dbus_next.constants import MessageFlag
from dbus_next.message import Message

from ipfod.bus.authorization import Action, authorize
from ipfod.bus.connection import Connection, bus_call, system_bus_address
from ipfod.bus.errors import BusError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the bus is of system type, for root")

PATIENCE_S = 10.0


@pytest.fixture(autouse=True)
def bus() -> Iterator[None]:
    with private_bus():
        yield


@pytest_asyncio.fixture
async def watcher(bus: None) -> AsyncIterator[Connection]:
    made = await Connection.open(system_bus_address(), lambda message: None)
    yield made
    await made.aclose()


async def test_the_end_of_a_connection_is_seen_by_all_who_wait_for_it(watcher: Connection) -> None:
    other = await Connection.open(system_bus_address(), lambda message: None)
    async with (
        watcher.end_of(other.unique_name) as one,
        watcher.end_of(other.unique_name) as two,
        watcher.end_of(watcher.unique_name) as own,
    ):
        assert [each.is_set() for each in (one, two, own)] == [False] * 3
        await other.aclose()
        async with asyncio.timeout(PATIENCE_S):
            await one.wait()
            await two.wait()
        assert not own.is_set()
    assert watcher._awaited == {}


async def test_a_connection_that_has_left_before_is_seen_at_once(watcher: Connection) -> None:
    other = await Connection.open(system_bus_address(), lambda message: None)
    await other.aclose()
    async with watcher.end_of(other.unique_name) as left:
        assert left.is_set()
    assert watcher._awaited == {}


async def test_one_who_no_longer_waits_leaves_the_others_waiting(watcher: Connection) -> None:
    other = await Connection.open(system_bus_address(), lambda message: None)
    async with watcher.end_of(other.unique_name) as one:
        async with watcher.end_of(other.unique_name):
            pass
        await watcher.call(bus_call("GetId"), timeout_s=PATIENCE_S)  # RemoveMatch has been taken by now
        await other.aclose()
        async with asyncio.timeout(PATIENCE_S):
            await one.wait()


async def test_a_forged_end_is_none() -> None:
    arrived = asyncio.Event()
    watcher = await Connection.open(system_bus_address(), lambda message: arrived.set())
    forger = await Connection.open(system_bus_address(), lambda message: None)
    async with watcher.end_of(watcher.unique_name) as left:
        forged = Message.new_signal(
            "/org/freedesktop/DBus",
            "org.freedesktop.DBus",
            "NameOwnerChanged",
            "sss",
            [watcher.unique_name, watcher.unique_name, ""],
        )
        forged.destination = watcher.unique_name
        forged.flags = MessageFlag.NO_REPLY_EXPECTED
        arrived.clear()
        forger.send(forged)
        async with asyncio.timeout(PATIENCE_S):
            await arrived.wait()
        assert not left.is_set()
    await forger.aclose()
    await watcher.aclose()


async def test_without_a_bus_nobody_s_end_can_be_waited_for(watcher: Connection) -> None:
    await watcher.aclose()
    with pytest.raises(EOFError):
        async with watcher.end_of(":1.1"):
            pass
    assert watcher._awaited == {}
    with pytest.raises(BusError, match="the bus does not say who calls"):
        await authorize(watcher, ":1.1", Action.RELOAD)
