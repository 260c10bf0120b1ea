"""Running programs: real ones, and each of the ways in which they misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from ipfod.host.run import Outcome, run

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="changing the user takes root")


def open_files() -> set[str]:
    return {os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if fd_exists(fd)}


def fd_exists(fd: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{fd}")


def children() -> str:
    found = ""
    for task in os.listdir("/proc/self/task"):
        with contextlib.suppress(FileNotFoundError):  # a thread of another test that has just ended
            found += Path(f"/proc/self/task/{task}/children").read_text()
    return found


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie whose new parent has not reaped it yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


async def eventually(condition: Callable[[], bool], within_s: float = 10.0) -> None:
    """Wait until it holds."""
    for _ in range(int(within_s / 0.01)):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"not within {within_s} s")


async def gone(pid: int) -> None:
    await eventually(lambda: not alive(pid))


@pytest.fixture(autouse=True)
async def leaks_nothing() -> AsyncIterator[None]:
    files, processes = open_files(), children()
    yield
    assert open_files() == files
    assert children() == processes


async def sh(text: str, *, timeout_s: float = 10.0, output_limit: int = 4096) -> Outcome:
    return await run(["sh", "-c", text], timeout_s=timeout_s, output_limit=output_limit)


async def test_exit_status_and_both_outputs_in_order_are_reported() -> None:
    outcome = await sh("echo one; echo two >&2; echo three; exit 3")
    assert (outcome.returncode, outcome.output, outcome.sentence) == (3, "one\ntwo\nthree\n", "exit status 3")
    assert not outcome.ok
    assert (await sh("true")).ok


async def test_input_is_empty_and_environment_small() -> None:
    assert (await run(["cat"], timeout_s=10)).ok
    names = {line.partition("=")[0] for line in (await run(["env"], timeout_s=10)).output.splitlines()}
    assert names == {"PATH", "LANG"}


async def test_program_has_a_session_of_its_own_in_the_root_directory() -> None:
    outcome = await sh('pwd; echo $$; cut -d" " -f5,6 /proc/$$/stat')
    directory, pid, group_and_session = outcome.output.splitlines()
    assert directory == "/"
    assert group_and_session == f"{pid} {pid}"


async def test_death_by_signal_is_named() -> None:
    assert (await sh("kill -SEGV $$")).sentence == "killed by SIGSEGV"
    assert (await sh("kill -40 $$")).sentence == "killed by signal 40"


async def test_hanging_program_is_ended() -> None:
    began = time.monotonic()
    outcome = await sh("echo $$; exec sleep 60", timeout_s=0.2)
    assert time.monotonic() - began < 5
    assert outcome.timed_out
    assert not outcome.ok
    assert outcome.sentence == "no answer within 0.2 s"
    await gone(int(outcome.output))


async def test_program_that_ignores_sigterm_is_killed() -> None:
    began = time.monotonic()
    outcome = await sh('trap "" TERM; echo $$; while :; do sleep 0.05; done', timeout_s=0.2)
    assert 0.6 < time.monotonic() - began < 5
    assert outcome.timed_out
    assert outcome.returncode == -signal.SIGKILL
    await gone(int(outcome.output))


async def test_program_that_says_zero_when_told_to_end_has_still_timed_out() -> None:
    outcome = await sh("trap 'exit 0' TERM; while :; do sleep 0.05; done", timeout_s=0.2)
    assert outcome.returncode == 0
    assert outcome.timed_out
    assert not outcome.ok


async def test_forked_child_neither_delays_the_answer_nor_survives_it() -> None:
    began = time.monotonic()
    outcome = await sh('(trap "" TERM; exec sleep 60) & echo $!', timeout_s=30)
    assert time.monotonic() - began < 5
    assert outcome.ok
    await gone(int(outcome.output))


async def test_child_that_ignores_sigterm_dies_with_its_parent_at_the_timeout() -> None:
    outcome = await sh('(trap "" TERM; exec sleep 60) & echo $!; sleep 60', timeout_s=0.2)
    assert outcome.timed_out
    await gone(int(outcome.output))


async def test_grandchild_in_another_session_that_holds_the_pipe_does_not_delay_the_answer() -> None:
    began = time.monotonic()
    outcome = await sh("setsid sh -c 'echo $$; exec sleep 60' & sleep 0.2", timeout_s=30)
    assert time.monotonic() - began < 5
    escaped = int(outcome.output)
    assert outcome.ok
    assert alive(escaped)
    os.kill(escaped, signal.SIGKILL)


async def test_megabytes_of_output_are_read_and_only_both_ends_kept() -> None:
    outcome = await sh("echo first; head -c 8000000 /dev/zero | tr '\\0' x; echo; echo last", output_limit=1000)
    assert outcome.ok
    assert outcome.output.startswith("first\nxxx")
    assert outcome.output.endswith("xxx\nlast\n")
    assert "bytes left out]" in outcome.output
    assert len(outcome.output) < 1100


@pytest.mark.parametrize("limit", [0, 1, 10, 11, 12])
async def test_output_is_whole_up_to_the_limit(limit: int) -> None:
    outcome = await run(["printf", "0123456789\n"], timeout_s=10, output_limit=limit)
    assert (outcome.output == "0123456789\n") is (limit >= 11)


async def test_endless_output_leaves_the_loop_and_the_cpu_free() -> None:
    worst_s, cpu = 0.0, time.process_time()
    flood = asyncio.create_task(run(["yes"], timeout_s=0.6))
    while not flood.done():
        began = time.monotonic()
        await asyncio.sleep(0.001)
        worst_s = max(worst_s, time.monotonic() - began)
    assert (await flood).timed_out
    assert worst_s < 0.5
    assert time.process_time() - cpu < 0.4  # about 0.1 s; a loop that reads as it can takes all of the time


async def test_output_is_made_fit_to_be_shown() -> None:
    outcome = await sh(r"printf 'a\000b\033[31m\377\r\n\tc'")
    assert outcome.output == "a\ufffdb\ufffd[31m\ufffd\n\tc"


async def test_program_that_closes_its_output_is_waited_for() -> None:
    assert (await sh("exec >&- 2>&-; sleep 0.2; exit 4")).returncode == 4


async def test_cancelling_ends_the_whole_group(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    running = asyncio.create_task(sh(f"sleep 60 & echo $! $$ >{pids}.new; mv {pids}.new {pids}; wait"))
    await eventually(pids.exists)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    for pid in pids.read_text().split():
        await gone(int(pid))


async def test_impatient_canceller_gets_a_program_that_ignores_sigterm_killed_too(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    running = asyncio.create_task(
        sh(f'trap "" TERM; echo $$ >{ready}.new; mv {ready}.new {ready}; sleep 60; :')
    )
    await eventually(ready.exists)
    pid = int(ready.read_text())
    while not running.done():
        running.cancel()
        await asyncio.sleep(0.01)
    assert running.cancelled()
    await gone(pid)
    await asyncio.sleep(0.05)  # the loop reaps it


async def test_many_run_at_once() -> None:
    began = time.monotonic()
    outcomes = await asyncio.gather(*(sh(f"sleep 0.3; echo {n}; exit {n}") for n in range(100)))
    assert time.monotonic() - began < 15
    assert [(o.returncode, o.output) for o in outcomes] == [(n, f"{n}\n") for n in range(100)]


@pytest.mark.parametrize(
    ("content", "mode", "reason"),
    [
        (None, 0, "No such file or directory"),
        ("#!/bin/sh\n", 0o644, "Permission denied"),
        ("exit 0\n", 0o755, "Exec format error; a script needs a first line such as #!/bin/sh"),
        ("#!/nowhere/sh\n", 0o755, "the interpreter that its first line names does not exist"),
    ],
)
async def test_program_that_cannot_be_started_says_why(
    tmp_path: Path, content: str | None, mode: int, reason: str
) -> None:
    program = tmp_path / "program"
    if content is not None:
        program.write_text(content)
        program.chmod(mode)
    outcome = await run([str(program)], timeout_s=10)
    assert outcome.returncode is None
    assert not outcome.ok
    assert outcome.sentence == f"cannot be started: {reason}"


async def test_impossible_argument_or_user_is_an_outcome_and_no_exception() -> None:
    assert "null byte" in (await run(["echo", "\0"], timeout_s=10)).not_started
    assert (await run(["id"], timeout_s=10, user="no-such-user")).not_started == "there is no user no-such-user"


@root_only
async def test_program_runs_as_the_user_with_his_groups() -> None:
    entry = pwd.getpwnam("nobody")
    outcome = await run(["sh", "-c", "id -u; id -g; id -G"], timeout_s=10, user="nobody")
    uid, gid, groups = outcome.output.splitlines()
    assert (int(uid), int(gid)) == (entry.pw_uid, entry.pw_gid)
    assert {int(group) for group in groups.split()} == set(os.getgrouplist("nobody", entry.pw_gid))


@root_only
async def test_hanging_program_of_another_user_is_ended() -> None:
    outcome = await run(["sh", "-c", "echo $$; exec sleep 60"], timeout_s=0.2, user="nobody")
    assert outcome.timed_out
    await gone(int(outcome.output))


TRACER = """
import ctypes, sys, time
PTRACE_SEIZE = 0x4206
if ctypes.CDLL(None, use_errno=True).ptrace(PTRACE_SEIZE, int(sys.argv[1]), None, None):
    raise SystemExit(f"ptrace: errno {ctypes.get_errno()}")
