"""A host that is no node has a virtual IP: found out at once, and never in a hand-over."""

from __future__ import annotations

import asyncio
import re
import signal

from orders import VIP, owner_and_others, run_all
from problem_watch import cleared, problem, raised, times_raised
from scenario import configure, each_on_one, group, listed, no_traceback, on_node, start, status, until

from ipfod.lab.lab import CLIENT_INTERFACE, Lab
from ipfod.lab.machine import Machine
from ipfod.lab.node import Node

DUPLICATE = "duplicate-vip"
OTHER = "192.168.3.11"
VIP6 = "fd03::10"


async def address(machine: Machine, verb: str, which: str, interface: str = CLIENT_INTERFACE) -> None:
    nodad = ["nodad"] if ":" in which and verb == "add" else []
    await machine.run(["ip", "address", verb, which, "dev", interface, *nodad], check=True)


async def hardware_address(machine: Machine, interface: str = CLIENT_INTERFACE) -> str:
    shown = await machine.run(["ip", "link", "show", "dev", interface], check=True)
    [found] = re.findall("link/ether ([0-9a-f:]{17})", shown.stdout)
    return str(found)


async def test_a_host_that_has_a_vip_is_named_when_a_node_becomes_master(pair: Lab) -> None:
    await address(pair.client, "add", f"{VIP}/32")
    await run_all(pair, vips=(VIP, OTHER))
    [owner] = await pair.holders(VIP)
    found = await raised(owner, DUPLICATE)
    assert found["object"] == VIP
    assert await hardware_address(pair.client) in found["text"]
    assert "until then clients may reach either" in found["hint"]
    since = (await group(owner, "web_VIP_1"))["since"]
    assert found["since"] - since <= 2_000_000  # 0.75 s on an idle machine
    await address(pair.client, "del", f"{VIP}/32")
    await cleared(owner, DUPLICATE)
    assert sum(times_raised(node, f"{DUPLICATE}: {OTHER}") for node in pair.nodes) == 0
    assert all(times_raised(node, DUPLICATE) <= 1 for node in pair.nodes)
    assert all(no_traceback(node.log()) for node in pair.nodes)


async def test_a_host_that_takes_a_vip_later_is_seen_in_its_traffic(pair: Lab) -> None:
    await run_all(pair)
    owner, [other] = await owner_and_others(pair)
    await asyncio.sleep(1.0)
    await address(pair.client, "add", f"{VIP}/32")
    elsewhere = other.own_addresses[0]
    await pair.client.run(["ping", "-c", "1", "-W", "1", "-I", VIP, str(elsewhere)])
    await raised(owner, DUPLICATE)
    assert not await problem(other, DUPLICATE)  # it is not for a backup to say
    await address(pair.client, "del", f"{VIP}/32")
    await cleared(owner, DUPLICATE)
    assert times_raised(owner, DUPLICATE) == 1


async def test_ipv6_likewise(pair: Lab) -> None:
    for node, number in zip(pair.nodes, (1, 2), strict=True):
        await address(node, "add", f"fd03::{number}/64", node.interface)
    await address(pair.client, "add", f"{VIP6}/64")
    configure(pair.nodes, f'virtual_ips = "{VIP6}"\nmonitor_port = 0\n')
    await start(pair.nodes)
    await each_on_one(pair, [VIP6])
    [owner] = await pair.holders(VIP6)
    found = await raised(owner, DUPLICATE)
    assert (found["object"], await hardware_address(pair.client) in found["text"]) == (VIP6, True)
    await address(pair.client, "del", f"{VIP6}/64")
    await cleared(owner, DUPLICATE)


async def test_a_backup_that_has_a_vip_all_the_same_is_reported_by_the_master(pair: Lab) -> None:
    await run_all(pair)
    owner, [other] = await owner_and_others(pair)
    await address(other, "add", f"{VIP}/24", other.interface)
    await other.run(["ping", "-c", "1", "-W", "1", "-I", VIP, str(owner.own_addresses[0])])
    found = await raised(owner, DUPLICATE)
    assert await hardware_address(other, other.interface) in found["text"]
    await address(other, "del", f"{VIP}/24", other.interface)
    await cleared(owner, DUPLICATE)


async def test_no_hand_over_and_no_crash_is_taken_for_a_duplicate(pair: Lab) -> None:
    vips = tuple(f"192.168.3.{last}" for last in range(10, 50))
    web = 'virtual_ips = "192.168.3.10-49"\nmonitor_port = 0\npreemption = "nopreempt"\n'
    configure(pair.nodes, web + listed(pair))
    await start(pair.nodes)
    await each_on_one(pair, vips)
    first, second = pair.nodes
    assert (await first.ipfoctl("maintenance", "on")).returncode == 0
    await on_node(pair, second, vips)
    assert (await first.ipfoctl("maintenance", "off")).returncode == 0
    assert (await second.ipfoctl("step-down", "web", "--hold", "1s")).returncode == 0
    await on_node(pair, first, vips)
    await asyncio.sleep(1.0)
    assert (await first.ipfoctl("step-down", "web", "--hold", "1s")).returncode == 0
    await on_node(pair, second, vips)
    await second.kill_ipfod(signal.SIGTERM)
    await on_node(pair, first, vips)
    await second.start_ipfod()
    await until(lambda: all_are(second, "backup"), what="the second node takes part")
    await first.kill("keepalived", signal.SIGKILL)
    await on_node(pair, second, vips)
    assert (await second.ipfoctl("maintenance", "on")).returncode == 0
    await asyncio.sleep(2.0)
    for node in pair.nodes:
        assert times_raised(node, DUPLICATE) == 0
        assert no_traceback(node.log())


async def all_are(node: Node, state: str) -> bool:
    [failover] = (await status(node))["failovers"]
    return {each["state"] for each in failover["groups"]} == {state}


async def test_another_interface_of_the_node_itself_is_no_other_host(single: Lab) -> None:
    """Linux answers for each of its addresses on each of its interfaces."""
    [node] = single.nodes
    for order in (
        ["ip", "link", "add", "second", "link", node.interface, "type", "macvlan", "mode", "bridge"],
        ["ip", "link", "set", "second", "up"],
    ):
        await node.run(order, check=True)
    assert await hardware_address(node, "second") != await hardware_address(node, node.interface)
    await run_all(single)
    await asyncio.sleep(1.5)
    await single.client.run(["ping", "-c", "2", "-W", "1", VIP])
    await asyncio.sleep(1.5)
    assert times_raised(node, DUPLICATE) == 0


async def test_a_flood_of_claims_is_bounded_and_ends(single: Lab) -> None:
    [node] = single.nodes
    await run_all(single)
    [owned] = (VIP,)
    sent = await single.client.run(
        ["/usr/bin/python3", "-c", FLOOD, CLIENT_INTERFACE, owned], check=True, timeout_s=60
    )
    assert int(sent.stdout) > 5000
    assert (await node.ipfoctl("status")).returncode in (0, 1)
    await cleared(node, DUPLICATE)
    assert no_traceback(node.log())


# For two seconds ARP packets of ever new stations that say they have the address.
FLOOD = """
import os, socket, sys, time
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
link.bind((sys.argv[1], 0))
address, sent, end = socket.inet_aton(sys.argv[2]), 0, time.monotonic() + 2
while time.monotonic() < end:
    mac = b"\\x02" + os.urandom(5)
    body = bytes.fromhex("0001080006040002") + mac + address + bytes(6) + address
    link.send(b"\\xff" * 6 + mac + b"\\x08\\x06" + body)
    sent += 1
print(sent)
"""
