"""Calling other services on the system bus, and hearing when they change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dbus_next.constants import MessageType
from dbus_next.message import Message
from dbus_next.signature import Variant

from ipfod.bus.connection import BUS, BUS_HINT, Connection, bus_call, system_bus_address
from ipfod.bus.errors import BusError
from ipfod.errors import Failed

ANSWER_S = 25.0  # what D-Bus clients commonly wait


class Remote:
    """A connection of its own, so that the service's own traffic and these calls do not wait for each other."""

    def __init__(self) -> None:
        self._connection: Connection | None = None
        self._owners: dict[str, str] = {}  # by well-known name: the unique name of who has it, "" for nobody
        self._followers: dict[str, Callable[[], None]] = {}

    async def open(self) -> None:
        """Connect. Raises Failed."""
        self._connection = await Connection.open(system_bus_address(), self._take)

    async def follow(self, name: str, changed: Callable[[], None]) -> None:
        """Call `changed()` at each signal of a service, and whenever it comes or goes. Raises Failed."""
        self._followers[name] = changed
        owned = f"type='signal',sender='{BUS}',member='NameOwnerChanged',arg0='{name}'"
        for rule in (owned, f"type='signal',sender='{name}'"):
            await self._ask_bus("AddMatch", rule)
        try:
            [self._owners[name]] = await self._ask_bus("GetNameOwner", name)
        except Failed:
            self._owners[name] = ""

    def owner(self, name: str) -> str:
        """Who has a name that is followed, "" for nobody. To that name the bus never starts a service."""
        return self._owners.get(name, "")

    def _take(self, message: Message) -> None:
        """Anybody may send a signal to us: those count that come from whom we follow."""
        if message.message_type is not MessageType.SIGNAL:
            return
        if message.sender == BUS and message.member == "NameOwnerChanged" and message.signature == "sss":
            name, _, owner = message.body
            if name in self._followers:
                self._owners[name] = owner
                self._followers[name]()
            return
        for name, changed in self._followers.items():
            if message.sender and message.sender == self._owners.get(name):
                changed()

    async def _ask_bus(self, member: str, argument: str) -> list[Any]:
        call = bus_call(member, "s", argument)
        return await self.ask(call.destination, call.path, call.interface, member, "s", argument)

    async def ask(
        self, destination: str, path: str, interface: str, member: str, signature: str, *body: Any
    ) -> list[Any]:
        """The body of the answer, variants as plain values. Raises Failed with what the other side said."""
        if self._connection is None:
            raise Failed(f"{destination}: cannot be asked: not connected to the system bus", hint=BUS_HINT)
        message = Message(destination, path, interface, member, signature=signature, body=list(body))
        try:
            answer = await self._connection.call(message, timeout_s=ANSWER_S)
        except BusError as error:
            raise Failed(f"{interface}.{member}: {error.text}") from error
        except TimeoutError as error:
            raise Failed(f"{interface}.{member}: no answer within {ANSWER_S:g} s") from error
        except EOFError as error:
            raise Failed(f"{interface}.{member}: the system bus is gone", hint=BUS_HINT) from error
        return [_plain(value) for value in answer]

    async def aclose(self) -> None:
        if self._connection is not None:
            await self._connection.aclose()
            self._connection = None


def _plain(value: Any) -> Any:
    return _plain(value.value) if isinstance(value, Variant) else value
