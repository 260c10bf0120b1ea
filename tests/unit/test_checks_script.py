"""The check script: what it says, and what is wrong with it, told apart."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipfod.checks.script import LINE_MAX, script_check

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make scripts that are safe to run")


@pytest.fixture
def script() -> Iterator[Path]:
    """The path of a script, not yet written, in a directory that only root can write to."""
    directory = Path(tempfile.mkdtemp(prefix="ipfod-test-", dir="/var/lib"))
    directory.chmod(0o755)
    yield directory / "check"
    shutil.rmtree(directory)


def write(script: Path, body: str, mode: int = 0o755) -> None:
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(mode)


async def test_exit_status_zero_passes(script: Path) -> None:
    write(script, "echo; echo all is well; echo more")
    verdict = await script_check(script, user="root", timeout_s=10)
    assert verdict.passing
    assert not verdict.broken
    assert verdict.text == f"check script {script}: exit status 0: all is well"
    assert verdict.duration_s > 0


async def test_other_exit_status_says_down_and_is_not_broken(script: Path) -> None:
    write(script, "echo no database >&2; exit 3")
    verdict = await script_check(script, user="root", timeout_s=10)
    assert not verdict.passing
    assert not verdict.broken
    assert verdict.text == f"check script {script}: exit status 3: no database"


async def test_silent_script_has_no_line_to_show(script: Path) -> None:
    write(script, "exit 1")
    assert (
        await script_check(script, user="root", timeout_s=10)
    ).text == f"check script {script}: exit status 1"


async def test_long_line_is_cut(script: Path) -> None:
    write(script, "head -c 5000000 /dev/zero | tr '\\0' x")
    verdict = await script_check(script, user="root", timeout_s=10)
    assert verdict.passing
    assert verdict.text.endswith("xxx…")
    assert len(verdict.text) == len(f"check script {script}: exit status 0: ") + LINE_MAX


@pytest.mark.parametrize("body", ["sleep 60", 'trap "" TERM; sleep 60', "sleep 60 & wait"])
async def test_script_that_hangs_is_broken(script: Path, body: str) -> None:
    write(script, body)
    began = time.monotonic()
    verdict = await script_check(script, user="root", timeout_s=0.2)
    assert time.monotonic() - began < 5
    assert not verdict.passing
    assert verdict.broken
    assert verdict.text == f"check script {script}: no answer within 0.2 s"


async def test_script_that_is_killed_is_broken(script: Path) -> None:
    write(script, "kill -KILL $$")
    verdict = await script_check(script, user="root", timeout_s=10)
    assert not verdict.passing
    assert verdict.broken
    assert verdict.text == f"check script {script}: killed by SIGKILL"


async def test_missing_script_is_broken(script: Path) -> None:
    verdict = await script_check(script, user="root", timeout_s=10)
    assert not verdict.passing
    assert verdict.broken
    assert verdict.text == f"check script {script}: does not exist"


async def test_script_without_an_interpreter_is_broken(script: Path) -> None:
    script.write_text("#!/nowhere/sh\n")
    script.chmod(0o755)
    verdict = await script_check(script, user="root", timeout_s=10)
    assert verdict.broken
    assert "the interpreter that its first line names does not exist" in verdict.text


@pytest.mark.parametrize(
    ("mode", "what"), [(0o777, "is writable by others"), (0o644, "is not executable by root")]
)
async def test_script_that_must_not_or_cannot_run_is_broken_and_not_run(
    script: Path, mode: int, what: str
) -> None:
    ran = script.parent / "ran"
    write(script, f"touch {ran}", mode)
    verdict = await script_check(script, user="root", timeout_s=10)
    assert not verdict.passing
    assert verdict.broken
    assert what in verdict.text
    assert not ran.exists()


async def test_script_runs_as_its_user(script: Path) -> None:
    write(script, "id -un")
    assert (await script_check(script, user="nobody", timeout_s=10)).text.endswith(": nobody")
