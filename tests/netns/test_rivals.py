"""`split-brain` and `vrid-collision`: caused on the wire by real routers, and ended."""

from __future__ import annotations

import asyncio
import signal

import pytest
from orders import VIP, on_group, owner_and_others, run_all
from problem_watch import cleared, raised, times_raised
from scenario import configure, each_on_one, group, on_node, start, until

from ipfod.lab.lab import Lab
from ipfod.lab.node import Node
from ipfod.node.reasons import COLLIDING

# netdev's ingress hook: after the listener, and no chain that ipfod opens.
DEAF = """table netdev deaf {{
    chain in {{
        type filter hook ingress device {} priority 0
        ip protocol 112 drop
        ip6 nexthdr 112 drop
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


# Of the first group's id and VIP, with another password.
OTHER_PASSWORD = f"""
vrrp_instance other {{
    state BACKUP
    interface eth0
    version 2
    virtual_router_id 11
    priority 100
    advert_int 1
    authentication {{
        auth_type PASS
        auth_pass two
    }}
    virtual_ipaddress {{
        {VIP}/32
    }}
}}
"""
SKIPPING_S = 15.0  # two that refuse each other leave adverts of their own out: every fifth or so


async def start_foreign(lab: Lab, node: Node, text: str = FOREIGN, vip: str = FOREIGN_VIP) -> None:
    node.write("/etc/keepalived.conf", text)
    files = ["-f", "/etc/keepalived.conf", "-p", "/run/k.pid", "-r", "/run/v.pid"]
    await node.spawn(["keepalived", "-n", "-l", "-P", "-G", *files])
    await on_node(lab, node, [vip])


async def test_two_masters_are_reported_by_everybody_who_hears_them(lab: Lab) -> None:
    await run_all(lab, 'preemption = "preempt"\n')
    deaf, owner, _ = lab.nodes  # by placement the second is preferred
    await on_node(lab, owner, [VIP])
    await split(deaf)
    for node in lab.nodes:
        found = await raised(node, "split-brain")
        assert found["object"] == "web_VIP_1"
        for each in (owner, deaf):
            assert str(each.own_addresses[0]) in found["text"]
        assert "firewall" in found["hint"]
    assert len(await lab.holders(VIP)) == 2
    split_s = (await raised(deaf, "split-brain"))["since"] - (await group(deaf, "web_VIP_1"))["since"]
    assert split_s <= 2_000_000  # microseconds: 0.4 s on an idle machine
    await heal(deaf)
    for node in lab.nodes:
        await cleared(node, "split-brain")
        assert times_raised(node, "split-brain") == 1
    await each_on_one(lab, [VIP])


async def split(node: Node) -> None:
    await node.run(["nft", "-f", "-"], stdin=DEAF.format(node.interface), check=True)


async def heal(node: Node) -> None:
    await node.run(["nft", "delete", "table", "netdev", "deaf"], check=True)


@pytest.mark.parametrize(
    ("vip", "more"),
    [
        (VIP, "vrrp_version = 2\n"),
        (VIP, "use_unicast = true\nunicast_peers = [{ipv4}]\n"),
        ("fd00:1bf0:3::10", ""),
        ("fd00:1bf0:3::10", "use_unicast = true\nunicast_peers = [{ipv6}]\n"),
    ],
    ids=["version 2", "unicast", "IPv6", "IPv6 unicast"],
)
async def test_two_masters_are_reported_whatever_way_they_advertise(pair: Lab, vip: str, more: str) -> None:
    by_version = [
        ", ".join(f'"{each}"' for node in pair.nodes for each in node.own_addresses if each.version == version)
        for version in (4, 6)
    ]
    text = more.format(ipv4=by_version[0], ipv6=by_version[1])
    configure(pair.nodes, f'virtual_ips = "{vip}"\nmonitor_port = 0\n{text}')
    await start(pair.nodes)
    await each_on_one(pair, [vip])
    [owner] = await pair.holders(vip)
    [other] = [node for node in pair.nodes if node is not owner]
    await split(other)
    for node in pair.nodes:
        assert (await raised(node, "split-brain"))["text"].count(" and ") == 2
    await heal(other)
    for node in pair.nodes:
        await cleared(node, "split-brain")
        assert times_raised(node, "split-brain") == 1
    await each_on_one(pair, [vip])


async def test_two_masters_of_different_passwords_are_a_split_and_nothing_else(pair: Lab) -> None:
    node, foreign = pair.nodes
    await start_foreign(pair, foreign, OTHER_PASSWORD, VIP)
    configure([node], f'virtual_ips = "{VIP}"\nmonitor_port = 0\nvrrp_version = 2\nauth_pass = "one"\n')
    await start([node])
    found = await raised(node, "split-brain")
    for each in pair.nodes:
        assert str(each.own_addresses[0]) in found["text"]
    assert found["hint"].startswith("their adverts differ in auth_pass, so each refuses the other's")
    await asyncio.sleep(SKIPPING_S)
    assert times_raised(node, "split-brain") == 1
    assert times_raised(node, "duplicate-vip") == 0
    assert (await raised(node, "split-brain"))["since"] == found["since"]
    await foreign.power_cut()
    await cleared(node, "split-brain")


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


def was_master(node: Node) -> bool:
    return "-> master" in node.log()


async def test_nobody_is_disturbed_until_it_is_known_who_uses_the_ids(lab: Lab) -> None:
    """A router with an advert a second, and this node's groups would be master after 0.3 s."""
    node, _, foreign = lab.nodes
    await start_foreign(lab, foreign)
    other = "192.168.3.11"
    configure([node], f'virtual_ips = "{VIP}-11"\nmonitor_port = 0\npreemption = "preempt"\n')
    for _ in range(3):  # at other phases of the advert
        await start([node])
        await on_node(lab, node, [other])  # which has an id of its own
        assert (await raised(node, "vrid-collision"))["object"] == "web_VIP_1"
        assert (await group(node, "web_VIP_1"))["state_reason"] == COLLIDING
        assert "web_VIP_1: backup -> master" not in node.log()
        assert await lab.holders(FOREIGN_VIP) == [foreign]
        await node.kill_ipfod(signal.SIGTERM)
    assert was_master(node)


