"""The lab does what tests and benchmarks take for granted: nodes apart from each other and from the host."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

import pytest

from ipfod.errors import Failed
from ipfod.lab.lab import Lab
from ipfod.lab.machine import Machine
from ipfod.lab.node import Node
from ipfod.lab.program import children
from ipfod.lab.watch import AddressWatch

VIP = "192.168.3.10"
VIP6 = "fd00:1bf0:3::10"
FAR_VIP = "1.1.1.1"  # as in the documentation's example: in no network of the nodes

KEEPALIVED = """
global_defs {{
    vrrp_version 3
}}
vrrp_instance test {{
    state BACKUP
    interface eth0
    virtual_router_id 51
    priority {priority}
    advert_int 0.1
    virtual_ipaddress {{
        192.168.3.10/32
    }}
}}
"""


async def add(node: Machine, *addresses: str) -> None:
    for address in addresses:
        length = 128 if ":" in address else 32
        nodad = ["nodad"] if ":" in address else []
        await node.run(["ip", "address", "add", f"{address}/{length}", "dev", "eth0", *nodad], check=True)


async def delete(node: Machine, address: str) -> None:
    await node.run(["ip", "address", "del", f"{address}/32", "dev", "eth0"], check=True)


async def until(condition: Callable[[], bool], what: str, *, timeout_s: float = 10.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"not in {timeout_s} s: {what}"
        await asyncio.sleep(0.01)


def processes_with(marker: str) -> list[int]:
    """Processes of this machine whose environment or command line holds a text."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                if marker.encode() in (entry / name).read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def host_view() -> set[str]:
    """What could be a lab's on the host: interfaces, mounts, directories. Others may come and go meanwhile."""
    links = {name for _, name in socket.if_nameindex() if name.startswith(("to-", "br0"))}
    places = {
        f"{top}/{name}" for top in ("/run", "/etc", "/var/lib") for name in ("ipfod", "keepalived", "lab")
    }
    mounts = {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}
    return links | {place for place in places if Path(place).exists()} | {f"mount {m}" for m in mounts & places}


async def test_every_node_reaches_every_other_and_the_client_reaches_them_all(lab: Lab) -> None:
    for machine in (*lab.nodes, lab.client):
        for node in lab.nodes:
            for address in node.own_addresses:
                done = await machine.run(["ping", "-c1", "-W5", str(address)])
                assert done.returncode == 0, done.stdout


async def test_a_node_has_its_own_name_processes_interfaces_and_files(lab: Lab) -> None:
    one, other = lab.nodes[:2]
    assert (await one.run(["uname", "-n"])).stdout == "node1\n"
    assert (await other.run(["uname", "-n"])).stdout == "node2\n"
    links = json.loads((await one.run(["ip", "-json", "link"], check=True)).stdout)
    assert [link["ifname"] for link in links] == ["lo", "eth0"]
    assert sorted(path.name for path in one.inside("/sys/class/net").iterdir()) == ["eth0", "lo"]
    assert 1 < len((await one.run(["ps", "-e", "--no-headers"])).stdout.splitlines()) < 5
    for path in ("/etc/ipfod/web.toml", "/run/ipfod/x", "/var/lib/ipfod/state.json", "/etc/sysconfig/ipfod"):
        one.write(path, f"from {path}\n", mode=0o600)
        assert one.read(path) == f"from {path}\n"
        assert (await one.run(["stat", "-c", "%a", path])).stdout == "600\n"
        assert not other.inside(path).exists()
        assert not Path(path).exists() or Path(path).read_text() != f"from {path}\n"


async def test_busctl_and_gdbus_find_the_nodes_own_bus_at_the_default_address(lab: Lab) -> None:
    ids = set()
    for node in lab.nodes[:2]:
        assert "org.freedesktop.DBus" in (await node.bus("list")).stdout
        call = [
            "gdbus",
            "call",
            "--system",
            "-d",
            "org.freedesktop.DBus",
            "-o",
            "/",
            "-m",
            "org.freedesktop.DBus.GetId",
        ]
        ids.add((await node.run(call, check=True)).stdout)
    assert len(ids) == 2


