"""Links, addresses, the network and the disk below a node fail: VIPs are where they can be reached."""

from __future__ import annotations

import asyncio
import time
from ipaddress import ip_address

from orders import VIP, owner_and_others, run_all
from problem_watch import cleared, raised
from scenario import PORT, TWICE_S, each_on_one, no_traceback, on_node, until, well

from ipfod.lab.lab import Lab
from ipfod.lab.node import Node
from ipfod.lab.watch import AddressWatch

OTHER = "192.168.3.11"
FLAPS = 100
CHAIN = "chain {} {{ type filter hook {} device {} priority 0; ip protocol 112 drop; }}"


async def holds(node: Node) -> bool:
    return ip_address(VIP) in await node.addresses()


async def test_a_carrier_that_comes_and_goes_a_hundred_times(pair: Lab) -> None:
    await run_all(pair, 'preemption = "preempt"\n', vips=(VIP, OTHER))
    owner, _ = await owner_and_others(pair)
    for _ in range(FLAPS):
        await owner.unplug()
        await asyncio.sleep(0.01)
        await owner.plug()
        await asyncio.sleep(0.01)
    await each_on_one(pair, [VIP, OTHER])
    await until(lambda: well(pair), what="all is well")
    assert all(no_traceback(node.log()) for node in pair.nodes)


async def test_an_interface_that_is_removed_and_made_again(pair: Lab) -> None:
    await run_all(pair, 'preemption = "preempt"\n')
    owner, [other] = await owner_and_others(pair)
    await owner.run(["ip", "link", "delete", owner.interface], check=True)
    await until(lambda: holds(other), what="the peer has the VIP")
    assert owner.interface in (await raised(owner, "interface-missing"))["text"]
    addresses = [f"{each}/{24 if each.version == 4 else 64}" for each in owner.own_addresses]
    await pair.switch.connect(owner, owner.interface, addresses)
    await on_node(pair, owner, [VIP])  # which is preferred
    await until(lambda: well(pair), what="all is well")
    assert no_traceback(owner.log())


async def test_an_interface_that_is_renamed_and_named_back(pair: Lab) -> None:
    await run_all(pair, 'preemption = "preempt"\n')
    owner, [other] = await owner_and_others(pair)
    began = time.time()
    async with AddressWatch(pair.nodes) as watch:
        for names in (("eth0", "lan9"), ("lan9", "eth0")):
            await owner.run(["ip", "link", "set", names[0], "down"], check=True)
            await owner.run(["ip", "link", "set", names[0], "name", names[1]], check=True)
            await owner.run(["ip", "link", "set", names[1], "up"], check=True)
            if names[1] == "lan9":
                await until(lambda: holds(other), what="the peer has the VIP")
        await on_node(pair, owner, [VIP])
        await until(lambda: well(pair), what="all is well")
        assert watch.doubles(since=began, longer_than_s=TWICE_S) == []
    assert no_traceback(owner.log())


async def test_a_node_that_gets_another_address_goes_on(pair: Lab) -> None:
    await run_all(pair, 'preemption = "nopreempt"\n')
    owner, _ = await owner_and_others(pair)
    await owner.run(["ip", "address", "add", "192.168.3.180/24", "dev", owner.interface], check=True)
    old = f"{owner.own_addresses[0]}/24"
    await owner.run(["ip", "address", "delete", old, "dev", owner.interface], check=True)
    await asyncio.sleep(1.0)
    await each_on_one(pair, [VIP])
    await owner.run(["ip", "address", "add", old, "dev", owner.interface], check=True)
    await until(lambda: well(pair), what="all is well")
    await each_on_one(pair, [VIP])
    assert no_traceback(owner.log())


async def test_a_network_that_is_split_and_healed_has_one_master_again(lab: Lab) -> None:
    await run_all(lab, 'preemption = "preempt"\n', vips=(VIP, OTHER))
    alone = lab.nodes[0]
    for chain, hook in (("in", "ingress"), ("out", "egress")):
        rules = f"table netdev split {{ {CHAIN.format(chain, hook, alone.interface)}; }}"
        await alone.run(["nft", "-f", "-"], stdin=rules, check=True)
    await until(lambda: two(lab), what="each part has a master")
    await alone.run(["nft", "delete", "table", "netdev", "split"], check=True)
    healed = time.monotonic()
    await each_on_one(lab, [VIP, OTHER])
    assert time.monotonic() - healed < 3.0
    await until(lambda: well(lab), what="all is well")


async def two(lab: Lab) -> bool:
    return len(await lab.holders(VIP)) == 2


async def test_a_service_that_dies_while_run_is_full_is_served_by_the_peer(pair: Lab) -> None:
    for node in pair.nodes:
        await node.start_service(PORT)
    await run_all(pair, f'monitor_port = {PORT}\npreemption = "preempt"\n')
    owner, [other] = await owner_and_others(pair)
    await fill(owner)
    await owner.stop_service(PORT)
    await on_node(pair, other, [VIP])
    await owner.start_service(PORT)
    await on_node(pair, owner, [VIP])
    await owner.run(["rm", "/run/ballast"], check=True)
    await owner.stop_service(PORT)
    await on_node(pair, other, [VIP])
    await owner.start_service(PORT)
    await on_node(pair, owner, [VIP])
    await cleared(owner, "check-failing")
    assert no_traceback(owner.log())


async def fill(node: Node) -> None:
    """Leave no byte in /run."""
    await node.run(["sh", "-c", "mount -o remount,size=4m /run; cat /dev/zero > /run/ballast; :"])
    done = await node.run(["sh", "-c", "echo x > /run/more"])
    assert done.returncode != 0
