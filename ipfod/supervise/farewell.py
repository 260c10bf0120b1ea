"""What a dead keepalived can no longer do: take its VIPs off the interface and tell its peers.

Both happen group by group on the netlink worker thread, so that each VIP is on no node only for as long as its
own group takes, and on two nodes never: the parting advert leaves after the addresses are gone. A peer needs
its time for each group. The VIPs of those that it has no time for yet answer here, until it has taken earlier
ones, or those themselves because it hears nothing of them any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time

from ipfod.addresses import InterfaceAddress
from ipfod.errors import Failed
from ipfod.host.netlink import Netlink
from ipfod.keepalived.render import advertised, instance_version
from ipfod.plan.model import FailoverPlan, Group
from ipfod.vrrp.parting import Parting, PartingGroup
from ipfod.vrrp.successors import Successors

log = logging.getLogger(__name__)

# Peers have so many before them that they need not wait for the next: 1.2 to 2 ms each for 16 virtual IPs,
# and a few ms of skew time (measured, keepalived 2.2.7).
AT_ONCE = 6
LOOK_S = 0.0005
TOLD_S = 0.005  # the next is told after that even if nobody was heard to take one
# Peers take over by themselves between 3 intervals after the last advert and one more, their skew time.
BY_THEMSELVES_INTERVALS, OVER_INTERVALS = 2, 4


class Farewell:
    """Parting adverts of one failover, made ready ahead of time."""

    def __init__(self, netlink: Netlink) -> None:
        self._netlink = netlink
        self._plan: FailoverPlan | None = None
        self._ready: tuple[Parting, Successors] | None = None
        self._saying: asyncio.Task[None] | None = None

    def prepare(self, plan: FailoverPlan) -> None:
        """Make everything ready for a plan. A failure is only logged: peers then wait a master-down time."""
        self.close()
        self._plan = plan
        with contextlib.ExitStack() as stack:
            try:
                parting = Parting(plan.interface, [_parting_group(plan, group) for group in plan.groups])
                stack.callback(parting.close)
                parting.open()
                self._ready = parting, Successors(plan.interface)
                stack.pop_all()
            except Failed as error:
                log.warning("%s", error)

    def begin(self, groups: tuple[Group, ...]) -> None:
        """Start to say it; `end` tells whether that went well."""
        self._saying = asyncio.create_task(self.say(groups), name="farewell")

    async def wait(self, timeout_s: float | None = None) -> None:
        """Return when what was begun has been said, or after so long."""
        if self._saying is not None:
            await asyncio.wait({self._saying}, timeout=timeout_s)

    async def end(self) -> None:
        """Wait for what was begun. Raises Failed."""
        if (saying := self._saying) is not None:
            self._saying = None
            await saying

    async def say(self, groups: tuple[Group, ...]) -> None:
        """Take the VIPs of groups off and send their parting adverts. Raises Failed."""
        plan, ready = self._plan, self._ready
        if plan is None or not groups:
            return
        if ready is None:
            await self._netlink.remove(virtual_ip_addresses(plan, groups))
        else:
            await self._netlink.in_worker(lambda: self._say(plan, *ready, groups))

    def part(self, group: Group) -> None:
        """Send a group's parting advert while keepalived goes on as its master. Raises Failed."""
        if self._ready is None:
            raise Failed(f"{group.name}: parting adverts cannot be sent", hint="see: journalctl -u ipfod")
        for error in self._ready[0].send([(group.ip_version, group.virtual_router_id)]):
            text = f"{group.name}: parting advert not sent: {error.strerror}"
            raise Failed(text, hint="see that the interface is up, then try again") from error

    def _say(
        self, plan: FailoverPlan, parting: Parting, successors: Successors, groups: tuple[Group, ...]
    ) -> None:
        left = {(group.ip_version, group.virtual_router_id): group for group in groups}
        waiting: set[tuple[int, int]] = set()  # told, and not taken yet
        interval_s = plan.failover.advert_interval_s
        now = due_s = time.monotonic()
        by_themselves_s, over_s = now + BY_THEMSELVES_INTERVALS * interval_s, now + OVER_INTERVALS * interval_s
        with successors:
            while left:
                for key, outgoing in successors.heard():
                    waiting.discard(key)
                    if (group := left.pop(key, None)) is not None and not outgoing:
                        self._tell(plan, parting, group)
                now = time.monotonic()
                is_due = now < by_themselves_s and (len(waiting) < AT_ONCE or now >= due_s)
                if left and (is_due or now >= over_s):
                    key = next(iter(left))
                    self._tell(plan, parting, left.pop(key))
                    waiting.add(key)
                    due_s += TOLD_S
                else:
                    time.sleep(LOOK_S)

    def _tell(self, plan: FailoverPlan, parting: Parting, group: Group) -> None:
        try:
            self._netlink.remove_now(virtual_ip_addresses(plan, (group,)))
        except OSError as refused:  # the others can be told all the same
            log.warning("%s: virtual IPs not taken off: %s", group.name, refused.strerror)
            return
        for error in parting.send([(group.ip_version, group.virtual_router_id)]):
            log.warning("%s: parting advert not sent: %s", group.name, error.strerror)

    def close(self) -> None:
        """Give up what is ready; a farewell that is being said is said to its end."""
        if self._ready is not None:
            for each in self._ready:
                self._netlink.when_idle(each.close)
            self._ready = None


def virtual_ip_addresses(plan: FailoverPlan, groups: tuple[Group, ...]) -> tuple[InterfaceAddress, ...]:
    """The VIPs of groups as they are on the interface."""
    return tuple(
        InterfaceAddress(plan.interface, address, plan.failover.prefix_length_of(address))
        for group in groups
        for address in group.virtual_ips
    )


def _parting_group(plan: FailoverPlan, group: Group) -> PartingGroup:
    assert group.source is not None, "a failover is started when its interface has an address"
    version = instance_version(plan.failover, group)
    return PartingGroup(
        version=version,
        virtual_router_id=group.virtual_router_id,
        addresses=advertised(plan.failover, group),
        interval_cs=round(plan.failover.advert_interval_s * 100),
        source=group.source,
        peers=group.peers,
        auth_pass=plan.failover.auth_pass if version == 2 else None,
    )
