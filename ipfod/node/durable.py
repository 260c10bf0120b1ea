"""Files that a power cut must not leave half written."""

from __future__ import annotations

import os
from pathlib import Path

from ipfod.errors import Failed
from ipfod.files import open_anew, open_regular


def unfinished(path: Path) -> Path:
    """What a power cut may leave beside a file: its next version, which counts for nothing."""
    return path.with_name(path.name + ".new")


def replace_file(path: Path, text: str) -> None:
    """Put a file with this text, mode 0600, in place of whatever is there: durably, and in one step.

    Raises Failed.
    """
    temporary = unfinished(path)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(open_anew(temporary), text)
        os.replace(temporary, path)
        _sync_directory(path.parent)
    except OSError as error:
        raise _failed(path, error) from error


def append_to_file(path: Path, text: str) -> None:
    """Add text to the end of a file that is there, durably. Raises Failed; part of it may be there then."""
    try:
        _write(open_regular(path, os.O_WRONLY | os.O_APPEND), text)
    except OSError as error:
        raise _failed(path, error) from error


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
