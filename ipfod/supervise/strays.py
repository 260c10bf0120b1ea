"""Virtual IPs that are not where they should be: `vip-missing`, `vip-orphaned`.

keepalived puts back what somebody took off its interface, within 30 ms as measured. What is still missing after
half a second is missed. What is left on an interface of a group that this node does not serve is taken off, if
it is exactly what ipfod has noted in its ledger before keepalived set it; anything else is only reported.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Container, Hashable, Iterable, Mapping
from typing import TypeVar

from ipfod.addresses import Address, InterfaceAddress, in_order
from ipfod.errors import Failed
from ipfod.host.netlink import Host
from ipfod.node.events import Event, ProblemsSeen
from ipfod.node.model import Problem, ProblemCode, State, VirtualIPStatus
from ipfod.node.node import Node
from ipfod.supervise.ledger import Ledger
from ipfod.supervise.soon import Soon

log = logging.getLogger(__name__)

SCOPE = "virtual IPs"
MISSING_AFTER_S = 0.5
# keepalived says BACKUP before it has taken the VIPs off. Those of 255 groups of 16 take it 1.2 s, those of one
# group 10 ms (measured, 2.2.7).
ORPHANED_AFTER_S, ORPHANED_FOR_EACH_S = 0.5, 0.005
LOOK_AGAIN_S = 0.25
# This node serves nobody in these states. In `unknown` keepalived runs and may be master.
IDLE = frozenset({State.BACKUP, State.FAULT, State.STOPPED})

VirtualIPKey = tuple[Address, int]  # the address, and since when its group is in its state
T = TypeVar("T", bound=Hashable)


class StrayWatch:
    """Raises the problems and clears them, and takes off what is left over."""

    def __init__(
        self,
        node: Node,
        ledger: Ledger,
        remove: Callable[[Iterable[InterfaceAddress]], Awaitable[tuple[InterfaceAddress, ...]]],
        emit: Callable[[Event], None],
    ) -> None:
        self._node = node
        self._ledger = ledger
        self._remove = remove
        self._emit = emit
        self._addresses: tuple[InterfaceAddress, ...] = ()
        self._missing: Mapping[VirtualIPKey, float] = {}
        self._orphans: Mapping[InterfaceAddress, float] = {}
        self._said: tuple[Problem, ...] = ()
        self._soon = Soon(self._look)
        self._removing: asyncio.Task[None] | None = None

    def see(self, host: Host) -> None:
        """The kernel's addresses as they are now."""
        self._addresses = host.addresses
        self.seen()

    def seen(self) -> None:
        """Something changed: look soon."""
        self._soon.within(LOOK_AGAIN_S)

    async def aclose(self) -> None:
        self._soon.cancel()
        if self._removing is not None:
            await asyncio.wait({self._removing})

    def _look(self) -> None:
        now = asyncio.get_running_loop().time()
        self._missing = since(missing(self._node), self._missing, now)
        self._orphans = since(orphans(self._node, self._addresses), self._orphans, now)
        missed = [key for key, first in self._missing.items() if now >= first + MISSING_AFTER_S]
        patience_s = ORPHANED_AFTER_S + ORPHANED_FOR_EACH_S * len(self._node.groups)
        left = [entry for entry, first in self._orphans.items() if now >= first + patience_s]
        noted = self._noted() if left else frozenset()
        problems = (
            *(_missing_problem(self._node, address) for address, _ in missed),
            *orphan_problems(left, noted),
        )
        if problems != self._said:
            self._said = problems
            self._emit(ProblemsSeen(SCOPE, problems))
        if (own := [entry for entry in left if entry in noted]) and self._removing is None:
            self._removing = asyncio.create_task(self._take_off(own), name="left over VIPs")
        if self._missing or self._orphans:
            self.seen()

    def _noted(self) -> frozenset[InterfaceAddress]:
        return frozenset(entry for some in self._ledger.taken.virtual_ips.values() for entry in some)

    async def _take_off(self, entries: Iterable[InterfaceAddress]) -> None:
        try:
            for entry in await self._remove(entries):
                log.info("%s on %s: left over, taken off", entry.address, entry.interface)
        except Failed as error:
            log.warning("%s", error)  # the problem stays, and the next look tries again
        finally:
            self._removing = None


def since(now_there: Iterable[T], before: Mapping[T, float], now: float) -> dict[T, float]:
    """When each was seen first, of those that are there. Pure."""
    return {each: before.get(each, now) for each in now_there}


def missing(node: Node) -> tuple[VirtualIPKey, ...]:
    """VIPs of groups that this node is master of which the kernel does not have. Pure."""
    return tuple(
        (status.address, node.groups[status.group].since_usec)
        for status in node.virtual_ips.values()
        if not status.held and node.groups[status.group].state is State.MASTER
    )


def orphans(node: Node, addresses: Iterable[InterfaceAddress]) -> tuple[InterfaceAddress, ...]:
    """VIPs on the interface of a group that this node does not serve. Pure."""
    return tuple(
        entry
        for entry in addresses
        if (vip := node.virtual_ips.get(entry.address)) is not None and _is_idle(node, vip, entry)
    )


def _is_idle(node: Node, vip: VirtualIPStatus, entry: InterfaceAddress) -> bool:
    interface = node.failovers[vip.group.failover].plan.interface
    return entry.interface == interface and node.groups[vip.group].state in IDLE


def _missing_problem(node: Node, address: Address) -> Problem:
    status = node.groups[node.virtual_ips[address].group]
    interface = node.failovers[status.group.failover].plan.interface
    text = f"{address}: this node is master of {status.group.name}, but {interface} does not have the address"
    hint = (
        "something takes it off again and again, or keepalived hangs: see docs/install.md on networkd and "
        f"NetworkManager; ipfoctl step-down {status.group.name} moves it to another node"
    )
    return Problem(ProblemCode.VIP_MISSING, str(address), text, hint)


def orphan_problems(
    entries: Iterable[InterfaceAddress], noted: Container[InterfaceAddress]
) -> tuple[Problem, ...]:
    """One problem for each address, in order. Pure."""
    found: dict[str, Problem] = {}
    for entry in sorted(entries, key=in_order):
        text = f"{entry.address}: {entry.interface} has it, though this node is not its master"
        if entry in noted:
            hint = "it was left over and is being taken off; if this stays, the log of ipfod says why"
        else:
            where = f"{entry.address}/{entry.prefix_length} dev {entry.interface}"
            hint = f"ipfod did not put it there: find out what did, then ip address del {where}"
        found.setdefault(str(entry.address), Problem(ProblemCode.VIP_ORPHANED, str(entry.address), text, hint))
    return tuple(found.values())
