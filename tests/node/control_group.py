"""Control groups for tests, of a booted node first of all, which go when it or this process has gone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import uuid
from pathlib import Path

from ipfod.errors import Failed
from ipfod.lab.program import start_process

HIERARCHY = "/sys/fs/cgroup"  # where janitor and node mount them, in mount namespaces of their own
PREFIX = "ipfod-test-"
# Control groups are in no namespace that would end with its processes. So somebody has to stay who removes
# them: the pipe ends when this process does, by whatever death. The node's processes may still be dying then.
JANITOR = """
group=$1
shift
mount "$@" /sys/fs/cgroup
mkdir "$group"
echo ready
read -r never || true
for try in $(seq 200); do
    if find "$group" -depth -type d -exec rmdir {} + 2>/dev/null; then exit 0; fi
    sleep 0.05
done
echo "$group is still in use" >&2
exit 1
"""
TIMEOUT_S = 20.0  # more than the janitor's tries take


class ControlGroup:
    """`path` is where a node's first process has to go, once the node has mounted cgroup v2 at HIERARCHY."""

    mount: tuple[str, ...] = ("-t", "cgroup2", "cgroup2")

    def __init__(self, name: str) -> None:
        self.path = f"{HIERARCHY}{self.parent()}/{PREFIX}{os.getpid()}-{name}-{uuid.uuid4().hex[:8]}"
        self._janitor: asyncio.subprocess.Process | None = None

    def parent(self) -> str:
        """In which group it is made: this process's own."""
        [own] = [line[3:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line[:3] == "0::"]
        return own.rstrip("/")

    def file(self, name: str) -> Path:
        """A file of the group, or "../" one beside it, as this process reaches it. Not before `start()`."""
        assert self._janitor is not None
        return Path(f"/proc/{self._janitor.pid}/root{self.path}") / name

    async def start(self) -> None:
        """Make the group. Raises Failed with what was refused."""
        pipe = subprocess.PIPE
        argv = ["unshare", "--mount", "sh", "-ec", JANITOR, "janitor", self.path, *self.mount]
        self._janitor = await start_process(argv, stdin=pipe, stdout=pipe, stderr=pipe)
        assert self._janitor.stdout is not None
        line = b""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TIMEOUT_S):
                line = await self._janitor.stdout.readline()
        if line != b"ready\n":
            _, stderr = await self._janitor.communicate()
            self._janitor = None
            raise Failed(f"{self.path}: no control group: {stderr.decode(errors='replace').strip()}")

    async def close(self) -> None:
        """Remove the group; its processes have to be dead or dying. Raises Failed when they are not."""
        if self._janitor is None:
            return
        janitor, self._janitor = self._janitor, None
        async with asyncio.timeout(TIMEOUT_S):
            _, stderr = await janitor.communicate(b"")  # that is what closes the pipe
        if janitor.returncode != 0:
            raise Failed(f"control group: {stderr.decode(errors='replace').strip()}")
