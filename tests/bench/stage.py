"""Nodes that run one system at one size, and the means to measure what happens to one of them."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import systems
from bench.configs import INTERFACE, PORT, Size
from bench.load import busy
from bench.systems import Ipfod, Original, Plain
from ipfod.config.model import Address
from ipfod.errors import Failed
from ipfod.lab.lab import Lab
from ipfod.lab.meter import Echo
from ipfod.lab.node import Node
from ipfod.lab.watch import AddressWatch

PHASE = Path(__file__).with_name("phase.py")
SAMPLED = 16  # virtual IPs that echo requests go to, over as many groups
SETTLE_TIMEOUT_S = 60.0
CALM_S = 1.2  # after the last change: the second round of gratuitous ARP comes a second later
BEFORE_S, AFTER_S = 0.3, 0.7
# Make-before-break has both nodes hold an address for about a millisecond; the watch itself is not that exact.
DOUBLE_S = 0.05


@dataclass(frozen=True, slots=True)
class Scene:
    """How many nodes there are, and whether all processors are kept busy while something is measured."""

    nodes: int = 2
    busy: bool = False

    def size(self, size: Size) -> str:
        """A size as the table says it."""
        more = f", {self.nodes} nodes" if self.nodes != USUAL.nodes else ""
        return f"{size}{more}{', busy' if self.busy else ''}"


USUAL = Scene()
BUSY_EACH = 1  # processes that never rest, for each processor


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of a scenario."""

    ms: float  # the longest outage; or from the moment that the scenario has noted until the move was over
    lost_for_good: int  # virtual IPs that did not answer any more at the end
    doubled_ms: float  # for how long an address was on both nodes


