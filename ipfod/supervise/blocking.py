"""Proof that adverts get through: what is heard on the wire, held against what keepalived counts.

A packet socket hears what the packet filter drops on its way in, and does not hear what it drops on its way
out. keepalived counts every advert that it gets, those that it refuses too, and every one that it means to
send. So two dumps of its counters tell for certain, whoever is master by right. They are asked for only when
this node is master and hears another node's adverts, or hears none of its own.

Multicast adverts to a keepalived with unicast peers, and the other way round, are neither taken nor counted
(2.2.7), so they do not count here either.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ipfod.errors import Failed
from ipfod.firewall.chain import Direction
from ipfod.firewall.suspects import Packet
from ipfod.keepalived.dump import InstanceDump
from ipfod.node.events import Change, Event, PlanApplied
from ipfod.node.model import State, Transition
from ipfod.plan.model import FailoverPlan, Group, GroupKey
from ipfod.vrrp.heard import Heard
from ipfod.vrrp.packet import MULTICAST_IPV4, MULTICAST_IPV6

log = logging.getLogger(__name__)

# Of one's own adverts, in intervals. Within 3 intervals the problem is to be told, and counting takes time.
SILENCE_INTERVALS = 1.5
FOREIGN_ADVERTS = 2  # the first one is what every hand-over begins with
COUNT_INTERVALS = 1.1  # as long are adverts counted
HANDLED_S = 0.02  # so soon keepalived has counted what came in
AGAIN_S = 0.5  # from one count to the next while something is wrong, or was suspected and not found

Dump = Callable[[str], Awaitable[tuple[InstanceDump, ...]]]


@dataclass(frozen=True, slots=True)
class Blocked:
    """The packets of one kind that do not get through."""

    failover: str
    packet: Packet


@dataclass(slots=True)
class _Watched:
    """A group, what was heard of it and what was found."""

    plan: FailoverPlan
    group: Group
    master_since_s: float | None = None
    came_in: int = 0  # adverts that keepalived should have got
    foreign: int = 0  # of these, since this node is master
    sent: Heard | None = None  # what went out last
    blocked_in: bool = False
    blocked_out: bool = False

    @property
    def interval_s(self) -> float:
        return self.plan.failover.advert_interval_s

    @property
    def last_out_s(self) -> float:
        return self.sent.last_s if self.sent is not None else float("-inf")

    @property
    def wrong(self) -> bool:
        return self.blocked_in or self.blocked_out

    def silent_at_s(self) -> float:
        """When its own silence becomes suspicious."""
        assert self.master_since_s is not None
        return max(self.last_out_s, self.master_since_s) + SILENCE_INTERVALS * self.interval_s

    def expects(self, heard: Heard) -> bool:
        """Whether keepalived would take an advert."""
        if self.group.peers:
            return heard.advert.source in self.group.peers
        return heard.advert.destination in (MULTICAST_IPV4, MULTICAST_IPV6)

    def lost(self) -> Iterable[Packet]:
        """What does not get through, as the packet filter sees it."""
        version = self.group.ip_version
        multicast = MULTICAST_IPV4 if version == 4 else MULTICAST_IPV6
        peer = self.group.peers[0] if self.group.peers else None
        own = self.group.source or self.group.anchor
        if self.blocked_in:
            yield Packet(Direction.INPUT, self.plan.interface, own if peer else multicast, peer)
        if self.blocked_out:
            yield Packet(Direction.OUTPUT, self.plan.interface, peer or multicast, self.group.source)


class BlockingWatch:
    """Watches every group that this node is master of; tells what is blocked, whenever that changes."""

    def __init__(
        self, dump: Dump, catch_up: Callable[[], None], tell: Callable[[frozenset[Blocked]], Awaitable[None]]
    ) -> None:
        self._dump = dump
        self._catch_up = catch_up
        self._tell = tell
        self._told: frozenset[Blocked] = frozenset()
        self._by_key: dict[GroupKey, _Watched] = {}
        self._by_router: dict[tuple[str, int, int], _Watched] = {}
        self._wake = asyncio.Event()
        self._counted_s: dict[str, float] = {}  # when a failover was counted last

    # ------------------------------------------------------------ what is seen

    def take(self, event: Event, changes: Iterable[Change]) -> None:
        """Follow the plan and the groups' states."""
        if isinstance(event, PlanApplied):
            self._follow(event.plan.failovers)
        for change in changes:
            if isinstance(change, Transition) and (watched := self._by_key.get(change.group)) is not None:
                self._is_now(watched, change.new)

    def _follow(self, plans: Mapping[str, FailoverPlan]) -> None:
        before = self._by_key
        self._by_key = {group.key: _Watched(plan, group) for plan in plans.values() for group in plan.groups}
        for key, watched in self._by_key.items():
            if (old := before.get(key)) is not None:
                watched.master_since_s = old.master_since_s
                watched.blocked_in, watched.blocked_out = old.blocked_in, old.blocked_out
                watched.sent = old.sent
        self._by_router = {
            (each.plan.interface, each.group.ip_version, each.group.virtual_router_id): each
            for each in self._by_key.values()
        }
        self._wake.set()

    def _is_now(self, watched: _Watched, state: State) -> None:
        watched.foreign = 0
        watched.master_since_s = asyncio.get_running_loop().time() if state is State.MASTER else None
        if state is not State.MASTER:
            watched.blocked_in = watched.blocked_out = False
        self._wake.set()

    def heard(self, heard: Heard) -> bool:
        """Take an advert into account. Answers whether each repetition counts: another node's to a master."""
        advert = heard.advert
        watched = self._by_router.get((heard.interface, advert.ip_version, advert.virtual_router_id))
        if watched is None:
            return False
        if heard.outgoing:
            watched.sent = heard
        elif watched.master_since_s is not None and watched.expects(heard):
            watched.came_in += 1
            watched.foreign += 1
            if watched.foreign == FOREIGN_ADVERTS:
                self._wake.set()
            return True
        return False

    # ------------------------------------------------------------ what follows

    async def watch(self) -> None:
        """Count whenever there is a reason. Runs until it is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            await self._report()
            due, next_s = self._look(loop.time())
            if due:  # or what is heard in turns has not been heard yet
                self._catch_up()
                due, next_s = self._look(loop.time())
            if due:
                await asyncio.gather(*(self._count(name, self._groups_of(name)) for name in due))
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(next_s):
                    await self._wake.wait()

    def _look(self, now: float) -> tuple[set[str], float | None]:
        """The failovers to be counted, and when the next one may be; None if that cannot be by itself.

        This is done many times a second for hundreds of groups: once over all of them.
        """
        due: set[str] = set()
        next_s: float | None = None
        for each in self._by_key.values():
            if each.master_since_s is None:
                continue
            when_s = each.silent_at_s()
            if each.wrong or each.foreign >= FOREIGN_ADVERTS or now >= when_s:
                when_s = self._counted_s.get(each.plan.name, float("-inf")) + AGAIN_S
                if now >= when_s:
                    due.add(each.plan.name)
            if next_s is None or when_s < next_s:
                next_s = when_s
        return due, next_s

    def _groups_of(self, failover: str) -> list[_Watched]:
        return [each for each in self._by_key.values() if each.plan.name == failover]

    async def _count(self, failover: str, groups: Sequence[_Watched]) -> None:
        """Count the adverts of a failover's groups, at least one, for one interval, and judge."""
        try:
            self._catch_up()
            began_s = asyncio.get_running_loop().time()
            before = {each.name: each for each in await self._dump(failover)}
            self._catch_up()
            got_from = {id(each): each.came_in for each in groups}
            await asyncio.sleep(COUNT_INTERVALS * groups[0].interval_s)
            self._catch_up()
            got = {id(each): each.came_in - got_from[id(each)] for each in groups}
            await asyncio.sleep(HANDLED_S)
            after = {each.name: each for each in await self._dump(failover)}
        except Failed as error:
            log.debug("%s: %s", failover, error)
            return
        finally:
            self._counted_s[failover] = asyncio.get_running_loop().time()
        self._catch_up()
        for each in groups:
            old, new = before.get(each.group.name), after.get(each.group.name)
            if old is None or new is None or each.master_since_s is None:
                each.blocked_in = each.blocked_out = False
                continue
            each.blocked_in = got[id(each)] > 0 and new.received == old.received
            each.blocked_out = each.last_out_s <= began_s and new.sent > old.sent
            each.foreign = 0

    async def _report(self) -> None:
        found = frozenset(
            Blocked(each.plan.name, packet)
            for each in self._by_key.values()
            if each.wrong
            for packet in each.lost()
        )
        if found != self._told:
            self._told = found
            await self._tell(found)
