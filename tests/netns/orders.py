"""What an operator does on a node of the lab: calls over its bus, and what came of them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from scenario import configure, each_on_one, group, listed, start

from ipfod.lab.lab import Lab
from ipfod.lab.node import Node

SERVICE = "org.ipfod.Ipfod1"
MANAGER = "/org/ipfod/Ipfod1"
WEB = f"{MANAGER}/failover/web"
VIP = "192.168.3.10"
POLICIES = ("preempt", "nopreempt", "preempt_delay 300")
# A move by order loses nothing on an idle machine; what a busy one may add stays below VRRP's timers.
UNNOTICED_MS = 50.0


@dataclass(frozen=True)
class Answer:
    """`error` is the last part of the D-Bus error's name, "" for none."""

    error: str
    text: str


def group_path(index: int) -> str:
    digits = str(index)
    return f"{WEB}/group/_3{digits[0]}{digits[1:]}"


async def call(node: Node, path: str, interface: str, member: str, *arguments: str) -> Answer:
    """Call a method by gdbus: unlike busctl it prints the name of an error."""
    argv = ["gdbus", "call", "--system", "--dest", SERVICE, "--object-path", path, "--timeout", "60"]
    argv += ["--method", f"{SERVICE}.{interface}.{member}", *arguments]
    done = await node.run(argv, timeout_s=90.0)
    if done.returncode == 0:
        return Answer("", done.stdout.strip())
    name = re.search(r"GDBus\.Error:[\w.]*?\.(\w+): ", done.stderr)
    return Answer(name[1] if name else "?", done.stderr.strip())


async def on_group(node: Node, member: str, *arguments: str, index: int = 1) -> Answer:
    return await call(node, group_path(index), "Group", member, *arguments)


async def on_failover(node: Node, member: str, *arguments: str) -> Answer:
    return await call(node, WEB, "Failover", member, *arguments)


async def on_manager(node: Node, member: str, *arguments: str) -> Answer:
    return await call(node, MANAGER, "Manager", member, *arguments)


async def owner_and_others(lab: Lab, vip: str = VIP) -> tuple[Node, list[Node]]:
    """The one node that holds a VIP, and the others."""
    [owner] = await lab.holders(vip)
    return owner, [node for node in lab.nodes if node is not owner]


async def run_all(lab: Lab, more: str = "", vips: tuple[str, ...] = (VIP,)) -> None:
    """Start ipfod on every node with `vips` as one failover called web."""
    listing = ", ".join(f'"{vip}"' for vip in vips)
    text = f"virtual_ips = [{listing}]\n{listed(lab)}\n{more}"
    if "monitor_port" not in more:
        text += "monitor_port = 0\n"
    configure(lab.nodes, text)
    await start(lab.nodes)
    await each_on_one(lab, vips)


async def preemption(node: Node, name: str = "web_VIP_1") -> tuple[str, str]:
    found = await group(node, name)
    return found["preemption"], found["preemption_origin"]
