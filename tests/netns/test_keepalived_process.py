"""A real keepalived is started, found again, reloaded and ended, and recovers from every violent death."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from alone import PATIENCE_S, alone, configure, held, ip, prepared, until

from ipfod.errors import Failed
from ipfod.host.processes import children, command_line, ended
from ipfod.keepalived.files import KeepalivedFiles
from ipfod.keepalived.launcher import LOG_MAX_BYTES, PlainLauncher, dump_signal
from ipfod.keepalived.track import FIT, TrackFiles

ONE = 'virtual_ips = "10.1.0.1"\npreemption = "preempt"'
TWO = 'virtual_ips = "10.1.0.1-2"\npreemption = "preempt"'
STARTER = """
import asyncio, pathlib, sys, warnings
from ipfod.keepalived.files import KeepalivedFiles
from ipfod.keepalived.launcher import PlainLauncher
warnings.simplefilter("ignore")  # that it leaves a process behind is what it is for
print(asyncio.run(PlainLauncher(KeepalivedFiles(pathlib.Path(sys.argv[1]))).start()))
"""


@pytest.fixture(scope="module", autouse=True)
def node() -> Iterator[None]:
    with alone():
        yield


@pytest.fixture
def files(tmp_path: Path) -> KeepalivedFiles:
    """A configuration of one VIP, ready to be started."""
    files = prepared(tmp_path / "web")
    os.mkfifo(files.fifo, 0o600)
    for number in (1, 2):
        TrackFiles(files.track).write(f"web_VIP_{number}", FIT)
    configure(files, ONE)
    return files


@pytest.fixture
async def keepalived(files: KeepalivedFiles) -> AsyncIterator[PlainLauncher]:
    """A launcher; what it started is ended with the test."""
    launcher = PlainLauncher(files)
    yield launcher
    await kill(*of_keepalived(files))  # an ordinary end would take a second
    await launcher.stop()
    for address in held():
        ip("address", "del", f"{address}/32", "dev", "eth0")


async def holds(*vips: str) -> None:
    await until(lambda: held() == set(vips), f"exactly {vips} on eth0")


async def kill(*pids: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for pid in pids:
        assert await ended(pid, PATIENCE_S)


def of_keepalived(files: KeepalivedFiles) -> list[int]:
    """Every process that runs with this configuration."""
    pids = (int(entry.name) for entry in Path("/proc").glob("[0-9]*"))
    return [pid for pid in pids if str(files.configuration) in command_line(pid)]


# ---------------------------------------------------------------- an ordinary life


async def test_keepalived_runs_from_start_to_stop(keepalived: PlainLauncher, files: KeepalivedFiles) -> None:
    assert await keepalived.running() == 0
    pid = await keepalived.start()
    assert await keepalived.running() == pid
    assert of_keepalived(files) == sorted([pid, *children(pid)])
    await holds("10.1.0.1")
    await keepalived.stop()
    assert await keepalived.running() == 0
    assert held() == set()
    assert of_keepalived(files) == []
    assert not files.pid.exists()
    assert not files.vrrp_pid.exists()


async def test_a_reload_takes_in_a_vip_and_keeps_the_process_and_the_other_vip(
    keepalived: PlainLauncher, files: KeepalivedFiles
) -> None:
    pid = await keepalived.start()
    processes = of_keepalived(files)
    await holds("10.1.0.1")
    with subprocess.Popen(["ip", "monitor", "address"], stdout=subprocess.PIPE, text=True) as monitor:
        configure(files, TWO)
        await keepalived.reload()
        await holds("10.1.0.1", "10.1.0.2")
        monitor.terminate()
        assert monitor.stdout is not None
        seen = monitor.stdout.read()
    assert "Deleted" not in seen
    assert await keepalived.running() == pid
    assert of_keepalived(files) == processes


async def test_a_reload_takes_a_vip_away(keepalived: PlainLauncher, files: KeepalivedFiles) -> None:
    configure(files, TWO)
    await keepalived.start()
    await holds("10.1.0.1", "10.1.0.2")
    configure(files, ONE)
    await keepalived.reload()
    await holds("10.1.0.1")


async def test_a_reload_works_with_a_script_of_another_user(
    keepalived: PlainLauncher, files: KeepalivedFiles
) -> None:
    script = '\nnotify_script = "/usr/bin/true"\nscript_user = "nobody"'
    configure(files, ONE + script)
    pid = await keepalived.start()
    await holds("10.1.0.1")
    configure(files, TWO + script)
    await keepalived.reload()
    await holds("10.1.0.1", "10.1.0.2")
    assert await keepalived.running() == pid


async def test_it_can_be_started_again_after_a_stop(keepalived: PlainLauncher) -> None:
    first = await keepalived.start()
    await keepalived.stop()
    assert await keepalived.start() != first
    await holds("10.1.0.1")


async def test_what_does_not_run_is_stopped_already_and_cannot_be_reloaded(keepalived: PlainLauncher) -> None:
    await keepalived.stop()
    with pytest.raises(Failed, match="keepalived: does not run"):
        await keepalived.reload()


async def test_a_keepalived_that_does_not_start_says_why(
    keepalived: PlainLauncher, files: KeepalivedFiles
) -> None:
    files.configuration.unlink()
    with pytest.raises(Failed, match=r"keepalived ended at once with status [0-9]+: .*keepalived\.conf"):
        await keepalived.start()
    assert await keepalived.running() == 0
    configure(files, ONE)
    await keepalived.start()
    await holds("10.1.0.1")


async def test_it_has_a_session_and_an_environment_of_its_own(
    keepalived: PlainLauncher, files: KeepalivedFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    pid = await keepalived.start()
    assert os.getsid(pid) == pid
    environment = Path(f"/proc/{pid}/environ").read_text().rstrip("\0").split("\0")
    assert {variable.partition("=")[0] for variable in environment} == {"PATH", "LANG", "TMPDIR"}
    assert f"TMPDIR={files.directory}" in environment
    assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"


async def test_a_long_log_is_cut_at_the_next_reload_and_goes_on_from_there(
    keepalived: PlainLauncher, files: KeepalivedFiles
) -> None:
    pid = await keepalived.start()
    with open(files.log, "ab") as log:
        log.write(b"x" * (LOG_MAX_BYTES + 1))
    await keepalived.reload()
    await until(lambda: b"eload" in files.log.read_bytes(), "keepalived's word on the reload")
    assert files.log.stat().st_size < LOG_MAX_BYTES
    assert b"\0" not in files.log.read_bytes()
    assert await keepalived.running() == pid


async def test_nothing_else_is_cut_in_the_place_of_the_log(
    keepalived: PlainLauncher, files: KeepalivedFiles, tmp_path: Path
) -> None:
    await keepalived.start()
    precious = tmp_path / "precious"
    precious.write_bytes(b"x" * (LOG_MAX_BYTES + 1))
    for plant in (files.log.symlink_to, files.log.hardlink_to):
        files.log.unlink()
        plant(precious)
        await keepalived.reload()
        assert precious.stat().st_size == LOG_MAX_BYTES + 1


async def test_the_number_of_the_dump_signal_is_a_real_time_signal() -> None:
    assert signal.SIGRTMIN <= await dump_signal() <= signal.SIGRTMAX


# ---------------------------------------------------------------- found again by another ipfod


async def test_it_survives_the_ipfod_that_started_it_and_the_next_one_finds_it(
    keepalived: PlainLauncher, files: KeepalivedFiles
) -> None:
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", STARTER, str(files.directory)],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    pid = int(done.stdout)
    assert await keepalived.running() == pid
    configure(files, TWO)
    await keepalived.reload()
    await holds("10.1.0.1", "10.1.0.2")
    assert await keepalived.running() == pid
    await keepalived.stop()
    assert held() == set()
    assert of_keepalived(files) == []


async def test_a_pid_file_of_a_foreign_process_is_not_believed(
    keepalived: PlainLauncher, files: KeepalivedFiles
) -> None:
    with subprocess.Popen(["sleep", "1000"]) as foreign:
        for path in (files.pid, files.vrrp_pid):
            path.write_text(str(foreign.pid))
        assert await keepalived.running() == 0
        assert await keepalived.start() != foreign.pid
        await holds("10.1.0.1")
        await keepalived.stop()
        assert foreign.poll() is None
        foreign.kill()


async def test_a_pid_file_of_another_keepalived_is_not_believed(
    keepalived: PlainLauncher, files: KeepalivedFiles, tmp_path: Path
) -> None:
    pid = await keepalived.start()
    other = prepared(tmp_path / "other")
    other.pid.write_text(str(pid))
    assert await PlainLauncher(other).running() == 0


async def test_a_damaged_pid_file_is_in_nobodys_way(keepalived: PlainLauncher, files: KeepalivedFiles) -> None:
    for content in (b"", b"\n", b"abc", b"-1", b"0", b"1", b"9" * 100, b"\xff", b"1 2"):
        for path in (files.pid, files.vrrp_pid):
            path.write_bytes(content)
        assert await keepalived.running() == 0, content
        pid = await keepalived.start()
        assert await keepalived.running() == pid
        await kill(*of_keepalived(files))


@pytest.mark.parametrize("adopted", [False, True])
async def test_a_pid_file_that_is_damaged_later_keeps_no_reload_from_it(
    adopted: bool, keepalived: PlainLauncher, files: KeepalivedFiles
) -> None:
    pid = await keepalived.start()
    launcher = PlainLauncher(files) if adopted else keepalived
    assert await launcher.running() == pid
    files.pid.write_bytes(b"\xff")
    configure(files, TWO)
    await launcher.reload()
    await holds("10.1.0.1", "10.1.0.2")
    await kill(*of_keepalived(files))
    assert await launcher.running() == 0


# ---------------------------------------------------------------- violent deaths


async def test_the_parent_is_killed_and_it_is_started_again_at_once(
    keepalived: PlainLauncher, files: KeepalivedFiles
) -> None:
    pid = await keepalived.start()
    await holds("10.1.0.1")
    await kill(pid)
    assert await keepalived.running() == 0
    again = await keepalived.start()
    assert of_keepalived(files) == sorted([again, *children(again)])
    await holds("10.1.0.1")


async def test_both_processes_are_killed_and_it_is_started_again_at_once(
    keepalived: PlainLauncher, files: KeepalivedFiles
) -> None:
    pid = await keepalived.start()
    await holds("10.1.0.1")
    await kill(*children(pid), pid)
    assert held() == {"10.1.0.1"}
    again = await keepalived.start()
    assert again != pid
    await holds("10.1.0.1")
    await keepalived.stop()
    assert held() == set()


async def test_both_processes_are_killed_five_times_in_a_row(
    keepalived: PlainLauncher, files: KeepalivedFiles
) -> None:
    for _ in range(5):
        pid = await keepalived.start()
        await kill(pid, *children(pid))
    await keepalived.start()
    await holds("10.1.0.1")
    assert len(of_keepalived(files)) == 2


async def test_the_vrrp_child_is_killed_and_the_parent_is_still_the_one_that_runs(
    keepalived: PlainLauncher, files: KeepalivedFiles
) -> None:
    pid = await keepalived.start()
    (child,) = children(pid)
    await kill(child)
    await until(lambda: len(children(pid)) == 1, "another VRRP child")
    assert await keepalived.running() == pid
    await holds("10.1.0.1")


async def test_it_is_killed_and_stopped(keepalived: PlainLauncher, files: KeepalivedFiles) -> None:
    pid = await keepalived.start()
    await kill(pid)
    await keepalived.stop()
    assert of_keepalived(files) == []
    assert held() == set()


async def test_a_keepalived_that_does_not_answer_is_killed(
    keepalived: PlainLauncher, files: KeepalivedFiles
) -> None:
    pid = await keepalived.start()
    os.kill(pid, signal.SIGSTOP)
    await keepalived.stop()
    assert of_keepalived(files) == []
