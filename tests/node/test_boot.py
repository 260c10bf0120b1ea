"""Booted nodes are what tests of the installed ipfod take them for, and nothing is left of them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipfod.errors import Failed
from ipfod.lab.machine import Machine
from node.booted import BootedNode
from node.booted_lab import BootedLab
from node.cache import CACHE
from node.control_group import PREFIX

BOOT_MAX_S = 60.0
VIP = "192.168.3.10"
POLKIT = "org.freedesktop.PolicyKit1"
FAILING_UNIT = "[Service]\nType=oneshot\nExecStart=/bin/false\n[Install]\nWantedBy=multi-user.target\n"
SPEC = """
Name: sample
Version: {version}
Release: 1
Summary: A package
License: none
BuildArch: noarch
%description
A package.
%files
%post
echo "$1" >/root/scriptlet
"""
# Boots a node, says where to find it, and waits to be killed.
VICTIM = """
import asyncio, sys
from node.booted_lab import BootedLab
from node.cache import CACHE
from node.control_group import PREFIX
from node.image import image

async def main():
    async with BootedLab(image=image(), nodes=1) as lab:
        print(lab.booted[0].pid, lab.switch.pid, flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


async def reaches(machine: Machine, node: BootedNode) -> bool:
    """Whether one echo request to each address of a node is answered."""
    pings = [machine.run(["ping", "-c1", "-W2", str(address)]) for address in node.own_addresses]
    return all(ping.returncode == 0 for ping in await asyncio.gather(*pings))


async def add_vip(node: BootedNode) -> None:
    await node.run(["ip", "address", "add", f"{VIP}/32", "dev", node.interface], check=True)


def mounts() -> list[str]:
    """What booted nodes have mounted on this machine, outside of their own mount namespaces: nothing, ever."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if str(CACHE) in line or "/run/lab" in line]


def control_groups(pid: int) -> set[str]:
    """The control groups of the nodes that a process has booted."""
    walk = os.walk("/sys/fs/cgroup")  # unlike glob, it takes it that directories vanish
    return {f"{top}/{name}" for top, names, _ in walk for name in names if name.startswith(f"{PREFIX}{pid}-")}


def namespaces(pid: int) -> set[str]:
    """The namespaces that a process has for itself."""
    kinds = ("mnt", "net", "pid", "uts", "ipc")
    links = {kind: os.readlink(f"/proc/{pid}/ns/{kind}") for kind in kinds}
    return {link for kind, link in links.items() if link != os.readlink(f"/proc/self/ns/{kind}")}


def inhabitants(spaces: set[str]) -> Iterator[str]:
    """Names of the processes that are in one of these namespaces."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if spaces & {os.readlink(link) for link in (process / "ns").iterdir()}:
                yield (process / "comm").read_text().strip()
        except OSError:  # it ended meanwhile
            continue


async def until_gone(spaces: set[str], pid: int) -> None:
    """Wait until no process is in these namespaces, and nothing is left of a process's nodes."""
    end = time.monotonic() + 20
    while left := [*inhabitants(spaces), *control_groups(pid)]:
        assert time.monotonic() < end, f"left: {left}"
        await asyncio.sleep(0.05)


# ---------------------------------------------------------------- what a node is


async def test_two_nodes_boot_side_by_side_and_no_unit_fails(nodes: BootedLab) -> None:
    started = time.monotonic()
    assert await asyncio.gather(*(node.reboot() for node in nodes.booted)) == ["running", "running"]
    assert time.monotonic() - started < BOOT_MAX_S
    assert [await node.failed_units() for node in nodes.booted] == [[], []]


async def test_nodes_and_client_reach_each_other_through_the_switch_alone(nodes: BootedLab) -> None:
    one, other = nodes.booted
    for machine, node in ((one, other), (other, one), (nodes.client, one), (nodes.client, other)):
        assert await reaches(machine, node)
    for node in nodes.booted:
        links = json.loads((await node.run(["ip", "-json", "link"], check=True)).stdout)
        assert [link["ifname"] for link in links] == ["lo", "eth0"]
        assert "default" not in (await node.run(["ip", "route"], check=True)).stdout
        assert (await node.run(["uname", "-n"])).stdout == f"{node.name}\n"


async def test_the_system_bus_answers_and_polkit_is_activated_on_demand(nodes: BootedLab) -> None:
    for node in nodes.booted:
        listing = (await node.run(["busctl", "list", "--no-legend"], check=True)).stdout
        names = {line.split()[0] for line in listing.splitlines()}
        assert {"org.freedesktop.systemd1", "org.freedesktop.login1", POLKIT} <= names
        call = ["call", POLKIT, "/org/freedesktop/PolicyKit1/Authority", f"{POLKIT}.Authority"]
        actions = await node.run(["busctl", *call, "EnumerateActions", "s", ""], check=True)
        assert "org.freedesktop.systemd1.manage-units" in actions.stdout
        assert (await node.properties("polkit.service", "ActiveState"))["ActiveState"] == "active"


async def test_an_ordinary_user_may_read_but_not_change(nodes: BootedLab) -> None:
    node = nodes.booted[0]
    assert (await node.run(["id", "-un"], user="user", check=True)).stdout == "user\n"
    assert (await node.run(["systemctl", "is-active", "dbus.service"], user="user")).stdout == "active\n"
    refused = await node.run(["systemctl", "--no-ask-password", "restart", "nftables.service"], user="user")
    assert refused.returncode != 0
    assert "uthentication" in refused.stderr


async def test_the_distributions_keepalived_is_installed_and_off(nodes: BootedLab) -> None:
    for node in nodes.booted:
        shown = await node.properties("keepalived.service", "LoadState", "UnitFileState", "ActiveState")
        assert shown == {"LoadState": "loaded", "UnitFileState": "disabled", "ActiveState": "inactive"}


async def test_the_packet_filter_is_loaded_at_boot_and_drops_what_is_not_named(nodes: BootedLab) -> None:
    one, other = nodes.booted
    rules = (await one.run(["nft", "list", "chain", "inet", "filter", "input"], check=True)).stdout
    assert "policy drop" in rules
    connect = ["python3", "-c", "import socket, sys; socket.create_connection((sys.argv[1], 8099), 2).close()"]
    address = str(one.own_addresses[0])
    assert "TimeoutError" in (await other.run([*connect, address])).stderr
    await one.start_service(8099)
    assert (await other.run([*connect, address])).returncode == 0
    await one.stop_service(8099)
    assert "ConnectionRefusedError" in (await other.run([*connect, address])).stderr


async def test_files_are_the_nodes_own_and_binary_files_arrive_whole(nodes: BootedLab, tmp_path: Path) -> None:
    one, other = nodes.booted
    one.write("/etc/ipfod/web.toml", "here\n", mode=0o600)
    assert (await one.run(["stat", "-c", "%a %U", "/etc/ipfod/web.toml"])).stdout == "600 root\n"
    assert not other.inside("/etc/ipfod/web.toml").exists()
    (tmp_path / "bytes").write_bytes(bytes(range(256)))
    one.put(tmp_path / "bytes", "/root/bytes")
    assert one.inside("/root/bytes").read_bytes() == bytes(range(256))


async def test_an_rpm_is_installed_and_upgraded_with_its_scriptlets(nodes: BootedLab, tmp_path: Path) -> None:
    node = nodes.booted[0]
    for version, argument in (("1", "1"), ("2", "2")):  # %post's: how many instances there will be
        spec = tmp_path / "sample.spec"
        spec.write_text(SPEC.format(version=version))
        argv = ["rpmbuild", "-bb", "--quiet", "--define", f"_topdir {tmp_path}", str(spec)]
        await asyncio.to_thread(subprocess.run, argv, check=True, capture_output=True, timeout=60)
        package = tmp_path / f"RPMS/noarch/sample-{version}-1.noarch.rpm"
        await node.install_rpm(package, upgrade=version == "2")
        assert node.read("/root/scriptlet") == f"{argument}\n"
        assert (await node.run(["rpm", "-q", "sample"])).stdout == f"sample-{version}-1.noarch\n"
    with pytest.raises(Failed, match=r"node1: rpm -i .*sample-2-1.noarch is already installed"):
        await node.install_rpm(tmp_path / "RPMS/noarch/sample-2-1.noarch.rpm")


# ---------------------------------------------------------------- power


async def test_a_reboot_keeps_files_and_journal_and_takes_addresses_and_rules(nodes: BootedLab) -> None:
    node = nodes.booted[0]
    node.write("/root/kept", "kept\n")
    await node.run(["logger", "--tag=sample", "before the reboot"], check=True)
    await node.run(["nft", "add", "table", "inet", "by-hand"], check=True)
    await add_vip(node)
    assert await nodes.holders(VIP) == [node]
    assert await node.reboot() == "running"
    assert await node.addresses() == set()
    assert "by-hand" not in (await node.run(["nft", "list", "tables"], check=True)).stdout
    assert node.read("/root/kept") == "kept\n"
    assert "before the reboot" not in await node.journal()
    before = await node.journal(boot=-1)
    assert "before the reboot" in before
    assert "Reached target shutdown.target" in before
    assert await reaches(nodes.client, node)


async def test_a_power_cut_ends_everything_at_once_and_the_other_node_stays(nodes: BootedLab) -> None:
    node, other = nodes.booted
    await add_vip(node)
    addresses = [VIP, str(other.own_addresses[0])]
    async with nodes.meter(addresses) as meter:
        await asyncio.sleep(0.3)
        await node.power_cut()
        assert await nodes.holders(VIP) == []
        with pytest.raises(Failed, match=r"node1: cannot run true: the machine is off"):
            await node.run(["true"])
        assert not await reaches(other, node)
    lost, kept = (meter.result().echoes[address] for address in addresses)
    assert [gap.open for gap in lost.gaps] == [True]
    assert kept.gaps == ()
    assert await node.power_on() == "running"
    assert "Reached target shutdown.target" not in await node.journal(boot=-1)
    assert await reaches(other, node)


async def test_a_node_shuts_down_in_good_order_and_stays_off(nodes: BootedLab) -> None:
    node, other = nodes.booted
    await node.poweroff()
    assert not await reaches(other, node)
    with pytest.raises(Failed, match=r"node1: cannot reboot: the machine is off"):
        await node.reboot()
    assert await node.power_on() == "running"
    assert "Reached target shutdown.target" in await node.journal(boot=-1)


async def test_a_unit_that_fails_at_boot_is_named(nodes: BootedLab) -> None:
    node = nodes.booted[1]
    node.write("/etc/systemd/system/sample.service", FAILING_UNIT)
    await node.systemctl("enable", "sample.service", check=True)
    try:
        assert await node.reboot() == "degraded"
        assert await node.failed_units() == ["sample.service"]
        assert "sample.service: Failed with result 'exit-code'." in await node.journal("sample.service")
    finally:
        await node.systemctl("disable", "sample.service", check=True)
        assert await node.reboot() == "running"


# ---------------------------------------------------------------- the end


async def test_nothing_is_left_of_a_node_that_was_taken_down(node_image: Path) -> None:
    groups = control_groups(os.getpid())
    async with BootedLab(image=node_image, nodes=1) as lab:
        [node] = lab.booted
        assert node.pid is not None
        assert lab.switch.pid is not None
        spaces = namespaces(node.pid) | namespaces(lab.switch.pid)
        assert len(spaces) == 10
        assert "systemd-journal" in inhabitants(spaces)
        assert len(control_groups(os.getpid()) - groups) == 1
        assert mounts() == []
    assert list(inhabitants(spaces)) == []
    assert control_groups(os.getpid()) == groups


async def test_a_node_that_does_not_boot_says_so_and_leaves_nothing(node_image: Path) -> None:
    groups = control_groups(os.getpid())
    with pytest.raises(Failed, match="systemd does not start"):
        async with BootedLab(image=node_image / "etc", nodes=1):
            pass
    assert control_groups(os.getpid()) == groups


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
async def test_nothing_is_left_when_the_test_run_itself_is_killed(
    node_image: Path, number: signal.Signals
) -> None:
    path = os.pathsep.join([str(Path(__file__).parents[1]), str(Path(__file__).parents[2])])
    victim = await asyncio.create_subprocess_exec(
        *[sys.executable, "-c", VICTIM],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    )
    try:
        assert victim.stdout is not None
        line = await asyncio.wait_for(victim.stdout.readline(), BOOT_MAX_S)
        node, switch = map(int, line.split())
        spaces = namespaces(node) | namespaces(switch)
        assert len(control_groups(victim.pid)) == 1
    finally:
        victim.send_signal(number)
        _, stderr = await victim.communicate()
    assert (number == signal.SIGINT) == ("KeyboardInterrupt" in stderr.decode()), stderr.decode()
    await until_gone(spaces, victim.pid)
