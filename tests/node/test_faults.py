"""What ipfod relies on, ended, crashed and stopped on a booted node: no virtual IP notices."""

from __future__ import annotations

import asyncio

import pytest
from scenario import on_node, until

from node.booted import BootedNode
from node.booted_lab import BootedLab
from node.installed import VIPS, is_master, run_on_both

SIGNALS = ("TERM", "KILL", "SEGV", "STOP")
STOPPED_S = 1.0
RIGHT_AGAIN_S = 30.0  # systemd starts ipfod again after half a second, and the bus when somebody asks for it


async def answers(node: BootedNode) -> bool:
    done = await node.run(["ipfoctl", "status", "--json"])
    return done.returncode in (0, 1) and await is_master(node)


async def hit(node: BootedNode, process: str, number: str) -> None:
    pids = [str(pid) for pid in node.processes(process)]
    assert pids, process
    await node.run(["kill", f"-{number}", *pids], check=True)
    if number == "STOP":
        await asyncio.sleep(STOPPED_S)
        await node.run(["kill", "-CONT", *pids], check=True)


@pytest.mark.parametrize("process", ["dbus-daemon", "polkitd", "systemd-journal"])
async def test_no_virtual_ip_notices_what_becomes_of(pair: BootedLab, process: str) -> None:
    owner, _ = await run_on_both(pair)
    async with pair.meter(VIPS) as meter:
        for number in SIGNALS:
            await owner.systemctl("start", "polkit")
            await hit(owner, process, number)
            await until(lambda: answers(owner), what=f"ipfod answers after {number}", timeout_s=RIGHT_AGAIN_S)
            await owner.systemctl("reset-failed")  # so that systemd starts it again however often it dies
    assert meter.result().lost == 0
    assert "Traceback" not in await owner.journal("ipfod")
    assert (await owner.ipfoctl("step-down", "web", "--hold", "1s")).returncode == 0
    await on_node(pair, owner, VIPS)
