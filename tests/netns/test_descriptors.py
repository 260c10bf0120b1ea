"""A daemon that may open no more files: it says so, moves nothing, and is right again when it may."""

from __future__ import annotations

import asyncio
from functools import partial

from orders import VIP, owner_and_others, run_all
from scenario import PORT, daemon, no_traceback, on_node, problems, until, well

from ipfod.lab.lab import Lab
from ipfod.lab.node import Node

VIPS = (VIP, "192.168.3.11")
PLENTY = 4096


async def limit(node: Node, descriptors: int) -> None:
    [pid] = daemon(node)
    await node.run(["prlimit", f"--pid={pid}", f"--nofile={descriptors}:{PLENTY}"], check=True)


async def opened(node: Node) -> int:
    [pid] = daemon(node)
    return len(list(node.inside(f"/proc/{pid}/fd").iterdir()))


async def test_no_descriptor_left_is_told_and_moves_nothing(pair: Lab) -> None:
    for node in pair.nodes:
        await node.start_service(PORT)
    await run_all(pair, f'monitor_port = {PORT}\npreemption = "nopreempt"\nvip_groups = 1\n', vips=VIPS)
    await until(partial(well, pair), what="all is well")
    owner, _ = await owner_and_others(pair)
    held = [vip for vip in VIPS if await pair.holders(vip) == [owner]]
    async with pair.meter(VIPS, interval_ms=5) as meter:
        await limit(owner, await opened(owner))
        await until(partial(reports, owner), what="it says that the service was not asked")
        assert (await owner.ipfoctl("reload")).returncode != 0
        await asyncio.sleep(1.0)
        reported = await problems(owner)
        assert "check-failing" not in reported
        await limit(owner, PLENTY)
        assert (await owner.ipfoctl("reload")).returncode == 0
        await until(partial(well, pair), what="all is well again")
        await on_node(pair, owner, held)
    assert meter.result().lost == 0
    log = owner.log()
    assert no_traceback(log)
    assert "no longer configured" not in log
    assert "Too many open files" in log


async def reports(node: Node) -> bool:
    """It can say so only over a connection, for which there may be no descriptor either."""
    return "cannot be asked: Too many open files" in node.log()
