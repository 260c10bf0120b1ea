"""What a node says of itself: the answer of `ipfoctl status --json`, as far as the lab shows and checks it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address

from ipfod.addresses import Address
from ipfod.errors import Failed
from ipfod.lab.node import Node

NOT_RUNNING = 3  # exit code of ipfoctl


@dataclass(frozen=True, slots=True)
class GroupView:
    """One group as one node sees it."""

    name: str
    state: str
    priority: int
    virtual_ips: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class NodeView:
    """Everything that the lab asks a node for; nothing of it when ipfod does not answer there.

    `silence` is then shown in its place: "off" without power, else "-".
    """

    silence: str = "-"
    groups: Mapping[str, GroupView] = field(default_factory=dict)
    held: frozenset[Address] = frozenset()
    problems: tuple[str, ...] = ()


async def look(node: Node) -> NodeView:
    """Ask a node over its D-Bus. Raises Failed when the answer makes no sense."""
    if node.pid is None:
        return NodeView(silence="off")
    done = await node.ipfoctl("status", "--json")
    if done.returncode == NOT_RUNNING:
        return NodeView()
    try:
        return parse(done.stdout)
    except (ValueError, KeyError, TypeError) as error:
        text = done.stderr.strip() or f"{type(error).__name__}: {error}"
        raise Failed(f"{node.name}: ipfoctl status --json: exit code {done.returncode}: {text}") from error


def parse(text: str) -> NodeView:
    """Read the JSON document. Raises ValueError, KeyError or TypeError."""
    document = json.loads(text)
    groups = [
        GroupView(
            name=group["name"],
            state=group["state"],
            priority=group["priority"],
            virtual_ips=tuple(ip_address(vip) for vip in group["virtual_ips"]),
        )
        for failover in document["failovers"]
        for group in failover["groups"]
    ]
    return NodeView(
        silence="",
        groups={group.name: group for group in groups},
        held=frozenset(ip_address(vip["address"]) for vip in document["virtual_ips"] if vip["held"]),
        problems=tuple(f"{p['code']}: {p['text']} ({p['hint']})" for p in document["problems"]),
    )


def disagreement(views: Mapping[str, NodeView], virtual_ips: Sequence[Address]) -> str:
    """What is wrong with the answers of all nodes taken together, "" if they agree.

    They do when every node that answers has every group, one of them is master of it and holds its virtual IPs,
    and no other node holds any of them.
    """
    names = sorted({name for view in views.values() for name in view.groups})
    for name in names:
        states = {node: view.groups[name] for node, view in views.items() if name in view.groups}
        strangers = [node for node, view in views.items() if not view.silence and node not in states]
        if strangers:
            return f"{name}: unknown on {' and '.join(strangers)}"
        masters = [node for node, group in states.items() if group.state == "master"]
        if len(masters) != 1:
            return f"{name}: master is {' and '.join(masters) or 'nobody'}"
        for address in states[masters[0]].virtual_ips:
            holders = [node for node, view in views.items() if address in view.held]
            if holders != masters:
                where = " and ".join(holders) or "no node"
                return f"{name}: master is {masters[0]}, but {address} is on {where}"
    known = {vip for view in views.values() for group in view.groups.values() for vip in group.virtual_ips}
    missing = [str(address) for address in virtual_ips if address not in known]
    return f"{missing[0]}: no node has it in a group" if missing else ""
