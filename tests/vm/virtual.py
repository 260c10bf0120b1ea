"""A virtual machine with a kernel of its own, in which programs can be run."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Self

from ipfod.errors import Failed
from ipfod.lab.program import Finished, in_memory, read_back, start_process
from vm.archive import archive
from vm.kernel import Kernel

# The archive is there twice while the kernel unpacks it, and the file system may take half of the memory.
MEMORY_MIB = 1536
# No hardware acceleration: a kernel that offers it may be a guest itself, and fail at it in the middle (seen).
QEMU = "qemu-system-x86_64 -accel tcg -smp 2 -nodefaults -no-reboot -display none -nic none"
# The first serial port is the console, the second the agent's.
COMMAND_LINE = (
    "console=ttyS0 panic=-1 rdinit=/usr/lib/systemd/systemd systemd.hostname=virtual systemd.show_status=no "
    "systemd.machine_id=6970666f646970666f646970666f6476 systemd.mask=serial-getty@ttyS0.service "
    "systemd.wants=agent.service"
)
AGENT = Path(__file__).with_name("agent.py")
AGENT_INSIDE = "/usr/local/lib/agent.py"
UNIT_INSIDE = "/etc/systemd/system/agent.service"
UNIT = f"[Service]\nExecStart=/usr/bin/python3 -I {AGENT_INSIDE} /dev/ttyS1\n"
ANSWER_MAX = 16 << 20  # bytes
BOOT_TIMEOUT_S = 120.0  # 15 s on an idle core
SLACK_S = 30.0  # what an answer may take beside the program's own time


class VirtualMachine:
    """`async with VirtualMachine(kernel(), files={path: content}) as machine`: systemd has booted everything.

    The root file system is in memory, the booted nodes' image with the files added (see `archive`); there is no
    network card. Commands run one at a time. It ends with this process.
    """

    def __init__(self, kernel: Kernel, *, files: Mapping[str, bytes] | None = None) -> None:
        self._kernel = kernel
        self._files = {**(files or {}), UNIT_INSIDE: UNIT.encode(), AGENT_INSIDE: AGENT.read_bytes()}
        self._process: asyncio.subprocess.Process | None = None
        self._console = in_memory("console")

    async def __aenter__(self) -> Self:
        try:
            try:
                await self._start()
            except Failed:  # beside other tests an emulated processor may hang for good at boot (seen)
                await self._cut_power()
                await self._start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _start(self) -> None:
        with in_memory("root") as root:
            await asyncio.to_thread(self._assemble, root)
            argv = ["setpriv", "--pdeathsig", "KILL", *QEMU.split(), "-m", str(MEMORY_MIB)]
            argv += ["-kernel", str(self._kernel.vmlinuz), "-initrd", _path(root), "-append", COMMAND_LINE]
            argv += ["-serial", f"file:{_path(self._console)}", "-serial", "stdio"]
            pipe = subprocess.PIPE
            self._process = await start_process(argv, stdin=pipe, stdout=pipe, stderr=self._console)
            await self._until_ready()
        state = (await self.run(["systemctl", "is-system-running", "--wait"])).stdout.strip()
        if state != "running":
            failed = await self.run(["systemctl", "--failed", "--plain", "--no-legend"])
            raise Failed(f"virtual machine: {state}: {failed.stdout.strip()}")

    def _assemble(self, target: BinaryIO) -> None:
        """Put the archives together: the kernel unpacks one after the other."""
        with self._kernel.root.open("rb") as root:
            shutil.copyfileobj(root, target, 1 << 20)
        target.write(archive(self._files))
        target.flush()

    async def _until_ready(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BOOT_TIMEOUT_S):
                if await self._line() == b"ready\n":
                    return
        raise Failed(f"virtual machine: does not boot: {self.console()[-2000:]}")

    async def _line(self) -> bytes:
        assert self._process is not None
        assert self._process.stdout is not None
        text = b""
        while not text.endswith(b"\n"):
            part = await self._process.stdout.read(1 << 16)
            if not part or len(text) > ANSWER_MAX:
                break
            text += part
        return text

    async def run(
        self, argv: Sequence[str], *, timeout_s: float = 120.0, stdin: str = "", check: bool = False
    ) -> Finished:
        """Run a program to its end, as root.

        Raises TimeoutError after killing it, Failed when the machine does not answer, and with `check` Failed
        when its exit code is not 0.
        """
        assert self._process is not None
        assert self._process.stdin is not None
        request = {"argv": list(argv), "stdin": stdin, "timeout_s": timeout_s}
        try:
            async with asyncio.timeout(timeout_s + SLACK_S):
                self._process.stdin.write(json.dumps(request).encode() + b"\n")
                await self._process.stdin.drain()
                answer: dict[str, Any] = json.loads(await self._line())
        except (TimeoutError, ValueError, OSError) as error:
            raise Failed(f"virtual machine: no answer: {' '.join(argv)}: {self.console()[-2000:]}") from error
        if answer["code"] is None:
            raise TimeoutError(answer["stderr"])
        done = Finished(list(argv), answer["code"], answer["stdout"], answer["stderr"])
        if check and done.returncode != 0:
            text = (done.stderr or done.stdout).strip()
            raise Failed(f"virtual machine: {' '.join(argv)}: exit code {done.returncode}: {text}")
        return done

    def console(self) -> str:
        """What the kernel printed, and qemu."""
        return "" if self._console.closed else read_back(self._console)

    async def close(self) -> None:
        """Cut the power, and forget the console."""
        await self._cut_power()
        self._console.close()

    async def _cut_power(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGKILL)
            await self._process.communicate()
            self._process = None


def _path(file: BinaryIO) -> str:
    """A path by which another process can open a file that has none."""
    return f"/proc/{os.getpid()}/fd/{file.fileno()}"
