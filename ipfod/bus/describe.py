"""The whole node as one document: what Describe() answers and `ipfoctl status --json` prints. Pure."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import ipfod
from ipfod.bus.interfaces import FAILOVER, GROUP, MANAGER, VIRTUAL_IP, Entry, VirtualIPView, problem_entry
from ipfod.bus.schema import Interface
from ipfod.bus.turns import Steps
from ipfod.node.node import Node


@cache
def snake_case(name: str) -> str:
    """A D-Bus member's name as a key: KeepalivedPID -> keepalived_pid, VirtualIPs -> virtual_ips."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def describe(node: Node) -> Steps[dict[str, Any]]:
    """The document, of what `json.dumps` takes, as the node is at the first step; a step for each object.

    Keys are the D-Bus properties in snake_case; where a property is an object path, the document has the
    object's name.
    """
    failovers, statuses, virtual_ips = dict(node.failovers), dict(node.groups), dict(node.virtual_ips)
    document: dict[str, Any] = {
        "version": ipfod.__version__,
        "node_name": node.name,
        **{name: value for name, value in _shown(MANAGER, node).items() if name.startswith("maintenance")},
        "problems": [_plain(problem_entry(problem)) for problem in node.problems],
        "failovers": [],
        "virtual_ips": [],
    }
    groups: dict[str, list[dict[str, Any]]] = {}
    for name, failover in failovers.items():
        groups[name] = []
        document["failovers"].append({**_shown(FAILOVER, failover), "groups": groups[name]})
        yield
    for key, status in statuses.items():
        groups[key.failover].append({**_shown(GROUP, status), "failover": key.failover})
        yield
    for virtual_ip in virtual_ips.values():
        group = statuses[virtual_ip.group]
        shown = _shown(VIRTUAL_IP, VirtualIPView(virtual_ip, group))
        document["virtual_ips"].append({**shown, "group": group.group.name})
        yield
    return document


def _plain(entry: Entry) -> dict[str, Any]:
    return {name: value for name, (_, value) in entry.items()}


def _shown(interface: Interface, view: Any) -> dict[str, Any]:
    return {snake_case(row.name): row.value(view) for row in interface.properties}
