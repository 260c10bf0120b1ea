"""Sees keepalived tell ipfod of a change, and ipfod tell everybody: how long is it from the one to the other?

A program of its own, run by its path on a node: `witness.py DIRECTORY VALUE STATE GROUP…`. It writes VALUE
into the groups' track files below DIRECTORY, so that keepalived changes their states, and waits for as many
signals `Transition` to STATE. Zero is when keepalived writes into its FIFO: the kernel tells of that (inotify).
It prints one JSON document, in milliseconds: {"signals": [since the first write, …], "written": the last}.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import struct
import sys
import time
from pathlib import Path

from dbus_next.message import Message

from ipfod.bus.connection import Connection, bus_call, system_bus_address
from ipfod.keepalived.track import TrackFiles

DOUBLE = struct.Struct("d")
IN_MODIFY = 2  # linux/inotify.h
RULE = "type='signal',interface='org.ipfod.Ipfod1.Manager',member='Transition'"
TIMEOUT_S = 20.0


class Writes:
    """When a FIFO was written into, noted by a process of its own that nothing else holds up."""

    def __init__(self, fifo: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        changes = libc.inotify_init1(os.O_CLOEXEC)
        if libc.inotify_add_watch(changes, os.fsencode(fifo), IN_MODIFY) < 0:
            raise OSError(ctypes.get_errno(), "cannot be watched", str(fifo))
        self._pipe, other = os.pipe()
        self._child = os.fork()
        if self._child == 0:
            with contextlib.suppress(OSError):
                os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
            while os.read(changes, 1 << 16):
                os.write(other, DOUBLE.pack(time.monotonic()))
        os.close(other)

    def finish(self) -> list[float]:
        """The times, by the monotonic clock."""
        os.kill(self._child, signal.SIGKILL)
        os.waitpid(self._child, 0)
        with os.fdopen(self._pipe, "rb") as times:
            return [time for (time,) in DOUBLE.iter_unpack(times.read())]


class Signals:
    """When signals came that tell of a state."""

    def __init__(self, state: str, wanted: int) -> None:
        self.times: list[float] = []
        self.all = asyncio.Event()
        self._state, self._wanted = state, wanted

    def take(self, message: Message) -> None:
        """A signal, or anything else that comes over the bus."""
        if message.member == "Transition" and message.body[2] == self._state:
            self.times.append(time.monotonic())
            if len(self.times) >= self._wanted:
                self.all.set()


async def main(directory: Path, value: int, state: str, groups: list[str]) -> None:
    writes = Writes(directory / "notify.fifo")
    signals = Signals(state, len(groups))
    connection = await Connection.open(system_bus_address(), signals.take)
    await connection.call(bus_call("AddMatch", "s", RULE), timeout_s=TIMEOUT_S)
    steering = TrackFiles(directory / "track")
    for group in groups:
        steering.write(group, value)
    async with asyncio.timeout(TIMEOUT_S):
        await signals.all.wait()
    written = writes.finish()
    report = {
        "signals": [round((when - written[0]) * 1000, 3) for when in signals.times],
        "written": round((written[-1] - written[0]) * 1000, 3),
    }
    print(json.dumps(report), flush=True)
    await connection.aclose()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:]))
