"""What a hostile or broken peer can do to the service: nothing that anybody else notices."""

from __future__ import annotations

import asyncio
import os
import struct
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from bus_harness import (
    NAME,
    NOBODY,
    ROOT,
    VIP_10,
    Daemon,
    World,
    big_failover,
    busctl,
    gdbus,
    node_with,
    private_bus,
    serving,
)
from dbus_next.constants import MessageFlag, MessageType
from dbus_next.message import Message

from ipfod.bus import wire
from ipfod.bus.connection import CALL_BODY_MAX, Connection, bus_call, system_bus_address
from ipfod.bus.errors import BusError
from ipfod.bus.manager import Manager
from ipfod.bus.objects import Objects
from ipfod.bus.server import RUNNING_PER_CALLER_MAX, Call
from ipfod.bus.service import Service
from ipfod.bus.turns import STEPS_PER_TURN, Turns
from ipfod.errors import Failed, InvalidConfiguration
from ipfod.node.events import AddressesSeen, InstanceReported, ProblemsSeen
from ipfod.node.model import Problem, ProblemCode, State, Transition
from ipfod.plan.model import GroupKey

world = serving

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owning the name on a system bus needs root")

PATIENCE_S = 10.0


@pytest_asyncio.fixture
async def client(world: World) -> AsyncIterator[Connection]:
    made = await Connection.open(system_bus_address(), lambda message: None)
    yield made
    await made.aclose()


def manager_call(member: str, signature: str = "", *body: object, no_reply: bool = False) -> Message:
    flags = MessageFlag.NO_REPLY_EXPECTED if no_reply else MessageFlag.NONE
    return Message(NAME, ROOT, f"{NAME}.Manager", member, flags=flags, signature=signature, body=list(body))


async def still_there() -> bool:
    return await busctl("get-property", NAME, VIP_10, f"{NAME}.VirtualIP", "Address") == 's "192.168.3.10"\n'


async def longest_pause(of: Awaitable[object]) -> float:
    """The longest time for which the event loop did not turn while `of` was awaited."""
    worst, done = 0.0, asyncio.ensure_future(of)
    while not done.done():
        before = time.monotonic()
        await asyncio.sleep(0.001)
        worst = max(worst, time.monotonic() - before)
    await done
    return worst


async def test_a_flood_of_calls_holds_up_neither_the_loop_nor_others(world: World, client: Connection) -> None:
    client.send(*(manager_call("Describe", no_reply=True) for _ in range(3000)))
    assert await longest_pause(still_there()) < 1
    await client.call(manager_call("Describe"), timeout_s=PATIENCE_S)


async def test_a_caller_may_not_have_many_calls_open(world: World, client: Connection) -> None:
    world.daemon.hold.clear()
    calls = [
        asyncio.create_task(client.call(manager_call("Reload"), timeout_s=PATIENCE_S))
        for _ in range(RUNNING_PER_CALLER_MAX + 1)
    ]
    [refused], waiting = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    with pytest.raises(BusError) as told:
        await refused
    assert told.value.name == "org.freedesktop.DBus.Error.LimitsExceeded"
    assert await still_there()
    world.daemon.hold.set()
    await asyncio.gather(*waiting)
    assert world.daemon.reloads == RUNNING_PER_CALLER_MAX
    await client.call(manager_call("Reload"), timeout_s=PATIENCE_S)


@pytest.mark.parametrize(("signature", "body"), [("s", "x" * 1_000_000), ("ai", list(range(300_000)))])
async def test_huge_arguments_are_refused_unread(client: Connection, signature: str, body: object) -> None:
    with pytest.raises(BusError) as told:
        await client.call(manager_call("FindVirtualIP", signature, body), timeout_s=PATIENCE_S)
    assert told.value.name == "org.freedesktop.DBus.Error.LimitsExceeded"
    assert await still_there()


async def test_a_huge_signal_to_the_service_is_dropped(client: Connection) -> None:
    signal = Message.new_signal(ROOT, f"{NAME}.Manager", "Transition", "ai", [list(range(300_000))])
    signal.destination = NAME
    client.send(signal)
    assert await still_there()