async def test_the_packet_filter_drops_vrrp_until_a_rule_lets_it_in(pair: Lab) -> None:
    one, other = pair.nodes
    for node, priority in ((one, 200), (other, 100)):
        node.write("/etc/keepalived/lab.conf", KEEPALIVED.format(priority=priority))
        argv = [
            "keepalived",
            "-n",
            "-l",
            "-D",
            "-P",
            "-f",
            "/etc/keepalived/lab.conf",
            "-p",
            "/run/ka",
            "-r",
            "/run/ka-vrrp",
        ]
        await node.spawn(argv)
    async with AddressWatch(pair.nodes) as watch:
        vip = ip_address(VIP)
        assert await watch.until(lambda: watch.holders(vip) == {"node1", "node2"}, timeout_s=10)
        for node in pair.nodes:
            await node.run(["nft", "insert rule inet filter input meta l4proto vrrp accept"], check=True)
        assert await watch.until(lambda: watch.holders(vip) == {"node1"}, timeout_s=10)
        assert await pair.holders(VIP) == [one]
        assert watch.doubles(since=0, longer_than_s=0.0)
        settled = time.time()
        async with pair.meter([VIP]) as meter:
            await asyncio.sleep(0.2)
            assert len(await one.kill("keepalived", signal.SIGTERM)) == 2
            assert await watch.until(lambda: watch.holders(vip) == {"node2"}, timeout_s=10)
            await asyncio.sleep(0.2)
        # Priority 0 in the parting advert: the backup waits for (256 - 100) / 256 x 100 ms.
        assert 40 < meter.result().longest_ms < 500
        assert watch.doubles(since=settled, longer_than_s=0.05) == []


async def test_a_service_answers_until_it_is_stopped(pair: Lab) -> None:
    node = pair.nodes[0]
    connect = ["python3", "-c", "import socket, sys; socket.create_connection((sys.argv[1], 30060), 5).close()"]
    await node.start_service(30060)
    for address in node.own_addresses:
        for machine in (node, pair.client):
            assert (await machine.run([*connect, str(address)])).returncode == 0
    await node.stop_service(30060)
    done = await node.run([*connect, str(node.own_addresses[0])])
    assert "ConnectionRefusedError" in done.stderr
    await node.start_service(30060)
    assert (await pair.client.run([*connect, str(node.own_addresses[0])])).returncode == 0


async def test_unplugging_takes_the_carrier_and_plugging_gives_it_back(pair: Lab) -> None:
    node = pair.nodes[0]
    carrier = ["cat", "/sys/class/net/eth0/carrier"]
    await node.unplug()
    assert (await node.run(carrier)).stdout == "0\n"
    await node.plug()
    assert (await node.run(carrier)).stdout == "1\n"
    assert (await pair.client.run(["ping", "-c1", "-W5", str(node.own_addresses[0])])).returncode == 0


async def test_a_power_cut_ends_everything_on_the_node_at_once(pair: Lab) -> None:
    node = pair.nodes[0]
    await add(node, VIP)
    program = await node.spawn(["sh", "-c", "echo here; (sleep 1000 &) ; exec sleep 1000"])
    await until(lambda: program.output() == "here\n", "output of the program")
    pid = await program.pid()
    assert await pair.holders(VIP) == [node]
    await node.power_cut()
    assert not Path(f"/proc/{pid}").exists()
    assert await program.wait() == -signal.SIGKILL
    assert program.output() == "here\n"
    assert await pair.holders(VIP) == []
    with pytest.raises(Failed, match=r"node1: cannot run true: the machine is off"):
        await node.run(["true"])


