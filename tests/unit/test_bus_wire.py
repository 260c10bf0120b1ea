"""Messages to bytes and back; dbus-next's own reading and writing is the reference."""

from __future__ import annotations

from typing import Any

import pytest
from dbus_next.constants import MessageFlag, MessageType
from dbus_next.message import Message
from dbus_next.signature import SignatureTree, Variant
from hypothesis import given
from hypothesis import strategies as st

from ipfod.bus import wire
from ipfod.node.model import Problem, ProblemCode

texts = st.text().filter(lambda text: "\0" not in text)
elements = st.from_regex(r"[A-Za-z0-9_]{1,20}", fullmatch=True)
paths = st.lists(elements, min_size=1, max_size=5).map(lambda parts: "/" + "/".join(parts))


@given(
    path=paths,
    strings=st.lists(texts, max_size=4),
    number=st.integers(0, 2**64 - 1),
    serial=st.integers(1, 2**32 - 1),
)
def test_what_is_written_is_read_as_it_was(path: str, strings: list[str], number: int, serial: int) -> None:
    body = [strings, {"value": Variant("t", number)}]
    sent = Message.new_signal(path, "org.example.Interface", "Member", "asa{sv}", body)
    frame = wire.encode(sent, serial)
    rest, length = wire.lengths(frame[: wire.START_SIZE])
    assert wire.START_SIZE + rest + length == len(frame)
    read = wire.decode(frame)
    assert (read.path, read.interface, read.member) == (path, "org.example.Interface", "Member")
    assert (read.serial, read.signature, read.body) == (serial, "asa{sv}", body)


@pytest.mark.parametrize(
    "message",
    [
        Message("org.example.A", "/a", "org.example.A", "B", signature="su", body=["x", 1]),
        Message(destination=":1.5", path="/a", member="B", flags=MessageFlag.NO_REPLY_EXPECTED),
        Message(message_type=MessageType.METHOD_RETURN, reply_serial=7, destination=":1.5"),
        Message(
            message_type=MessageType.ERROR,
            reply_serial=7,
            error_name="a.B",
            destination=":1.5",
            signature="s",
            body=["t"],
        ),
    ],
    ids=lambda message: message.message_type.name,
)
def test_headers_mean_what_the_librarys_mean(message: Message) -> None:
    message.serial = 9
    reference: Any = message  # the library has no types
    ours, theirs = wire.decode(wire.encode(message, 9)), wire.decode(bytes(reference._marshall()))
    for field in (
        "destination",
        "path",
        "interface",
        "member",
        "error_name",
        "reply_serial",
        "signature",
        "body",
    ):
        assert getattr(ours, field) == getattr(theirs, field)
    assert (ours.message_type, ours.flags, ours.serial) == (theirs.message_type, theirs.flags, 9)


@given(st.dictionaries(texts, texts, max_size=9), st.integers(0, 9))
def test_a_dictionary_put_together_in_pieces_is_the_same_as_in_one(whole: dict[str, str], cut: int) -> None:
    items = list(whole.items())
    pieces = [piece for piece in (dict(items[:cut]), dict(items[cut:])) if piece]
    body = wire.dict_body(wire.dict_part("a{ss}", piece) for piece in pieces)
    assert body == wire.marshal("a{ss}", [whole]).ljust(8, b"\0")


@given(st.lists(st.dictionaries(texts, texts, max_size=3), max_size=5))
def test_a_list_put_together_in_pieces_is_the_same_as_in_one(whole: list[dict[str, str]]) -> None:
    entries = [{key: Variant("s", value) for key, value in each.items()} for each in whole]
    assert wire.list_body(map(wire.list_part, entries)) == wire.marshal("aa{sv}", [entries])


@given(st.text(st.characters()))
def test_any_text_becomes_one_that_a_bus_takes(text: str) -> None:
    cleaned = wire.clean(text)
    assert "\0" not in cleaned
    assert cleaned.encode().decode() == cleaned
    assert cleaned == text or any(char == "\0" or "\ud800" <= char <= "\udfff" for char in text)


def test_texts_are_made_valid_however_deep_they_are() -> None:
    cleaned = wire.clean([{"text": ("as", ["a\0b", "c\udcff"])}])
    assert cleaned[0]["text"].value == ["a\N{REPLACEMENT CHARACTER}b", "c?"]
    assert str(ProblemCode.CHECK_FAILING) == wire.clean(Problem(ProblemCode.CHECK_FAILING, "", "", "").code)


@given(st.binary(min_size=wire.START_SIZE, max_size=200))
def test_garbage_is_malformed_and_nothing_worse(data: bytes) -> None:
    start = b"l\1\0\1" + data[4:]
    for frame in (data, start):
        try:
            wire.lengths(frame[: wire.START_SIZE])
            wire.decode(frame)
        except wire.Malformed:
            pass


def test_an_unknown_kind_of_message_is_malformed() -> None:
    frame = bytearray(wire.encode(Message("org.example.A", "/a", "org.example.A", "B"), 1))
    frame[1] = 5
    with pytest.raises(wire.Malformed, match="MessageType"):
        wire.decode(bytes(frame))


def test_what_callers_send_does_not_pile_up() -> None:
    def frame(count: int) -> bytes:
        signature = "".join("sb"[int(digit)] for digit in f"{count:b}")
        body: list[Any] = ["" if each == "s" else True for each in signature]
        return wire.encode(Message("org.example.A", "/a", member="B", signature=signature, body=body), 1)

    for count in range(3000):
        wire.decode(frame(count))
    assert len(SignatureTree._cache) <= 1002