print("tracing", flush=True)
time.sleep(600)
"""


@root_only
async def test_process_that_does_not_end_when_killed_is_given_up_and_not_started_twice(tmp_path: Path) -> None:
    """A tracer that does not look keeps a dead process from being reaped: to us it looks undying."""
    ready = tmp_path / "ready"
    argv = ["sh", "-c", f"echo $$ >{ready}.new; mv {ready}.new {ready}; exec sleep 60"]
    running = asyncio.create_task(run(argv, timeout_s=0.8))
    await eventually(ready.exists)
    pid = int(ready.read_text())
    with subprocess.Popen([sys.executable, "-c", TRACER, str(pid)], stdout=subprocess.PIPE) as tracer:
        assert tracer.stdout is not None
        assert tracer.stdout.readline() == b"tracing\n"
        began = time.monotonic()
        outcome = await running
        assert time.monotonic() - began < 8
        assert outcome.timed_out
        assert outcome.returncode is None
        again = await run(argv, timeout_s=10)
        assert again.not_started == f"process {pid} of an earlier run does not end even when killed"
        tracer.kill()
    await eventually(lambda: not Path(f"/proc/{pid}").exists())  # the loop goes on trying to reap it
    ready.unlink()
    assert (await run(["sh", "-c", "true"], timeout_s=10)).ok
