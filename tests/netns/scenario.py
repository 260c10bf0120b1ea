"""What the tests of whole nodes have in common: configuring them, waiting, asking."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from ipfod.lab.lab import Lab
from ipfod.lab.node import Node

PORT = 8080
SETTLE_S = 15.0  # what takes a second on an idle machine
# For how long a VIP may be on two nodes: one advertisement interval, and what a busy machine adds to it.
TWICE_S = 0.1 + 0.1


async def until(condition: Callable[[], Awaitable[bool]], *, what: str, timeout_s: float = SETTLE_S) -> None:
    """Wait for something to become true; the failure says what never did."""
    try:
        async with asyncio.timeout(timeout_s):
            while not await condition():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not within {timeout_s:g} s: {what}") from None


def configure(nodes: Iterable[Node], text: str, *, name: str = "web.toml") -> None:
    """Give nodes the same configuration file."""
    for node in nodes:
        node.write(f"/etc/ipfod/{name}", text)


def listed(lab: Lab) -> str:
    """The option `nodes` with the nodes of a lab."""
    return "nodes = [{}]".format(", ".join(f'"{node.own_addresses[0]}"' for node in lab.nodes))


async def start(nodes: Iterable[Node], *, port: int = 0) -> None:
    """Start the monitored service, if there is one, and ipfod."""
    for node in nodes:
        if port:
            await node.start_service(port)
        await node.start_ipfod()


async def each_on_one(lab: Lab, virtual_ips: Iterable[str], *, timeout_s: float = SETTLE_S) -> None:
    """Wait until each VIP is on exactly one node."""

    async def settled() -> bool:
        return all([len(await lab.holders(vip)) == 1 for vip in virtual_ips])

    await until(settled, what=f"each of {', '.join(virtual_ips)} on one node", timeout_s=timeout_s)


async def on_node(lab: Lab, node: Node, virtual_ips: Iterable[str], *, timeout_s: float = SETTLE_S) -> None:
    """Wait until each VIP is on this node and no other."""

    async def there() -> bool:
        return all([await lab.holders(vip) == [node] for vip in virtual_ips])

    await until(there, what=f"{', '.join(virtual_ips)} on {node.name}", timeout_s=timeout_s)


async def never_on_two(lab: Lab, virtual_ip: str) -> None:
    """Look whether a VIP is on two nodes. They are asked one by one: what moves meanwhile may seem so once."""
    if len(await lab.holders(virtual_ip)) > 1:
        assert len(await lab.holders(virtual_ip)) <= 1


async def status(node: Node) -> dict[str, Any]:
    """`ipfoctl status --json` of a node."""
    done = await node.ipfoctl("status", "--json")
    assert done.stdout, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


async def group(node: Node, name: str) -> dict[str, Any]:
    """One group of a node's status."""
    document = await status(node)
    groups = [group for failover in document["failovers"] for group in failover["groups"]]
    [found] = [group for group in groups if group["name"] == name]
    result: dict[str, Any] = found
    return result


async def problems(node: Node) -> dict[str, str]:
    """Code and text of the problems that a node reports."""
    return {problem["code"]: problem["text"] for problem in (await status(node))["problems"]}


async def well(lab: Lab) -> bool:
    """Nobody reports anything, and every group is served or stands by."""
    for node in lab.nodes:
        document = await status(node)
        states = {group["state"] for failover in document["failovers"] for group in failover["groups"]}
        if document["problems"] or not states or not states <= {"master", "backup"}:
            return False
    return True


def daemon(node: Node) -> list[int]:
    """The ipfod of a node, as the node numbers it."""
    found = node.inside("/proc").glob("[0-9]*/cmdline")
    return [int(entry.parent.name) for entry in found if b"\0-m\0ipfod\0" in entry.read_bytes()]


async def keepalived_pids(node: Node) -> list[int]:
    """The keepalived processes of a node, as the node numbers them: parent first."""
    done = await node.run(["pgrep", "-x", "keepalived"])
    return [int(word) for word in done.stdout.split()]


def no_traceback(text: str) -> bool:
    return not re.search(r"Traceback|File \"", text)
