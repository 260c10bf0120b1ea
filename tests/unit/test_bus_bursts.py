"""When many groups change at once: what is told at once, and what when it is over."""

from __future__ import annotations

import asyncio
from itertools import cycle

from bus_harness import big_failover, node_with

from ipfod.bus import wire
from ipfod.bus.objects import Objects
from ipfod.bus.publisher import MANY_GROUPS, REST_MAX_S, Publisher
from ipfod.node.events import InstanceReported, MasterHeard
from ipfod.node.model import State
from ipfod.plan.model import GroupKey

EACH = 16  # virtual IPs of a group


class Told:
    """A node with 255 groups, and the interfaces whose properties changed, in order."""

    def __init__(self) -> None:
        self.of: list[str] = []
        self.node = node_with(big_failover())
        self.publisher = Publisher(self.node, Objects(self.node), self._take)

    def _take(self, *messages: wire.Signal) -> None:
        changed = [each for each in messages if each.member == "PropertiesChanged"]
        self.of += ["VirtualIP" if "/vip/" in each.path else "Group" for each in changed]

    def become(self, state: State, *numbers: int) -> None:
        for number in numbers:
            self.publisher.publish(self.node.apply(InstanceReported("big", f"big_VIP_{number}", state, 200), 1))

    async def all(self) -> list[str]:
        while self.publisher._scheduled is not None:
            await asyncio.sleep(0.001)
        return self.of


async def test_a_few_groups_are_told_with_their_virtual_ips_at_once() -> None:
    told = Told()
    told.become(State.MASTER, *range(1, MANY_GROUPS + 1))
    while (slice_ := told.publisher._scheduled) is not None:
        assert slice_.when() <= asyncio.get_running_loop().time(), "it rests"
        await asyncio.sleep(0)
    assert told.of == ["Group"] * MANY_GROUPS + ["VirtualIP"] * EACH * MANY_GROUPS


async def test_virtual_ips_wait_until_the_last_of_many_groups_was_told() -> None:
    told = Told()
    for first in (1, 51):
        told.become(State.MASTER, *range(first, first + 50))
        while told.of.count("Group") < first + 49:
            await asyncio.sleep(0)
    assert await told.all() == ["Group"] * 100 + ["VirtualIP"] * EACH * 100


async def test_what_changed_twice_in_a_burst_is_told_once_of_virtual_ips() -> None:
    told = Told()
    told.become(State.MASTER, *range(1, 21))
    for number in range(1, 21):
        event = MasterHeard(GroupKey("big", number), "10.0.0.9", 250)
        told.publisher.publish(told.node.apply(event, 2))
    assert (await told.all()).count("VirtualIP") == EACH * 20


async def test_a_burst_that_does_not_end_is_told_of_all_the_same() -> None:
    told = Told()
    loop = asyncio.get_running_loop()
    began = loop.time()
    states = cycle((State.MASTER, State.BACKUP))
    while "VirtualIP" not in told.of:
        told.become(next(states), *range(1, 3 * MANY_GROUPS))
        await asyncio.sleep(0.001)
        assert loop.time() < began + 30 * REST_MAX_S, "nothing was told of virtual IPs"