async def test_long_answers_and_broadcasts_arrive_whole(world: World, client: Connection) -> None:
    world.daemon.error = InvalidConfiguration("a.toml:1: x: y\n" * 5000)
    with pytest.raises(BusError) as told:
        await client.call(manager_call("Reload"), timeout_s=PATIENCE_S)
    assert told.value.text == str(world.daemon.error)
    heard: asyncio.Queue[int] = asyncio.Queue()

    def hear(message: Message) -> None:
        if message.member == "ProblemRaised":
            heard.put_nowait(len(message.body[0]["text"].value))

    listener = await Connection.open(system_bus_address(), hear)
    await listener.call(bus_call("AddMatch", "s", f"sender='{NAME}'"), timeout_s=PATIENCE_S)
    world.apply(ProblemsSeen("x", (Problem(ProblemCode.SCRIPT_FAILING, "web", "t" * 100_000, ""),)))
    async with asyncio.timeout(PATIENCE_S):
        assert await heard.get() == 100_000
    await listener.aclose()


async def test_a_huge_path_is_dropped(client: Connection) -> None:
    path = f"{ROOT}/vip/{'a' * 100_000}"
    client.send(Message(NAME, path, "org.freedesktop.DBus.Peer", "Ping", flags=MessageFlag.NO_REPLY_EXPECTED))
    assert await still_there()


async def test_others_may_call_only_what_the_policy_lists(world: World) -> None:
    call = ("call", "--dest", NAME, "--object-path", ROOT, "--method")
    refused = await gdbus(*call, "org.example.Other.Method", user=NOBODY, ok=False)
    assert "Error.AccessDenied: " in refused
    assert "Error.UnknownInterface: " in await gdbus(*call, "org.example.Other.Method", ok=False)


async def test_a_caller_that_leaves_before_the_answer_is_no_trouble(world: World) -> None:
    client = await Connection.open(system_bus_address(), lambda message: None)
    world.daemon.hold.clear()
    waiting = asyncio.create_task(client.call(manager_call("Reload"), timeout_s=PATIENCE_S))
    while not world.daemon.reloads:
        await asyncio.sleep(0.01)
    await client.aclose()
    with pytest.raises(EOFError):
        await waiting
    world.daemon.hold.set()
    assert await still_there()


# ---------------------------------------------------------------- a broken bus


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (b"", "hung up"),
        (b"OK 1234", "hung up"),
        (b"REJECTED EXTERNAL\r\n", "authentication refused: REJECTED"),
        (b"x" * 100_000, "found"),
        (b"OK 1234\r\nnonsense nonsense nonsense", "hung up"),
    ],
)
async def test_a_bus_that_breaks_off_authentication_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes, what: str
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(answer)
        writer.close()

    path = tmp_path / "bus"
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={path}")
    async with await asyncio.start_unix_server(serve, path):

        async def start() -> None:
            with pytest.raises(Failed, match=what) as told:
                await Service(node_with(), Daemon()).start()
            assert told.value.text.startswith(f"unix:path={path}: cannot connect to the message bus: ")

        async with asyncio.timeout(PATIENCE_S):
            assert await longest_pause(start()) < 1


