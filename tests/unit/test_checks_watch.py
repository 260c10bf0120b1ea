"""The checks of a failover over time: real listeners, real scripts, and the clock of the wall."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import shutil
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from ipfod.checks.watch import CheckPlan, CheckReport, FailoverChecks
from ipfod.node.model import CheckState

PASSING, FAILING = CheckState.PASSING, CheckState.FAILING

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make scripts that are safe to run")


async def eventually(condition: Callable[[], bool], within_s: float = 10.0) -> None:
    """Wait until it holds."""
    for _ in range(int(within_s / 0.01)):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"not within {within_s} s")


class Listener:
    """A port of this node that can be opened and closed; the kernel answers for it."""

    def __init__(self) -> None:
        self._socket = self._open(0)
        self.port: int = self._socket.getsockname()[1]

    def _open(self, port: int) -> socket.socket:
        server = socket.socket()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", port))
        server.listen(4096)
        return server

    def open(self) -> None:
        self._socket = self._open(self.port)

    def close(self) -> None:
        self._socket.close()


class Reports:
    """Takes reports and lets a test wait for one."""

    def __init__(self) -> None:
        self.all: list[CheckReport] = []
        self.at: list[float] = []
        self._new = asyncio.Event()

    def __call__(self, report: CheckReport) -> None:
        self.all.append(report)
        self.at.append(time.monotonic())
        self._new.set()

    async def until(self, wanted: Callable[[CheckReport], bool], within_s: float = 10.0) -> CheckReport:
        """The newest report, once there is one as wanted."""
        async with asyncio.timeout(within_s):
            while not self.all or not wanted(self.all[-1]):
                self._new.clear()
                await self._new.wait()
        return self.all[-1]

    async def state(self, state: CheckState, within_s: float = 10.0) -> CheckReport:
        return await self.until(lambda report: report.state is state, within_s)


@pytest.fixture
def listener() -> Iterator[Listener]:
    one = Listener()
    yield one
    one.close()


@pytest.fixture
def safe() -> Iterator[Path]:
    """A directory whose scripts are safe to run."""
    directory = Path(tempfile.mkdtemp(prefix="ipfod-test-", dir="/var/lib"))
    yield directory
    shutil.rmtree(directory)


def script(directory: Path, body: str) -> Path:
    path = directory / "check"
    fresh = directory / "check.new"
    fresh.write_text(f"#!/bin/sh\n{body}\n")
    fresh.chmod(0o755)
    return fresh.rename(path)


def plan(listener: Listener | None, script: Path | None = None) -> CheckPlan:
    """Rounds a minute apart, so that whatever happens sooner has another reason."""
    return CheckPlan(
        port=listener.port if listener else 0,
        addresses=(IPv4Address("127.0.0.1"),),
        script=script,
        script_user="root",
        interval_s=60,
        timeout_s=5,
        rise=1,
        fall=1,
    )


@asynccontextmanager
async def watching(plan: CheckPlan) -> AsyncIterator[tuple[FailoverChecks, Reports]]:
    reports = Reports()
    checks = FailoverChecks("web", plan, reports)
    checks.start()
    try:
        await asyncio.wait_for(checks.first(), 10)
        yield checks, reports
    finally:
        await checks.stop()


@pytest.fixture(autouse=True)
async def leaks_nothing() -> AsyncIterator[None]:
    files = len(os.listdir("/proc/self/fd"))
    yield
    await asyncio.sleep(0.01)
    assert [task for task in asyncio.all_tasks() if "check" in task.get_name()] == []
    assert len(os.listdir("/proc/self/fd")) == files


async def test_nothing_to_check_is_reported_as_disabled() -> None:
    async with watching(plan(None)) as (checks, reports):
        checks.trigger()
    assert [report.state for report in reports.all] == [CheckState.DISABLED]


async def test_first_round_is_made_at_once_and_decides_alone(listener: Listener) -> None:
    async with watching(replace(plan(listener), rise=5, fall=5)) as (_, reports):
        (report,) = reports.all
        assert report.state is PASSING
        assert report.text == f"port {listener.port} on 127.0.0.1 accepts"
        assert (report.broken, report.doubt) == ("", "")
        assert 0 < report.duration_s < 1
    listener.close()
    async with watching(replace(plan(listener), rise=5, fall=5)) as (_, reports):
        assert reports.all[0].state is FAILING
        assert reports.all[0].text == f"port {listener.port} on 127.0.0.1 refused"
    listener.open()


async def test_trigger_makes_a_closed_listener_known_at_once(listener: Listener) -> None:
    async with watching(plan(listener)) as (checks, reports):
        await asyncio.sleep(0.1)
        listener.close()
        began = time.monotonic()
        checks.trigger()
        await reports.state(FAILING)
        assert time.monotonic() - began < 0.5  # about 1 ms
    listener.open()


async def test_triggers_count_for_fall_but_the_rest_follows_quickly(listener: Listener) -> None:
    async with watching(replace(plan(listener), fall=4)) as (checks, reports):
        listener.close()
        began = time.monotonic()
        for _ in range(10):  # a service with many listeners: still one failure
            checks.trigger()
            await asyncio.sleep(0)
        await reports.state(FAILING)
        assert 0.1 < time.monotonic() - began < 5  # three pauses of 50 ms
        assert [report.state for report in reports.all] == [PASSING] * 4 + [FAILING]
        assert reports.all[1].text.endswith("refused (1 of 4 in a row)")
    listener.open()


async def test_trigger_for_another_socket_changes_nothing(listener: Listener) -> None:
    async with watching(replace(plan(listener), fall=2)) as (checks, reports):
        checks.trigger()
        await reports.until(lambda _: len(reports.all) == 2)
        await asyncio.sleep(0.3)
        assert [report.state for report in reports.all] == [PASSING, PASSING]


async def test_without_a_trigger_fall_counts_intervals(listener: Listener) -> None:
    async with watching(replace(plan(listener), interval_s=0.2, fall=3)) as (_, reports):
        listener.close()
        began = time.monotonic()
        await reports.state(FAILING)
        assert 0.35 < time.monotonic() - began < 5
    listener.open()


async def test_storm_of_triggers_does_not_become_a_storm_of_rounds(listener: Listener) -> None:
    listener.close()  # refused at once: nothing but the gap between rounds holds them back
    async with watching(plan(listener)) as (checks, reports):
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            checks.trigger()
            await asyncio.sleep(0)
        assert 5 < len(reports.all) < 60  # about 50
    listener.open()


async def test_port_that_is_back_is_seen_before_the_interval_is_over(listener: Listener) -> None:
    listener.close()
    async with watching(plan(listener)) as (_, reports):
        await asyncio.sleep(0.6)
        assert len(reports.all) == 1  # looks that find nothing are no rounds
        listener.open()
        await reports.state(PASSING, within_s=5)


async def test_recovery_brings_only_the_first_passing_round_forward(listener: Listener) -> None:
    listener.close()
    async with watching(replace(plan(listener), interval_s=0.6, rise=2)) as (_, reports):
        listener.open()
        began = time.monotonic()
        report = await reports.until(lambda report: "accepts" in report.text)
        assert report.state is FAILING
        assert report.text.endswith("(1 of 2 in a row)")
        assert time.monotonic() - began < 0.55
        await reports.state(PASSING)
        assert time.monotonic() - began > 0.6


async def test_rounds_start_an_interval_apart_however_long_they_take(listener: Listener) -> None:
    async with watching(replace(plan(listener), interval_s=0.05)) as (_, reports):  # 20 ms of it are the round
        await reports.until(lambda _: len(reports.all) == 21)
    assert 0.95 < reports.at[20] - reports.at[0] < 1.3  # 1.4 if each round's time were added


async def test_port_that_accepts_and_closes_passes_with_a_doubt() -> None:
    async def close(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(close, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with watching(replace(plan(None), port=port)) as (_, reports):
            assert reports.all[0].state is PASSING
            assert reports.all[0].doubt == f"port {port} on 127.0.0.1 accepts, but closes at once"


async def test_fault_in_the_report_does_not_end_the_watch(
    listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[CheckReport] = []

    def report(one: CheckReport) -> None:
        seen.append(one)
        raise RuntimeError("a fault of the caller")

    checks = FailoverChecks("web", replace(plan(listener), interval_s=0.05), report)
    checks.start()
    await eventually(lambda: len(seen) == 3)
    await checks.stop()
    assert {
        (record.levelno, record.getMessage())
        for record in caplog.records
        if record.name == "ipfod.checks.watch"
    } == {(logging.ERROR, "web: a round of checks failed")}


@root_only
async def test_port_and_script_must_both_pass(listener: Listener, safe: Path) -> None:
    path = script(safe, "echo fine")
    async with watching(plan(listener, path)) as (checks, reports):
        port = f"port {listener.port} on 127.0.0.1"
        assert reports.all[-1].state is PASSING
        assert reports.all[-1].text == f"{port} accepts; check script {path}: exit status 0: fine"
        script(safe, "exit 7")
        checks.trigger()
        assert (await reports.state(FAILING)).text == f"check script {path}: exit status 7"
        assert reports.all[-1].broken == ""
        script(safe, "exit 0")
        checks.trigger()
        await reports.state(PASSING)
        listener.close()
        checks.trigger()
        assert (await reports.state(FAILING)).text == f"{port} refused"
    listener.open()


@root_only
async def test_script_alone_is_checked_at_the_interval(safe: Path) -> None:
    path = script(safe, "exit 0")
    async with watching(replace(plan(None, path), interval_s=0.1)) as (_, reports):
        assert reports.all[-1].state is PASSING
        script(safe, "exit 1")
        await reports.state(FAILING)
        script(safe, "exit 0")
        await reports.state(PASSING)


@root_only
async def test_script_that_cannot_be_run_fails_and_is_broken_until_it_says_something(
    listener: Listener, safe: Path
) -> None:
    path = safe / "check"
    missing = f"check script {path}: does not exist"
    async with watching(replace(plan(listener, path), interval_s=0.1)) as (_, reports):
        assert reports.all[-1].state is FAILING
        assert reports.all[-1].broken == missing
        listener.close()
        report = await reports.until(lambda report: "refused" in report.text)
        assert report.broken == missing  # nothing new is known of the script
        listener.open()
        script(safe, "exit 1")
        report = await reports.until(lambda report: "exit status 1" in report.text)
        assert report.state is FAILING
        assert report.broken == ""


@root_only
async def test_closed_listener_does_not_wait_for_a_script_that_hangs(listener: Listener, safe: Path) -> None:
    path = script(
        safe, f"[ -e {safe}/hang ] || exit 0; echo $$ >{safe}/new; mv {safe}/new {safe}/pid; sleep 60"
    )
    async with watching(replace(plan(listener, path), interval_s=0.1, timeout_s=30)) as (checks, reports):
        (safe / "hang").touch()
        await eventually((safe / "pid").exists)
        checks.trigger()  # of another socket: the round goes on
        await asyncio.sleep(0.05)
        assert reports.all[-1].state is PASSING
        listener.close()
        began = time.monotonic()
        checks.trigger()
        assert (await reports.state(FAILING)).text == f"port {listener.port} on 127.0.0.1 refused"
        assert time.monotonic() - began < 0.5
    listener.open()
    assert not Path(f"/proc/{(safe / 'pid').read_text().strip()}").exists()  # ended by stop()


@root_only
async def test_script_is_never_run_twice_at_once(listener: Listener, safe: Path) -> None:
    body = f"cd {safe}; mkdir lock || {{ touch twice; exit; }}; echo >>runs; sleep 0.1; rmdir lock"
    async with watching(replace(plan(listener, script(safe, body)), interval_s=0.1)) as (checks, _):
        for _ in range(20):
            listener.close()
            checks.trigger()
            await asyncio.sleep(0.02)
            listener.open()
            checks.trigger()
            await asyncio.sleep(0.02)
    assert len((safe / "runs").read_text()) > 3
    assert not (safe / "twice").exists()


@root_only
async def test_script_that_outlasts_the_interval_is_followed_by_the_next_at_once(safe: Path) -> None:
    path = script(safe, "exec sleep 60")
    async with watching(replace(plan(None, path), interval_s=0.1, timeout_s=0.15)) as (_, reports):
        report = await reports.until(lambda _: len(reports.all) == 5)
        assert report.state is FAILING
        assert report.broken == f"check script {path}: no answer within 0.15 s"
    assert 0.5 < reports.at[4] - reports.at[0] < 5


@root_only
async def test_stop_ends_a_script_that_ignores_sigterm_and_may_be_called_twice(safe: Path) -> None:
    path = script(safe, f'trap "" TERM; echo $$ >{safe}/new; mv {safe}/new {safe}/pid; sleep 60; :')
    checks = FailoverChecks("web", replace(plan(None, path), timeout_s=30), Reports())
    checks.start()
    await eventually((safe / "pid").exists)
    began = time.monotonic()
    await checks.stop()
    await checks.stop()
    assert time.monotonic() - began < 5
    assert not Path(f"/proc/{(safe / 'pid').read_text().strip()}").exists()


async def test_stop_before_start_is_harmless(listener: Listener) -> None:
    await FailoverChecks("web", plan(listener), Reports()).stop()


@pytest.mark.parametrize("port", [True, False], ids=["port", "script"])
async def test_no_descriptor_left_is_said_and_what_was_known_stays(
    listener: Listener, safe: Path, port: bool
) -> None:
    asked = plan(listener) if port else plan(None, script(safe, "exit 0"))
    async with watching(replace(asked, interval_s=0.05)) as (_, reports):
        _, hard = soft = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            await reports.until(lambda report: "Too many open files" in report.broken)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, soft)
        await reports.until(lambda report: report.broken == "")
    assert {report.state for report in reports.all} == {CheckState.PASSING}
