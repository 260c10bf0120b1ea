"""Adverts that the packet filter drops: the problem that says so, and where, while two nodes are master."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

import pytest
from scenario import configure, group, on_node, problems, start, status, until

from ipfod.lab.lab import Lab
from ipfod.lab.node import Node

VIPS = ("192.168.3.10", "fd00:9::10")
GROUPS = ("web_VIP_1", "web_VIP_2")
# Contract: 3 advert intervals of 0.1 s, and a second for all of it. Tests allow for a machine that is busy.
TOLD_S = 1.0
CODE = "firewall-blocking"


def text(lab: Lab, *, unicast: bool, more: str = "") -> str:
    peers = ", ".join(f'"{address}"' for node in lab.nodes for address in node.own_addresses)
    how = f"use_unicast = true\nunicast_peers = [{peers}]\n" if unicast else ""
    return (
        'virtual_ips = "192.168.3.10, fd00:9::10"\nmonitor_port = 0\npreemption = "preempt"\n'
        f"priority = PRIORITY\n{how}{more}"
    )


async def run_on_both(lab: Lab, *, unicast: bool, more: Sequence[str] = ("", "")) -> tuple[Node, Node]:
    """The first node is master of both groups, and the other one is not."""
    first, second = lab.nodes
    for node, priority, own in zip(lab.nodes, (254, 244), more, strict=True):
        configure([node], text(lab, unicast=unicast, more=own).replace("PRIORITY", str(priority)))
    await start(lab.nodes)
    await on_node(lab, first, VIPS)
    assert await problems(second) == {}
    return first, second


async def drop(node: Node, hook: str, rule: str = "meta l4proto 112 drop") -> None:
    table = f"table inet extra {{ chain shut {{ type filter hook {hook} priority 5; {rule}; }}; }}"
    await node.run(["nft", "-f", "-"], stdin=table, check=True)


async def admit(node: Node) -> None:
    await node.run(["nft", "delete", "table", "inet", "extra"], check=True)


async def told(node: Node, *parts: str) -> bool:
    """Whether the problem is there and names all of these."""
    said = (await problems(node)).get(CODE, "")
    return bool(said) and all(part in said for part in parts)


async def well(node: Node) -> bool:
    return CODE not in await problems(node)


async def seconds_until_told(node: Node) -> float:
    """From the moment that the node became master of both groups to that when the problem was raised."""
    since = [(await group(node, name))["since"] for name in GROUPS]
    [problem] = [each for each in (await status(node))["problems"] if each["code"] == CODE]
    return float(problem["since"] - max(since)) / 1e6


@pytest.mark.parametrize("unicast", [False, True], ids=["multicast", "unicast"])
async def test_adverts_dropped_on_their_way_in_are_told_by_the_node_that_drops_them(
    pair: Lab, unicast: bool
) -> None:
    first, second = await run_on_both(pair, unicast=unicast)
    await drop(second, "input")
    where = "chain inet extra shut drops them"
    for family in ("IPv4", "IPv6"):
        await until(partial(told, second, where, f"{family} adverts of other nodes"), what=f"{family} is told")
    took_s = await seconds_until_told(second)
    print("MEASURED", took_s)
    assert took_s <= TOLD_S
    assert await well(first)
    assert [len(await pair.holders(vip)) for vip in VIPS] == [2, 2]
    await admit(second)
    await on_node(pair, first, VIPS)
    await until(partial(well, second), what="the problem is over")


async def test_the_better_node_that_hears_nobody_says_so_too(pair: Lab) -> None:
    first, second = await run_on_both(pair, unicast=False)
    for node in pair.nodes:
        await drop(node, "prerouting")
        await until(partial(well, node), what="nothing yet")
    for node in pair.nodes:
        await until(partial(told, node, "chain inet extra shut drops them"), what=f"{node.name} tells")
    for node in (second, first):
        await admit(node)
    await on_node(pair, first, VIPS)
    for node in pair.nodes:
        await until(partial(well, node), what="the problem is over")


@pytest.mark.parametrize("unicast", [False, True], ids=["multicast", "unicast"])
async def test_adverts_that_do_not_leave_are_told_by_the_node_that_keeps_them(pair: Lab, unicast: bool) -> None:
    first, second = await run_on_both(pair, unicast=unicast)
    began = asyncio.get_running_loop().time()
    await drop(first, "output")
    where = "chain inet extra shut drops them"
    for family in ("IPv4", "IPv6"):
        await until(partial(told, first, where, f"{family} adverts of this node"), what=f"{family} is told")
    assert asyncio.get_running_loop().time() - began <= 2 * TOLD_S
    await admit(first)
    await on_node(pair, first, VIPS)
    await until(partial(well, first), what="the problem is over")
    assert await well(second)


async def test_an_output_chain_that_is_named_is_opened_and_one_that_is_not_is_told(pair: Lab) -> None:
    for node in pair.nodes:
        table = "table inet extra { chain output { type filter hook output priority 0; policy drop;"
        rules = "meta l4proto { icmp, ipv6-icmp } accept; }; }"
        await node.run(["nft", "-f", "-"], stdin=f"{table} {rules}", check=True)
    first, second = pair.nodes
    configure([first], text(pair, unicast=False).replace("PRIORITY", "254"))
    named = 'firewall_chain = ["INPUT", "inet extra output"]\n'
    configure([second], text(pair, unicast=False, more=named).replace("PRIORITY", "244"))
    await start(pair.nodes)
    await until(partial(told, first, "chain inet extra output drops them"), what="the first node tells")
    assert await problems(second) == {}
    await until(partial(both_masters, pair), what="two masters: nobody hears the first node")
    configure([first], text(pair, unicast=False, more=named).replace("PRIORITY", "254"))
    assert (await first.ipfoctl("reload")).returncode == 0
    await on_node(pair, first, VIPS)
    await until(partial(well, first), what="the problem is over")


async def both_masters(lab: Lab) -> bool:
    return [len(await lab.holders(vip)) for vip in VIPS] == [2, 2]


async def test_each_of_three_nodes_speaks_for_itself(lab: Lab) -> None:
    first, second, third = lab.nodes
    for node, priority in zip(lab.nodes, (254, 244, 234), strict=True):
        configure([node], text(lab, unicast=False).replace("PRIORITY", str(priority)))
    await start(lab.nodes)
    await on_node(lab, first, VIPS)
    await drop(second, "input", "ip ttl 255 counter drop")
    await until(partial(told, second, "chain inet extra shut drops them", "IPv4"), what="the deaf node tells")
    assert await well(first)
    assert await well(third)
    await admit(second)
    await until(partial(well, second), what="the problem is over")
    await on_node(lab, first, VIPS)


async def test_a_node_that_is_master_by_right_or_changes_places_has_no_problem(pair: Lab) -> None:
    first, second = await run_on_both(pair, unicast=False)
    for _ in range(3):
        await first.run(["pkill", "-KILL", "-x", "keepalived"], check=True)
        await on_node(pair, first, VIPS)
    said = [await node.ipfoctl("status") for node in pair.nodes]
    assert all(CODE not in done.stdout for done in said)
    assert CODE not in first.log() + second.log()
