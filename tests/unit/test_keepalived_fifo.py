"""The notification FIFO: keepalived's lines are read however they arrive, all else is passed over."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipfod.keepalived.fifo import LINE_MAX, Notification, NotificationFifo, parse

PATIENCE_S = 10.0
PIPE_BYTES = 65536

names = st.text(st.characters(codec="ascii", exclude_characters='"\n'), min_size=1, max_size=80)
notifications = st.builds(
    Notification,
    kind=st.sampled_from(["INSTANCE", "GROUP", "NOTIFY"]),
    name=names,
    word=st.sampled_from(
        ["MASTER", "BACKUP", "FAULT", "STOP", "DELETED", "MASTER_RX_LOWER_PRI", "BACKUP_PRIORITY", "ENDED"]
    ),
    number=st.integers(0, 255),
)


def text(said: Notification) -> str:
    return f'{said.kind} "{said.name}" {said.word} {said.number}'


def line(said: Notification) -> bytes:
    """As keepalived writes it."""
    return text(said).encode("ascii") + b"\n"


def instance(number: int, word: str = "MASTER") -> Notification:
    return Notification("INSTANCE", f"web_VIP_{number}", word, 254)


class Reader:
    """A FIFO that is open, and what was read from it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.heard: list[Notification] = []
        self.fifo = NotificationFifo(path, self.heard.append)

    def write(self, *pieces: bytes) -> None:
        """Write as keepalived does: opened for reading and writing, without waiting."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)
        try:
            for piece in pieces:
                assert os.write(descriptor, piece) == len(piece)
        finally:
            os.close(descriptor)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                await asyncio.sleep(0.001)


@pytest.fixture
async def reader(tmp_path: Path) -> AsyncIterator[Reader]:
    reader = Reader(tmp_path / "notify.fifo")
    yield reader
    reader.fifo.close()


# ---------------------------------------------------------------- lines


@settings(deadline=None)
@given(said=notifications)
def test_every_line_of_keepalived_is_understood(said: Notification) -> None:
    assert parse(line(said)[:-1]) == said


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"INSTANCE",
        b'INSTANCE "" MASTER 100',
        b'INSTANCE "a" MASTER',
        b'INSTANCE "a" MASTER 1000',
        b'INSTANCE "a" MASTER -1',
        b'INSTANCE "a" master 100',
        b'INSTANCE "a" MASTER 100 ',
        b' INSTANCE "a" MASTER 100',
        b'INSTANCE "a"b" MASTER 100',
        b"INSTANCE 'a' MASTER 100",
        b"INSTANCE a MASTER 100",
        b'SERVICE "a" MASTER 100',
        b'INSTANCE "' + b"a" * 256 + b'" MASTER 100',
        b'INSTANCE "a" ' + b"M" * 33 + b" 100",
        'INSTANCE "a" MASTER \u0661'.encode(),  # a digit, but not one of ours
        b'INSTANCE "a"\0 MASTER 100',
    ],
)
def test_lines_that_keepalived_does_not_write_are_none(garbage: bytes) -> None:
    assert parse(garbage) is None


@settings(deadline=None)
@given(garbage=st.binary(max_size=100))
def test_no_line_is_fatal(garbage: bytes) -> None:
    found = parse(garbage)
    assert found is None or text(found) == garbage.decode("ascii", "replace")


# ---------------------------------------------------------------- the stream

garbage_lines = st.binary(max_size=30).map(lambda text: text.replace(b"\n", b" ").replace(b'"', b" ") + b"\n")
too_long_lines = st.integers(LINE_MAX, 3 * LINE_MAX).map(lambda length: b"x" * length + b"\n")
# What keepalived never wrote must not be read out of the middle of a line either.
trailing = notifications.map(lambda said: b"y" * (LINE_MAX + 1) + line(said))


@settings(deadline=None)
@given(
    parts=st.lists(notifications | garbage_lines | too_long_lines | trailing, max_size=8),
    cuts=st.lists(st.integers(0, 4 * LINE_MAX), max_size=8),
)
async def test_lines_are_read_however_they_are_split(
    parts: list[Notification | bytes], cuts: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    stream = b"".join(line(part) if isinstance(part, Notification) else part for part in parts)
    reader = Reader(tmp_path_factory.getbasetemp() / "split.fifo")
    reader.fifo.open()
    try:
        places = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
        for start, end in pairwise(places):
            for piece in range(start, end, PIPE_BYTES):
                reader.write(stream[piece : min(piece + PIPE_BYTES, end)])
                reader.fifo.drain()
    finally:
        reader.fifo.close()
    assert reader.heard == [part for part in parts if isinstance(part, Notification)]


async def test_a_notification_wakes_the_loop(reader: Reader) -> None:
    reader.fifo.open()
    reader.write(line(instance(1)))
    await reader.until(lambda: reader.heard == [instance(1)])
    reader.write(line(instance(1, "BACKUP")))
    await reader.until(lambda: reader.heard == [instance(1), instance(1, "BACKUP")])


async def test_a_line_that_never_ends_takes_no_memory_and_the_next_one_is_read(reader: Reader) -> None:
    reader.fifo.open()
    for _ in range(100):
        reader.write(b"x" * PIPE_BYTES)
        reader.fifo.drain()
    reader.write(line(instance(1)), line(instance(2)))  # the first is the end of the endless line
    reader.fifo.drain()
    assert reader.heard == [instance(2)]


async def test_what_was_written_before_anybody_read_is_not_lost(reader: Reader) -> None:
    os.mkfifo(reader.path, 0o600)
    writer = os.open(reader.path, os.O_RDWR | os.O_NONBLOCK)
    try:
        for number in range(255):
            os.write(writer, line(instance(number)))
        reader.fifo.open()
        reader.fifo.drain()
        assert reader.heard == [instance(number) for number in range(255)]
    finally:
        os.close(writer)


async def test_what_is_written_while_ipfod_is_down_waits_for_the_next_one(reader: Reader) -> None:
    reader.fifo.open()
    writer = os.open(reader.path, os.O_RDWR | os.O_NONBLOCK)  # keepalived's end
    try:
        reader.fifo.close()
        os.write(writer, line(instance(1, "FAULT")))
        reader.fifo.open()
        await reader.until(lambda: reader.heard == [instance(1, "FAULT")])
    finally:
        os.close(writer)


async def test_the_end_of_a_writer_is_not_the_end_of_the_stream(reader: Reader) -> None:
    reader.fifo.open()
    for number in range(3):
        reader.write(line(instance(number)))  # opens and closes it each time
        await reader.until(lambda number=number: reader.heard[-1:] == [instance(number)])  # type: ignore[misc]  # bound now


# ---------------------------------------------------------------- the file


async def test_the_fifo_is_made_closed_to_others(reader: Reader) -> None:
    reader.fifo.open()
    found = reader.path.lstat()
    assert stat.S_ISFIFO(found.st_mode)
    assert stat.S_IMODE(found.st_mode) == 0o600


async def test_a_fifo_that_is_there_is_kept(reader: Reader) -> None:
    os.mkfifo(reader.path, 0o600)
    before = reader.path.lstat().st_ino
    reader.fifo.open()
    assert reader.path.lstat().st_ino == before


async def test_a_regular_file_in_its_place_is_replaced(reader: Reader) -> None:
    reader.path.write_text("keepalived would append to me")
    reader.fifo.open()
    assert stat.S_ISFIFO(reader.path.lstat().st_mode)


@pytest.mark.parametrize("exists", [True, False])
async def test_a_symbolic_link_in_its_place_is_replaced_and_not_followed(reader: Reader, exists: bool) -> None:
    other = reader.path.with_name("other")
    if exists:
        other.write_text("precious")
    reader.path.symlink_to(other)
    reader.fifo.open()
    assert stat.S_ISFIFO(reader.path.lstat().st_mode)
    assert other.exists() is exists
    assert not exists or other.read_text() == "precious"


async def test_a_symbolic_link_to_a_fifo_is_replaced_too(reader: Reader) -> None:
    other = reader.path.with_name("other")
    os.mkfifo(other)
    reader.path.symlink_to(other)
    reader.fifo.open()
    assert not reader.path.is_symlink()


async def test_a_directory_in_its_place_is_an_error(reader: Reader) -> None:
    reader.path.mkdir()
    with pytest.raises(OSError, match="directory"):
        reader.fifo.open()


async def test_closing_leaves_nothing_open_and_may_be_done_twice(reader: Reader) -> None:
    before = len(os.listdir("/proc/self/fd"))
    reader.fifo.open()
    reader.fifo.close()
    reader.fifo.close()
    assert len(os.listdir("/proc/self/fd")) == before
    assert reader.path.exists()
