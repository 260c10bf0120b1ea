"""`ipfoctl plan`: groups, virtual router IDs and each node's priority, before a file is rolled out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from ipfod.config.model import Address, Failover
from ipfod.ctl.addresses import shortened
from ipfod.ctl.console import Console, complain
from ipfod.ctl.failures import ConfigurationRefused, Exit
from ipfod.ctl.offline import DEFAULT_INTERFACE, EMPTY, planned, read, shown
from ipfod.ctl.text import Cell, Line, Style, count, line, table
from ipfod.plan.layout import PlanError
from ipfod.plan.model import Group
from ipfod.plan.planning import known_nodes

ENTRIES_SHOWN = 2  # of a group's virtual IPs, neighbours joined
NO_NODES = "Priorities need the addresses of the nodes: --nodes A,B,C, or the option nodes in the file."
OTHER_NODES = (
    "As if the option nodes listed those of --nodes. The file does not say so: nodes may rank otherwise."
)
PEERS_ARE_NODES = "Nodes are those of unicast_peers. One that is not among them adds itself, and ranks change."


@dataclass(frozen=True, slots=True)
class Outlook:
    """A failover as its nodes would run it: groups, and by group's name the priority of each node."""

    failover: Failover
    nodes: tuple[Address, ...]
    note: str  # what the file does not say of the nodes, "" if it lists them
    groups: tuple[Group, ...]
    priorities: Mapping[str, Mapping[Address, int]]


def run(file: Path | None, nodes: Sequence[str] | None, console: Console, *, as_json: bool) -> Exit:
    """Show the plan of a file, or of all of /etc/ipfod. Raises ConfigurationRefused with every complaint."""
    reading = read([file] if file is not None else [])
    given = tuple(ip_address(node) for node in nodes or ())
    outlooks, errors = [], list(reading.errors)
    for failover in reading.failovers:
        try:
            outlooks.append(outlook(failover, given))
        except PlanError as error:
            errors.append(error.complaint)
    if errors:
        raise ConfigurationRefused("\n".join(shown(complaint) for complaint in (*errors, *reading.warnings)))
    complain(*(shown(complaint) for complaint in reading.warnings))
    if as_json:
        console.show_json({"failovers": [as_document(each) for each in outlooks]})
    elif outlooks:
        for place, each in enumerate(outlooks):
            console.show([*([line()] if place else []), *rendered(each)])
    else:
        console.show([line(EMPTY)])
    return Exit.DONE


def outlook(failover: Failover, given: tuple[Address, ...]) -> Outlook:
    """Ask the plan of every node what it would do. Raises PlanError."""
    said = known_nodes(failover, ())
    nodes = given or said
    if not nodes:
        note = NO_NODES
    elif set(nodes) != set(said):
        failover = replace(failover, nodes=nodes)
        note = OTHER_NODES
    else:
        note = "" if failover.nodes else PEERS_ARE_NODES
    plans = {node: planned(failover, node) for node in nodes}
    groups = planned(failover).groups
    priorities = {
        group.name: {node: plan.groups[place].priority for node, plan in plans.items()}
        for place, group in enumerate(groups)
    }
    return Outlook(failover, nodes, note, groups, priorities)


def as_document(outlook: Outlook) -> dict[str, Any]:
    """The failover for `--json`."""
    return {
        "name": outlook.failover.name,
        "interface": outlook.failover.interface,
        "nodes": [str(node) for node in outlook.nodes],
        "groups": [
            {
                "name": group.name,
                "virtual_router_id": group.virtual_router_id,
                "virtual_ips": [str(address) for address in group.virtual_ips],
                "priorities": {str(node): own for node, own in outlook.priorities[group.name].items()},
            }
            for group in outlook.groups
        ],
    }


def rendered(outlook: Outlook) -> Iterable[Line]:
    """The failover as a table, a line for each group, and how many groups each node comes first for."""
    failover = outlook.failover
    addresses = count(len(failover.virtual_ips), "virtual IP")
    yield line(
        Cell(failover.name, Style.BOLD),
        f" on {failover.interface or DEFAULT_INTERFACE}: {addresses} in {count(len(outlook.groups), 'group')}",
    )
    if outlook.note:
        yield line(Cell(f"  {outlook.note}", Style.YELLOW))
    if not outlook.nodes:
        yield from table(("GROUP", "ID", "VIRTUAL IPS"), [_cells(group) for group in outlook.groups], indent=2)
        return
    ranked = {group.name: ranking(outlook.priorities[group.name]) for group in outlook.groups}
    rows = [
        (*_cells(group), _ranked(ranked[group.name][:1]), _ranked(ranked[group.name][1:]))
        for group in outlook.groups
    ]
    yield from table(("GROUP", "ID", "VIRTUAL IPS", "FIRST CHOICE", "THEN"), rows, indent=2)
    firsts = Counter(order[0][0] for order in ranked.values())
    shares = ", ".join(f"{node} for {firsts[node]}" for node in outlook.nodes)
    yield line(f"  First choice: {shares}.")


def ranking(priorities: Mapping[Address, int]) -> list[tuple[Address, int]]:
    """Nodes in the order in which they become master; RFC 9568 6.4.3 settles a tie by the higher address."""
    return sorted(priorities.items(), key=lambda item: (-item[1], -int(item[0])))


def _cells(group: Group) -> tuple[Cell, ...]:
    addresses = [str(address) for address in group.virtual_ips]
    return Cell(group.name), Cell(str(group.virtual_router_id)), Cell(shortened(addresses, most=ENTRIES_SHOWN))


def _ranked(order: Sequence[tuple[Address, int]]) -> Cell:
    return Cell(", ".join(f"{node} ({priority})" for node, priority in order) or "-")