@asynccontextmanager
async def bus_that_sends(path: Path, *frames: bytes | bytearray) -> AsyncIterator[str]:
    """A bus that takes one client, sends it these bytes and hangs up; its address."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n")
        writer.write(b"OK 1234\r\n")
        await reader.readuntil(b"BEGIN\r\n")
        hello = await reader.readexactly(wire.START_SIZE)
        await reader.readexactly(sum(wire.lengths(hello)))
        answer = Message(message_type=MessageType.METHOD_RETURN, reply_serial=1, signature="s", body=[":1.1"])
        writer.write(wire.encode(answer, 1) + b"".join(frames))
        writer.close()

    async with await asyncio.start_unix_server(serve, path):
        yield f"unix:path={path}"


async def heard_from(address: str) -> list[str]:
    """The members of all messages that a connection hears until the bus hangs up."""
    heard: list[str] = []
    connection = await Connection.open(address, lambda message: heard.append(message.member))
    async with asyncio.timeout(PATIENCE_S):
        await connection.wait_lost()
    await connection.aclose()
    return heard


GOOD = wire.encode(Message.new_signal("/a", "org.example.A", "Good", "s", ["x"]), 7)


async def test_messages_that_cannot_be_read_are_dropped_and_the_next_is_read(tmp_path: Path) -> None:
    unknown_kind, unknown_field, half_text = bytearray(GOOD), bytearray(GOOD), bytearray(GOOD)
    unknown_kind[1] = 5
    unknown_field[wire.START_SIZE] = 42
    half_text[-2] = 0xFF  # no UTF-8
    async with bus_that_sends(tmp_path / "bus", unknown_kind, unknown_field, half_text, GOOD) as address:
        assert await heard_from(address) == ["Good"]


@pytest.mark.parametrize(("place", "value"), [(1, 5), (wire.START_SIZE, 42)], ids=["kind", "field"])
async def test_messages_in_a_long_body_that_cannot_be_read_are_none(
    tmp_path: Path, place: int, value: int
) -> None:
    """dbus-broker passes on kinds and header fields that are unknown, from anybody, as the specification wants.

    What such a message carries is its sender's to choose, down to the name of the sender: root's would do.
    """
    inner = wire.encode(Message.new_signal("/a", "org.example.A", "Forged", "s", ["x"]), 8)
    # As a message's start, the array's length and what follows it announce a message without fields and body.
    payload = struct.pack("<III", 0, 1, 0) + inner
    length = ord("l") + 256 * (CALL_BODY_MAX // 256)
    carried = Message.new_signal("/a", "org.example.A", "Long", "ay", [payload.ljust(length, b"\0")])
    frame = bytearray(wire.encode(carried, 9))
    frame[place] = value
    async with bus_that_sends(tmp_path / "bus", frame, GOOD) as address:
        assert await heard_from(address) == ["Good"]


# ---------------------------------------------------------------- size


async def test_a_long_history_is_answered_in_many_turns_of_the_loop() -> None:
    """Anybody may ask for it, again and again; at once it would take the loop 20 ms each time."""
    node = node_with()
    one = Transition(7, GroupKey("web", 1), "web_VIP_1", State.MASTER, State.BACKUP, "no reason")
    node.recall([one] * 1000)
    objects = Objects(node)
    handler = Manager(node, objects, Turns()).handlers[f"{NAME}.Manager", "GetHistory"]
    asking = asyncio.ensure_future(handler(Call(":1.1", ROOT, objects.at(ROOT), [0])))
    taken = 0
    while not asking.done():
        await asyncio.sleep(0)
        taken += 1
    assert taken >= 1000 / STEPS_PER_TURN


async def test_255_groups_of_16_start_at_once_and_change_in_a_burst() -> None:
    with private_bus():
        node = node_with(big_failover())
        service = Service(node, Daemon())
        began = time.monotonic()
        await service.start()
        assert time.monotonic() - began < 1
        counts: dict[str, int] = {}

        def count(message: Message) -> None:
            if message.path.startswith(ROOT):
                kind = message.body[0] if message.member == "PropertiesChanged" else message.member
                counts[kind] = counts.get(kind, 0) + 1

        client = await Connection.open(system_bus_address(), count)
        await client.call(bus_call("AddMatch", "s", f"sender='{NAME}'"), timeout_s=PATIENCE_S)

        async def burst() -> None:
            for index in range(1, 256):
                event = InstanceReported("big", f"big_VIP_{index}", State.MASTER, 250)
                service.publish(node.apply(event, 5))
            service.publish(node.apply(AddressesSeen({"eth0": frozenset(node.virtual_ips)}), 5))
            async with asyncio.timeout(PATIENCE_S):
                while counts.get(f"{NAME}.VirtualIP", 0) < 4080:
                    await asyncio.sleep(0.001)

        assert await longest_pause(burst()) < 1
        assert counts == {"Transition": 255, f"{NAME}.Group": 255, f"{NAME}.VirtualIP": 4080}
        [objects] = await client.call(
            Message(NAME, ROOT, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects"), timeout_s=PATIENCE_S
        )
        assert len(objects) == 1 + 255 + 4080
        assert node.groups[GroupKey("big", 255)].state is State.MASTER
        await client.aclose()
        await service.stop()
