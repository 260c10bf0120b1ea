"""docs/operating.md, typed word for word at two booted nodes: each command prints what the text says."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping

from guide import Step, steps, without_figures
from orders import UNNOTICED_MS
from scenario import configure, on_node, until

from node.booted import BootedNode
from node.booted_lab import BootedLab
from node.package import ROOT

GUIDE = (ROOT / "docs/operating.md").read_text()
VIPS = ("192.168.3.10", "192.168.3.11")
ALONE = "ipfod is stopped on node2"
REBOOT = "systemctl reboot"


async def typed(node: BootedNode, step: Step) -> None:
    """Type a command; what only shows is looked at until it shows that, as a reader would."""
    seen = ""

    async def as_printed() -> bool:
        nonlocal seen
        done = await node.run(["bash", "-c", step.command], timeout_s=60)
        seen = done.stdout + done.stderr
        return without_figures(seen) == without_figures(step.printed)

    if step.command.startswith(("ipfoctl status", "ipfoctl history")):
        try:
            await until(as_printed, what=step.command)
        except AssertionError:
            assert without_figures(seen) == without_figures(step.printed), step
    else:
        assert await as_printed(), f"{step}: printed {seen}"


async def test_each_task_is_done_by_its_commands_and_costs_no_packet(pair: BootedLab) -> None:
    nodes: Mapping[str, BootedNode] = {node.name: node for node in pair.booted}
    [file] = re.findall("```toml\n# /etc/ipfod/web.toml\n(.*?)```", GUIDE, re.DOTALL)
    configure(pair.booted, file)
    for node, vip in zip(pair.booted, VIPS, strict=True):  # the second takes from the first what it prefers
        await node.systemctl("enable", "--now", "ipfod", check=True)
        await on_node(pair, node, [vip])
    listed = list(steps(GUIDE))
    assert len(listed) == sum(GUIDE.count(f"# {name}") for name in ("ipfoctl ", "systemctl", "sed"))
    async with pair.meter(VIPS) as meter:
        for step in listed:
            await one(nodes, step)
    assert meter.result().longest_ms <= UNNOTICED_MS


async def one(nodes: Mapping[str, BootedNode], step: Step) -> None:
    node = nodes[step.where]
    if step.command == REBOOT:
        await node.reboot()
    elif step.note == ALONE:
        await nodes["node2"].systemctl("stop", "ipfod", check=True)
        await typed(node, step)
        await nodes["node2"].systemctl("start", "ipfod", check=True)
    else:
        await asyncio.sleep(1.0)  # nobody types faster
        await typed(node, step)
