"""Processes: what the kernel says of them, and the moment they end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ipfod.host.processes import ProcessWatch, children, command_line, end, ended, is_zombie

PATIENCE_S = 10.0
STUBBORN = (
    "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); sys.stdin.read()"
)
ODDLY_NAMED = """
import ctypes, sys
ctypes.CDLL(None).prctl(15, b"\\xff) Z \\xfe", 0, 0, 0)
print(1, flush=True)
sys.stdin.read()
"""


@contextmanager
def process(*argv: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as started:
        try:
            yield started
        finally:
            started.kill()


@contextmanager
def python(program: str) -> Iterator[subprocess.Popen[bytes]]:
    """A Python program that has printed its first line."""
    with process(sys.executable, "-I", "-S", "-c", program) as started:
        assert started.stdout is not None
        assert started.stdout.readline()
        yield started


def gone() -> int:
    """The number of a process that has ended and was reaped."""
    with process("true") as started:
        started.wait()
    return started.pid


def zombie(started: subprocess.Popen[bytes]) -> int:
    """The number of a process that has ended and was not reaped."""
    started.kill()
    os.waitid(os.P_PID, started.pid, os.WEXITED | os.WNOWAIT)
    return started.pid


def test_the_command_line_is_read_as_it_is_also_with_empty_arguments() -> None:
    with process("cat", "-", "", "a b") as started:
        deadline = time.monotonic() + PATIENCE_S
        while command_line(started.pid)[:1] != ("cat",):  # until then it is a copy of ourselves
            assert time.monotonic() < deadline
        assert command_line(started.pid) == ("cat", "-", "", "a b")


def test_a_process_that_is_gone_or_a_zombie_has_no_command_line() -> None:
    assert command_line(gone()) == ()
    with process("cat") as started:
        assert command_line(zombie(started)) == ()


def test_children_are_those_of_the_process_itself() -> None:
    with process("cat") as started:
        assert started.pid in children(os.getpid())
        assert children(started.pid) == ()
    assert children(gone()) == ()


def test_only_an_unreaped_process_is_a_zombie() -> None:
    assert not is_zombie(os.getpid())
    assert not is_zombie(gone())
    with process("cat") as started:
        assert not is_zombie(started.pid)
        assert is_zombie(zombie(started))


def test_a_process_may_have_any_name() -> None:
    with python(ODDLY_NAMED) as started:
        assert not is_zombie(started.pid)
        assert is_zombie(zombie(started))


async def test_the_end_of_a_process_is_told_once() -> None:
    told: list[int] = []
    with process("cat") as started:
        watch = ProcessWatch(started.pid, lambda: told.append(1))
        await asyncio.sleep(0.05)
        assert told == []
        started.kill()
        async with asyncio.timeout(PATIENCE_S):
            while not told:
                await asyncio.sleep(0.001)
        await asyncio.sleep(0.05)
        assert told == [1]
        watch.close()


async def test_a_closed_watch_tells_nothing_and_may_be_closed_again() -> None:
    told: list[int] = []
    with process("cat") as started:
        watch = ProcessWatch(started.pid, lambda: told.append(1))
        watch.close()
        watch.close()
        zombie(started)
        await asyncio.sleep(0.05)
    assert told == []


async def test_watching_needs_no_parenthood() -> None:
    with python("import subprocess; print(subprocess.Popen(['cat']).pid, flush=True); input()") as parent:
        (grandchild,) = children(parent.pid)
        os.kill(grandchild, signal.SIGKILL)
        assert await ended(grandchild, PATIENCE_S)


async def test_a_process_that_is_gone_cannot_be_watched() -> None:
    with pytest.raises(ProcessLookupError):
        ProcessWatch(gone(), lambda: None)


async def test_a_process_that_is_gone_or_a_zombie_has_ended() -> None:
    assert await ended(gone(), PATIENCE_S)
    with process("cat") as started:
        assert await ended(zombie(started), PATIENCE_S)


async def test_waiting_for_a_process_that_goes_on_gives_up_in_time_and_leaves_nothing_open() -> None:
    with process("cat") as started:
        before = os.listdir("/proc/self/fd")
        assert not await ended(started.pid, 0.05)
        assert os.listdir("/proc/self/fd") == before
        assert started.poll() is None


async def test_ending_is_by_sigterm_where_that_is_enough() -> None:
    with process("cat") as started:
        await end(started.pid, PATIENCE_S)
        assert started.wait(PATIENCE_S) == -signal.SIGTERM


async def test_a_process_that_ignores_sigterm_is_killed() -> None:
    with python(STUBBORN) as started:
        await end(started.pid, 0.2)
        assert started.wait(PATIENCE_S) == -signal.SIGKILL


async def test_ending_a_process_that_is_gone_does_nothing() -> None:
    await end(gone(), PATIENCE_S)