async def test_a_node_can_join_later(pair: Lab) -> None:
    started = time.monotonic()
    node = await pair.add_node()
    assert time.monotonic() - started < 5
    assert node.name == "node3"
    assert len({address for each in pair.nodes for address in each.own_addresses}) == 6
    assert (await pair.nodes[0].run(["ping", "-c1", "-W5", str(node.own_addresses[0])])).returncode == 0


async def test_only_virtual_ips_count_as_addresses(pair: Lab) -> None:
    node = pair.nodes[0]
    assert await node.addresses() == set()
    await add(node, VIP, VIP6, FAR_VIP)
    assert await node.addresses() == {ip_address(VIP), ip_address(VIP6), ip_address(FAR_VIP)}


async def test_the_meter_measures_each_gap_of_each_address(pair: Lab) -> None:
    node = pair.nodes[0]
    await add(node, VIP, VIP6, FAR_VIP)
    gaps = []
    async with pair.meter([VIP, VIP6, FAR_VIP], interval_ms=2) as meter:
        await asyncio.sleep(0.2)
        for seconds in (0.1, 0.3):
            start = time.time()
            await delete(node, VIP)
            await asyncio.sleep(seconds)
            await add(node, VIP)
            gaps.append((start, seconds * 1000, (time.time() - start) * 1000))
            await asyncio.sleep(0.2)
    result = meter.result()
    measured = result.echoes[VIP]
    assert len(measured.gaps) == len(gaps)
    for gap, (start, least, most) in zip(measured.gaps, gaps, strict=True):
        assert least - 5 <= gap.ms <= most + 20 + result.late_ms
        assert abs(gap.start - start) < 0.2
        assert not gap.open
    assert measured.longest_ms == max(gap.ms for gap in measured.gaps) == result.longest_ms
    assert measured.sent - measured.received == sum(gap.lost for gap in measured.gaps) == result.lost
    for quiet in (VIP6, FAR_VIP):
        assert result.echoes[quiet].gaps == ()
        assert result.echoes[quiet].received == result.echoes[quiet].sent > 100


async def test_the_meter_says_when_an_address_never_came_back(pair: Lab) -> None:
    async with pair.meter([VIP], interval_ms=5) as meter:
        await asyncio.sleep(0.1)
    (gap,) = meter.result().echoes[VIP].gaps
    assert gap.open
    assert gap.lost == meter.result().echoes[VIP].sent > 1
    with pytest.raises(Failed, match="no result"):
        pair.meter([VIP]).result()


async def test_the_watch_sees_two_holders_and_forgets_a_node_without_power(pair: Lab) -> None:
    one, other = pair.nodes
    vip = ip_address(VIP)
    await add(one, VIP)
    async with AddressWatch(pair.nodes) as watch:
        assert watch.holders(vip) == {"node1"}
        start = time.time()
        await add(other, VIP)
        # Each node's `ip monitor` stamps what it sees; on a busy machine one may lag behind the other.
        assert await watch.until(lambda: watch.holders(vip) == {"node1", "node2"}, timeout_s=10)
        await delete(one, VIP)
        assert await watch.until(lambda: watch.holders(vip) == {"node2"}, timeout_s=10)
        ((address, first, second, seconds),) = watch.doubles(since=start, longer_than_s=0.0)
        assert (address, {first, second}) == (vip, {"node1", "node2"})
        assert 0 < seconds < 5
        assert watch.doubles(since=time.time(), longer_than_s=0.0) == []
        await other.power_cut()
        assert await watch.until(lambda: not watch.holders(vip), timeout_s=10)


async def test_a_program_that_hangs_is_killed_and_one_that_fails_is_quoted(pair: Lab) -> None:
    node = pair.nodes[0]
    with pytest.raises(TimeoutError):
        await node.run(["sleep", "1000"], timeout_s=0.1)
    assert node.processes("sleep") == []
    with pytest.raises(Failed, match=r"node1: ls /nowhere: exit code 2: .*No such file"):
        await node.run(["ls", "/nowhere"], check=True)
    done = await node.run(["cat"], stdin="to standard input")
    assert (done.returncode, done.stdout) == (0, "to standard input")


