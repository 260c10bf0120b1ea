"""Running a program, the one way: bounded in time and output, and nothing of it is left when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import pwd
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ipfod.errors import SCARCE

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # systemd.exec(5), the default of $PATH
ENVIRONMENT = {"PATH": PATH, "LANG": "C.UTF-8"}
TERM_GRACE_S = 0.5  # between SIGTERM and SIGKILL
KILL_GRACE_S = 1.0  # for a process in uninterruptible sleep, which even SIGKILL does not end
TRACED_RETRY_S = 0.05
CHUNK = 65536  # what a pipe holds: pipe(7)
FLOOD_PAUSE_S = 0.001  # between reads of output that is thrown away anyway: a flood must not take our CPU


@dataclass(frozen=True, slots=True)
class Outcome:
    """What has become of a program.

    `output` is stdout and stderr as they came, the middle left out where it was too long; control characters
    other than tab and newline are replaced, for it is shown to people and sent over the bus. `returncode` is
    negative for a signal, None if the program never ran or does not end. `not_started` says why it never ran.
    """

    returncode: int | None
    output: str
    timeout_s: float
    timed_out: bool = False
    not_started: str = ""
    scarce: bool = False  # never ran for want of descriptors, memory or processes

    @property
    def ok(self) -> bool:
        """Whether it ran, ended in time and said 0."""
        return self.returncode == 0 and not self.timed_out

    @property
    def sentence(self) -> str:
        """How it ended, in words: `exit status 3`, `killed by SIGSEGV`, `no answer within 2 s`."""
        if self.not_started:
            return f"cannot be started: {self.not_started}"
        if self.timed_out or self.returncode is None:
            return f"no answer within {self.timeout_s:g} s"
        if self.returncode < 0:
            return f"killed by {signal_name(-self.returncode)}"
        return f"exit status {self.returncode}"


class Run(Protocol):
    """Some way to run a program: `run`, or the transient units of `transient.py`."""

    async def __call__(self, argv: Sequence[str], *, timeout_s: float, user: str | None = None) -> Outcome: ...


async def run(
    argv: Sequence[str],
    *,
    timeout_s: float,
    user: str | None = None,
    output_limit: int = 4096,
    cwd: Path = Path("/"),
) -> Outcome:
    """Run a program to its end, as `user` with his groups if one is given (which takes root).

    It gets a session of its own, no input and an environment of PATH and LANG. After `timeout_s`, or when
    the caller is cancelled, its process group gets SIGTERM and 0.5 s later SIGKILL; what it left running
    in its group is killed when it ends. Of the output at most `output_limit` bytes are kept, half of them from
    the beginning. Never raises for what the program does: see `Outcome`.
    """
    if pid := _undying.get(tuple(argv)):
        return _not_started(f"process {pid} of an earlier run does not end even when killed", timeout_s)
    try:
        identity = await asyncio.to_thread(_identity, user)  # a name service may take its time
        process = _Process(argv, identity, cwd, _Output(output_limit))
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        scarce = isinstance(error, OSError) and error.errno in SCARCE
        return _not_started(_reason(error, argv[0]), timeout_s, scarce=scarce)
    timed_out = False
    try:
        timed_out = not await process.ended_within(timeout_s)
    finally:
        await process.end()
    return Outcome(process.returncode, process.output.text(), timeout_s, timed_out)


def require_descriptor() -> None:
    """Raises OSError when this process may open no more files."""
    os.close(os.open("/", os.O_RDONLY | os.O_CLOEXEC))


_undying: dict[tuple[str, ...], int] = {}  # argv → pid of what SIGKILL did not end; such runs must not pile up


@dataclass(frozen=True, slots=True)
class _Identity:
    uid: int
    gid: int
    groups: tuple[int, ...]


def _identity(user: str | None) -> _Identity | None:
    """Whom to become; None to stay who we are. Raises ValueError."""
    if user is None:
        return None
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        require_descriptor()  # without one nobody is known
        raise ValueError(f"there is no user {user}") from None
    if entry.pw_uid == os.geteuid():
        return None
    if os.geteuid() != 0:
        raise ValueError(f"only root can run a program as user {user}")
    return _Identity(entry.pw_uid, entry.pw_gid, tuple(os.getgrouplist(user, entry.pw_gid)))


class _Output:
    """The first and the last bytes of a stream."""

    def __init__(self, limit: int) -> None:
        self._head_limit = limit // 2
        self._tail_limit = limit - self._head_limit
        self._head = b""
        self._tail = b""
        self._total = 0

    def feed(self, data: bytes) -> None:
        self._total += len(data)
        missing = self._head_limit - len(self._head)
        self._head += data[:missing]
        self._tail = (self._tail + data[missing:])[-self._tail_limit :] if self._tail_limit else b""

    @property
    def left_out(self) -> int:
        """How many bytes were thrown away."""
        return self._total - len(self._head) - len(self._tail)

    def text(self) -> str:
        parts = [self._head, self._tail]
        if self.left_out:
            parts.insert(1, f"\n[{self.left_out} bytes left out]\n".encode())
        text = b"".join(parts).decode(errors="replace").replace("\r\n", "\n")
        return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


class _Process:
    """A started program: its process group, its output, its end. Belongs to the running loop."""

    def __init__(self, argv: Sequence[str], identity: _Identity | None, cwd: Path, output: _Output) -> None:
        """Start it. Raises what Popen raises; then nothing is left open or running."""
        self.output = output
        self._argv = tuple(argv)
        self._loop = asyncio.get_running_loop()
        self._exited: asyncio.Future[None] = self._loop.create_future()
        self._pipe, theirs = os.pipe()
        try:
            self._popen = _popen(argv, identity, cwd, theirs)
            self._pidfd = _pidfd(self._popen)
        except BaseException:
            os.close(self._pipe)
            raise
        finally:
            os.close(theirs)
        os.set_blocking(self._pipe, False)
        self._resume: asyncio.TimerHandle | None = None
        self._loop.add_reader(self._pidfd, self._on_exit)
        self._loop.add_reader(self._pipe, self._on_output)

    @property
    def returncode(self) -> int | None:
        return self._popen.returncode

    async def ended_within(self, seconds: float) -> bool:
        """Wait for the end, and say whether it came."""
        await asyncio.wait({self._exited}, timeout=seconds)
        return self._exited.done()

    async def end(self) -> None:
        """Make sure that it has ended, however hard that is, and close the pipe."""
        try:
            if not self._exited.done():
                self._signal(signal.SIGTERM)
                await self.ended_within(TERM_GRACE_S)
        finally:
            try:
                if not self._exited.done():
                    self._signal(signal.SIGKILL)
                    if not await self.ended_within(KILL_GRACE_S):
                        _undying[self._argv] = self._popen.pid  # `_on_exit` stays and will reap it
            finally:
                self._close_output()

    def _signal(self, number: signal.Signals) -> None:
        """Send a signal to the group. The leader is not reaped yet, so that the number still is the group's."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, number)

    def _on_exit(self) -> None:
        self._loop.remove_reader(self._pidfd)
        self._signal(signal.SIGKILL)  # what it left behind in its group
        if self._popen.poll() is None:  # somebody traces it (strace -p) and is told first: ptrace(2)
            self._loop.call_later(TRACED_RETRY_S, self._on_exit)
            return
        os.close(self._pidfd)
        if _undying.get(self._argv) == self._popen.pid:
            del _undying[self._argv]
        self._exited.set_result(None)

    def _on_output(self) -> None:
        try:
            data = os.read(self._pipe, CHUNK)
        except BlockingIOError:
            return
        if not data:  # everybody has closed it; the end is told by the pidfd
            self._loop.remove_reader(self._pipe)
            return
        self.output.feed(data)
        if self.output.left_out:
            self._loop.remove_reader(self._pipe)
            self._resume = self._loop.call_later(
                FLOOD_PAUSE_S, self._loop.add_reader, self._pipe, self._on_output
            )

    def _close_output(self) -> None:
        """Take what is in the pipe, but wait for nobody: a grandchild in another session may hold it open."""
        if self._resume is not None:
            self._resume.cancel()
        self._loop.remove_reader(self._pipe)
        with contextlib.suppress(BlockingIOError):
            self.output.feed(os.read(self._pipe, CHUNK))
        os.close(self._pipe)


def _popen(argv: Sequence[str], identity: _Identity | None, cwd: Path, output: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=ENVIRONMENT,
        cwd=cwd,
        start_new_session=True,
        user=identity.uid if identity else None,
        group=identity.gid if identity else None,
        extra_groups=identity.groups if identity else None,
    )


def _pidfd(popen: subprocess.Popen[bytes]) -> int:
    try:
        return os.pidfd_open(popen.pid)
    except OSError:  # out of descriptors: a program that cannot be watched must not run
        os.killpg(popen.pid, signal.SIGKILL)
        popen.wait()
        raise


def _not_started(reason: str, timeout_s: float, *, scarce: bool = False) -> Outcome:
    return Outcome(None, "", timeout_s, not_started=reason, scarce=scarce)


def _reason(error: Exception, program: str) -> str:
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    if error.errno == errno.ENOENT and Path(program).is_absolute() and Path(program).exists():
        return "the interpreter that its first line names does not exist"
    if error.errno == errno.ENOEXEC:
        return f"{error.strerror}; a script needs a first line such as #!/bin/sh"
    return error.strerror


def signal_name(number: int) -> str:
    """`SIGSEGV`, or `signal 35`."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"  # a real-time signal has no name
