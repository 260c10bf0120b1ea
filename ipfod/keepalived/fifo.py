"""keepalived's notifications, and how its notify scripts ended, from a FIFO that is ours.

keepalived removes and makes anew a FIFO of its own making at each reload, and keeps one that it finds. Opened
for reading and writing it never reports end of file, and what is written while ipfod is down waits in it
(64 KiB).
"""

from __future__ import annotations

import asyncio
import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

READ_BYTES = 65536  # the capacity of a pipe, pipe(7)
LINE_MAX = 4096  # PIPE_BUF: keepalived writes each line in one piece
NUMBER_MAX = 255  # priorities (RFC 9568 5.2.4) and exit statuses
_LINE = re.compile(r'(INSTANCE|GROUP|NOTIFY) "([^"]{1,255})" ([A-Z_]{1,32}) ([0-9]{1,3})', re.ASCII)


@dataclass(frozen=True, slots=True)
class Notification:
    """One line: what it is about, its name, a word for the event, and a number.

    keepalived's own have its word and the effective priority; see `notify.py` for those of kind NOTIFY.
    """

    kind: str
    name: str
    word: str
    number: int


def parse(line: bytes) -> Notification | None:
    """Read one line, None if it is none of ours."""
    match = _LINE.fullmatch(line.decode("ascii", "replace"))
    if match is None:
        return None
    kind, name, word, number = match.groups()
    return Notification(kind, name, word, int(number)) if int(number) <= NUMBER_MAX else None


class NotificationFifo:
    """Reads the FIFO on the event loop and hands over each notification."""

    def __init__(self, path: Path, said: Callable[[Notification], None]) -> None:
        self._path = path
        self._said = said
        self._descriptor = -1
        self._rest = b""
        self._too_long = False  # what comes next belongs to a line that was given up

    def open(self) -> None:
        """Make the FIFO if it is missing and start to read; may be called again. Raises OSError."""
        self._make()
        descriptor = os.open(self._path, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        self.close()  # only now: what waits in the same FIFO would be lost with its last reader
        self._descriptor = descriptor
        asyncio.get_running_loop().add_reader(descriptor, self.drain)

    def _make(self) -> None:
        try:
            if stat.S_ISFIFO(os.lstat(self._path).st_mode):
                return
            self._path.unlink()  # keepalived would silently write into a regular file
        except FileNotFoundError:
            pass
        os.mkfifo(self._path, 0o600)

    def drain(self) -> None:
        """Read all that is there now."""
        while self._descriptor >= 0:
            try:
                data = os.read(self._descriptor, READ_BYTES)
            except BlockingIOError:
                return
            for notification in self._feed(data):
                self._said(notification)

    def _feed(self, data: bytes) -> Iterator[Notification]:
        """The notifications that a piece of the stream completes."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if self._too_long and lines:
            self._too_long = False
            del lines[0]
        if self._too_long or len(self._rest) > LINE_MAX:
            self._too_long = True
            self._rest = b""
        for line in lines:
            if (notification := parse(line)) is not None:
                yield notification

    def close(self) -> None:
        if self._descriptor >= 0:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1
