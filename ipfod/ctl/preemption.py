"""`ipfoctl preemption`: show the policies in force, order one, or go back to the configuration's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ipfod.ctl import client
from ipfod.ctl.client import FAILOVER, GROUP, Client
from ipfod.ctl.console import Console
from ipfod.ctl.description import Description, parse, read
from ipfod.ctl.failures import Exit
from ipfod.ctl.parser import TIMEOUT_S
from ipfod.ctl.targets import Target, find
from ipfod.ctl.text import Cell, Line, Style, line, table

RESET = "reset"
CONFIGURATION = "configuration"


def run(name: str | None, policy: Sequence[str], console: Console, *, as_json: bool) -> Exit:
    """Show the policies of everything or of a target; with a policy (or "reset") order it first."""

    async def once(connected: Client) -> Exit:
        described = read(parse(await connected.call("Describe")))
        if name is not None and policy:
            await _order(connected, find(described, name), " ".join(policy))
            described = read(parse(await connected.call("Describe")))
        targets = [Target(each) for each in described.failovers] if name is None else [find(described, name)]
        if as_json:
            console.show_json({"preemption": [entry for target in targets for entry in _entries(target)]})
        else:
            console.show(rendered(described, targets))
        return Exit.DONE

    return client.run(once)


async def _order(connected: Client, target: Target, policy: str) -> None:
    interface = FAILOVER if target.group is None else GROUP
    if policy == RESET:
        await connected.call("ResetPreemption", path=target.path, interface=interface, timeout_s=TIMEOUT_S)
    else:
        await connected.call(
            "SetPreemption", "s", policy, path=target.path, interface=interface, timeout_s=TIMEOUT_S
        )


def _entries(target: Target) -> list[dict[str, Any]]:
    """Keys are the D-Bus properties'. A failover's groups follow it."""
    rows: list[Any] = [] if target.group is not None else [target.failover]
    rows += target.groups
    return [
        {"name": row.name, "preemption": row.preemption, "preemption_origin": row.preemption_origin}
        for row in rows
    ]


def rendered(described: Description, targets: Sequence[Target]) -> Sequence[Line]:
    """A failover a row, and each group that has another policy than its failover."""
    if not targets:
        return [line(f"No failover is configured on {described.node_name}.")]
    rows = []
    for target in targets:
        whole = (target.failover.preemption, target.failover.preemption_origin)
        for place, entry in enumerate(_entries(target)):
            policy, origin = entry["preemption"], entry["preemption_origin"]
            if place == 0 or (policy, origin) != whole:
                style = Style.PLAIN if origin == CONFIGURATION else Style.YELLOW
                rows.append((Cell(entry["name"]), Cell(policy, style), Cell(origin)))
    return table(("NAME", "PREEMPTION", "ORIGIN"), rows)
