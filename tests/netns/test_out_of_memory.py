"""Killed by the kernel for want of memory: VIPs stay without ipfod, and move without keepalived."""

from __future__ import annotations

import os
import signal
import time

from memory_group import MemoryGroup
from orders import owner_and_others
from test_faults import RIGHT_AGAIN_S, VICTIMS, Victim, begin, bound_ms, cost, nothing_left

from ipfod.lab.lab import Lab
from ipfod.lab.node import Node


def seen_here(node: Node, pids: list[int]) -> list[int]:
    """The numbers by which this process knows processes of a node."""
    found = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            if os.readlink(f"/proc/{entry.name}/ns/pid") != os.readlink(f"/proc/{node.pid}/ns/pid"):
                continue
            with open(f"/proc/{entry.name}/status", encoding="ascii", errors="replace") as file:
                numbers = next(line.split()[1:] for line in file if line.startswith("NSpid:"))
        except OSError:
            continue  # it ended meanwhile
        if int(numbers[-1]) in pids:
            found.append(int(entry.name))
    return found


async def test_the_kernel_kills_for_want_of_memory(pair: Lab) -> None:
    await begin(pair)
    for name in ("ipfod", "keepalived parent", "keepalived child"):
        victim = VICTIMS[name]
        owner, _ = await owner_and_others(pair)

        async def fault(victim: Victim = victim, owner: Node = owner) -> float:
            pids = seen_here(owner, victim.pids(owner))
            assert len(pids) == 1
            clock = time.monotonic()
            async with MemoryGroup("memory") as group:
                await group.kill(pids)
            if victim.again is not None:
                assert owner.ipfod is not None
                assert await owner.ipfod.wait(timeout_s=RIGHT_AGAIN_S) == -signal.SIGKILL
                await victim.again(owner)
            return clock

        outcome = await cost(pair, owner, fault, f"want of memory in {name}")
        assert outcome.longest_ms <= bound_ms(victim, signal.SIGKILL), name
    await nothing_left(pair)
