"""A failover's keepalived is kept: what fails at the start is tried again, what was written is also read."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
from contextlib import suppress

from alone import alone, held, ip, plan
from orders import VIP, on_group, owner_and_others, run_all
from problem_watch import cleared, raised
from scenario import configure, on_node, start, until

from ipfod.host.netlink import Netlink
from ipfod.lab.lab import Lab
from ipfod.lab.node import Node
from ipfod.supervise.farewell import Farewell
from ipfod.vrrp.filter import attach
from ipfod.vrrp.packet import PRIORITY_LEAVING, parse

RUN = "/run/ipfod/web"
MANY = 240
ETH_P_ALL = 0x0003  # linux/if_ether.h


async def test_what_keeps_a_failover_from_its_start_is_tried_again(pair: Lab) -> None:
    node, _ = pair.nodes
    await node.run(["mkdir", "-p", f"{RUN}/notify.fifo"], check=True)
    configure([node], f'virtual_ips = "{VIP}"\nmonitor_port = 0\n')
    await start([node])
    assert "notify.fifo: Is a directory" in (await raised(node, "keepalived-failed"))["text"]
    await node.run(["rmdir", f"{RUN}/notify.fifo"], check=True)
    await on_node(pair, node, [VIP])
    await cleared(node, "keepalived-failed")


async def policy_that_runs(node: Node) -> bool:
    """Whether keepalived does not preempt, by its own word."""
    number = (await node.run(["keepalived", "--signum=JSON"], check=True)).stdout.strip()
    await node.run(["rm", "-f", f"{RUN}/keepalived.json"], check=True)
    await node.run(["kill", f"-{number}", node.read(f"{RUN}/keepalived.pid").strip()], check=True)
    found: list[dict[str, dict[str, bool]]] = []

    async def written() -> bool:
        try:
            found[:] = json.loads(node.read(f"{RUN}/keepalived.json"))
        except (OSError, ValueError):
            return False
        return True

    await until(written, what="keepalived's dump")
    return bool(found[0]["data"]["nopreempt"])


def policy_on_disk(node: Node) -> bool:
    return re.search(r"^\s*nopreempt$", node.read(f"{RUN}/keepalived.conf"), re.MULTILINE) is not None


async def test_no_policy_is_on_disk_that_keepalived_is_not_about_to_read(pair: Lab) -> None:
    """A take-over preempts for a moment. Whoever ends then leaves the next ipfod a file that is true."""
    await run_all(pair, 'preemption = "nopreempt"\n')
    _, [other] = await owner_and_others(pair)
    assert await policy_that_runs(other)
    assert (await on_group(other, "TakeOver")).error == ""
    assert not policy_on_disk(other)

    async def put_back() -> bool:
        return policy_on_disk(other)

    await until(put_back, what="the policy is in the file again")
    await other.kill_ipfod(signal.SIGKILL)
    await other.start_ipfod()

    async def in_force() -> bool:
        return await policy_that_runs(other)

    await until(in_force, what="and keepalived has read it")


def parted(link: socket.socket) -> set[int]:
    """The ids whose parting adverts have come."""
    found = set()
    with suppress(BlockingIOError):
        while packet := link.recv(128):
            advert = parse(packet)
            assert advert.priority == PRIORITY_LEAVING
            found.add(advert.virtual_router_id)
    return found


async def test_a_new_plan_does_not_cut_a_farewell_short() -> None:
    """A reload makes other adverts ready while those of a keepalived that died leave."""
    with alone(), socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 0) as link:
        attach(link, length=128)
        link.bind(("wire", ETH_P_ALL))
        netlink = Netlink()
        await netlink.open()
        planned = plan(f'virtual_ips = "10.0.1.1-{MANY}"\nmonitor_port = 0\n')
        assert len(planned.groups) == MANY
        for group in planned.groups:
            ip("address", "add", f"{group.virtual_ips[0]}/32", "dev", "eth0")
        farewell = Farewell(netlink)
        farewell.prepare(planned)
        saying = asyncio.create_task(farewell.say(planned.groups))
        while not saying.done():
            await asyncio.sleep(0.01)  # each keeps a socket until what is being said is said
            farewell.prepare(planned)
        await saying
        assert not held()
        assert parted(link) == {group.virtual_router_id for group in planned.groups}
        farewell.close()
        await netlink.close()