async def test_a_daemon_that_does_not_get_ready_is_reported_with_its_log(pair: Lab) -> None:
    node: Node = pair.nodes[0]
    with pytest.raises(Failed, match=r"node1: ipfod ended: .*"):
        await node.start_ipfod("--no-such-option")


async def test_files_are_not_reached_over_symbolic_links(pair: Lab) -> None:
    node = pair.nodes[0]
    await node.run(["ln", "-s", "/etc", "/run/link"], check=True)
    with pytest.raises(ValueError, match="symbolic link"):
        node.write("/run/link/ipfod-lab-test", "would be on the host")


async def test_nothing_is_left_behind_after_an_error() -> None:
    before = host_view()
    pids = []

    async def use_it_badly() -> None:
        async with Lab(nodes=1) as lab:
            node = lab.nodes[0]
            pids.extend([pid for machine in (node, lab.client, lab.switch) if (pid := machine.pid) is not None])
            await node.spawn(["sleep", "1000"])
            node.write("/etc/ipfod/web.toml", "x")
            raise RuntimeError("in the test")

    with pytest.raises(RuntimeError, match="in the test"):
        await use_it_badly()
    assert host_view() == before
    assert len(pids) == 3
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []


@pytest.mark.parametrize("milliseconds", range(0, 400, 20))
async def test_a_lab_that_is_cancelled_at_any_moment_comes_to_an_end(milliseconds: int) -> None:
    async def use_it() -> None:
        async with Lab(nodes=2) as lab, AddressWatch(lab.nodes), lab.meter([VIP]):
            await lab.nodes[0].spawn(["sleep", "1000"])
            await asyncio.sleep(1000)

    task = asyncio.create_task(use_it())
    await asyncio.sleep(milliseconds / 1000)
    task.cancel()
    async with asyncio.timeout(20):
        with pytest.raises(asyncio.CancelledError):
            await task
    assert children(os.getpid()) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
async def test_nothing_is_left_behind_when_the_lab_is_killed(number: signal.Signals) -> None:
    before = host_view()
    marker = f"ipfod-lab-test-{os.getpid()}-{number.name}"
    script = """
import asyncio, sys
from ipfod.lab.lab import Lab
async def main():
    async with Lab(nodes=2) as lab:
        for node in lab.nodes:
            await node.spawn(["sh", "-c", "(sleep 1000 &) ; exec sleep 1000", sys.argv[1]])
        print("up", flush=True)
        await asyncio.sleep(1000)
asyncio.run(main())
"""
    argv = [sys.executable, "-c", script, marker]
    process = await asyncio.create_subprocess_exec(*argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"up\n"
    try:
        await until(lambda: len(processes_with(marker)) > 2, "the processes on the nodes")
        process.send_signal(number)
    except BaseException:
        process.kill()
        raise
    finally:
        await process.communicate()
    await until(lambda: processes_with(marker) == [], "end of all processes")
    assert host_view() == before


async def test_users_addresses_and_interface_are_taken_as_they_are() -> None:
    listed = ["10.20.30.7", "10.20.30.9"]
    async with Lab(nodes=3, interface="br-ex", virtual_ips=["10.20.30.101"], node_addresses=listed) as lab:
        first = [str(node.own_addresses[0]) for node in lab.nodes]
        assert first[:2] == listed
        assert first[2] not in ("10.20.30.101", *listed)
        assert lab.nodes[0].interface == "br-ex"
        await lab.nodes[1].run(["ip", "address", "add", "10.20.30.101/32", "dev", "br-ex"], check=True)
        assert await lab.holders("10.20.30.101") == [lab.nodes[1]]
        async with lab.meter(["10.20.30.101"]) as meter:
            await asyncio.sleep(0.1)
        assert meter.result().lost == 0
