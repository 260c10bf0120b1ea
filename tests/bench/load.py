"""All processors kept busy, and what becomes of the groups meanwhile."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from ipfod.lab.lab import Lab

BURN = "while True: pass"


@asynccontextmanager
async def busy(lab: Lab, *, each: int) -> AsyncIterator[None]:
    """So many processes for each processor that never rest, as long as the block runs."""
    async with AsyncExitStack() as stack:
        for _ in range(each * (os.cpu_count() or 1)):
            burner = await lab.client.spawn([sys.executable, "-I", "-S", "-c", BURN], name="burner")
            stack.push_async_callback(burner.close)
        yield


async def changes_under_load(lab: Lab, *, each: int, seconds: float) -> float:
    """How often any group changes its state on any node meanwhile; none should."""

    def changes() -> int:
        return sum(node.log().count(" -> ") for node in lab.nodes)

    before = changes()
    async with busy(lab, each=each):
        await asyncio.sleep(seconds)
    return float(changes() - before)
