"""Files that a power cut must not leave half written."""

from __future__ import annotations

import os
from pathlib import Path

from ipfod.errors import Failed


def replace_file(path: Path, text: str) -> None:
    """Put a file with this text, mode 0600, in place of whatever is there: durably, and in one step.

    Raises Failed.
    """
    temporary = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        _write(descriptor, text)
        os.replace(temporary, path)
        _sync_directory(path.parent)
    except OSError as error:
        raise _failed(path, error) from error


def append_to_file(path: Path, text: str) -> None:
    """Add text to the end of a file that is there, durably. Raises Failed; part of it may be there then."""
    try:
        _write(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK), text)
    except OSError as error:
        raise _failed(path, error) from error


def open_at_once(path: str, flags: int) -> int:
    """An opener for `open()`: a FIFO in the place of a file would wait for a writer."""
    return os.open(path, flags | os.O_NONBLOCK)


def _write(descriptor: int, text: str) -> None:
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _failed(path: Path, error: OSError) -> Failed:
    return Failed(f"{path} cannot be written: {error.strerror}")
