"""A machine of the lab: namespaces held by one process, and ways to run programs and keep files in it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from ipfod.errors import Failed
from ipfod.lab.program import Finished, Program, end, run_to_end, start_process

INIT = Path(__file__).with_name("init.py")
ALL_NAMESPACES = ("-m", "-u", "-n", "-p", "-i")
START_TIMEOUT_S = 20.0  # it takes 30 ms on an idle machine


class Machine:
    """A network, mount, UTS, IPC and PID namespace whose PID 1 is `init.py`.

    The namespaces have no name: they vanish with their processes, and those vanish when this process ends, by
    whatever cause. To be started from a thread that lives as long as the machine (the kernel ties the one to
    the other).
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.pid: int | None = None  # of PID 1, as seen from outside; None when there is no power
        self._process: asyncio.subprocess.Process | None = None
        self._programs: list[Program] = []

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Build the namespaces. Raises Failed with what the kernel refused."""
        argv = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--uts", "--net", "--pid", "--ipc"]
        argv += ["--fork", "--kill-child", sys.executable, "-I", "-S", str(INIT), self.name]
        self._process = await start_process(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert self._process.stdout is not None
        line = b""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_TIMEOUT_S):
                line = await self._process.stdout.readline()
        if not line.strip().isdigit():
            text = await self._refusal()
            raise Failed(
                f"{self.name}: no namespaces: {text}", hint="the lab needs root and a kernel with overlayfs"
            )
        self.pid = int(line)

    async def _refusal(self) -> str:
        """Why the machine did not start, in the words of unshare or of its init."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.kill()
        _, stderr = await self._process.communicate()
        return stderr.decode(errors="replace").strip() or "its first process ended without a word"

    async def power_cut(self) -> None:
        """Kill everything in the machine at once, as a power cut does; returns when it is gone."""
        self.pid = None
        if self._process is not None:
            await end(self._process)  # kills PID 1, and the kernel everything else
            self._process = None

    async def close(self) -> None:
        """End everything in the machine and collect what was started in it."""
        await self.power_cut()
        for program in self._programs:
            await program.close()
        self._programs.clear()

    # ---------------------------------------------------------------- programs

    def enter(self, argv: Sequence[str], *, namespaces: Sequence[str] = ALL_NAMESPACES) -> list[str]:
        """The command line that runs `argv` in this machine. Raises Failed when it has no power."""
        if self.pid is None:
            raise Failed(f"{self.name}: cannot run {argv[0]}: the machine is off")
        return ["nsenter", "-t", str(self.pid), *namespaces, "--", *argv]

    def check(self, done: Finished) -> Finished:
        """Pass on what ran well; raises Failed otherwise."""
        if done.returncode != 0:
            text = (done.stderr or done.stdout).strip()
            raise Failed(f"{self.name}: {' '.join(done.args)}: exit code {done.returncode}: {text}")
        return done

    async def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float = 30.0,
        stdin: str = "",
        env: Mapping[str, str] | None = None,
        check: bool = False,
    ) -> Finished:
        """Run a program to its end.

        Raises TimeoutError after killing it, and with `check` Failed when its exit code is not 0.
        """
        done = await run_to_end(self.enter(argv), stdin=stdin, env=env or {}, timeout_s=timeout_s)
        return self.check(done) if check else done

    async def spawn(
        self, argv: Sequence[str], *, name: str = "", env: Mapping[str, str] | None = None, lines: bool = False
    ) -> Program:
        """Start a program that goes on; it ends with the machine at the latest. Messages call it `name`.

        With `lines` its standard output is to be read by `Program.line()`, otherwise it joins the log.
        """
        program = await Program.start(
            self.enter(argv), name=name or Path(argv[0]).name, env=env or {}, lines=lines
        )
        self._programs.append(program)
        return program

    def processes(self, name: str) -> list[int]:
        """Process IDs, as seen inside the machine, of the processes whose kernel name (comm) is `name`."""
        found = []
        for entry in self.inside("/proc").glob("[0-9]*/comm"):
            with contextlib.suppress(OSError):  # it ended meanwhile
                if entry.read_text().strip() == name:
                    found.append(int(entry.parent.name))
        return sorted(found)

    async def kill(self, name: str, number: signal.Signals) -> list[int]:
        """Send a signal to all processes with a kernel name, in one go; returns their process IDs inside."""
        pids = self.processes(name)
        if pids:
            await self.run(["kill", f"-{number.value}", *map(str, pids)], check=True)
        return pids

    # ---------------------------------------------------------------- files

    def inside(self, path: str) -> Path:
        """The path by which this process reaches a file of the machine.

        A symbolic link on the way would lead out of the machine: ValueError.
        """
        if self.pid is None:
            raise Failed(f"{self.name}: {path} is out of reach: the machine is off")
        here = Path(f"/proc/{self.pid}/root")
        for part in Path(path).relative_to("/").parts:
            here /= part
            if here.is_symlink():
                raise ValueError(f"{self.name}: {path} leads over the symbolic link {part}")
        return here

    def write(self, path: str, text: str, *, mode: int = 0o644) -> None:
        """Write a file of the machine; its directory is made if need be."""
        target = self.inside(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(mode)

    def read(self, path: str) -> str:
        """The text of a file of the machine."""
        return self.inside(path).read_text()
