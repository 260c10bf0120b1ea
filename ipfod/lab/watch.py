"""Who holds which virtual IP, and since when: follows every node's address list as the kernel announces it."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Self

from ipfod.addresses import Address
from ipfod.errors import Failed
from ipfod.lab.node import Node
from ipfod.lab.program import Program

# `ip -tshort -oneline monitor address`, for example
# "[2024-05-06T07:08:09.123456] Deleted 3: eth0    inet 10.0.0.1/32 scope global eth0\ …"
LINE = re.compile(r"\[([0-9T:.-]+)\] (Deleted )?\d+: (\S+)\s+inet6? ([0-9a-f.:]+)[ /]")
PROBE = "127.77.77.77/8"  # put on a node's `lo` until the monitor announces it: only then is it listening
PROBE_INTERVAL_S = 0.02
START_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class Holding:
    """A node held an address from `start` to `end` (seconds since the epoch); `end` is None while it does."""

    node: str
    address: Address
    start: float
    end: float | None = None

    def overlap_s(self, other: Holding, now: float) -> float:
        """For how long both held the same address, 0.0 if they did not."""
        if self.address != other.address or self.node == other.node:
            return 0.0
        end = min(self.end or now, other.end or now)
        return max(0.0, end - max(self.start, other.start))


class AddressWatch:
    """`async with AddressWatch(nodes) as watch`: from then on every change counts, however short."""

    def __init__(self, nodes: Sequence[Node], *, changed: Callable[[], None] = lambda: None) -> None:
        self.past: list[Holding] = []
        self._now: dict[tuple[str, Address], Holding] = {}
        self._nodes = tuple(nodes)
        self._changed = changed
        self._wake = asyncio.Event()
        self.last_change = time.monotonic()  # when the last announcement came
        self._readers: list[asyncio.Task[None]] = []
        self._programs: list[Program] = []

    async def __aenter__(self) -> Self:
        try:
            for node in self._nodes:
                await self.add(node)
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    async def add(self, node: Node) -> None:
        """Watch one more node. Raises Failed when its kernel's announcements cannot be heard."""
        argv = ["ip", "-tshort", "-oneline", "monitor", "address"]
        program = await node.spawn(argv, env={"TZ": "UTC0"}, lines=True)
        self._programs.append(program)
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                first = await self._first_line(node, program)
        except TimeoutError:
            first = ""
        if not first:
            raise Failed(f"{node.name}: ip monitor: {program.output().strip() or 'says nothing'}")
        for address in await node.addresses():
            self._start(node.name, address, time.time())
        self._readers.append(asyncio.create_task(self._read(node, program), name=f"addresses of {node.name}"))

    async def _first_line(self, node: Node, program: Program) -> str:
        """Change an address of no consequence until the monitor says so."""
        line = asyncio.create_task(program.line(), name=f"first line of {node.name}")
        try:
            while not line.done():
                await node.run(["ip", "address", "add", PROBE, "dev", "lo"], check=True)
                await node.run(["ip", "address", "del", PROBE, "dev", "lo"], check=True)
                await asyncio.wait({line}, timeout=PROBE_INTERVAL_S)
            return line.result()
        finally:
            line.cancel()

    async def _read(self, node: Node, program: Program) -> None:
        """Take one node's announcements until its monitor ends, with the machine at the latest."""
        while line := await program.line():
            found = LINE.match(line)
            if found is None or found[3] != node.interface:
                continue
            address = ip_address(found[4])
            if address.is_link_local or address in node.own_addresses:
                continue
            moment = datetime.fromisoformat(found[1]).replace(tzinfo=UTC).timestamp()
            if found[2]:
                self._end(node.name, address, moment)
            else:
                self._start(node.name, address, moment)
        for name, address in [key for key in self._now if key[0] == node.name]:
            self._end(name, address, time.time())

    def _start(self, node: str, address: Address, moment: float) -> None:
        self._now.setdefault((node, address), Holding(node, address, moment))
        self._announce()

    def _end(self, node: str, address: Address, moment: float) -> None:
        if held := self._now.pop((node, address), None):
            self.past.append(Holding(node, address, held.start, moment))
        self._announce()

    def _announce(self) -> None:
        self.last_change = time.monotonic()
        self._wake.set()
        self._changed()

    def holdings(self) -> tuple[Holding, ...]:
        """Everything that was seen: those that are over, then those that go on."""
        return (*self.past, *self._now.values())

    def holders(self, address: Address) -> set[str]:
        """Names of the nodes that hold an address now."""
        return {node for node, held in self._now if held == address}

    def taken(self, address: Address, *, by_other_than: str, since: float) -> str:
        """The node that was the first to take an address after a moment, one node aside; "" if none did."""
        holdings = [h for h in self.holdings() if h.address == address and h.start >= since]
        others = sorted((h.start, h.node) for h in holdings if h.node != by_other_than)
        return others[0][1] if others else ""

    async def until(self, condition: Callable[[], bool], *, timeout_s: float) -> bool:
        """Wait until a condition on `holders()` is met; False if it was not in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not condition():
                    self._wake.clear()
                    await self._wake.wait()
        return condition()

    def doubles(self, *, since: float, longer_than_s: float) -> list[tuple[Address, str, str, float]]:
        """Addresses that two nodes held at once after a moment: (address, node, node, seconds)."""
        now = time.time()
        holdings = [*(h for h in self.past if h.end is None or h.end > since), *self._now.values()]
        return [
            (one.address, one.node, other.node, seconds)
            for index, one in enumerate(holdings)
            for other in holdings[index + 1 :]
            if (seconds := one.overlap_s(other, now)) > longer_than_s
        ]

    async def _close(self) -> None:
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        for program in self._programs:
            await program.close()
