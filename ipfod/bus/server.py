"""Answers calls: finds object, interface and method, checks the arguments, runs the handler, sends one answer.

Every call is a task of its own, so that a slow one holds up nobody; how many one caller may have running is
limited. The handlers of the standard interfaces are here, ipfod's own in `manager.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dbus_next.constants import MessageFlag, MessageType
from dbus_next.message import Message

from ipfod.bus import interfaces, wire
from ipfod.bus.connection import Connection
from ipfod.bus.errors import answer_for, standard
from ipfod.bus.objects import Object, Objects
from ipfod.bus.schema import Interface, Method, introspection
from ipfod.bus.turns import Steps, Turns
from ipfod.errors import Failed

RUNNING_PER_CALLER_MAX = 16
MACHINE_ID = Path("/etc/machine-id")


@dataclass(frozen=True, slots=True)
class Call:
    """A call that has been found to fit: who calls (a unique name), where, with which arguments.

    `interactive`: the caller agrees to be asked for a password.
    """

    caller: str
    path: str
    target: Object | None  # None: a node of the tree without an object
    arguments: list[Any]
    interactive: bool = False


# The body of the answer, as a list of values or marshalled already.
Handler = Callable[[Call], Awaitable[list[Any] | bytes]]
Handlers = Mapping[tuple[str, str], Handler]  # by interface and method


class Server:
    """The calls to one connection."""

    def __init__(self, objects: Objects, handlers: Handlers, turns: Turns) -> None:
        self._objects = objects
        self._handlers = {**self._standard_handlers(), **handlers}
        self._running: set[asyncio.Task[None]] = set()
        self._callers: Counter[str] = Counter()
        self._turns = turns

    def take(self, bus: Connection, message: Message) -> None:
        """Begin to answer a message that came in; everything but calls is ignored."""
        if message.message_type is not MessageType.METHOD_CALL:
            return
        caller = message.sender or ""
        if self._callers[caller] >= RUNNING_PER_CALLER_MAX:
            error = standard("LimitsExceeded", f"{RUNNING_PER_CALLER_MAX} calls of yours are not answered yet")
            bus.reply_error(message, error.name, error.text)
            return
        self._callers[caller] += 1
        task = asyncio.create_task(self._answer(bus, message), name=f"D-Bus {message.member}")
        self._running.add(task)
        task.add_done_callback(lambda done: self._done(done, caller))

    async def aclose(self) -> None:
        """Give up the calls that are not answered yet."""
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running)

    def _done(self, task: asyncio.Task[None], caller: str) -> None:
        self._running.discard(task)
        self._callers[caller] -= 1
        if not self._callers[caller]:
            del self._callers[caller]

    async def _answer(self, bus: Connection, message: Message) -> None:
        try:
            interface, method, target = self._find(message)
            handler = self._handlers[interface.name, method.name]
            interactive = bool(message.flags & MessageFlag.ALLOW_INTERACTIVE_AUTHORIZATION)
            call = Call(message.sender, message.path, target, message.body, interactive)
            bus.reply(message, method.out_signature, await handler(call))
        except Exception as error:
            bus.reply_error(message, *answer_for(error, what=f"{message.path} {message.member}"))

    def _find(self, message: Message) -> tuple[Interface, Method, Object | None]:
        """What a call means. Raises the standard errors for what is not there."""
        path, target = message.path, self._objects.at(message.path)
        if target is not None:
            present: tuple[Interface, ...] = target.interfaces
        elif self._objects.children(path) is not None:
            present = (interfaces.PEER, interfaces.INTROSPECTABLE)
        else:
            raise standard("UnknownObject", f"{path}: no such object")
        named = [each for each in present if message.interface in (None, each.name)]
        if not named:
            raise standard("UnknownInterface", f"{path}: no interface {message.interface}")
        for interface in named:
            for method in interface.methods:
                if method.name == message.member:
                    if method.in_signature != message.signature:
                        wanted = f'"{method.in_signature}", not "{message.signature}"'
                        raise standard("InvalidArgs", f"{path}: {method.name} takes {wanted}")
                    return interface, method, target
        where = message.interface or "any interface"
        raise standard("UnknownMethod", f"{path}: no method {message.member} in {where}")

    # ------------------------------------------------------------ standard interfaces

    def _standard_handlers(self) -> dict[tuple[str, str], Handler]:
        properties, peer = interfaces.PROPERTIES.name, interfaces.PEER.name
        return {
            (interfaces.INTROSPECTABLE.name, "Introspect"): self._introspect,
            (peer, "Ping"): self._ping,
            (peer, "GetMachineId"): self._machine_id,
            (properties, "Get"): self._get,
            (properties, "GetAll"): self._get_all,
            (properties, "Set"): self._set,
            (interfaces.OBJECT_MANAGER.name, "GetManagedObjects"): self._managed_objects,
        }

    async def _introspect(self, call: Call) -> list[Any]:
        if call.target is None:
            present: tuple[Interface, ...] = (interfaces.PEER, interfaces.INTROSPECTABLE)
        else:
            present = call.target.interfaces
        return [introspection(present, self._objects.children(call.path) or ())]

    async def _ping(self, call: Call) -> list[Any]:
        return []

    async def _machine_id(self, call: Call) -> list[Any]:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            if machine_id := MACHINE_ID.read_text("ascii").strip():
                return [machine_id]
        raise Failed(f"{MACHINE_ID}: this machine has no id")

    async def _get(self, call: Call) -> list[Any]:
        interface_name, name = call.arguments
        target, interface = _interface_of(call, interface_name)
        values = interface.values(target.view, [name])
        if name not in values:
            raise standard("UnknownProperty", f"{call.path}: no property {name} in {interface.name}")
        return [wire.variant(*values[name])]

    async def _get_all(self, call: Call) -> list[Any]:
        target, interface = _interface_of(call, call.arguments[0])
        return [wire.clean(interface.values(target.view))]

    async def _set(self, call: Call) -> list[Any]:
        _, interface = _interface_of(call, call.arguments[0])
        name = call.arguments[1]
        if any(row.name == name for row in interface.properties):
            raise standard("PropertyReadOnly", f"{call.path}: {name} is read-only")
        raise standard("UnknownProperty", f"{call.path}: no property {name} in {interface.name}")

    async def _managed_objects(self, call: Call) -> bytes:
        """Everything below the manager."""
        return await self._turns.run(_managed_objects(self._objects))


def _managed_objects(objects: Objects) -> Steps[bytes]:
    [argument] = interfaces.OBJECT_MANAGER.methods[0].gives
    signature = argument[1]
    parts = yield from objects.each(lambda found: wire.dict_part(signature, {found.path: shown(found)}))
    return wire.dict_body(parts.values())


def shown(each: Object) -> dict[str, Any]:
    """An object's interface with all its properties, as type a{sa{sv}}."""
    return {each.interface.name: wire.clean(each.interface.values(each.view))}


def _interface_of(call: Call, name: str) -> tuple[Object, Interface]:
    """The object of a call to Properties and one of its interfaces; "" means the object's own."""
    if call.target is None:
        raise standard("UnknownObject", f"{call.path}: no such object")
    if not name:
        return call.target, call.target.interface
    for interface in call.target.interfaces:
        if interface.name == name:
            return call.target, interface
    raise standard("UnknownInterface", f"{call.path}: no interface {name}")
