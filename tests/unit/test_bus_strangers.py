"""What any local user may ask of the bus, member by member as dbus/*.xml has them, and nonsense from him."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import struct
import xml.etree.ElementTree as ElementTree
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from bus_harness import GROUP_1, NAME, NOBODY, OBJECTS, REPOSITORY, ROOT, VIP_10, World, busctl, serving
from dbus_next.message import Message
from dbus_next.signature import Variant

from ipfod.bus import wire
from ipfod.bus.connection import CALL_BODY_MAX, Connection, bus_call, system_bus_address
from ipfod.bus.errors import BusError

world = serving

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owning the name on a system bus needs root")

PATIENCE_S = 20.0
STANDARD = "org.freedesktop.DBus"
ERROR = f"{STANDARD}.Error"

# For everybody: whatever is not here changes something, and asks who may.
READING = {"FindVirtualIP", "GetHistory", "Describe"}
FITTING: dict[str, Any] = {"s": "192.168.3.10", "u": 0, "t": 0}
XML = [ElementTree.parse(path).getroot() for path in sorted(REPOSITORY.glob("dbus/*.xml"))]
INTERFACES = [interface for root in XML for interface in root.iter("interface")]
METHODS = {
    (interface.attrib["name"].rpartition(".")[2], method.attrib["name"]): "".join(
        arg.attrib["type"] for arg in method.iter("arg") if arg.attrib["direction"] == "in"
    )
    for interface in INTERFACES
    for method in interface.iter("method")
}
PROPERTIES = [
    (interface.attrib["name"].rpartition(".")[2], row.attrib["name"])
    for interface in INTERFACES
    for row in interface.iter("property")
]
STANDARD_METHODS = {
    ("Properties", "Get"): "ss",
    ("Properties", "GetAll"): "s",
    ("Properties", "Set"): "ssv",
    ("Introspectable", "Introspect"): "",
    ("Peer", "Ping"): "",
    ("Peer", "GetMachineId"): "",
    ("ObjectManager", "GetManagedObjects"): "",
}


@pytest_asyncio.fixture
async def stranger(world: World) -> AsyncIterator[Connection]:
    """A connection of nobody's: the kernel tells the bus who it was that connected."""
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        made = await Connection.open(system_bus_address(), lambda message: None)
    finally:
        os.setresuid(0, 0, 0)
    [uid] = await made.call(bus_call("GetConnectionUnixUser", "s", made.unique_name), timeout_s=PATIENCE_S)
    assert uid == NOBODY
    yield made
    await made.aclose()


@pytest.fixture(autouse=True)
def nothing_is_logged(caplog: pytest.LogCaptureFixture) -> Any:
    with caplog.at_level(logging.INFO):
        yield
    assert [each for each in caplog.records if each.name.startswith("ipfod")] == []


def call_of(interface: str, member: str, signature: str, body: list[Any], path: str = "") -> Message:
    own = interface in OBJECTS
    name = f"{NAME if own else STANDARD}.{interface}"
    return Message(NAME, path or OBJECTS.get(interface, ROOT), name, member, signature=signature, body=body)


async def refused(stranger: Connection, message: Message) -> BusError:
    """The error that a call is answered with: a known name and a sentence, which repeats no traceback."""
    with pytest.raises(BusError) as told:
        await stranger.call(message, timeout_s=PATIENCE_S)
    error = told.value
    assert error.name.startswith((f"{ERROR}.", f"{NAME}.Error.")), error.name
    assert error.text, error.name
    assert len(error.text) < 2 * CALL_BODY_MAX
    for never in ("Traceback", 'File "', "internal error", "object at 0x"):
        assert never not in error.text
    return error


# ---------------------------------------------------------------- who may what


def test_the_table_knows_every_member() -> None:
    assert {name for _, name in METHODS} >= READING
    assert len(METHODS) >= 13
    assert {interface for interface, _ in METHODS} <= OBJECTS.keys()


@pytest.mark.parametrize(("interface", "member"), METHODS)
async def test_others_may_read_and_change_nothing(
    world: World, stranger: Connection, interface: str, member: str
) -> None:
    signature = METHODS[interface, member]
    message = call_of(interface, member, signature, [FITTING[each] for each in signature])
    if member in READING:
        await stranger.call(message, timeout_s=PATIENCE_S)
    else:
        error = await refused(stranger, message)
        assert error.name == f"{ERROR}.AccessDenied"
        assert f"{NAME}." in error.text  # which action it would take
    assert world.daemon.orders == []


