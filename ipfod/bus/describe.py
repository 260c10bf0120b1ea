"""The whole node as one document: what Describe() answers and `ipfoctl status --json` prints. Pure."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import ipfod
from ipfod.bus.interfaces import MANAGER, Entry, problem_entry
from ipfod.bus.objects import Objects
from ipfod.bus.schema import Interface
from ipfod.bus.turns import Steps
from ipfod.node.events import FailoverRef, VirtualIPRef
from ipfod.node.node import Node
from ipfod.plan.model import GroupKey


@cache
def snake_case(name: str) -> str:
    """A D-Bus member's name as a key: KeepalivedPID -> keepalived_pid, VirtualIPs -> virtual_ips."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def describe(node: Node, objects: Objects) -> Steps[dict[str, Any]]:
    """The document, of what `json.dumps` takes, as the node is at the last step; a step for each object.

    Keys are the D-Bus properties in snake_case; where a property is an object path, the document has the
    object's name.
    """
    shown = yield from objects.each(lambda found: _shown(found.interface, found.view))
    failovers, virtual_ips = [], []
    groups: dict[str, list[dict[str, Any]]] = {name: [] for name in node.failovers}
    for ref, properties in shown.items():
        match ref:
            case FailoverRef(name):
                failovers.append({**properties, "groups": groups[name]})
            case GroupKey(failover, _):
                groups[failover].append({**properties, "failover": failover})
            case VirtualIPRef(address):
                group = node.groups[node.virtual_ips[address].group].group
                virtual_ips.append({**properties, "group": group.name})
    return {
        "version": ipfod.__version__,
        "node_name": node.name,
        **{name: value for name, value in _shown(MANAGER, node).items() if name.startswith("maintenance")},
        "problems": [_plain(problem_entry(problem)) for problem in node.problems],
        "failovers": failovers,
        "virtual_ips": virtual_ips,
    }


def _plain(entry: Entry) -> dict[str, Any]:
    return {name: value for name, (_, value) in entry.items()}


def _shown(interface: Interface, view: Any) -> dict[str, Any]:
    return {snake_case(row.name): row.value(view) for row in interface.properties}
