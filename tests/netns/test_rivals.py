"""`split-brain` and `vrid-collision`: caused on the wire by real routers, and ended."""

from __future__ import annotations

import asyncio

from orders import VIP, on_group, owner_and_others, run_all
from problem_watch import cleared, raised, times_raised
from scenario import configure, each_on_one, group, on_node, start

from ipfod.lab.lab import Lab
from ipfod.lab.node import Node

# netdev's ingress hook: after the listener, and no chain that ipfod opens.
DEAF = """table netdev deaf {{
    chain in {{
        type filter hook ingress device {} priority 0
        ip protocol 112 drop
    }}
}}
"""
FOREIGN_VIP = "192.168.3.99"
# Another cluster on the id of the first group, with keepalived's own interval.
FOREIGN = f"""
vrrp_instance other {{
    state BACKUP
    interface eth0
    version 3
    virtual_router_id 11
    priority 100
    advert_int 1
    virtual_ipaddress {{
        {FOREIGN_VIP}/32
    }}
}}
"""


async def start_foreign(lab: Lab, node: Node) -> None:
    node.write("/etc/keepalived.conf", FOREIGN)
    files = ["-f", "/etc/keepalived.conf", "-p", "/run/k.pid", "-r", "/run/v.pid"]
    await node.spawn(["keepalived", "-n", "-l", "-P", "-G", *files])
    await on_node(lab, node, [FOREIGN_VIP])


async def test_two_masters_are_reported_by_everybody_who_hears_them(lab: Lab) -> None:
    await run_all(lab, 'preemption = "preempt"\n')
    deaf, owner, _ = lab.nodes  # by placement the second is preferred
    await on_node(lab, owner, [VIP])
    await deaf.run(["nft", "-f", "-"], stdin=DEAF.format(deaf.interface), check=True)
    for node in lab.nodes:
        found = await raised(node, "split-brain")
        assert found["object"] == "web_VIP_1"
        for each in (owner, deaf):
            assert str(each.own_addresses[0]) in found["text"]
        assert "firewall" in found["hint"]
    assert len(await lab.holders(VIP)) == 2
    await deaf.run(["nft", "delete", "table", "netdev", "deaf"], check=True)
    for node in lab.nodes:
        await cleared(node, "split-brain")
        assert times_raised(node, "split-brain") == 1
    await each_on_one(lab, [VIP])


async def test_groups_that_change_hands_are_no_split(pair: Lab) -> None:
    await run_all(pair, 'preemption = "nopreempt"\n')
    for _ in range(6):
        owner, [other] = await owner_and_others(pair)
        assert (await on_group(owner, "StepDown", "0")).error == ""
        await on_node(pair, other, [VIP])
        assert (await on_group(owner, "TakeOver")).error == ""
        await on_node(pair, owner, [VIP])
    await asyncio.sleep(0.5)
    for node in pair.nodes:
        assert times_raised(node, "split-brain") == 0
        assert times_raised(node, "vrid-collision") == 0


async def test_a_group_whose_id_another_router_has_is_not_started(lab: Lab) -> None:
    node, peer, foreign = lab.nodes
    await start_foreign(lab, foreign)
    configure([node], f'virtual_ips = "{VIP}"\nmonitor_port = 0\n')
    await start([node])
    found = await raised(node, "vrid-collision")
    assert found["object"] == "web_VIP_1"
    assert f"{foreign.own_addresses[0]} (for 192.168.3.99)" in found["text"]
    assert "does not start" in found["text"]
    assert "vrrp_id_offset" in found["hint"]
    assert await lab.holders(VIP) == []
    assert (await group(node, "web_VIP_1"))["state"] == "fault"
    await node.kill_ipfod()
    await node.start_ipfod()  # a later ipfod does not start it blindly either
    assert "does not start" in (await raised(node, "vrid-collision"))["text"]
    await asyncio.sleep(0.5)
    assert await lab.holders(VIP) == []
    await foreign.power_cut()
    await cleared(node, "vrid-collision")
    await on_node(lab, node, [VIP])
    assert peer.ipfod is None


async def test_a_router_that_comes_later_takes_nothing(lab: Lab) -> None:
    node, peer, foreign = lab.nodes
    configure([node, peer], f'virtual_ips = "{VIP}"\nmonitor_port = 0\n')
    await start([node, peer])
    await each_on_one(lab, [VIP])
    [owner] = await lab.holders(VIP)
    async with lab.meter([VIP]) as meter:
        await start_foreign(lab, foreign)
        for each in (node, peer):
            assert "does not start" not in (await raised(each, "vrid-collision"))["text"]
        await on_node(lab, owner, [VIP])
    assert meter.result().lost == 0
    await foreign.power_cut()
    for each in (node, peer):
        await cleared(each, "vrid-collision")
