"""A connection to a message bus: asyncio's streams below, dbus-next's messages above.

dbus-next's own MessageBus is not used: it spins when a bus hangs up during authentication, sends tracebacks to
callers, raises answered errors once more, loses the bus over one odd message, starves everybody else while one
peer floods it, and leaks its socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from dbus_next.constants import MessageFlag, MessageType
from dbus_next.message import Message

from ipfod.bus import wire
from ipfod.bus.errors import STANDARD, BusError
from ipfod.errors import Failed

log = logging.getLogger(__name__)

BUS = "org.freedesktop.DBus"
# D-Bus specification, "Well-known Message Bus Instances"
DEFAULT_ADDRESS = "unix:path=/var/run/dbus/system_bus_socket"
BUS_HINT = "see: systemctl status dbus; ipfod starts again with the bus"
CONNECT_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 1.0
ANSWER_TIMEOUT_S = 5.0  # of the bus itself
HEADER_MAX = 16 << 10
CALL_BODY_MAX = 16 << 10  # of what others send to us: a few short strings at most
BUFFER_SIZE = 16 << 10

_CONNECT_ERRORS = (OSError, EOFError, ValueError, asyncio.LimitOverrunError, BusError)

Handler = Callable[[Message], None]


def system_bus_address() -> str:
    return os.environ.get("DBUS_SYSTEM_BUS_ADDRESS") or DEFAULT_ADDRESS


def bus_call(member: str, signature: str = "", *body: object) -> Message:
    """A call to the bus itself."""
    return Message(BUS, "/org/freedesktop/DBus", BUS, member, signature=signature, body=list(body))


class Connection:
    """One authenticated connection. Make it with `await Connection.open(...)`.

    `on_message` gets every call and signal that arrives, one for each turn of the event loop. Calls with a body
    above `CALL_BODY_MAX` are refused here, signals of that size are dropped unless they are broadcast, and so
    is what cannot be read.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, on_message: Handler) -> None:
        self._reader = reader
        self._writer = writer
        self._on_message = on_message
        self._serial = 0
        self._waiting: dict[int, asyncio.Future[Message]] = {}
        self._lost = asyncio.Event()
        self._awaited: dict[str, set[asyncio.Event]] = {}  # connections whose end somebody waits for
        self._reading: asyncio.Task[None] | None = None
        self.unique_name = ""

    @classmethod
    async def open(cls, address: str, on_message: Handler) -> Connection:
        """Connect, authenticate and say Hello. Raises Failed with the address and what was wrong with it."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                return await cls._open(address, on_message)
        except _CONNECT_ERRORS as error:
            match error:
                case TimeoutError():
                    what = f"no answer within {CONNECT_TIMEOUT_S:g} s"
                case EOFError():
                    what = "it hung up during authentication"
                case _:
                    what = str(error)
            hint = (
                "is dbus-daemon or dbus-broker running? the address comes from DBUS_SYSTEM_BUS_ADDRESS, if set"
            )
            raise Failed(f"{address}: cannot connect to the message bus: {what}", hint=hint) from error

    @classmethod
    async def _open(cls, address: str, on_message: Handler) -> Connection:
        reader, writer = await _connect(address)
        connection = cls(reader, writer, on_message)
        try:
            await _authenticate(reader, writer)
            connection._reading = asyncio.create_task(connection._read(), name="D-Bus reader")
            [connection.unique_name] = await connection.call(bus_call("Hello"), timeout_s=CONNECT_TIMEOUT_S)
        except BaseException:
            await connection.aclose()
            raise
        return connection

    # ------------------------------------------------------------ out

    def send(self, *messages: Message | wire.Signal) -> None:
        """Send messages, in this order. Without a connection they are dropped: `wait_lost` tells."""
        self._write([wire.encode(message, self._next_serial()) for message in messages])

    def reply(self, call: Message, signature: str, body: Any) -> None:
        """Answer a call, unless it wants no answer. The body: a list of values, or bytes marshalled before."""
        if not call.flags & MessageFlag.NO_REPLY_EXPECTED:
            self.send(Message.new_method_return(call, signature, body))

    def reply_error(self, call: Message, name: str, text: str) -> None:
        if not call.flags & MessageFlag.NO_REPLY_EXPECTED:
            self.send(Message.new_error(call, name, wire.clean(text)))

    async def call(self, message: Message, *, timeout_s: float) -> list[Any]:
        """Call a method; its answer's body. Raises BusError for an error answer, TimeoutError, and EOFError if
        the bus goes away meanwhile."""
        if self._lost.is_set():
            raise EOFError("the connection to the message bus is lost")
        serial = self._next_serial()
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[serial] = answer
        try:
            self._write([wire.encode(message, serial)])
            async with asyncio.timeout(timeout_s):
                reply = await answer
        finally:
            del self._waiting[serial]
        if reply.message_type is MessageType.ERROR:
            raise BusError(reply.error_name, str(reply.body[0]) if reply.body else reply.error_name)
        return list(reply.body)

    @contextlib.asynccontextmanager
    async def end_of(self, name: str) -> AsyncIterator[asyncio.Event]:
        """An event that is set when the connection with this unique name leaves the bus, or has left it.

        Raises what `call` raises.
        """
        rule = f"type='signal',sender='{BUS}',interface='{BUS}',member='NameOwnerChanged',arg0='{name}'"
        left = asyncio.Event()
        self._awaited.setdefault(name, set()).add(left)
        try:
            await self.call(bus_call("AddMatch", "s", rule), timeout_s=ANSWER_TIMEOUT_S)
            [present] = await self.call(bus_call("NameHasOwner", "s", name), timeout_s=ANSWER_TIMEOUT_S)
            if not present:
                left.set()
            yield left
        finally:
            self._awaited[name].discard(left)
            if not self._awaited[name]:
                del self._awaited[name]
            self._write([wire.encode(bus_call("RemoveMatch", "s", rule), self._next_serial())])

    def _next_serial(self) -> int:
        self._serial = self._serial % 0xFFFFFFFF + 1  # 32 bits, never 0
        return self._serial

    def _write(self, frames: Sequence[bytes]) -> None:
        if frames and not self._lost.is_set() and not self._writer.is_closing():
            self._writer.write(b"".join(frames))

    # ------------------------------------------------------------ in

    async def _read(self) -> None:
        try:
            while True:
                if (message := await self._receive()) is not None:
                    self._dispatch(message)
                # Buffered messages are read without waiting: let others run, however fast a peer sends.
                await asyncio.sleep(0)
        except (OSError, EOFError, wire.Malformed) as error:
            log.debug("connection to the message bus ended: %r", error)
        finally:
            self._lost.set()
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(EOFError("the bus hung up"))

    async def _receive(self) -> Message | None:
        """The next message; None for one that was dropped or answered here."""
        start = await self._reader.readexactly(wire.START_SIZE)
        rest, body = wire.lengths(start)
        if rest > HEADER_MAX:
            await self._skip(rest + body)
            return None
        header = start + await self._reader.readexactly(rest)
        if body > CALL_BODY_MAX and self._refuses(header):
            await self._skip(body)
            return None
        try:
            return wire.decode(header + await self._reader.readexactly(body))
        except wire.Malformed as error:
            log.debug("message dropped: %s", error)
            return None

    def _refuses(self, header: bytes) -> bool:
        """Whether a long message is not wanted: a stranger sent it to us, or it cannot be read.

        The caller skips its body, whatever it is: read as messages, it could name any sender.
        """
        try:
            head = wire.decode(wire.without_body(header))
        except wire.Malformed as error:
            log.debug("message dropped: %s", error)
            return True
        if head.message_type is MessageType.METHOD_CALL:
            text = f"more than {CALL_BODY_MAX} bytes of arguments"
            self.reply_error(head, f"{STANDARD}.LimitsExceeded", text)
            return True
        return head.message_type is MessageType.SIGNAL and head.destination is not None

    async def _skip(self, size: int) -> None:
        while size:
            data = await self._reader.read(min(size, BUFFER_SIZE))
            if not data:
                raise EOFError("the bus hung up")
            size -= len(data)

    def _dispatch(self, message: Message) -> None:
        if message.member == "NameOwnerChanged" and message.sender == BUS and message.signature == "sss":
            name, _, owner = message.body
            if not owner:
                for left in self._awaited.get(name, ()):
                    left.set()
        if message.message_type in (MessageType.METHOD_CALL, MessageType.SIGNAL):
            self._on_message(message)
        elif (answer := self._waiting.get(message.reply_serial)) is not None and not answer.done():
            answer.set_result(message)

    # ------------------------------------------------------------ end

    async def wait_lost(self) -> None:
        """Return when the bus has hung up. A connection cannot come back: make a new one."""
        await self._lost.wait()

    async def aclose(self) -> None:
        """Let the bus take what was sent, and hang up. May be called twice."""
        if self._reading is not None:
            if not self._lost.is_set() and self.unique_name:
                with contextlib.suppress(BusError, OSError, EOFError, TimeoutError):
                    await self.call(bus_call("GetId"), timeout_s=CLOSE_TIMEOUT_S)
            self._reading.cancel()
            await asyncio.wait([self._reading])
        self._writer.transport.abort()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


async def _connect(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open the first socket of an address that takes a connection. Raises what the last one raised."""
    *others, last = wire.unix_sockets(address)
    for path in others:
        with contextlib.suppress(OSError):
            return await asyncio.open_unix_connection(path, limit=BUFFER_SIZE)
    return await asyncio.open_unix_connection(last, limit=BUFFER_SIZE)


async def _authenticate(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """EXTERNAL: the kernel tells the bus who we are (D-Bus specification, "Authentication Protocol")."""
    writer.write(b"\0AUTH EXTERNAL " + str(os.getuid()).encode().hex().encode() + b"\r\n")
    answer = await reader.readuntil(b"\r\n")
    if not answer.startswith(b"OK "):
        raise ValueError(f"authentication refused: {answer.decode(errors='replace').strip()}")
    writer.write(b"BEGIN\r\n")
