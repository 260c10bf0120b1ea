"""Any sequence of orders, faults and restarts ends with every VIP on exactly one healthy node, and soon."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from orders import POLICIES, on_failover, on_group, on_manager, run_all
from scenario import PORT, TWICE_S, until

from ipfod.lab.lab import Lab
from ipfod.lab.node import Node
from ipfod.lab.watch import AddressWatch

VIPS = ("192.168.3.10", "192.168.3.11", "192.168.3.12")
SETTLED_S = 10.0  # the slowest: keepalived is started again after a death, and that one's checks
ANSWERED_S = 15.0  # a take-over waits for a reload's turn and 4 intervals
ORDERS = {"", "NoSuccessor", "Busy", "Failed"}


@dataclass
class World:
    """Three nodes, and what was done to them."""

    lab: Lab
    dice: random.Random
    maintained: set[str] = field(default_factory=set)
    unserved: set[str] = field(default_factory=set)
    unplugged: set[str] = field(default_factory=set)
    done: list[str] = field(default_factory=list)

    @property
    def healthy(self) -> list[Node]:
        ill = self.maintained | self.unserved | self.unplugged
        return [node for node in self.lab.nodes if node.name not in ill]

    async def step(self) -> None:
        """Do something to some node; now and then something to another one meanwhile."""
        some = self.dice.sample(self.lab.nodes, 2 if self.dice.random() < 0.3 else 1)
        actions = [(node, self.dice.choice(ACTIONS)) for node in some]
        self.done.append(", ".join(f"{action.__name__} {node.name}" for node, action in actions))
        async with asyncio.timeout(4 * ANSWERED_S):
            await asyncio.gather(*(action(self, node) for node, action in actions))

    async def settled(self) -> bool:
        """Whether each VIP is on one healthy node, or on none if there is no such node."""
        healthy = self.healthy
        for vip in VIPS:
            holders = await self.lab.holders(vip)
            if len(holders) != min(1, len(healthy)) or not all(node in healthy for node in holders):
                return False
        return True


async def step_down(world: World, node: Node) -> None:
    hold_s = world.dice.choice(("0", "1", "60"))
    await ordered(world, on_group(node, "StepDown", hold_s, index=world.dice.randint(1, len(VIPS))))


async def take_over(world: World, node: Node) -> None:
    await ordered(world, on_group(node, "TakeOver", index=world.dice.randint(1, len(VIPS))))


async def set_preemption(world: World, node: Node) -> None:
    await ordered(world, on_failover(node, "SetPreemption", world.dice.choice(POLICIES)))


async def maintenance(world: World, node: Node) -> None:
    if node.name in world.maintained:
        await ordered(world, on_manager(node, "LeaveMaintenance"))
        world.maintained.discard(node.name)
    else:
        await ordered(world, on_manager(node, "EnterMaintenance", "", "0"))
        world.maintained.add(node.name)


async def ordered(world: World, order: Awaitable[object]) -> None:
    async with asyncio.timeout(ANSWERED_S):
        answer = await order
    error = getattr(answer, "error", "?")
    world.done[-1] += f" ({error or 'done'})"
    assert error in ORDERS, answer


async def kill_keepalived(world: World, node: Node) -> None:
    pids = sorted(node.processes("keepalived"))
    doomed = world.dice.choice((pids, pids[:1], pids[1:]))
    if doomed:
        await node.run(["kill", "-KILL", *map(str, doomed)])


async def crash_ipfod(world: World, node: Node) -> None:
    await node.kill_ipfod(signal.SIGKILL)
    await node.start_ipfod()


async def restart_ipfod(world: World, node: Node) -> None:
    assert await node.kill_ipfod(signal.SIGTERM) == 0
    await node.start_ipfod()


async def reload(world: World, node: Node) -> None:
    assert (await node.ipfoctl("reload")).returncode == 0


async def service(world: World, node: Node) -> None:
    if node.name in world.unserved:
        await node.start_service(PORT)
        world.unserved.discard(node.name)
    else:
        await node.stop_service(PORT)
        world.unserved.add(node.name)


async def cable(world: World, node: Node) -> None:
    if node.name in world.unplugged:
        await node.plug()
        world.unplugged.discard(node.name)
    else:
        await node.unplug()
        world.unplugged.add(node.name)


Action = Callable[[World, Node], Awaitable[None]]
ACTIONS: tuple[Action, ...] = (
    step_down, step_down, take_over, take_over, set_preemption, maintenance, kill_keepalived, crash_ipfod,
    restart_ipfod, reload, service, cable,
)  # fmt: skip


async def play(seed: int, steps: int) -> None:
    async with Lab(nodes=3) as lab:
        world = World(lab, random.Random(seed))
        for node in lab.nodes:
            await node.start_service(PORT)
        policy = world.dice.choice(POLICIES)
        await run_all(lab, f'monitor_port = {PORT}\ncheck_interval = 1\npreemption = "{policy}"\n', vips=VIPS)
        async with AddressWatch(lab.nodes) as watch:
            for _ in range(steps):
                await world.step()
                story = f"seed {seed}, {policy}: {'; '.join(world.done)}"
                await until(
                    world.settled, what=f"each VIP on one healthy node after {story}", timeout_s=SETTLED_S
                )
                assert not watch.doubles(since=0.0, longer_than_s=TWICE_S), story
                for node in lab.nodes:
                    assert "Traceback" not in node.log(), story


@pytest.mark.parametrize("seed", range(4))
async def test_any_sequence_ends_with_each_vip_on_one_healthy_node(seed: int) -> None:
    await play(seed, steps=12)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("seed", range(100, 140))
async def test_any_long_sequence_ends_with_each_vip_on_one_healthy_node(seed: int) -> None:
    await play(seed, steps=60)
