"""The clock of a node steps by an hour, in a kernel of its own: nothing moves, and no order is lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio

from vm.virtual import VirtualMachine

HOUR_S = 3600
SETTLE_S = 30.0


@pytest_asyncio.fixture(loop_scope="session")
async def machine(installed: VirtualMachine) -> AsyncIterator[VirtualMachine]:
    """A virtual machine where ipfod serves a virtual IP."""
    await installed.run(["systemctl", "start", "ipfod"], check=True, timeout_s=120)
    yield installed
    await installed.run(["systemctl", "start", "ipfod-cleanup"], check=True, timeout_s=120)


async def status(machine: VirtualMachine) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((await machine.run(["ipfoctl", "status", "--json"])).stdout)
    return document


async def state(machine: VirtualMachine) -> str:
    """Of the one group, "" while ipfod does not answer, or has only begun to."""
    done = await machine.run(["ipfoctl", "status", "--json"])
    if not done.stdout or not (failovers := json.loads(done.stdout)["failovers"]):
        return ""
    [failover] = failovers
    [group] = failover["groups"]
    found: str = group["state"]
    return found


async def until(machine: VirtualMachine, wanted: str) -> None:
    async with asyncio.timeout(SETTLE_S):
        while await state(machine) != wanted:
            await asyncio.sleep(0.1)


async def step(machine: VirtualMachine, seconds: int) -> None:
    """Set the clock, and give everything that looks at it time to do so."""
    program = f"import time; time.clock_settime(time.CLOCK_REALTIME, time.time() + {seconds})"
    await machine.run(["python3", "-c", program], check=True)
    await asyncio.sleep(2.0)


async def transitions(machine: VirtualMachine) -> list[dict[str, Any]]:
    done = await machine.run(["ipfoctl", "history", "--limit", "0", "--json"], check=True)
    found: list[dict[str, Any]] = json.loads(done.stdout)["history"]
    return found


async def test_a_clock_that_steps_by_an_hour_moves_nothing(machine: VirtualMachine) -> None:
    await until(machine, "master")
    before = await transitions(machine)
    for seconds in (HOUR_S, -HOUR_S):
        await step(machine, seconds)
        assert await state(machine) == "master"
        assert (await status(machine))["problems"] == []
        assert "192.168.3.10/32" in (await machine.run(["ip", "-o", "address", "show", "dev", "eth0"])).stdout
        assert (await machine.run(["systemctl", "is-active", "ipfod"])).stdout.strip() == "active"
    assert await transitions(machine) == before
    await machine.run(["systemctl", "kill", "--signal=KILL", "ipfod"], check=True)
    await step(machine, -HOUR_S)  # and an ipfod that starts in the past of its own files
    await until(machine, "master")
    assert "Traceback" not in (await machine.run(["journalctl", "-q", "-o", "cat", "-u", "ipfod"])).stdout
    await step(machine, HOUR_S)


async def test_maintenance_ends_by_the_clock_on_the_wall_and_not_before(machine: VirtualMachine) -> None:
    await until(machine, "master")
    # A node alone has no successor; it is in maintenance all the same.
    await machine.run(["ipfoctl", "maintenance", "on", "--for", "90m", "--reason", "disk"], timeout_s=60)
    for seconds in (-HOUR_S, HOUR_S, HOUR_S):
        await step(machine, seconds)
        assert (await status(machine))["maintenance"] is True
    await step(machine, HOUR_S)
    async with asyncio.timeout(SETTLE_S):
        while (await status(machine))["maintenance"]:
            await asyncio.sleep(0.2)
    await until(machine, "master")
