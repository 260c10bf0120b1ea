"""What a dead keepalived can no longer do: take its VIPs off the interface and tell its peers.

Both happen group by group on the netlink worker thread, so that each VIP is on no node only for as long as its
own group takes, and on two nodes never: the parting advert leaves after the addresses are gone.
"""

from __future__ import annotations

import logging
import time

from ipfod.addresses import InterfaceAddress
from ipfod.errors import Failed
from ipfod.host.netlink import Netlink
from ipfod.keepalived.render import advertised, instance_version
from ipfod.plan.model import FailoverPlan, Group
from ipfod.vrrp.parting import Parting, PartingGroup

log = logging.getLogger(__name__)

# A peer needs about so long for the 16 virtual IPs of a group (measured, keepalived 2.2.7): those that are told
# later answer here until it is their turn.
TAKEN_S = 0.0015
# By then all must be told: peers take over by themselves 2 intervals after this node is gone, at the earliest.
WITHIN_INTERVALS = 1.5


class Farewell:
    """Parting adverts of one failover, made ready ahead of time."""

    def __init__(self, netlink: Netlink) -> None:
        self._netlink = netlink
        self._plan: FailoverPlan | None = None
        self._parting: Parting | None = None

    def prepare(self, plan: FailoverPlan) -> None:
        """Make everything ready for a plan. A failure is only logged: peers then wait a master-down time."""
        self.close()
        self._plan = plan
        try:
            parting = Parting(plan.interface, [_parting_group(plan, group) for group in plan.groups])
            parting.open()
        except Failed as error:
            log.warning("%s", error)
        else:
            self._parting = parting

    async def say(self, groups: tuple[Group, ...]) -> None:
        """Take the VIPs of groups off and send their parting adverts."""
        plan, parting = self._plan, self._parting
        if plan is not None and groups:
            await self._netlink.in_worker(lambda: self._say(plan, parting, groups))

    def part(self, group: Group) -> None:
        """Send a group's parting advert while keepalived goes on as its master. Raises Failed."""
        if self._parting is None:
            raise Failed(f"{group.name}: parting adverts cannot be sent", hint="see: journalctl -u ipfod")
        for error in self._parting.send([(group.ip_version, group.virtual_router_id)]):
            text = f"{group.name}: parting advert not sent: {error.strerror}"
            raise Failed(text, hint="see that the interface is up, then try again") from error

    def _say(self, plan: FailoverPlan, parting: Parting | None, groups: tuple[Group, ...]) -> None:
        pace_s = min(TAKEN_S, WITHIN_INTERVALS * plan.failover.advert_interval_s / len(groups))
        due = time.monotonic()
        for group in groups:
            time.sleep(max(0.0, due - time.monotonic()))
            due += pace_s
            self._netlink.remove_now(virtual_ip_addresses(plan, (group,)))
            if parting is not None:
                for error in parting.send([(group.ip_version, group.virtual_router_id)]):
                    log.warning("%s: parting advert not sent: %s", group.name, error.strerror)

    def close(self) -> None:
        """Give up what is ready; a farewell that is being said is said to its end."""
        if self._parting is not None:
            self._netlink.when_idle(self._parting.close)
            self._parting = None


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
