"""What a real keepalived says and obeys: notifications, track files, JSON dump, and another node's adverts."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from ipaddress import ip_address
from pathlib import Path

import pytest
from alone import Namespace, alone, configure, held, ip, prepared, until

from ipfod.errors import Failed
from ipfod.host.processes import children
from ipfod.keepalived.dump import request_dump
from ipfod.keepalived.fifo import Notification, NotificationFifo
from ipfod.keepalived.files import KeepalivedFiles
from ipfod.keepalived.launcher import PlainLauncher, dump_signal
from ipfod.keepalived.track import FAULT, FIT, TrackFiles
from ipfod.plan.model import Here
from ipfod.supervise.reports import STATES

THREE = 'virtual_ips = "10.1.0.1-3"\nvip_groups = 2\npreemption = "preempt"\npriority = 200'
FIRST, SECOND = "web_VIP_1", "web_VIP_2"


class Keepalived:
    """A running keepalived, what it said, and its wheel."""

    def __init__(self, directory: Path, toml: str = THREE, here: Here | None = None) -> None:
        self.files: KeepalivedFiles = prepared(directory)
        self.launcher = PlainLauncher(self.files)
        self.track = TrackFiles(self.files.track)
        self.heard: list[Notification] = []
        self.fifo = NotificationFifo(self.files.fifo, self.heard.append)
        self.pid = 0
        planned = configure(self.files, toml, here=here) if here else configure(self.files, toml)
        for group in planned.groups:
            self.track.write(group.name, FIT)

    async def start(self) -> None:
        self.fifo.open()
        self.pid = await self.launcher.start()

    async def stop(self) -> None:
        """Without ceremony: an ordinary end takes a second. VIPs stay on the interface."""
        if pid := await self.launcher.running():
            # A child ends in order, VIPs and all, when its parent dies; a parent replaces a child that dies.
            os.kill(pid, signal.SIGSTOP)
            for each in (*children(pid), pid):
                os.kill(each, signal.SIGKILL)
        await self.launcher.stop()
        self.fifo.close()

    def said(self, name: str) -> list[tuple[str, int]]:
        return [(line.word, line.number) for line in self.heard if line.name == name]

    def state(self, name: str) -> str:
        """The last state that it said, "" before the first."""
        return next((word for word, _ in reversed(self.said(name)) if word in STATES), "")

    async def says(self, name: str, *words: str) -> None:
        await until(
            lambda: [word for word, _ in self.said(name)] == list(words), f"{name}: {words}: {self.heard}"
        )


@pytest.fixture(scope="module", autouse=True)
def node() -> Iterator[None]:
    with alone():
        yield


@pytest.fixture
async def keepalived(tmp_path: Path) -> AsyncIterator[Keepalived]:
    """It has become master of both groups."""
    keepalived = Keepalived(tmp_path / "web")
    await keepalived.start()
    try:
        for name in (FIRST, SECOND):
            await keepalived.says(name, "BACKUP", "MASTER")
        await until(lambda: len(held()) == 3, "three VIPs")
        keepalived.heard.clear()
        yield keepalived
    finally:
        await keepalived.stop()
        for address in held():
            ip("address", "del", f"{address}/32", "dev", "eth0")


# ---------------------------------------------------------------- track files


async def test_a_group_that_is_not_fit_gives_its_vips_up_and_the_other_keeps_its_own(
    keepalived: Keepalived,
) -> None:
    keepalived.track.write(FIRST, FAULT)
    await keepalived.says(FIRST, "FAULT")
    await until(lambda: held() == {"10.1.0.3"}, "the second group's VIP alone")
    keepalived.track.write(FIRST, FIT)
    await keepalived.says(FIRST, "FAULT", "BACKUP", "MASTER")
    await until(lambda: len(held()) == 3, "three VIPs")
    assert keepalived.said(SECOND) == []


async def test_a_group_that_is_not_fit_at_the_start_holds_nothing(tmp_path: Path) -> None:
    keepalived = Keepalived(tmp_path / "web")
    keepalived.track.write(FIRST, FAULT)
    await keepalived.start()
    try:
        await keepalived.says(SECOND, "BACKUP", "MASTER")
        await keepalived.says(FIRST, "FAULT")
        assert held() == {"10.1.0.3"}
    finally:
        await keepalived.stop()
        ip("address", "del", "10.1.0.3/32", "dev", "eth0")


async def test_a_value_between_moves_the_priority_and_no_vip(keepalived: Keepalived) -> None:
    keepalived.track.write(FIRST, -30)
    await keepalived.says(FIRST, "MASTER_PRIORITY")
    assert keepalived.said(FIRST) == [("MASTER_PRIORITY", 170)]
    keepalived.track.write(FIRST, FIT)
    await keepalived.says(FIRST, "MASTER_PRIORITY", "MASTER_PRIORITY")
    assert keepalived.said(FIRST)[-1] == ("MASTER_PRIORITY", 200)
    assert len(held()) == 3


async def test_a_track_file_obeys_after_a_reload_as_before(keepalived: Keepalived) -> None:
    configure(keepalived.files, THREE + "\nadvert_interval = 0.2")
    await keepalived.launcher.reload()
    await asyncio.sleep(0.3)
    keepalived.track.write(SECOND, FAULT)
    await until(lambda: "10.1.0.3" not in held(), "the second group's VIP gone")


# ---------------------------------------------------------------- notifications


async def test_an_ordinary_end_is_told(keepalived: Keepalived) -> None:
    await keepalived.launcher.stop()
    for name in (FIRST, SECOND):
        await keepalived.says(name, "STOP")
    assert held() == set()


async def test_a_group_that_is_no_longer_configured_is_told_as_deleted(keepalived: Keepalived) -> None:
    configure(keepalived.files, THREE.replace("vip_groups = 2", "vip_groups = 1"))
    await keepalived.launcher.reload()
    await until(lambda: ("DELETED", 200) in keepalived.said(SECOND), "DELETED")


async def test_the_fifo_stays_the_same_over_a_reload_and_an_end(keepalived: Keepalived) -> None:
    before = keepalived.files.fifo.lstat().st_ino
    for _ in range(3):
        await keepalived.launcher.reload()
        await asyncio.sleep(0.1)
    assert keepalived.files.fifo.lstat().st_ino == before
    keepalived.track.write(FIRST, FAULT)
    await until(lambda: "FAULT" in [word for word, _ in keepalived.said(FIRST)], "FAULT")
    await keepalived.launcher.stop()
    found = keepalived.files.fifo.lstat()
    assert found.st_ino == before
    assert stat.S_ISFIFO(found.st_mode)


async def test_what_happens_while_nobody_reads_waits_in_the_fifo(keepalived: Keepalived) -> None:
    keepalived.fifo.close()
    keepalived.track.write(FIRST, FAULT)
    await until(lambda: "10.1.0.1" not in held(), "the VIP gone")
    keepalived.fifo.open()
    await keepalived.says(FIRST, "FAULT")


# ---------------------------------------------------------------- the dump


async def test_keepalived_is_asked_fifty_times_in_a_row_and_always_answers(keepalived: Keepalived) -> None:
    number = await dump_signal()
    for _ in range(50):
        first, second = await request_dump(keepalived.pid, number, keepalived.files.dump)
        assert (first.name, first.word, first.priority) == (FIRST, "MASTER", 200)
        assert (second.name, second.word, second.priority) == (SECOND, "MASTER", 200)
    assert abs(first.since_usec / 1e6 - time.time()) < 60


async def test_255_instances_are_dumped(tmp_path: Path) -> None:
    keepalived = Keepalived(
        tmp_path / "web", 'virtual_ips = "10.1.0.0-10.1.1.253"\nvip_groups = 255\nvrrp_id_offset = 0'
    )
    keepalived.track.write("web_VIP_77", FAULT)
    await keepalived.start()
    try:
        found = await request_dump(keepalived.pid, await dump_signal(), keepalived.files.dump)
        assert [instance.name for instance in found] == [f"web_VIP_{index}" for index in range(1, 256)]
        assert found[76].word == "FAULT"
    finally:
        await keepalived.stop()
        ip("address", "flush", "dev", "eth0", "to", "10.1.0.0/16")


async def test_the_dump_says_what_became_of_a_group(keepalived: Keepalived) -> None:
    number = await dump_signal()
    before = time.time()
    keepalived.track.write(FIRST, FAULT)
    keepalived.track.write(SECOND, -30)
    await keepalived.says(FIRST, "FAULT")
    await keepalived.says(SECOND, "MASTER_PRIORITY")
    first, second = await request_dump(keepalived.pid, number, keepalived.files.dump)
    assert first.word == "FAULT"
    assert before - 1 <= first.since_usec / 1e6 <= time.time() + 1
    assert (second.word, second.priority) == ("MASTER", 170)


async def test_the_dump_is_closed_to_others(keepalived: Keepalived) -> None:
    await request_dump(keepalived.pid, await dump_signal(), keepalived.files.dump)
    assert stat.S_IMODE(keepalived.files.dump.stat().st_mode) == 0o600


async def test_a_keepalived_that_was_killed_does_not_answer(keepalived: Keepalived) -> None:
    number = await dump_signal()
    (child,) = children(keepalived.pid)
    for pid in (keepalived.pid, child):
        os.kill(pid, signal.SIGKILL)
    await keepalived.launcher.stop()
    with pytest.raises(Failed, match="is gone"):
        await request_dump(keepalived.pid, number, keepalived.files.dump)


# ---------------------------------------------------------------- two nodes

UNICAST = "use_unicast = true\nunicast_peers = "


@pytest.mark.parametrize(
    "toml",
    [
        'virtual_ips = "10.1.0.1"',
        'virtual_ips = "10.1.0.1"\nvrrp_version = 2',
        'virtual_ips = "fd00::1:1"',
        f'virtual_ips = "10.1.0.1"\n{UNICAST} ["10.0.0.1", "10.0.0.2"]',
        f'virtual_ips = "fd00::1:1"\n{UNICAST} ["fd00::1", "fd00::2"]',
        f'virtual_ips = "fd00::1:1"\n{UNICAST} ["fe80::1", "fe80::2"]',
    ],
    ids=["IPv4", "version-2", "IPv6", "unicast", "IPv6-unicast", "IPv6-unicast-link-local"],
)
async def test_of_two_nodes_one_is_master_and_the_other_hears_it(toml: str, tmp_path: Path) -> None:
    with alone(), ExitStack() as stack:
        other = stack.enter_context(Namespace())
        other.connect("wire", 2)
        toml += '\npreemption = "preempt"'
        here = Here("eth0", tuple(map(ip_address, ("10.0.0.2", "fe80::2", "fd00::2"))))
        nodes = Keepalived(tmp_path / "one", toml), Keepalived(tmp_path / "two", toml, here)
        try:
            await nodes[0].start()
            with other.inside():
                await nodes[1].start()
            await until(lambda: sorted(each.state(FIRST) for each in nodes) == ["BACKUP", "MASTER"], "a master")
            await asyncio.sleep(1.0 if "version" not in toml else 3.9)  # longer than the master-down time
            assert sorted(each.state(FIRST) for each in nodes) == ["BACKUP", "MASTER"]
        finally:
            for each in nodes:
                await each.stop()