@pytest.mark.parametrize(("interface", "member"), STANDARD_METHODS)
async def test_others_may_use_the_standard_interfaces(
    world: World, stranger: Connection, interface: str, member: str
) -> None:
    body = [f"{NAME}.Manager", "Version", Variant("s", "x")][: len(STANDARD_METHODS[interface, member])]
    message = call_of(interface, member, STANDARD_METHODS[interface, member], body)
    if member == "Set":
        assert (await refused(stranger, message)).name == f"{ERROR}.PropertyReadOnly"
    else:
        await stranger.call(message, timeout_s=PATIENCE_S)


async def test_no_property_can_be_set_by_anybody(world: World, stranger: Connection) -> None:
    root = await Connection.open(system_bus_address(), lambda message: None)
    for interface, name in PROPERTIES:
        for value in (Variant("s", "x"), Variant("b", True), Variant("aa{sv}", [])):
            body = [f"{NAME}.{interface}", name, value]
            message = call_of("Properties", "Set", "ssv", body, OBJECTS[interface])
            for client in (stranger, root):
                assert (await refused(client, message)).name == f"{ERROR}.PropertyReadOnly"
    assert len(PROPERTIES) > 30
    await root.aclose()


async def test_others_may_not_take_the_name_or_send_signals_to_it(world: World, stranger: Connection) -> None:
    for flags in (0, 1, 2, 4):
        assert (
            await refused(stranger, bus_call("RequestName", "su", NAME, flags))
        ).name == f"{ERROR}.AccessDenied"
    for member in ("Transition", "NameOwnerChanged"):
        signal = Message.new_signal(ROOT, f"{NAME}.Manager", member, "sss", [NAME, "", ""])
        signal.destination = NAME
        stranger.send(signal)
    assert await answers(stranger)
    assert world.daemon.orders == []


# ---------------------------------------------------------------- nonsense

LONG = "x" * (CALL_BODY_MAX - 100)
ODD_TEXTS = [
    *("", " ", "\x1b[2J\x1b]0;owned\x07", "a\nb", "\u202egnirts", "\uffff", "\U0010ffff", "\u2028", "e\u0301"),
    *("٣", "/", "'; rm -rf / #", "%s%n", "{0.__class__}", "../../etc/passwd", LONG, "9" * 5000, "fe80::1%\x1b"),
]
ODD_ARGUMENTS: list[tuple[str, list[Any]]] = [
    ("", []),
    *[
        (kind, [value])
        for kind, value in (("y", 255), ("b", True), ("n", -(2**15)), ("i", -(2**31)), ("x", -(2**63)))
    ],
    *[
        (kind, [value])
        for kind, value in (("u", 2**32 - 1), ("t", 2**64 - 1), ("q", 65535), ("o", "/"), ("g", "a{sv}"))
    ],
    *[("d", [value]) for value in (float("nan"), float("inf"), -0.0)],
    *[("s", [text]) for text in ODD_TEXTS],
    *[("st", [text, 2**64 - 1]) for text in ODD_TEXTS],
    *[("ss", [text, text]) for text in ODD_TEXTS if text != LONG],
    *[("ssv", [f"{NAME}.Manager", text, Variant("s", text)]) for text in ODD_TEXTS if text != LONG],
    ("v", [Variant("v", Variant("v", Variant("s", "deep")))]),
    ("as", [[]]),
    ("as", [["x"] * 1000]),
    ("a{sv}", [{"reason": Variant("s", "x")}]),
    ("aaaaaaaai", [[[[[[[[[1]]]]]]]]]),
    ("(s(s(s)))", [["a", ["b", ["c"]]]]),
    ("ay", [bytes(1000)]),
    ("s" * 255, ["x"] * 255),
    ("s", ["x" * (CALL_BODY_MAX + 1)]),
    ("s", ["x" * (8 << 20)]),
]


