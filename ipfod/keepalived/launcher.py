"""Starting, reloading and stopping one keepalived, as a plain process.

The process is in a session of its own and survives ipfod; a later ipfod finds it by its pid file. keepalived
ends with status 0 also when it did not start at all, so that every exit counts as a failure.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Protocol

from ipfod.errors import Failed
from ipfod.files import open_anew, open_regular, read_text
from ipfod.host.processes import children, command_line, end, ended, is_zombie
from ipfod.host.run import ENVIRONMENT, PATH, run
from ipfod.keepalived.files import KeepalivedFiles

START_S = 5.0
STOP_S = 5.0  # it leaves after a fixed second, later if there are thousands of addresses to remove
REPEAT_S = 2.0
POLL_S = 0.005
TEST_S = 10.0
LOG_MAX_BYTES = 1 << 20
PID_MAX_DIGITS = 10
# No --log-detail: with it each VIP fills 0.5 MB a day (measured, 2.2.7), for its gratuitous ARPs alone.
# Where thousands of VIPs move, keepalived and ipfod compete for the processors; each VIP waits for keepalived.
# Its session is a scheduling group of its own (sched(7), autogroup), hence both.
BEFORE_OTHERS = ("nice", "-n", "-20")
AUTOGROUP_NICE = "-20"
OPTIONS = ("--dont-fork", "--log-console", "--vrrp", "--no-syslog")


class Launcher(Protocol):
    """How one failover's keepalived is run. A systemd unit can do the same."""

    async def running(self) -> int:
        """The pid of its parent process, 0 if none runs."""

    async def start(self) -> int:
        """Start it with the configuration in place and answer its pid. Raises Failed."""

    async def reload(self) -> None:
        """Make it read its configuration again."""

    async def stop(self) -> None:
        """End it in order: it gives up its VIPs and says so to its peers."""

    @property
    def log_hint(self) -> str:
        """Where an administrator reads what it says."""


def keepalived_binary() -> str:
    """Path of the program. Raises Failed if it is not installed."""
    binary = shutil.which("keepalived", path=PATH)
    if binary is None:
        raise Failed("keepalived is not installed", hint="dnf install keepalived, or apt install keepalived")
    return binary


async def test_configuration(files: KeepalivedFiles) -> None:
    """Let keepalived judge the candidate file. Raises Failed with its complaints."""
    outcome = await run([keepalived_binary(), "-t", "-f", str(files.candidate)], timeout_s=TEST_S)
    if outcome.returncode != 0:
        text = f"keepalived refuses its configuration ({outcome.sentence}): {outcome.output.strip()}"
        raise Failed(text, hint="the one before stays in force; change the option that it names")


async def dump_signal() -> int:
    """The number of the signal that asks for the JSON dump; Debian's builds and others differ."""
    outcome = await run([keepalived_binary(), "--signum=JSON"], timeout_s=TEST_S)
    text = outcome.output.strip()
    if outcome.returncode != 0 or not text.isdecimal():
        said = f"keepalived cannot dump JSON: {text or outcome.sentence}"
        raise Failed(said, hint="install keepalived 2.2.7 or newer, built with JSON")
    return int(text)


class PlainLauncher:
    """keepalived as a process of its own, known by its pid file and command line."""

    def __init__(self, files: KeepalivedFiles) -> None:
        self._files = files
        self._child: subprocess.Popen[bytes] | None = None
        self._seen = 0  # the pid that its file named last: whatever becomes of the file, the process runs on

    @property
    def log_hint(self) -> str:
        return f"see {self._files.log}"

    async def running(self) -> int:
        pid = self._alive(self._files.pid)
        if not pid and self._seen and self._is_ours(self._seen):
            return self._seen
        self._seen = pid
        return pid

    def _alive(self, pid_file: os.PathLike[str]) -> int:
        """The pid in a pid file if that process is our keepalived, else 0: numbers are used again."""
        try:
            with open(pid_file, encoding="ascii", opener=open_regular) as file:
                text = file.read(PID_MAX_DIGITS + 1).strip()
        except (OSError, UnicodeDecodeError):
            return 0
        return int(text) if text.isdecimal() and self._is_ours(int(text)) else 0

    def _is_ours(self, pid: int) -> bool:
        return str(self._files.configuration) in command_line(pid) and not is_zombie(pid)

    async def start(self) -> int:
        binary = keepalived_binary()
        await self._bury()
        files = self._files
        # It can be cut while keepalived writes: each line goes to where the end is then.
        with open(open_anew(files.log, os.O_APPEND), "wb") as log:
            self._child = subprocess.Popen(
                [*BEFORE_OTHERS, binary, *OPTIONS, *self._file_options()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=files.directory,
                env={**ENVIRONMENT, "TMPDIR": str(files.directory)},
                start_new_session=True,
            )
        child = self._child
        with contextlib.suppress(OSError):  # a kernel without, or a container that may not
            Path(f"/proc/{child.pid}/autogroup").write_text(AUTOGROUP_NICE)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + START_S
        # Until its VRRP child has written its pid file a SIGTERM is lost on it: it would go on as master.
        while not (self._alive(files.pid) and self._alive(files.vrrp_pid)):
            if child.poll() is not None:
                raise Failed(f"keepalived ended at once with status {child.returncode}: {self._last_words()}")
            if loop.time() > deadline:
                await end(child.pid, STOP_S)
                raise Failed(f"keepalived did not start within {START_S:g} s: {self._last_words()}")
            await asyncio.sleep(POLL_S)
        self._seen = child.pid
        return child.pid

    def _file_options(self) -> tuple[str, ...]:
        files = self._files
        return ("-f", str(files.configuration), "-p", str(files.pid), "-r", str(files.vrrp_pid))

    async def _bury(self) -> None:
        """Wait for what is left of an earlier keepalived, and remove its pid files.

        Its VRRP child outlives a killed parent by a second; while a pid file names a living process a new
        keepalived says "already running" and ends with status 0.
        """
        for pid_file in (self._files.pid, self._files.vrrp_pid):
            pid = self._alive(pid_file)
            if pid and not await ended(pid, STOP_S):
                await end(pid, STOP_S)
            pid_file.unlink(missing_ok=True)
        self._reap()

    def _reap(self) -> None:
        if self._child is not None and self._child.poll() is not None:
            self._child = None

    def _last_words(self) -> str:
        try:
            lines = read_text(self._files.log, errors="replace").strip().splitlines()
        except OSError:
            return "no log"
        return " / ".join(line.strip() for line in lines[-3:]) or "it said nothing"

    async def reload(self) -> None:
        pid = await self.running()
        if not pid:
            raise Failed("keepalived: does not run", hint="ipfoctl status says why")
        with (
            contextlib.suppress(OSError),  # one that a systemd unit started has no log file
            open(self._files.log, "ab", opener=open_regular) as log,
        ):
            if os.fstat(log.fileno()).st_size > LOG_MAX_BYTES:
                log.truncate(0)
        try:
            os.kill(pid, signal.SIGHUP)
        except ProcessLookupError as error:
            raise Failed(f"keepalived {pid} is gone") from error

    async def stop(self) -> None:
        pid = await self.running()
        if not pid and self._child is not None and self._child.poll() is None:
            pid = self._child.pid  # it was started just now and has not written its pid file yet
        if pid:
            await self._end(pid)
        await self._bury()

    async def _end(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
            if await ended(pid, REPEAT_S):
                return
            # The VRRP child loses a signal that comes while it reads its configuration (measured, 2.2.7), and
            # the parent hands it on only once.
            for child in children(pid):
                os.kill(child, signal.SIGTERM)
        await end(pid, STOP_S)
