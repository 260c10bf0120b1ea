"""Programs that go on inside a machine of the lab: their output, signals to them, their end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from ipfod.errors import Failed

# The machines see the host's files, so `python -m ipfod` is the same ipfod there.
PACKAGE_ROOT = Path(__file__).parents[2]
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C.UTF-8",
    "HOME": "/root",
    "PYTHONPATH": str(PACKAGE_ROOT),
    "PYTHONUNBUFFERED": "1",
}
Finished = subprocess.CompletedProcess[str]
APPEAR_TIMEOUT_S = 10.0


def children(pid: int) -> list[int]:
    """Process IDs of a process's children, as the main thread's `children` file of proc(5) lists them."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def in_memory(name: str) -> BinaryIO:
    """A file without a path, for what programs print: nothing is left on disk, by whatever end.

    And unlike a pipe it does not keep the reader waiting for a child that a program leaves behind.
    """
    return os.fdopen(os.memfd_create(f"ipfod-lab-{name}"), "w+b")


async def start_process(
    argv: Sequence[str],
    *,
    stdin: BinaryIO | int = subprocess.DEVNULL,
    stdout: BinaryIO | int,
    stderr: BinaryIO | int,
    env: Mapping[str, str] | None = None,
) -> asyncio.subprocess.Process:
    """Start a process whose end can be waited for, even when the caller is cancelled meanwhile.

    asyncio of Python 3.11 never comes back when it is cancelled before it has connected a new process's pipes.
    Ctrl-C on the terminal does not reach the process: it is for the lab alone.
    """
    starting = asyncio.create_task(
        asyncio.create_subprocess_exec(
            *argv,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env={**ENVIRONMENT, **(env or {})},
            start_new_session=True,
        ),
        name=f"start {argv[0]}",
    )
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        await end(await starting)
        raise


async def end(process: asyncio.subprocess.Process) -> None:
    """Kill what nsenter or unshare started unless it ended by itself; collect the exit code.

    They are spared while they have a child: they collect the child, and the machine waits for that.
    """
    with contextlib.suppress(TimeoutError, ProcessLookupError):
        async with asyncio.timeout(APPEAR_TIMEOUT_S):
            while process.returncode is None:
                for pid in children(process.pid):
                    os.kill(pid, signal.SIGKILL)
                await asyncio.sleep(0.001)
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.communicate()


async def run_to_end(argv: Sequence[str], *, stdin: str, env: Mapping[str, str], timeout_s: float) -> Finished:
    """Run `nsenter … -- PROGRAM …`; nsenter stays out of the result. Raises TimeoutError after a kill."""
    with in_memory("stdin") as source, in_memory("stdout") as stdout, in_memory("stderr") as stderr:
        source.write(stdin.encode())
        source.seek(0)
        process = await start_process(argv, stdin=source, stdout=stdout, stderr=stderr, env=env)
        try:
            async with asyncio.timeout(timeout_s):
                code = await process.wait()
        finally:
            await end(process)
        texts = [read_back(file) for file in (stdout, stderr)]
        return subprocess.CompletedProcess(list(argv[argv.index("--") + 1 :]), code, *texts)


def read_back(file: BinaryIO) -> str:
    """Everything that was written to a file so far, without moving its position."""
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode(errors="replace")


class Program:
    """A running program. What it prints is kept in memory, and can be read after its end too."""

    def __init__(self, process: asyncio.subprocess.Process, name: str, log: BinaryIO) -> None:
        self.name = name
        self._process = process
        self._log = log
        self._text = ""

    @classmethod
    async def start(cls, argv: Sequence[str], *, name: str, env: Mapping[str, str], lines: bool) -> Program:
        """Start `nsenter … -- PROGRAM …`."""
        log = in_memory(name)
        try:
            stdout = subprocess.PIPE if lines else log
            process = await start_process(argv, stdout=stdout, stderr=log, env=env)
        except BaseException:
            log.close()
            raise
        return cls(process, name, log)

    @property
    def returncode(self) -> int | None:
        """Exit code, negative for a signal's number, None while it runs."""
        return self._process.returncode

    async def pid(self) -> int:
        """The program's process ID as seen from outside the machine. Raises Failed when it has ended."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(APPEAR_TIMEOUT_S):
                while self.returncode is None:
                    # nsenter forks to enter the PID namespace, a moment after its start.
                    if found := children(self._process.pid):
                        return found[0]
                    await asyncio.sleep(0.001)
        raise Failed(f"{self.name}: not running: {self.output().strip()}")

    async def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program. Raises Failed when it has ended."""
        os.kill(await self.pid(), number)

    async def wait(self, *, timeout_s: float = 10.0) -> int:
        """Wait for the program's end; returns its exit code. Raises TimeoutError."""
        self._go_on()
        async with asyncio.timeout(timeout_s):
            return await self._process.wait()

    def _go_on(self) -> None:
        """nsenter stops itself when somebody stops what it runs, and does not go on with it."""
        ahead = [self._process.pid] if self._process.returncode is None else []
        while ahead:
            with contextlib.suppress(ProcessLookupError):
                os.kill(ahead[0], signal.SIGCONT)
            ahead += children(ahead.pop(0))

    async def line(self) -> str:
        """The next line of standard output without its end; "" at the end of the output."""
        assert self._process.stdout is not None
        return (await self._process.stdout.readline()).decode(errors="replace").rstrip("\n")

    def output(self) -> str:
        """What the program printed so far (standard error only, if its lines are read)."""
        if not self._log.closed:
            self._text = read_back(self._log)
        return self._text

    async def close(self) -> None:
        """End the program if need be, and keep what it printed."""
        self._go_on()
        await end(self._process)
        self.output()
        self._log.close()
