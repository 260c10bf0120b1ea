"""Talking to the daemon over the system bus; every D-Bus error becomes a sentence and an exit code here."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from dbus_next.constants import MessageFlag, MessageType
from dbus_next.message import Message
from dbus_next.signature import Variant

from ipfod.bus.connection import BUS, BUS_HINT, Connection, bus_call, system_bus_address
from ipfod.bus.errors import OWN, STANDARD, BusError
from ipfod.ctl.failures import CommandFailed, ConfigurationRefused, Exit, NotPermitted, NotRunning, Refused
from ipfod.errors import Failed

# Spelled out: the modules that hold the tree of objects take a tenth of a second to import.
SERVICE = "org.ipfod.Ipfod1"
MANAGER_PATH = "/org/ipfod/Ipfod1"
MANAGER = "org.ipfod.Ipfod1.Manager"
FAILOVER = "org.ipfod.Ipfod1.Failover"
GROUP = "org.ipfod.Ipfod1.Group"
PROPERTIES = "org.freedesktop.DBus.Properties"
START_HINT = "start it with: systemctl start ipfod"
JOURNAL_HINT = "see: journalctl -u ipfod"
CALL_TIMEOUT_S = 25.0  # what libdbus waits by default

_GONE = {f"{STANDARD}.{kind}" for kind in ("ServiceUnknown", "NameHasNoOwner", "Disconnected")}
_REFUSED = {f"{STANDARD}.{kind}" for kind in ("AccessDenied", "AuthFailed", "InteractiveAuthorizationRequired")}
_FOREIGN = {f"{STANDARD}.{kind}" for kind in ("UnknownMethod", "UnknownInterface")}

Signal = Message
SignalHandler = Callable[[Signal], None]


class Client:
    """A connection to the bus and, by name, to the daemon. Made by `connect`."""

    def __init__(self) -> None:
        self._connection: Connection | None = None
        self._owner = ""
        self._handler: SignalHandler | None = None

    async def open(self) -> None:
        """Connect to the system bus; DBUS_SYSTEM_BUS_ADDRESS, if set, says where. Raises CommandFailed."""
        try:
            self._connection = await Connection.open(system_bus_address(), self._on_message)
        except Failed as error:
            raise _unreachable(error) from error

    async def aclose(self) -> None:
        if self._connection is not None:
            await self._connection.aclose()

    async def call(
        self,
        member: str,
        signature: str = "",
        *body: object,
        path: str = MANAGER_PATH,
        interface: str = MANAGER,
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> Any:
        """Call a method, of the Manager unless said otherwise; its only return value, or None.

        Raises CommandFailed. A daemon that does not run is not started: it may be so on purpose.
        """
        message = Message(
            SERVICE,
            path,
            interface,
            member,
            signature=signature,
            body=list(body),
            flags=MessageFlag.NO_AUTOSTART | MessageFlag.ALLOW_INTERACTIVE_AUTHORIZATION,
        )
        answer = await self._call(message, timeout_s)
        return plain(answer[0]) if answer else None

    async def get(self, path: str, interface: str, name: str) -> Any:
        """A property of one of the daemon's objects. Raises CommandFailed."""
        return await self.call("Get", "ss", interface, name, path=path, interface=PROPERTIES)

    async def subscribe(self, handler: SignalHandler, *, interface: str | None = None) -> None:
        """Have `handler` called with the daemon's signals (of one interface, or of all), and no one else's.

        It also gets NameOwnerChanged, which tells when the daemon leaves and returns (see `gone`). Raises
        CommandFailed; NotRunning if there is no daemon now.
        """
        self._handler = handler
        narrowed = f",interface='{interface}'" if interface else ""
        for rule in (
            f"type='signal',sender='{SERVICE}'{narrowed}",
            f"type='signal',sender='{BUS}',interface='{BUS}',member='NameOwnerChanged',arg0='{SERVICE}'",
        ):
            await self._call(bus_call("AddMatch", "s", rule), CALL_TIMEOUT_S)
        [self._owner] = await self._call(bus_call("GetNameOwner", "s", SERVICE), CALL_TIMEOUT_S)

    async def wait_lost(self) -> None:
        """Return when the bus has gone."""
        if self._connection is not None:
            await self._connection.wait_lost()

    def _on_message(self, message: Message) -> None:
        if message.message_type is not MessageType.SIGNAL or self._handler is None:
            return
        if message.sender == BUS:
            if message.member == "NameOwnerChanged" and message.body[0] == SERVICE:
                self._owner = message.body[2]
                self._handler(message)
        elif self._owner and message.sender == self._owner:  # anyone may send a signal straight to us
            self._handler(message)

    async def _call(self, message: Message, timeout_s: float) -> list[Any]:
        if self._connection is None:
            raise NotRunning("not connected to the system bus", hint=BUS_HINT)
        try:
            return await self._connection.call(message, timeout_s=timeout_s)
        except TimeoutError:
            raise CommandFailed(
                f"ipfod has not answered {message.member} within {timeout_s:g} s", hint=JOURNAL_HINT
            ) from None
        except EOFError:
            raise NotRunning("the system bus hung up", hint=BUS_HINT) from None
        except BusError as error:
            raise explained(error.name, error.text, str(message.member)) from None


