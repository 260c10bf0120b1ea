"""Maintenance: this node gives up everything, hands over what it can, and stays so over restart and reboot."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace

from ipfod.node.events import Event, MaintenanceOrdered
from ipfod.node.model import State
from ipfod.node.node import Node
from ipfod.node.orders import Maintenance
from ipfod.node.reasons import in_maintenance
from ipfod.plan.model import GroupKey
from ipfod.supervise.ledger import Ledger
from ipfod.supervise.switchover import Switchover

log = logging.getLogger(__name__)

# Its end is a time of day: somebody may set the clock meanwhile.
CLOCK_POLL_S = 1.0
GIVEN_UP_S = (
    5.0  # keepalived follows its track files in milliseconds, removing thousands of addresses takes a second
)
POLL_S = 0.01


class MaintenanceMode:
    """Enters and leaves maintenance; `steer` has all track files written anew."""

    def __init__(
        self,
        node: Node,
        ledger: Ledger,
        switchover: Switchover,
        emit: Callable[[Event], None],
        steer: Callable[[], None],
    ) -> None:
        self._node = node
        self._ledger = ledger
        self._switchover = switchover
        self._emit = emit
        self._steer = steer
        self._turn = asyncio.Lock()

    def restore(self) -> None:
        """Go on with a maintenance from before a restart or reboot, unless its end has passed."""
        self._end_if_over()
        self._emit(MaintenanceOrdered(self._ledger.orders.maintenance))

    async def enter(self, reason: str, until_usec: int) -> tuple[str, ...]:
        """Give up every group; answers a warning for each that no other node has taken.

        What others take is handed over, group by group; this node answers until they do.
        """
        async with self._turn:
            maintenance = Maintenance(reason, until_usec, _now_usec())
            kept = await self._switchover.vacate_all(in_maintenance(maintenance))
            # A reload may have taken a group away while others were handed over.
            warnings = tuple(self._warning(key) for key in kept if key in self._node.groups)
            self._order(maintenance)
            await self._given_up()
            self._switchover.let_go()
        for warning in warnings:
            log.warning("%s", warning)
        return warnings

    async def leave(self) -> None:
        """Take part again: from now on the ordinary preemption rules say what this node gets."""
        async with self._turn:
            self._order(None)

    async def watch(self) -> None:
        """Leave when the end is reached. Runs until it is cancelled."""
        while True:
            await asyncio.sleep(CLOCK_POLL_S if self._node.maintenance else 2 * CLOCK_POLL_S)
            if self._turn.locked():
                continue
            if self._end_if_over():
                log.info("maintenance: its end is reached")
                self._emit(MaintenanceOrdered(None))
                self._steer()

    def _end_if_over(self) -> bool:
        orders = self._ledger.orders
        if orders.maintenance is None or not orders.maintenance.is_over(_now_usec()):
            return False
        self._ledger.order(replace(orders, maintenance=None))
        return True

    def _order(self, maintenance: Maintenance | None) -> None:
        self._ledger.order(replace(self._ledger.orders, maintenance=maintenance))
        self._emit(MaintenanceOrdered(maintenance))
        self._steer()

    def _held(self) -> list[GroupKey]:
        return [key for key, status in self._node.groups.items() if status.state is State.MASTER]

    def _warning(self, key: GroupKey) -> str:
        group = self._node.groups[key].group
        addresses = ", ".join(str(address) for address in group.virtual_ips)
        return f"{group.name}: no other node took over: {addresses} on no node now"

    async def _given_up(self) -> None:
        """Wait until keepalived has followed: then the answer is true."""
        deadline = asyncio.get_running_loop().time() + GIVEN_UP_S
        while self._held() and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(POLL_S)


def _now_usec() -> int:
    return time.time_ns() // 1000