class Stage:
    """`victim` is what things happen to: it prefers group 1. `sample` are virtual IPs that it holds."""

    def __init__(
        self, lab: Lab, system: Ipfod | Plain | Original, size: Size, *, scene: Scene, seed: int
    ) -> None:
        self.lab, self.system, self.size, self.scene = lab, system, size, scene
        self.moment: float | None = None  # when something happened that the echoes do not tell of
        self.chance = random.Random(seed)
        made = {node.name: system.instances(node) for node in lab.nodes}
        first = {name: instances[0].priority for name, instances in made.items()}
        self.victim: Node = max(lab.nodes, key=lambda node: first[node.name])
        others = [node for node in lab.nodes if node is not self.victim]
        self.peer: Node = max(others, key=lambda node: first[node.name])
        instances = zip(made[self.victim.name], *(made[node.name] for node in others), strict=True)
        pairs = [(mine, max(rest, key=lambda one: one.priority)) for mine, *rest in instances]
        preferred = [mine for mine, other in pairs if mine.priority > other.priority]
        step = max(1, len(preferred) // SAMPLED)
        self.sample: list[Address] = [one.virtual_ips[-1] for one in preferred[::step]][:SAMPLED]
        self.virtual_ips = {address for one in made[self.victim.name] for address in one.virtual_ips}
        self.peer_priority = min(
            other.priority for mine, other in pairs if mine.virtual_ips[-1] in set(self.sample)
        )

    @property
    def large(self) -> bool:
        return self.size.groups > 1

    # ---------------------------------------------------------------- as it should be

    async def settle(self) -> None:
        """Wait until each virtual IP is on one node, the sampled ones on the victim. Raises Failed."""
        end = time.monotonic() + SETTLE_TIMEOUT_S
        while wrong := await self._wrong():
            if time.monotonic() > end:
                raise Failed(f"{self.system.name}, {self.size}: {wrong} after {SETTLE_TIMEOUT_S:.0f} s")
            await asyncio.sleep(0.3 if self.large else 0.05)
        await asyncio.sleep(CALM_S)

    async def _wrong(self) -> str:
        held = [self.virtual_ips & found for found in await asyncio.gather(*map(_held, self.lab.nodes))]
        holders = Counter(address for found in held for address in found)
        if several := [address for address, count in holders.items() if count > 1]:
            return f"{len(several)} virtual IPs are on several nodes"
        if missing := self.virtual_ips - holders.keys():
            return f"{len(missing)} virtual IPs are on no node"
        mine = held[self.lab.nodes.index(self.victim)]
        if away := set(self.sample) - mine:
            return f"{len(away)} sampled virtual IPs are not on {self.victim.name}"
        return ""

    # ---------------------------------------------------------------- what happens

    async def phase(self, share: float) -> None:
        """Return when this share of an advertisement interval has passed since an advert of the victim."""
        wait_s = share * self.system.timers.advert_interval_s
        argv = [sys.executable, "-I", "-S", str(PHASE), INTERFACE, str(systems.own(self.victim)), str(wait_s)]
        program = await self.lab.client.spawn(argv, name="phase", lines=True)
        try:
            if [await program.line(), await program.line()] != ["listening", "now"]:
                raise Failed(f"no advert of {self.victim.name}: {program.output().strip()}")
        finally:
            await program.close()

    @asynccontextmanager
    async def measured(self, *, spacing_ms: float, after_s: float) -> AsyncIterator[list[Sample]]:
        """Measure what the block does to the sampled virtual IPs, until a while after it; gives one sample."""
        found: list[Sample] = []
        async with AsyncExitStack() as stack:
            if self.scene.busy:
                await stack.enter_async_context(busy(self.lab, each=BUSY_EACH))
            watch = None
            if not self.large:  # thousands of announcements to read would be a load of their own
                watch = await stack.enter_async_context(AddressWatch(self.lab.nodes))
            meter = await stack.enter_async_context(self.lab.meter(self.sample, interval_ms=spacing_ms))
            await asyncio.sleep(BEFORE_S)
            began = time.time()
            self.moment = None
            yield found
            await asyncio.sleep(after_s + AFTER_S)
            echoes = list((await meter.stop()).echoes.values())
            doubles = watch.doubles(since=began, longer_than_s=DOUBLE_S) if watch else []
        found.append(
            Sample(
                ms=self._since(self.moment, echoes, watch)
                if self.moment is not None
                else max(echo.longest_ms for echo in echoes),
                lost_for_good=sum(any(gap.open for gap in echo.gaps) for echo in echoes),
                doubled_ms=max((seconds * 1000 for *_, seconds in doubles), default=0.0),
            )
        )

    def _since(self, moment: float, echoes: Sequence[Echo], watch: AddressWatch | None) -> float:
        """From a moment until the last sampled virtual IP had moved. Raises Failed if none did."""
        ends = [gap.start + gap.ms / 1000 for echo in echoes for gap in echo.gaps if gap.start >= moment]
        if watch is not None and not ends:  # no echo was lost
            ends = [watch.last_change + time.time() - time.monotonic()]
        if not ends:
            raise Failed(f"{self.system.name}, {self.size}: nothing moved")
        return (max(ends) - moment) * 1000


async def _held(node: Node) -> set[Address]:
    return set(await node.addresses())


@asynccontextmanager
async def staged(
    make: Callable[[Lab, Size], Ipfod | Plain | Original], size: Size, scene: Scene = USUAL, *, seed: int = 1
) -> AsyncIterator[Stage]:
    """A lab in which a system that `make` makes runs on all nodes and has settled."""
    async with Lab(nodes=scene.nodes) as lab:
        system = make(lab, size)
        stage = Stage(lab, system, size, scene=scene, seed=seed)
        for node in lab.nodes:
            await node.start_service(PORT)
        await asyncio.gather(*(system.start(node) for node in lab.nodes))
        await stage.settle()
        yield stage


def by_hand(stage: Stage) -> Plain | Original:
    """The stage's system, which is not ipfod."""
    assert not isinstance(stage.system, Ipfod)
    return stage.system
