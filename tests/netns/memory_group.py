"""Memory that runs out: a control group with a limit, and somebody in it who eats all of it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from node.control_group import ControlGroup
from scenario import until

from ipfod.lab.program import end, start_process

LIMIT_BYTES = 32 << 20
# A file in memory is the group's, and does not make whoever writes it one that is worth killing.
EATER = """
import os, sys
open(sys.argv[1], "w").write("0")
file = os.memfd_create("eaten")
while True:
    os.write(file, b"x" * 4096)
"""
FIRST = "1000"  # these are the first in the group that the kernel kills
KILLED_S = 30.0


class MemoryGroup(ControlGroup):
    """`async with MemoryGroup(name) as group`, then `kill()`. Of cgroup v2, or v1 where that has the memory."""

    def __init__(self, name: str) -> None:
        own = Path("/proc/self/cgroup").read_text()
        self._first_version = (
            re.search(r"^[0-9]+:([a-z,_]*,)?memory(,[a-z,_]*)?:", own, re.MULTILINE) is not None
        )
        if self._first_version:
            self.mount = ("-t", "cgroup", "-o", "memory", "cgroup")
        super().__init__(name)

    def parent(self) -> str:
        """The root: below a group that has processes there is no limit to be set."""
        return ""

    async def __aenter__(self) -> MemoryGroup:
        await self.start()
        if self._first_version:
            self.file("memory.limit_in_bytes").write_text(str(LIMIT_BYTES))
            self.file("memory.swappiness").write_text("0")
        else:
            self.file("../cgroup.subtree_control").write_text("+memory")
            self.file("memory.max").write_text(str(LIMIT_BYTES))
            if self.file("memory.swap.max").exists():
                self.file("memory.swap.max").write_text("0")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def killed(self) -> int:
        """How many processes the kernel has killed in it because there was no memory left."""
        text = self.file("memory.oom_control" if self._first_version else "memory.events").read_text()
        found = re.search(r"^oom_kill ([0-9]+)$", text, re.MULTILINE)
        assert found is not None, text
        return int(found[1])

    async def kill(self, pids: Sequence[int]) -> None:
        """Let the kernel kill processes, known by their numbers here, for want of memory."""
        processes = self.file("cgroup.procs")
        for pid in pids:
            Path(f"/proc/{pid}/oom_score_adj").write_text(FIRST)
            processes.write_text(str(pid))
        argv = [sys.executable, "-I", "-S", "-c", EATER, str(processes)]
        eater = await start_process(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:

            async def over() -> bool:
                return self.killed() >= len(pids) + 1  # it goes on until it is the only one left

            await until(over, what="the kernel kills for want of memory", timeout_s=KILLED_S)
            assert await eater.wait() == -signal.SIGKILL
        finally:
            if eater.returncode is None:
                await end(eater)
