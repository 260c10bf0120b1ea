"""Keeps VRRP let in, in nftables and firewalld, and says what stands in the way."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable

from ipfod.errors import IpfodError
from ipfod.firewall.chain import Chain
from ipfod.firewall.contest import Contest
from ipfod.firewall.firewalld import Bus, Firewalld, ZoneReport, ZoneRule
from ipfod.firewall.keeper import FirewallKeeper, FirewallReport, PlacedRule
from ipfod.firewall.legacy import legacy_tables
from ipfod.firewall.place import is_reload_chain
from ipfod.firewall.rule import FirewallWish
from ipfod.node.events import Event, ProblemsSeen
from ipfod.plan.model import FailoverPlan, Plan
from ipfod.supervise.blocking import Blocked
from ipfod.supervise.findings import Findings, Obstacle, problems

log = logging.getLogger(__name__)

SCOPE = "firewall"
# firewalld answers within milliseconds, but not while it reloads. The failovers do not wait longer for it.
FIREWALLD_S = 3.0
# What refused may be gone without a word: the kernel tells nobody of a table that goes with its owner.
RETRY_S = 2.0
LEGACY_S = 5.0  # nobody tells of changes in tables of the old iptables
QUIET_S = 0.01

ZoneRules = tuple[tuple[str, str], ...]


class FirewallGuard:
    """Rules of the plan in force; put back when somebody else changed the ruleset, or firewalld its zones."""

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self._emit = emit
        self._keeper = FirewallKeeper()
        self._firewalld: Firewalld | None = None
        self._wishes: tuple[FirewallWish, ...] = ()
        self._changed = asyncio.Event()
        self._zones_changed = asyncio.Event()
        self._contest = Contest()
        self._stood: set[PlacedRule | ZoneRule] = set()  # what was in its place already under these wishes
        self._report = FirewallReport()
        self._zone_report = ZoneReport()
        self._peered: frozenset[str] = frozenset()
        self._legacy: tuple[str, ...] = ()
        self._obstacles: tuple[Obstacle, ...] = ()

    async def open(self, bus: Bus) -> None:
        """Begin to watch the ruleset and firewalld. Raises Failed."""
        self._keeper.watch(self._changed.set)
        self._firewalld = Firewalld(bus)
        await self._firewalld.open(self._firewalld_changed)

    def remember(self, taken: ZoneRules, note: Callable[[ZoneRules], None]) -> None:
        """`taken` is what an earlier ipfod added to firewalld's zones, `note` keeps what this one does."""
        if self._firewalld is not None:
            rules = [ZoneRule(*each) for each in taken]
            self._firewalld.remember(rules, lambda ours: note(tuple((each.zone, each.rule) for each in ours)))

    def _firewalld_changed(self) -> None:
        self._zones_changed.set()
        self._changed.set()  # whether it runs decides about chains, too

    async def follow(self, plan: Plan) -> None:
        """Make ruleset and zones fit a plan."""
        wishes = tuple(_wish(planned) for planned in plan.failovers.values())
        if wishes != self._wishes:
            self._stood.clear()
        self._wishes = wishes
        self._peered = frozenset(
            name
            for name, planned in plan.failovers.items()
            if planned.failover.unicast_peers and not planned.unicast
        )
        await self._apply()
        try:
            async with asyncio.timeout(FIREWALLD_S):
                await self._apply_zones()
        except TimeoutError:
            self._zones_changed.set()

    async def watch(self) -> None:
        """Put the rules back whenever the ruleset changed. Runs until it is cancelled."""
        await self._watch(self._changed, self._apply)

    async def watch_legacy(self) -> None:
        """Look at the tables of the old iptables, of which nothing tells. Runs until it is cancelled."""
        while True:
            await asyncio.sleep(LEGACY_S)
            if self._legacy != (found := await asyncio.to_thread(legacy_tables)):
                self._legacy = found
                self._say()

    async def watch_zones(self) -> None:
        """Likewise in the zones of firewalld, which answers later."""
        await self._watch(self._zones_changed, self._apply_zones)

    async def _watch(self, changed: asyncio.Event, apply: Callable[[], Awaitable[None]]) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._next_s()):
                    await changed.wait()
            changed.clear()
            await apply()

    def _next_s(self) -> float | None:
        """How long nothing need be looked at unless something changes; None: for ever."""
        now = asyncio.get_running_loop().time()
        at = self._contest.next_s(now)
        waits = [] if at is None else [max(at - now, QUIET_S)]
        if self._report.errors or self._zone_report.errors:
            waits.append(RETRY_S)
        return min(waits, default=None)

    async def _apply(self) -> None:
        running = self._firewalld is not None and self._firewalld.running
        self._report = await self._keeper.apply(self._wishes, firewalld=running, spare=self._resting())
        self._legacy = self._report.legacy
        contested = [rule for rule in self._report.inserted if not is_reload_chain(rule.chain)]
        self._take_stock(self._report, {rule: rule.chain for rule in contested}, self._report.placed)

    async def _apply_zones(self) -> None:
        if self._firewalld is None:
            return
        self._zone_report = await self._firewalld.apply(self._wishes, spare=self._resting())
        inserted = {rule: rule for rule in self._zone_report.inserted}
        self._take_stock(self._zone_report, inserted, self._zone_report.placed)

    def _resting(self) -> frozenset[object]:
        return self._contest.resting(asyncio.get_running_loop().time())

    def _take_stock(
        self,
        report: FirewallReport | ZoneReport,
        places: dict[PlacedRule, Chain] | dict[ZoneRule, ZoneRule],
        placed: Iterable[PlacedRule | ZoneRule],
    ) -> None:
        back = [place for rule, place in places.items() if rule in self._stood]
        self._contest.put_back(back, asyncio.get_running_loop().time())
        self._stood.update(placed)
        for rule in report.inserted:
            log.info("firewall: added: %s", rule)
        for sentence in report.removed:
            log.info("firewall: %s", sentence)
        self._say()

    async def blocked(self, found: frozenset[Blocked]) -> None:
        """Adverts of these kinds do not get through: find out where, and say so."""
        self._legacy = await asyncio.to_thread(legacy_tables)
        obstacles = []
        for each in sorted(found, key=_order):
            try:
                suspects = await self._keeper.suspects(each.packet)
            except IpfodError as error:
                log.warning("%s", error)
                suspects = ()
            obstacles.append(Obstacle(each.failover, each.packet, suspects))
        self._obstacles = tuple(obstacles)
        self._say()

    def _say(self) -> None:
        findings = Findings(
            chains=self._report,
            zones=self._zone_report,
            legacy=self._legacy,
            fought=self._contest.fought(asyncio.get_running_loop().time()),
            other=self._keeper.other,
            obstacles=self._obstacles,
            peered=self._peered,
            opened=frozenset(wish.failover for wish in self._wishes if wish.chains),
        )
        self._emit(ProblemsSeen(SCOPE, problems(findings)))

    async def remove(self) -> None:
        """Take every rule of ours away."""
        self._wishes = ()
        self._stood.clear()
        self._obstacles = ()
        await self._apply()
        try:
            async with asyncio.timeout(FIREWALLD_S):
                await self._apply_zones()
        except TimeoutError:
            log.warning("firewalld does not answer: its rules for VRRP are left; ipfod cleanup removes them")

    def close(self) -> None:
        self._keeper.close()


def _order(blocked: Blocked) -> tuple[str, str, int]:
    return blocked.failover, blocked.packet.direction, blocked.packet.ip_version


def _wish(planned: FailoverPlan) -> FirewallWish:
    peers = tuple(dict.fromkeys(peer for group in planned.groups for peer in group.peers))
    return FirewallWish(
        failover=planned.name,
        interface=planned.interface,
        ip_versions=tuple(sorted({group.ip_version for group in planned.groups})),
        peers=peers,
        chains=planned.failover.firewall_chain,
    )
