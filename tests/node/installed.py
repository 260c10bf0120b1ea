"""ipfod as the package installs it: two nodes that run it."""

from __future__ import annotations

import asyncio

from scenario import configure, each_on_one, group, listed, problems

from node.booted import BootedNode
from node.booted_lab import BootedLab

VIPS = ("192.168.3.10", "192.168.3.11")


def web(lab: BootedLab, more: str = "") -> str:
    """Both VIPs on the first node as long as it is there."""
    return (
        'virtual_ips = "192.168.3.10-11"\nvip_groups = 1\nmonitor_port = 0\nkernel_modules = []\n'
        f'preemption = "preempt"\n{listed(lab)}\n{more}'
    )


async def run_on_both(lab: BootedLab, more: str = "") -> tuple[BootedNode, BootedNode]:
    """Start ipfod on both nodes; answers the one that holds the VIPs, and the other."""
    configure(lab.booted, web(lab, more))
    await asyncio.gather(*(node.systemctl("enable", "--now", "ipfod", check=True) for node in lab.booted))
    await each_on_one(lab, VIPS)
    await asyncio.sleep(1.0)  # whoever was first: the preferred node has it now
    await each_on_one(lab, VIPS)
    [owner] = await lab.holders(VIPS[0])
    [other] = [node for node in lab.booted if node is not owner]
    found = next(node for node in lab.booted if node is owner)
    return found, other


async def is_master(node: BootedNode) -> bool:
    return (await group(node, "web_VIP_1"))["state"] == "master" and not await problems(node)
