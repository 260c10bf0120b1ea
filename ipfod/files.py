"""Opening files in directories of root: what lies in their place is not followed, written to or awaited."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path

TEXT_MAX_BYTES = 16 << 20  # a keepalived.conf with 65536 VIPs is less


def open_anew(path: Path, flags: int = 0) -> int:
    """Make a file, mode 0600, and open it for writing, with these flags beside. Raises OSError.

    What is in its place goes first: a FIFO would wait for a reader, and a second name of another file, or a
    device, would be written to.
    """
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    return os.open(path, flags | os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def open_regular(path: str | os.PathLike[str], flags: int) -> int:
    """An opener for `open()`, for regular files that are there. Raises OSError for whatever else is there.

    For one with a second name too, when it is to be written.
    """
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode) and (found.st_nlink == 1 or not flags & os.O_ACCMODE):
        return descriptor
    os.close(descriptor)
    number = errno.EISDIR if stat.S_ISDIR(found.st_mode) else errno.EINVAL
    raise OSError(
        number, os.strerror(number) if number == errno.EISDIR else "is no regular file of its own", str(path)
    )


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """The content of a regular file, at most TEXT_MAX_BYTES of it. Raises OSError."""
    with open(path, "rb", opener=open_regular) as file:
        return file.read(TEXT_MAX_BYTES)


def read_text(path: str | os.PathLike[str], encoding: str = "utf-8", errors: str = "strict") -> str:
    """The text of a regular file, at most TEXT_MAX_BYTES of it. Raises OSError and UnicodeDecodeError."""
    return read_bytes(path).decode(encoding, errors)
