"""One ipfod at a time: the lock is taken once, names its holder, and is free when the holder has ended."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ipfod.errors import Failed
from ipfod.lock import DaemonLock

HOLDER = """
import sys, pathlib
from ipfod.lock import DaemonLock
with DaemonLock(pathlib.Path(sys.argv[1])) as lock:
    lock.take()
    print("taken", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "ipfod.lock"


@contextmanager
def another_process(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that holds the lock until its input ends."""
    argv = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"taken\n"
        yield process
        process.stdin.close()


def test_a_lock_that_nobody_holds_can_be_taken(path: Path) -> None:
    with DaemonLock(path) as lock:
        assert lock.holder() == 0
        lock.take()
        assert path.read_text() == str(os.getpid())


def test_a_second_process_is_refused_and_told_who_holds_the_lock(path: Path) -> None:
    with another_process(path) as process, DaemonLock(path) as lock:
        assert lock.holder() == process.pid
        with pytest.raises(Failed, match=f"ipfod: process {process.pid} runs already") as caught:
            lock.take()
        assert caught.value.hint


def test_asking_does_not_take(path: Path) -> None:
    with DaemonLock(path) as first, DaemonLock(path) as second:
        assert first.holder() == 0
        second.take()
        assert first.holder() == os.getpid()


def test_the_holder_does_not_lose_the_lock_by_asking_who_holds_it(path: Path) -> None:
    with DaemonLock(path) as first, DaemonLock(path) as second:
        first.take()
        assert first.holder() == os.getpid()
        with pytest.raises(Failed):
            second.take()


def test_leaving_gives_the_lock_back(path: Path) -> None:
    with DaemonLock(path) as lock:
        lock.take()
    with DaemonLock(path) as lock:
        assert lock.holder() == 0
        lock.take()


def test_a_killed_holder_holds_nothing(path: Path) -> None:
    with another_process(path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        with DaemonLock(path) as lock:
            assert lock.holder() == 0
            lock.take()
            assert path.read_text() == str(os.getpid())


def test_a_holder_that_has_not_said_who_it_is_is_process_0(path: Path) -> None:
    with another_process(path), DaemonLock(path) as lock:
        path.write_text("")
        assert lock.holder() == 0
        path.write_text("nonsense")
        with pytest.raises(Failed, match="process 0"):
            lock.take()


def test_the_file_is_closed_to_others_and_not_inherited(path: Path) -> None:
    with DaemonLock(path) as lock:
        lock.take()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        inherited = subprocess.run(["ls", "-l", "/proc/self/fd"], capture_output=True, text=True, check=True)
        assert str(path) not in inherited.stdout


def test_a_symbolic_link_in_its_place_is_not_followed(path: Path) -> None:
    path.parent.mkdir()
    other = path.with_name("other")
    path.symlink_to(other)
    with pytest.raises(Failed, match="Too many levels of symbolic links"), DaemonLock(path):
        pass
    assert not other.exists()


def test_a_directory_that_cannot_be_made_is_an_error_that_names_the_file(path: Path) -> None:
    path.parent.write_text("")
    with pytest.raises(Failed, match=str(path)), DaemonLock(path):
        pass
