"""A rehearsal: nodes that run ipfod with one configuration file, measured while something happens to them."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Self

from ipfod.addresses import Address
from ipfod.config.model import Failover
from ipfod.errors import Failed
from ipfod.lab.lab import Lab
from ipfod.lab.meter import Measurement
from ipfod.lab.node import Node
from ipfod.lab.screen import Row, Screen, ranges, table
from ipfod.lab.theory import Timers
from ipfod.lab.view import NodeView, disagreement, look
from ipfod.lab.watch import AddressWatch
from ipfod.node.model import ProblemCode

ECHO_INTERVAL_MS = 2.0  # the resolution of the outages
BEFORE_S = AFTER_S = 0.3  # measured around the move, to see losses that should not be
SETTLE_TIMEOUT_S = 12.0  # beyond the longest time that the protocol itself needs
REFUSED = f"{ProblemCode.CONFIGURATION_INVALID}: "
LOG_LINES = 15  # of a daemon's log, when it did not do what it should
# VRRP hands over make-before-break where a peer preempts: for about 1 ms both nodes have the address. The rest
# is the delay of two separate processes in reading the kernel's announcements on a busy machine.
DOUBLE_TOLERATED_S = 0.05


@dataclass(frozen=True, slots=True)
class Move:
    """A way in which virtual IPs come to move, how long it should take, and what makes it undone."""

    title: str
    act: Callable[[Rehearsal, Node], Awaitable[None]]
    undo: Callable[[Rehearsal, Node], Awaitable[None]] | None  # None: needs nothing, or cannot be
    theory_ms: Callable[[Timers, int], float]  # of the priority of the node that takes over
    allowance_ms: float  # what ipfod may take beyond theory and resolution; promised is the sum


class Rehearsal:
    """`async with Rehearsal(...) as rehearsal`: all nodes run, every virtual IP is on exactly one of them.

    Raises Failed saying what did not come about.
    """

    def __init__(self, lab: Lab, failover: Failover, *, file: str, text: str, screen: Screen) -> None:
        self.lab = lab
        self.failover = failover
        self.failures: list[str] = []
        self.views: dict[str, NodeView] = {}
        self._file = file
        self._text = text
        self._screen = screen
        self._stack = AsyncExitStack()
        self._timers = Timers(failover.vrrp_version, failover.advert_interval_s)
        self._watch: AddressWatch
        self._last_hit: dict[str, float] = {}

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _start(self) -> None:
        self._watch = await self._stack.enter_async_context(AddressWatch(self.lab.nodes, changed=self._redraw))
        for node in self.lab.nodes:
            node.write(f"/etc/ipfod/{self._file}", self._text)
            if self.failover.monitor_port:
                await node.start_service(self.failover.monitor_port)
        await asyncio.gather(*(node.start_ipfod() for node in self.lab.nodes))
        for problem in problems({self.lab.nodes[0].name: await look(self.lab.nodes[0])}):
            if REFUSED in problem:
                raise Failed(problem)
        await self.settle()

    def _redraw(self) -> None:
        if self.views:
            self._screen.show(table(self.views, self._watch.holders), settled=False)

    # ---------------------------------------------------------------- as it should be

    @property
    def _quiet_s(self) -> float:
        """Without a change for this long, no election is under way."""
        return self._timers.master_down_ms(1) / 1000 + 0.5

    async def settle(self) -> None:
        """Wait until every virtual IP has stayed on one node for a while and the nodes' D-Bus says the same.

        Raises Failed with what is missing.
        """
        end = time.monotonic() + SETTLE_TIMEOUT_S + 3 * self._quiet_s
        wrong = "nothing was asked yet"
        begin = time.monotonic()
        while wrong and time.monotonic() < end:
            if not await self._watch.until(self._one_holder_each, timeout_s=end - time.monotonic()):
                raise Failed(self._not_one_holder())
            change = max(begin, self._watch.last_change)
            await asyncio.sleep(max(0.0, change + self._quiet_s - time.monotonic()))
            answers = await asyncio.gather(*(look(node) for node in self.lab.nodes))
            if self._watch.last_change > change:
                continue
            self.views = {node.name: view for node, view in zip(self.lab.nodes, answers, strict=True)}
            wrong = disagreement(self.views, self.failover.virtual_ips)
        if wrong:
            raise Failed(f"the nodes' D-Bus: {wrong}")
        self._screen.show(table(self.views))

    def _one_holder_each(self) -> bool:
        return all(len(self._watch.holders(address)) == 1 for address in self.failover.virtual_ips)

    def _not_one_holder(self) -> str:
        holders = {address: sorted(self._watch.holders(address)) for address in self.failover.virtual_ips}
        wrong = {address: nodes for address, nodes in holders.items() if len(nodes) != 1}
        told = [f"{address} is on {' and '.join(nodes) or 'no node'}" for address, nodes in wrong.items()]
        return "; ".join(told[:3]) + (f"; {len(told) - 3} more like that" if len(told) > 3 else "")

    def logs(self) -> list[str]:
        """The end of every daemon's log, for a failure's report."""
        ends = [(node.name, node.log().splitlines()[-LOG_LINES:]) for node in self.lab.nodes]
        return [f"{name}: {line}" for name, lines in ends for line in lines]

    # ---------------------------------------------------------------- what happens

    async def play(self, move: Move) -> None:
        """Let it happen to the node that holds most, measure, show, undo."""
        node = self._victim()
        held = [a for a in self.failover.virtual_ips if self._watch.holders(a) == {node.name}]
        self._screen.doing(f"{move.title}, on {node.name} ...")
        moment, measurement = await self._measure(move, node, held)
        self._screen.add(self._row(move, node, held, moment, measurement))
        await self.settle()
        if move.undo is not None:
            self._screen.doing(f"{node.name} comes back ...")
            await move.undo(self, node)
            await self.settle()

    def _victim(self) -> Node:
        """Of the nodes that hold most virtual IPs the one that was left alone for longest."""
        running = [node for node in self.lab.nodes if node.pid is not None]
        counts = {n.name: sum(a in self.views[n.name].held for a in self.failover.virtual_ips) for n in running}
        node = max(running, key=lambda n: (counts[n.name], -self._last_hit.get(n.name, 0.0)))
        self._last_hit[node.name] = time.monotonic()
        return node

    async def _measure(self, move: Move, node: Node, held: list[Address]) -> tuple[float, Measurement]:
        """Let it happen while the client asks all virtual IPs; returns when it began, and the answers."""

        def left_behind() -> list[Address]:
            return [a for a in held if not self._watch.taken(a, by_other_than=node.name, since=moment)]

        limit_s = SETTLE_TIMEOUT_S + 3 * self._quiet_s
        async with self.lab.meter(self.failover.virtual_ips, interval_ms=ECHO_INTERVAL_MS) as meter:
            await asyncio.sleep(BEFORE_S)
            moment = time.time()
            await move.act(self, node)
            taken = await self._watch.until(lambda: not left_behind(), timeout_s=limit_s)
            await asyncio.sleep(AFTER_S)
        if not taken:
            text = ranges(left_behind())
            raise Failed(f"{move.title}: no other node has taken over {text} in {limit_s:.0f} s")
        return moment, meter.result()

    def _row(self, move: Move, node: Node, held: list[Address], moment: float, measurement: Measurement) -> Row:
        """Judge one move."""
        outages = [measurement.echoes[str(address)].longest_ms for address in held]
        theory = max(move.theory_ms(self._timers, priority) for priority in self._takers(node, held, moment))
        promised = theory + move.allowance_ms + ECHO_INTERVAL_MS
        faults = self._faults(held, moment, measurement)
        self.failures += [f"{move.title}: {fault}" for fault in faults]
        slow = max(outages) > promised
        verdict = "; ".join(faults) or ("slower than promised" if slow else "ok")
        return Row(
            move=move.title,
            node=node.name,
            virtual_ips=len(held),
            median_ms=statistics.median(outages),
            max_ms=max(outages),
            theory_ms=theory,
            promised_ms=promised,
            verdict=verdict,
        )

    def _takers(self, node: Node, held: list[Address], moment: float) -> list[int]:
        """The priorities with which the virtual IPs were taken over."""
        takers = {a: self._watch.taken(a, by_other_than=node.name, since=moment) for a in held}
        return [
            group.priority
            for address, taker in takers.items()
            for group in self.views[taker].groups.values()
            if address in group.virtual_ips
        ]

    def _faults(self, held: list[Address], moment: float, measurement: Measurement) -> list[str]:
        """What must not be, however long it took."""
        doubles = self._watch.doubles(since=moment, longer_than_s=DOUBLE_TOLERATED_S)
        faults = [f"{a} was on {one} and {two} for {s * 1000:.0f} ms" for a, one, two, s in doubles]
        for address in self.failover.virtual_ips:
            echo = measurement.echoes[str(address)]
            if any(gap.open for gap in echo.gaps):
                faults.append(f"{address} does not answer")
            elif address not in held and echo.gaps:
                faults.append(f"{address} did not move and was away for {echo.longest_ms:.0f} ms")
        return faults


def problems(views: Mapping[str, NodeView]) -> list[str]:
    """What the nodes report as wrong, one line each, with the names of the nodes that say so."""
    found: dict[str, list[str]] = {}
    for name, view in views.items():
        for problem in view.problems:
            found.setdefault(problem, []).append(name)
    return [f"{', '.join(names)}: {problem}" for problem, names in found.items()]
