"""D-Bus messages to bytes and back. The only module that reaches into dbus-next's insides (pinned to 0.2.3).

The header is written here, not by the library: it takes two thirds of the library's time for a signal, and a
change of 255 groups is some 4600 signals. Layout: D-Bus specification, "Message Format".
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from dbus_next._private.address import parse_address
from dbus_next._private.marshaller import Marshaller
from dbus_next._private.unmarshaller import Unmarshaller
from dbus_next.constants import MessageType
from dbus_next.errors import InvalidAddressError
from dbus_next.message import Message
from dbus_next.signature import SignatureTree, Variant

# dbus-next has no types: what is not annotated there is Any here.
_parse_address: Any = parse_address
_marshaller: Any = Marshaller
_unmarshaller: Any = Unmarshaller

START_SIZE = 16  # endianness to length of the header fields
_TEXT_FIELDS = (
    (1, b"o", "path"),
    (2, b"s", "interface"),
    (3, b"s", "member"),
    (4, b"s", "error_name"),
    (6, b"s", "destination"),
)
_REPLY_SERIAL, _SIGNATURE = 5, 8
MESSAGE_MAX = 128 << 20  # D-Bus specification, "Message Format"
_SIGNATURES_KEPT_MAX = 1000


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal of this service. The library's `Message` takes as long again, to see that its names are valid.

    The body is a list of values, or bytes that have been marshalled before.
    """

    path: str
    interface: str
    member: str
    signature: str
    body: list[Any] | bytes


class Malformed(Exception):
    """Bytes that are no D-Bus message, or a kind of message that this version of the protocol does not know."""


def unix_sockets(address: str) -> list[str]:
    """The paths (with a leading NUL: abstract names) that a D-Bus address names. Raises ValueError for none."""
    try:
        parsed: list[tuple[str, dict[str, str]]] = _parse_address(address)
    except InvalidAddressError as error:
        raise ValueError(str(error)) from error
    options = [given for transport, given in parsed if transport == "unix"]
    found = [given.get("path") or "\0" + given.get("abstract", "") for given in options]
    if not (named := [path for path in found if path != "\0"]):
        raise ValueError("the address names no Unix socket")
    return named


def variant(signature: str, value: Any) -> Variant:
    """A value for type v; text is made such that a bus takes it (see `clean`)."""
    return Variant(signature, clean(value))


def clean(value: Any) -> Any:
    """The value with every text made valid: a bus hangs up on who sends a NUL or half a surrogate pair."""
    match value:
        case str():
            if value.isascii() and "\0" not in value:
                return value
            return value.encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
        case list() | tuple():
            return [clean(item) for item in value]
        case dict():
            return {key: variant(*item) for key, item in value.items()}
    return value


def marshal(signature: str, body: list[Any]) -> bytes:
    """The body's bytes. Raises the library's SignatureBodyMismatchError if body and signature do not fit."""
    return bytes(_marshaller(signature, body).marshall())


def dict_part(signature: str, entries: Mapping[str, Any]) -> bytes:
    """Some entries of a dictionary of type `a{…}`, at least one, marshalled for `dict_body`."""
    # 4 bytes of length and 4 of padding before the first entry
    return marshal(signature, [entries])[8:]


def dict_body(parts: Iterable[bytes]) -> bytes:
    """A body of one dictionary, put together of pieces none of which took long."""
    data = bytearray()
    for part in parts:
        data += bytes(-len(data) % 8)  # entries stand at multiples of 8
        data += part
    return struct.pack("<Ixxxx", len(data)) + data


def list_part(entries: Mapping[str, Any]) -> bytes:
    """A dictionary of type `a{sv}`, marshalled for `list_body`."""
    # 4 bytes of the list's length before it: it stands at a multiple of 8, and 4
    return marshal("aa{sv}", [[entries]])[4:]


def list_body(parts: Iterable[bytes]) -> bytes:
    """A body of one list of dictionaries (`aa{sv}`), put together of pieces none of which took long."""
    data = bytearray(4)
    for part in parts:
        data += bytes(-len(data) % 4)
        # A dictionary's length stands at a multiple of 4, its entries at one of 8.
        data += part if len(data) % 8 else part[:4] + bytes(4) + part[4:]
    struct.pack_into("<I", data, 0, len(data) - 4)
    return bytes(data)


def encode(message: Message | Signal, serial: int) -> bytes:
    """The bytes of a message. Its body is a list of values, or bytes that have been marshalled before."""
    body: list[Any] | bytes = message.body
    data = body if isinstance(body, bytes) else marshal(message.signature, body)
    if isinstance(message, Signal):
        kind, flags = MessageType.SIGNAL.value, 0
        path = _field(1, b"o", message.path)
        fields = path + bytes(-len(path) % 8) + _fields_of(message.interface, message.member, message.signature)
    else:
        kind, flags = message.message_type.value, message.flags.value
        fields = _fields(message)
    # endianness, type, flags, protocol version, lengths
    start = struct.pack("<cBBBIII", b"l", kind, flags, 1, len(data), serial, len(fields))
    return start + fields + bytes(-len(fields) % 8) + data


def _fields(message: Message) -> bytes:
    found = [
        _field(code, kind, text)
        for code, kind, name in _TEXT_FIELDS
        if (text := getattr(message, name)) is not None
    ]
    if message.reply_serial is not None:
        found.append(struct.pack("<BBsxI", _REPLY_SERIAL, 1, b"u", message.reply_serial))
    if message.signature:
        found.append(_signature_field(message.signature))
    return _joined(found)


@lru_cache
def _fields_of(interface: str, member: str, signature: str) -> bytes:
    """The fields that are the same in each signal of that name; they begin at a multiple of 8."""
    return _joined([_field(2, b"s", interface), _field(3, b"s", member), _signature_field(signature)])


def _field(code: int, kind: bytes, text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<BBsxI", code, 1, kind, len(raw)) + raw + b"\0"


def _signature_field(signature: str) -> bytes:
    raw = signature.encode()
    return struct.pack("<BBsxB", _SIGNATURE, 1, b"g", len(raw)) + raw + b"\0"


def _joined(fields: Iterable[bytes]) -> bytes:
    """Each at a multiple of 8."""
    data = bytearray()
    for field in fields:
        data += bytes(-len(data) % 8)
        data += field
    return bytes(data)


def lengths(start: bytes) -> tuple[int, int]:
    """Bytes of the header's rest and of the body, from a message's first 16 bytes. Raises Malformed."""
    match start[:1]:
        case b"l":
            order = "<"
        case b"B":
            order = ">"
        case _:
            raise Malformed(f"message begins with {start[:1]!r}")
    body, _serial, fields = struct.unpack_from(f"{order}III", start, 4)
    if (rest := fields + -fields % 8) + body > MESSAGE_MAX:
        raise Malformed(f"message of {rest + body} bytes")
    return rest, body


def decode(frame: bytes) -> Message:
    """The message that the bytes are. Raises Malformed."""
    if len(SignatureTree._cache) > _SIGNATURES_KEPT_MAX:
        SignatureTree._cache.clear()  # it grows by each signature that any caller ever sent
    try:
        message: Message | None = _unmarshaller(io.BytesIO(frame)).unmarshall()
    except Exception as error:  # whatever the library stumbles over, one message is bad and not the connection
        raise Malformed(f"cannot read a message: {error!r}") from error
    if message is None:
        raise Malformed("message is shorter than it says")
    return message


def without_body(header: bytes) -> bytes:
    """A message's header as a frame of its own; decoded, it keeps its signature and has an empty body."""
    return header[:4] + bytes(4) + header[8:]