async def test_a_group_that_a_reload_adds_is_not_started_blindly_either(lab: Lab) -> None:
    node, _, foreign = lab.nodes
    await start_foreign(lab, foreign)
    configure([node], f'virtual_ips = "{VIP}"\nmonitor_port = 0\nvrrp_id_offset = 20\n')
    await start([node])
    await on_node(lab, node, [VIP])
    # The second failover's one group has the id of the other router.
    configure([node], 'virtual_ips = "192.168.3.20"\nmonitor_port = 0\n', name="db.toml")
    assert (await node.ipfoctl("reload")).returncode == 0
    assert (await raised(node, "vrid-collision"))["object"] == "db_VIP_1"
    # And a group more of the first, on an id that nobody uses.
    text = f'virtual_ips = "{VIP}-11"\nmonitor_port = 0\nvrrp_id_offset = 20\n'
    configure([node], text)
    async with lab.meter([VIP]) as meter:
        assert (await node.ipfoctl("reload")).returncode == 0
        await on_node(lab, node, ["192.168.3.11"])
    assert meter.result().lost == 0
    assert "web_VIP_2: unknown -> fault: listening whether another router" in node.log()
    assert "web_VIP_2: fault -> backup: no other router uses its virtual router ID" in node.log()
    # The same on an id that the other router uses: nothing but the group that is new is held.
    configure([node], text.replace("offset = 20", "offset = 9"))
    await node.run(["rm", "/etc/ipfod/db.toml"], check=True)
    assert (await node.ipfoctl("reload")).returncode == 0
    assert (await raised(node, "vrid-collision"))["object"] == "web_VIP_2"
    await on_node(lab, node, [VIP])
    assert await lab.holders("192.168.3.11") == []


async def test_where_a_peer_serves_a_group_nobody_waits(pair: Lab) -> None:
    node, peer = pair.nodes
    configure(pair.nodes, f'virtual_ips = "{VIP}"\nmonitor_port = 0\n')
    await start([peer])
    await on_node(pair, peer, [VIP])
    await start([node])
    await until(lambda: is_backup(node), what="it has heard the peer", timeout_s=1.0)
    assert "listening" not in node.log()


async def is_backup(node: Node) -> bool:
    found: str = (await group(node, "web_VIP_1"))["state"]
    return found == "backup"


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