def run(command: Callable[[Client], Awaitable[Exit]]) -> Exit:
    """Run a command with a client on the system bus; hangs up whatever happens. Raises CommandFailed."""

    async def connected() -> Exit:
        async with connect() as client:
            return await command(client)

    return asyncio.run(connected())


@asynccontextmanager
async def connect() -> AsyncIterator[Client]:
    """A client on the system bus. Raises CommandFailed."""
    client = Client()
    try:
        await client.open()
        yield client
    finally:
        await client.aclose()


def gone(signal: Signal) -> bool:
    """Whether a signal says that the daemon has left the bus."""
    return bool(signal.member == "NameOwnerChanged" and not signal.body[2])


def explained(name: str, text: str, member: str) -> CommandFailed:
    """The sentence and exit code for a D-Bus error that came back from calling `member`."""
    if name in _GONE:
        return NotRunning("ipfod is not running", hint=START_HINT)
    if name == f"{STANDARD}.NoReply":
        return NotRunning(f"ipfod went away before it answered {member}", hint=JOURNAL_HINT)
    if name in _REFUSED:
        return NotPermitted(
            f"{member}: not permitted", hint="run it as root; ipfoctl help permissions says who else may"
        )
    if name in _FOREIGN:
        return CommandFailed(
            f"ipfod does not know {member}: it is of another version than this ipfoctl",
            hint="restart it, which moves no virtual IP: systemctl restart ipfod",
        )
    if name == f"{OWN}.InvalidConfiguration":
        return ConfigurationRefused(text)
    if name == f"{STANDARD}.UnknownObject":  # it was there a moment ago
        return Refused(f"{member}: {text}", hint="a reload took it away; ipfoctl status lists what there is")
    kind = Refused if name.startswith(f"{OWN}.") else CommandFailed
    return kind(text or f"{member} failed: {name}")


def plain(value: Any) -> Any:
    """A D-Bus value without dbus-next's variants around it."""
    if isinstance(value, Variant):
        return plain(value.value)
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def _unreachable(error: Failed) -> CommandFailed:
    where = os.environ.get("DBUS_SYSTEM_BUS_ADDRESS")
    at = f" at DBUS_SYSTEM_BUS_ADDRESS={where}" if where else ""
    why = error.__cause__
    if isinstance(why, PermissionError):
        return NotPermitted(f"the system bus{at} does not let this user in", hint="run it as root")
    said = (why.strerror if isinstance(why, OSError) else None) or str(why or "") or "no answer"
    return NotRunning(f"ipfod is not running: no system bus{at} ({said})", hint="start dbus, then ipfod")