async def answers(stranger: Connection) -> bool:
    await stranger.call(call_of("Manager", "Describe", "", []), timeout_s=PATIENCE_S)
    return await busctl("get-property", NAME, VIP_10, f"{NAME}.VirtualIP", "Address") == 's "192.168.3.10"\n'


ANY_METHOD = {**METHODS, **STANDARD_METHODS}


@pytest.mark.parametrize(("interface", "member"), ANY_METHOD)
async def test_arguments_that_do_not_fit_are_refused_in_a_sentence(
    world: World, stranger: Connection, interface: str, member: str
) -> None:
    for signature, body in ODD_ARGUMENTS:
        message = call_of(interface, member, signature, body)
        if signature != ANY_METHOD[interface, member]:
            expected = {f"{ERROR}.InvalidArgs", f"{ERROR}.LimitsExceeded"}
            assert (await refused(stranger, message)).name in expected
        elif member not in READING | {"GetAll", "Introspect", "Ping", "GetMachineId", "GetManagedObjects"}:
            await refused(stranger, message)  # right in form, and not permitted or without sense
        else:
            with contextlib.suppress(BusError):  # any text is an argument that fits, and most are no address
                await stranger.call(message, timeout_s=PATIENCE_S)
    assert world.daemon.orders == []
    assert await answers(stranger)


ODD_PATHS = [
    *("/", "/org", "/org/ipfod/Ipfod1/vip/_", "/org/ipfod/Ipfod1/vip/_zz", "/org/ipfod/Ipfod1/failover/absent"),
    *(f"{GROUP_1}/x", f"{ROOT}/failover/web/group/_3" + "1" * 5000, f"{ROOT}/" + "a/" * 2000 + "a"),
]


@pytest.mark.parametrize("path", ODD_PATHS, ids=lambda path: path[:40])
async def test_what_is_not_there_is_said_not_to_be(world: World, stranger: Connection, path: str) -> None:
    for (interface, member), signature in METHODS.items():
        body = [FITTING[each] for each in signature]
        error = await refused(stranger, call_of(interface, member, signature, body, path))
        assert error.name in {f"{ERROR}.UnknownObject", f"{ERROR}.UnknownInterface", f"{ERROR}.UnknownMethod"}
    assert world.daemon.orders == []


async def test_unknown_members_and_properties_are_said_to_be(world: World, stranger: Connection) -> None:
    for interface, path in OBJECTS.items():
        assert (await refused(stranger, call_of(interface, "NoSuch", "", []))).name == f"{ERROR}.UnknownMethod"
        for text in ODD_TEXTS:
            if text == LONG:
                continue
            message = call_of("Properties", "Get", "ss", [f"{NAME}.{interface}", text], path)
            assert (await refused(stranger, message)).name == f"{ERROR}.UnknownProperty"
            if text:  # "" is the object's own interface
                message = call_of("Properties", "GetAll", "s", [text], path)
                assert (await refused(stranger, message)).name == f"{ERROR}.UnknownInterface"


def path_of_odd_bytes(message: bytes) -> bytes:
    return message.replace(b"/org/ipfod/Ipfod1\0", b"/org//pfod/Ipf\x1bd1\0")


def text_with_nul(message: bytes) -> bytes:
    return message[:-3] + b"\0x\0"


def text_of_half_a_character(message: bytes) -> bytes:
    return message[:-3] + b"\xc3\x28\0"


def length_of_all(message: bytes) -> bytes:
    return message[:4] + struct.pack("<I", 0xFFFFFFFF) + message[8:]


@pytest.mark.parametrize("broken", [path_of_odd_bytes, text_with_nul, text_of_half_a_character, length_of_all])
async def test_what_is_no_message_costs_its_sender_the_bus_and_nobody_else(
    world: World, stranger: Connection, broken: Callable[[bytes], bytes]
) -> None:
    whole = wire.encode(call_of("Manager", "FindVirtualIP", "s", ["xxxx"]), 99)
    spoilt = broken(whole)
    assert spoilt != whole
    assert len(spoilt) == len(whole)  # or the bus waits for the rest
    stranger._write([spoilt])
    async with asyncio.timeout(PATIENCE_S):
        await stranger.wait_lost()
    assert await busctl("get-property", NAME, VIP_10, f"{NAME}.VirtualIP", "Address") == 's "192.168.3.10"\n'
