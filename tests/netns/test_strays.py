"""Virtual IPs that are not where they should be: missing ones, left over ones, those that a hand moved."""

from __future__ import annotations

import asyncio
import signal

from orders import VIP, owner_and_others, run_all
from problem_watch import cleared, raised, times_raised
from scenario import configure, each_on_one, no_traceback, on_node, start, until

from ipfod.lab.lab import Lab
from ipfod.lab.node import Node

OTHER = "192.168.3.11"
BACK_S = 1.0


async def ip_address(node: Node, verb: str, address: str) -> None:
    await node.run(["ip", "address", verb, address, "dev", node.interface], check=True)


async def kill_all(node: Node) -> None:
    """Everything of ipfod and keepalived at once, as nobody can prepare for."""
    assert node.ipfod is not None
    await node.kill("keepalived", signal.SIGSTOP)  # the parent must not start another child
    await node.kill_ipfod(signal.SIGKILL)
    # The child first: a parent's death would wake it, to end in order and take its VIPs off.
    await node.run(["kill", "-KILL", *map(str, reversed(node.processes("keepalived")))], check=True)


async def test_a_vip_that_a_hand_took_off_is_back_at_once(pair: Lab) -> None:
    for node, number in zip(pair.nodes, (1, 2), strict=True):
        await node.run(["ip", "address", "add", f"fd03::{number}/64", "dev", "eth0", "nodad"], check=True)
    # An anchor and an excluded one of each family.
    vips = (VIP, OTHER, "fd03::10", "fd03::11")
    configure(
        pair.nodes,
        'virtual_ips = ["192.168.3.10-11", "fd03::10-fd03::11"]\nmonitor_port = 0\nvip_groups = 1\n',
    )
    await start(pair.nodes)
    await each_on_one(pair, vips)
    for vip in vips:
        [owner] = await pair.holders(vip)
        await ip_address(owner, "del", f"{vip}/{32 if '.' in vip else 128}")
        await each_on_one(pair, [vip], timeout_s=BACK_S)
    await asyncio.sleep(1.0)
    await each_on_one(pair, vips)
    for node in pair.nodes:
        assert times_raised(node, "vip-missing") == 0


async def test_a_vip_that_does_not_come_back_is_missed(single: Lab) -> None:
    [node] = single.nodes
    await run_all(single, vips=(VIP, OTHER), more="vip_groups = 1\n")
    await node.kill("keepalived", signal.SIGSTOP)  # it hangs
    await ip_address(node, "del", f"{OTHER}/32")
    found = await raised(node, "vip-missing")
    assert found["object"] == OTHER
    assert "master of web_VIP_1, but eth0 does not have" in found["text"]
    await node.kill("keepalived", signal.SIGCONT)
    await cleared(node, "vip-missing")
    await each_on_one(single, [VIP, OTHER])
    assert times_raised(node, "vip-missing") == 1


async def test_what_is_left_over_is_taken_off(pair: Lab) -> None:
    await run_all(pair)
    owner, [other] = await owner_and_others(pair)
    await ip_address(other, "add", f"{VIP}/32")  # as keepalived would have left it
    await on_node(pair, owner, [VIP])
    await cleared(other, "vip-orphaned")
    assert times_raised(other, "vip-orphaned") == 1
    assert f"{VIP} on eth0: left over, taken off" in other.log()


async def test_what_ipfod_did_not_put_there_is_reported_and_left(pair: Lab) -> None:
    await run_all(pair)
    owner, [other] = await owner_and_others(pair)
    await ip_address(other, "add", f"{VIP}/24")
    found = await raised(other, "vip-orphaned")
    assert found["object"] == VIP
    assert f"ip address del {VIP}/24 dev eth0" in found["hint"]
    await asyncio.sleep(1.0)
    assert set(await pair.holders(VIP)) == {owner, other}
    await ip_address(other, "del", f"{VIP}/24")
    await cleared(other, "vip-orphaned")


async def test_nothing_is_left_after_everything_was_killed_and_another_configuration(pair: Lab) -> None:
    """SIGKILL of all, then: the same file, a renamed one, one with another VIP."""
    node, other = pair.nodes
    await run_all(pair, 'preemption = "preempt"\n', vips=(VIP, OTHER))
    await other.kill_ipfod(signal.SIGTERM)
    await on_node(pair, node, [VIP, OTHER])
    await ip_address(node, "add", "192.168.3.77/32")  # not ipfod's
    for name, vips in (("web", [VIP, OTHER]), ("shop", [VIP, OTHER]), ("shop", [VIP])):
        await kill_all(node)
        await other.start_ipfod()  # a peer serves them meanwhile
        await on_both(pair, VIP)
        node.inside("/etc/ipfod/web.toml").unlink(missing_ok=True)
        listing = ", ".join(f'"{vip}"' for vip in vips)
        configure([node], f"virtual_ips = [{listing}]\nmonitor_port = 0\npriority = 10\n", name=f"{name}.toml")
        await node.start_ipfod()
        await on_node(pair, other, [VIP, OTHER])
        assert "192.168.3.77" in {str(each) for each in await node.addresses()}
        assert no_traceback(node.log())
        await other.kill_ipfod(signal.SIGTERM)
        await on_node(pair, node, vips)


async def on_both(lab: Lab, vip: str) -> None:
    async def there() -> bool:
        return len(await lab.holders(vip)) == len(lab.nodes)

    await until(there, what=f"{vip} on all nodes")
