"""What units of a booted node ask of the kernel: its systemd, and so all that it starts, under strace."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from ipfod.lab.program import start_process

ATTACH_S = 20.0
STARTED = re.compile(r'^execve\("([^"]*)", \[(.*?)\]')
CALL = re.compile(r"^(?:<\.\.\. )?([a-z_0-9]+)(?:\(| resumed>)")
# The number of a child in the node comes first, as strace sees it second.
CHILD = re.compile(r"^(?:<\.\.\. )?(?:clone3?|v?fork)\b.* = \d+ /\* (\d+) in strace's PID NS \*/")
REFUSED = re.compile(r" = -1 (EPERM|EACCES|EROFS)\b")
WRITES = re.compile(
    r"^(?:open(?:at)?\(.*O_(?:WRONLY|RDWR|CREAT)"
    r"|(?:unlink|rename|mkdir|rmdir|mknod|chmod|symlink|link|truncate)(?:at2?)?\(|fchmodat2?\()"
)
PATH = re.compile(r'(?:(?:AT_FDCWD|\d+)(?:<([^>]*)>)?, )?"([^"]*)"')  # and the directory it is relative to


@dataclass
class Use:
    """What the processes of one unit did since systemd had started them."""

    calls: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    written: set[str] = field(default_factory=set)

    def take(self, line: str) -> None:
        call = CALL.match(line)
        if call is None:
            return
        self.calls.add(call[1])
        if REFUSED.search(line):
            self.refused.add(line)
        if WRITES.match(line):
            for directory, path in PATH.findall(line):
                self.written.add(path if path.startswith("/") else f"{directory}/{path}")


class Tracing:
    """`async with Tracing(pid, directory)`: whatever a process starts; afterwards `of()` says what that did."""

    def __init__(self, pid: int, directory: Path) -> None:
        self._pid = pid
        self._directory = directory
        self._strace: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        argv = ["strace", "-f", "-ff", "-y", "--pidns-translation", "-s", "128", "-e", "signal=none"]
        argv += ["-o", str(self._directory / "of"), "-p", str(self._pid)]
        self._strace = await start_process(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        assert self._strace.stderr is not None
        line = b""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ATTACH_S):
                line = await self._strace.stderr.readline()
        assert b"attached" in line, line
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._strace is not None
        with contextlib.suppress(ProcessLookupError):
            self._strace.send_signal(signal.SIGTERM)  # it lets go of them
        await self._strace.communicate()

    def of(self, *commands: str) -> Use:
        """What was done by those with such command lines (regular expressions), and by their children."""
        lines = {
            int(path.suffix[1:]): path.read_text(errors="replace").splitlines()
            for path in self._directory.iterdir()
        }
        use = Use()
        for child in _children(lines[self._pid]):
            left = [_since_started(lines.get(child, []), commands)]
            while left:
                some = left.pop()
                for line in some:
                    use.take(line)
                left += [lines.get(pid, []) for pid in _children(some)]
        return use


def _since_started(lines: list[str], commands: Sequence[str]) -> list[str]:
    """What came after systemd's part, nothing if it started something else."""
    for place, line in enumerate(lines):
        if (found := STARTED.match(line)) and line.endswith(" = 0"):
            words = [found[1], *re.findall(r'"([^"]*)"', found[2])[1:]]
            return lines[place + 1 :] if re.fullmatch("|".join(commands), " ".join(words)) else []
    return []


def _children(lines: list[str]) -> list[int]:
    return [int(found[1]) for line in lines if (found := CHILD.match(line))]
