"""What a fresh reader of the daemon found: ends that overlap, a cleaned /run, a restart amid a conflict."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import alone
from scenario import PORT, configure, each_on_one, keepalived_pids, on_node, problems, start, until

from ipfod.host.netlink import Netlink
from ipfod.host.processes import children
from ipfod.host.run import run
from ipfod.keepalived.files import KeepalivedFiles
from ipfod.keepalived.launcher import PlainLauncher, dump_signal
from ipfod.lab.lab import Lab
from ipfod.node.events import Event, KeepalivedChanged
from ipfod.node.model import GroupStatus, KeepalivedState, State
from ipfod.plan.model import FailoverPlan
from ipfod.supervise.failover import Supervisor
from ipfod.supervise.ledger import Ledger
from ipfod.supervise.rivals import RivalWatch
from ipfod.supervise.surroundings import Surroundings

VIPS = ("192.168.3.10", "192.168.3.11")
WEB = 'virtual_ips = "192.168.3.10-11"\nvip_groups = 1\nmonitor_port = 0\n'


async def test_a_reload_that_comes_while_ipfod_stops_starts_nothing(pair: Lab) -> None:
    node = pair.nodes[0]
    configure([node], WEB)
    await start([node])
    await each_on_one(pair, VIPS)
    ending = asyncio.create_task(node.kill_ipfod(signal.SIGTERM))
    await until(lambda: _says(pair, "keepalived ended in order"), what="keepalived's end begins")
    assert node.ipfod is not None
    await node.ipfod.signal(signal.SIGHUP)
    assert await ending == 0
    assert not await keepalived_pids(node)
    assert not await node.addresses()


async def _says(lab: Lab, text: str) -> bool:
    return text in lab.nodes[0].log()


async def test_after_a_restart_too_a_new_file_cannot_take_vips_from_one_that_runs(pair: Lab) -> None:
    first, second = pair.nodes
    configure(pair.nodes, WEB)
    await start([second])
    await on_node(pair, second, VIPS)
    await start([first])
    new = WEB.replace("10-11", "11-12") + "vrrp_id_offset = 20\n"
    configure([first], new, name="app.toml")  # its file comes before web.toml
    assert (await first.ipfoctl("reload")).returncode == 1
    await first.kill_ipfod(signal.SIGKILL)
    await first.start_ipfod()
    await asyncio.sleep(2.0)  # a second keepalived would be master by then
    assert await pair.holders(VIPS[1]) == [second]
    assert len(await keepalived_pids(first)) == 2
    assert "app.toml" in (await problems(first))["configuration-invalid"]


async def test_a_keepalived_that_dies_after_its_directory_is_started_again(pair: Lab) -> None:
    node = pair.nodes[0]
    configure([node], WEB)
    await start([node])
    await each_on_one(pair, VIPS)
    await node.run(["rm", "-r", "/run/ipfod/web"], check=True)
    await node.run(["kill", "-KILL", *map(str, await keepalived_pids(node))], check=True)
    await until(lambda: _runs(pair), what="another keepalived")
    await each_on_one(pair, VIPS)
    await until(lambda: _is_master(pair), what="its notifications")
    assert not await problems(node)


async def _runs(lab: Lab) -> bool:
    return len(await keepalived_pids(lab.nodes[0])) == 2


async def _is_master(lab: Lab) -> bool:
    return lab.nodes[0].log().count("-> master") == 2


async def test_checks_that_are_no_longer_made_are_no_problem(pair: Lab) -> None:
    node = pair.nodes[0]
    configure([node], WEB.replace("monitor_port = 0", f"monitor_port = {PORT}"))
    await start([node])
    assert "check-failing" in await problems(node)
    configure([node], WEB)
    assert (await node.ipfoctl("reload")).returncode == 0
    await each_on_one(pair, VIPS)
    assert not await problems(node)


async def test_a_track_file_that_could_not_be_written_is_written_as_soon_as_it_can_be(pair: Lab) -> None:
    node = pair.nodes[0]
    configure([node], WEB.replace("monitor_port = 0", f"monitor_port = {PORT}\ncheck_interval = 0.5"))
    await start([node], port=PORT)
    await each_on_one(pair, VIPS)
    await node.run(["sh", "-c", "cd /run/ipfod/web && mv track away && touch track"], check=True)
    await node.stop_service(PORT)
    await until(lambda: _says(pair, "/run/ipfod/web/track"), what="a word about the file")
    await node.run(["sh", "-c", "cd /run/ipfod/web && rm track && mv away track"], check=True)
    await until(lambda: _says(pair, "master -> fault"), what="FAULT")
    assert "Traceback" not in node.log()


async def test_a_directory_that_a_notify_script_left_is_in_no_ones_way(pair: Lab) -> None:
    node = pair.nodes[0]
    configure([node], WEB)
    await start([node])
    await each_on_one(pair, VIPS)
    await node.run(["mkdir", "/run/ipfod/web/tmp.1"], check=True)  # $TMPDIR of notify scripts
    assert await node.kill_ipfod(signal.SIGTERM) == 0
    assert not node.inside("/run/ipfod/web").exists()


async def test_one_failover_whose_directory_cannot_be_made_stops_no_other(pair: Lab) -> None:
    node = pair.nodes[0]
    configure([node], WEB)
    configure([node], WEB.replace("10-11", "12") + "vrrp_id_offset = 20\n", name="app.toml")
    node.write("/run/ipfod/app", "")
    await start([node])
    await each_on_one(pair, VIPS)
    assert "/run/ipfod/app: File exists" in (await problems(node))["configuration-invalid"]


TWO = 'virtual_ips = "10.0.0.10-11"\nvip_groups = 1\nmonitor_port = 0\n'


@asynccontextmanager
async def supervised(
    directory: Path, events: list[Event], launcher: type[PlainLauncher], known: FailoverPlan
) -> AsyncIterator[KeepalivedFiles]:
    """A failover that runs by itself, on a node that knows another plan of it; its keepalived is master."""
    with alone.alone():
        netlink = Netlink()
        await netlink.open()
        files = alone.prepared(directory / "web")
        surroundings = Surroundings(
            netlink=netlink,
            emit=events.append,
            groups={each.key: GroupStatus(each, State.MASTER, "", 0) for each in known.groups},
            ledger=Ledger(events.append, directory / "state.json", directory / "boot"),
            launcher=lambda _, files: launcher(files),
            run_script=run,
            load_module=None,
            rivals=RivalWatch({}, events.append, lambda _: None),
            addresses_seen=lambda _: None,
            catch_up=lambda: None,
            dump_signal=await dump_signal(),
        )
        supervisor = Supervisor(alone.plan(TWO), files, surroundings)
        await supervisor.start()
        await alone.until(lambda: len(alone.held()) == 2, "VIPs on the interface")
        yield files
        await supervisor.stop("the test is over")
        await netlink.close()


def _kill(files: KeepalivedFiles) -> None:
    parent = int(files.pid.read_text())
    for pid in (parent, *children(parent)):
        os.kill(pid, signal.SIGKILL)


def _told(events: list[Event], state: KeepalivedState) -> list[str]:
    return [e.text for e in events if isinstance(e, KeepalivedChanged) and e.state is state]


async def test_a_keepalived_that_dies_before_it_has_the_new_ids_is_started_again(tmp_path: Path) -> None:
    """The node knows a new plan a moment before keepalived does, and says by it what it was master of."""
    events: list[Event] = []
    known = alone.plan(TWO + "vrrp_id_offset = 20\n")
    async with supervised(tmp_path, events, PlainLauncher, known) as files:
        _kill(files)
        await alone.until(lambda: len(_told(events, KeepalivedState.RUNNING)) == 2, "another keepalived")


class FaultyOnce(PlainLauncher):
    """Has a bug, of the kind that nobody has thought of."""

    faults = 0

    async def running(self) -> int:
        if FaultyOnce.faults:
            FaultyOnce.faults -= 1
            raise ZeroDivisionError
        return await super().running()


async def test_a_bug_does_not_leave_a_failover_without_its_keeper(tmp_path: Path) -> None:
    events: list[Event] = []
    async with supervised(tmp_path, events, FaultyOnce, alone.plan(TWO)) as files:
        FaultyOnce.faults = 1
        _kill(files)
        await alone.until(lambda: len(_told(events, KeepalivedState.RUNNING)) == 2, "another keepalived")
    assert "web: internal error" in _told(events, KeepalivedState.FAILED)


async def test_a_vip_leaves_though_keepalived_dies_in_the_reload_that_removes_it(pair: Lab) -> None:
    node = pair.nodes[0]
    text = 'virtual_ips = "192.168.3.10-12"\nmonitor_port = 0\nvip_groups = 1\n'
    configure([node], text)
    await start([node])
    await each_on_one(pair, ["192.168.3.12"])
    pids = await keepalived_pids(node)
    configure([node], text.replace("10-12", "10-11"))
    rendered = node.inside("/run/ipfod/web/keepalived.conf")
    reload = asyncio.create_task(node.ipfoctl("reload"))
    while "192.168.3.12" in rendered.read_text():
        await asyncio.sleep(0.0005)
    await node.run(["kill", "-KILL", *map(str, reversed(pids))], check=True)
    assert (await reload).returncode == 0
    assert not await pair.holders("192.168.3.12")
    await each_on_one(pair, ["192.168.3.10", "192.168.3.11"])


async def test_an_update_that_cannot_be_put_in_force_is_said_and_tried_again(pair: Lab) -> None:
    node = pair.nodes[0]
    configure([node], WEB)
    await start([node])
    await on_node(pair, node, VIPS)
    await node.run(["mkdir", "/run/ipfod/web/.release.tmp"], check=True)
    configure([node], WEB.replace("10-11", "10-12"))
    refused = await node.ipfoctl("reload")
    assert refused.returncode == 1
    assert "web: its new configuration is not in force" in refused.stderr
    assert "not in force" in (await problems(node))["keepalived-failed"]
    await on_node(pair, node, VIPS)
    await node.run(["rmdir", "/run/ipfod/web/.release.tmp"], check=True)
    assert (await node.ipfoctl("reload")).returncode == 0
    await on_node(pair, node, (*VIPS, "192.168.3.12"))
    assert not await problems(node)
