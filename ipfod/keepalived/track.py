"""Track files: the steering wheel. keepalived sees a new value in about a millisecond, with no reload."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from ipfod.files import open_regular
from ipfod.keepalived.files import write_atomically

# keepalived.conf(5), track_file with weight 1: the value is added to the priority, and -254 or less is FAULT.
FAULT = -254
FIT = 0

_VALUE = re.compile(rb"-?[0-9]{1,5}\n*")
_READ_BYTES = 64  # a value is followed by newlines where a longer one was overwritten


class TrackFiles:
    """One file for each VRRP instance, named like it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def read(self, instance: str) -> int | None:
        """The value now in force, None if there is no readable one."""
        try:
            # Not by open(): this is done for each group with each check, and costs a fifth so.
            descriptor = os.open(f"{self._directory}/{instance}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return None
        try:
            text = os.read(descriptor, _READ_BYTES)
        except OSError:
            return None
        finally:
            os.close(descriptor)
        return int(text) if _VALUE.fullmatch(text) else None

    def write(self, instance: str, value: int) -> None:
        """Put a value in force. By rename: keepalived takes an empty or half-written file for a healthy one."""
        if self.read(instance) == value:
            return
        path = self._directory / instance
        try:
            write_atomically(path, f"{value}\n")
        except OSError as error:
            # Neither a full /run nor what lies in the way may keep a node from giving its VIPs up.
            if error.errno not in (errno.ENOSPC, errno.EISDIR) or not path.is_file():
                raise
            _overwrite(path, f"{value}\n")

    def keep_only(self, instances: set[str]) -> None:
        """Remove the files of instances that are gone."""
        for path in self._directory.iterdir():
            if path.name not in instances:
                path.unlink()


def _overwrite(path: Path, text: str) -> None:
    """Write into a file that is there, in one go and over all that it has: that needs no more space."""
    descriptor = open_regular(path, os.O_WRONLY)
    try:
        os.pwrite(descriptor, text.encode().ljust(os.fstat(descriptor).st_size, b"\n"), 0)
    finally:
        os.close(descriptor)
