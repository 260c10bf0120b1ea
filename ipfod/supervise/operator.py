"""What an operator can order over the bus, in one place: checks what was asked for and has it done."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ipfod.config.model import PREEMPTION_ACCEPTED, Preemption
from ipfod.errors import Failed, InvalidRequest, NotFound
from ipfod.node.model import State
from ipfod.node.node import Node
from ipfod.node.orders import REASON_MAX
from ipfod.plan.model import GroupKey
from ipfod.plan.planning import WHOLE_FAILOVER
from ipfod.supervise.fleet import Fleet
from ipfod.supervise.maintenance import MaintenanceMode
from ipfod.supervise.switchover import Switchover
from ipfod.vrrp.announce import announce

SHOWN_MAX = 60  # characters of a foreign value that an answer repeats


@dataclass(frozen=True, slots=True)
class Operator:
    """`who` names the caller in reasons, e.g. "uid 0"."""

    node: Node
    fleet: Fleet
    switchover: Switchover
    maintenance: MaintenanceMode
    read_again: Callable[[], Awaitable[None]]

    async def reload(self) -> None:
        """Raises InvalidConfiguration, Failed."""
        await self.read_again()

    async def set_preemption(self, failover: str, index: int, text: str) -> None:
        """Order a policy for a group, or a failover with index 0. Raises InvalidRequest, NotFound, Failed."""
        try:
            policy = Preemption.parse(text)
        except ValueError as error:
            shown = text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}…"
            raise InvalidRequest(f"{shown!r} is not a preemption policy: {PREEMPTION_ACCEPTED}") from error
        await self._order_preemption(failover, index, policy)

    async def reset_preemption(self, failover: str, index: int) -> None:
        """Go back to what the file says. Raises NotFound, Failed."""
        await self._order_preemption(failover, index, None)

    async def _order_preemption(self, failover: str, index: int, policy: Preemption | None) -> None:
        if index == WHOLE_FAILOVER:
            if failover not in self.node.failovers:
                raise NotFound(f"{failover}: there is no such failover")
        elif GroupKey(failover, index) not in self.node.groups:
            raise NotFound(f"{failover}: there is no group {index}")
        await self.fleet.order_preemption(failover, index, policy)

    async def step_down(self, key: GroupKey, hold_s: int, who: str) -> None:
        await self.switchover.step_down(key, hold_s, who)

    async def take_over(self, key: GroupKey, who: str) -> None:
        if self.node.maintenance is not None:
            raise Failed("this node is in maintenance", hint="leave it first: ipfoctl maintenance off")
        await self.switchover.take_over(key, who)

    async def enter_maintenance(self, reason: str, until_usec: int) -> tuple[str, ...]:
        """Raises InvalidRequest."""
        if len(reason) > REASON_MAX or not (reason.isprintable() or not reason):
            raise InvalidRequest(f"reason: is not one line of at most {REASON_MAX} characters")
        if until_usec and until_usec <= time.time_ns() // 1000:
            raise InvalidRequest(
                f"until_usec: {until_usec} µs after 1970-01-01 UTC is in the past; 0 is no end"
            )
        return await self.maintenance.enter(reason, until_usec)

    async def leave_maintenance(self) -> None:
        await self.maintenance.leave()

    async def send_gratuitous_arp(self, key: GroupKey) -> None:
        """Raises NotFound, and Failed if this node is not master of the group or cannot send."""
        if (status := self.node.groups.get(key)) is None:
            raise NotFound(f"{key.failover}: there is no group {key.index}")
        if status.state is not State.MASTER:
            text = f"{status.group.name}: this node is not its master, so it must not announce the virtual IPs"
            raise Failed(text, hint="do it on the node that is; ipfoctl status names it")
        interface = self.node.failovers[key.failover].plan.interface
        await asyncio.to_thread(announce, interface, status.group.virtual_ips)
