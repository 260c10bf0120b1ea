"""Processes of the kernel: whether one lives, its children, and the moment it ends (pidfd)."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path


def command_line(pid: int) -> tuple[str, ...]:
    """The arguments of a living process, () if there is none (a zombie has none either)."""
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ()
    return tuple(part.decode(errors="replace") for part in raw.split(b"\0")[:-1])


def children(pid: int) -> tuple[int, ...]:
    """Children of a process's main thread, () if it is gone."""
    try:
        return tuple(int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    except OSError:
        return ()


def is_zombie(pid: int) -> bool:
    """Whether a process has ended and only waits to be reaped."""
    return run_state(pid) == "Z"


def run_state(pid: int) -> str:
    """The letter of a process's state, see proc_pid_stat(5): S if it waits for something; "" if it is gone."""
    try:
        # Bytes: a process may give itself any name.
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0].decode("ascii")
    except OSError:
        return ""


class ProcessWatch:
    """Tells once, on the event loop, that a process has ended. Needs no parenthood."""

    def __init__(self, pid: int, ended: Callable[[], None]) -> None:
        """Raises ProcessLookupError if the process is gone already."""
        self.pid = pid
        self._ended = ended
        self._descriptor = os.pidfd_open(pid)
        asyncio.get_running_loop().add_reader(self._descriptor, self._readable)

    def _readable(self) -> None:
        self.close()
        self._ended()

    def close(self) -> None:
        if self._descriptor >= 0:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1


async def ended(pid: int, timeout_s: float) -> bool:
    """Wait until a process has ended; False if it has not within the time."""
    gone = asyncio.Event()
    try:
        watch = ProcessWatch(pid, gone.set)
    except ProcessLookupError:
        return True
    try:
        async with asyncio.timeout(timeout_s):
            await gone.wait()
    except TimeoutError:
        return False
    finally:
        watch.close()
    return True


async def end(pid: int, timeout_s: float) -> None:
    """SIGTERM, and SIGKILL to one that does not go within the time."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        if await ended(pid, timeout_s):
            return
