"""One ipfod at a time on a node: a locked file with the pid of who holds it."""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from ipfod.errors import Failed

PID_MAX_DIGITS = 10
TRIES, PAUSE_S = 5, 0.01


class DaemonLock:
    """The kernel gives the lock back when its holder ends, by whatever cause."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1
        self._taken = False

    def __enter__(self) -> Self:
        try:
            self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            self._descriptor = os.open(self._path, flags, 0o600)
        except OSError as error:
            raise Failed(f"{self._path}: {error.strerror}", hint="ipfod runs as root") from error
        found = os.fstat(self._descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:  # it is written to
            os.close(self._descriptor)
            raise Failed(f"{self._path}: is not a file of ipfod's own", hint=f"rm {self._path}")
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def take(self) -> None:
        """Become the holder. Raises Failed if another process is."""
        if not any(self._try_patiently()):
            raise Failed(f"ipfod: process {self.holder()} runs already", hint="systemctl stop ipfod, or end it")
        self._taken = True
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, str(os.getpid()).encode(), 0)

    def holder(self) -> int:
        """The pid of the process that holds the lock, 0 if none does (or it has not said who it is yet)."""
        if self._taken:
            return os.getpid()  # trying would succeed, and give our own lock away
        if self._try():
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            return 0
        text = os.pread(self._descriptor, PID_MAX_DIGITS, 0)
        return int(text) if text.isdigit() else 0

    def _try_patiently(self) -> Iterator[bool]:
        """Somebody who only asks for the holder has the lock for an instant."""
        for _ in range(TRIES):
            yield self._try()
            time.sleep(PAUSE_S)

    def _try(self) -> bool:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
