"""firewalld: VRRP is let in by rich rules, over its D-Bus API; firewalld.dbus(5), firewalld.richlanguage(5).

firewalld owns its tables (flag `owner`, its default in RHEL 9.5 and later), and drops at the end of each zone
what the zone does not accept. So it has to accept VRRP itself, in the zone of the interface. What it makes of a
rule (1.3.3, nftables backend): `ip daddr 224.0.0.18 meta l4proto 112 accept`, in the chain `filter_IN_ZONE_pre`
as the priority is negative, so that no other rule of the zone comes before it. Of interface and TTL it knows
nothing.

Rules are set at run time only: nothing is written to /etc/firewalld, and they are gone when firewalld is. After
a reload or a restart they are set again. A zone that has the rule already got it from somebody else: it stays.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any, Protocol

from ipfod.errors import Failed
from ipfod.firewall.chain import Direction
from ipfod.firewall.rule import VRRP_PROTOCOL, FirewallWish, VrrpRule, wanted_rules

SERVICE, PATH = "org.fedoraproject.FirewallD1", "/org/fedoraproject/FirewallD1"
ZONE = f"{SERVICE}.zone"
# Its tables. In the second it drops everything while it reloads (below), and in panic mode.
TABLE, POLICY_TABLE = "firewalld", "firewalld_policy_drop"
# Chains of the second during a reload. It takes firewalld 0.1 s to some seconds to load its configuration: for
# so long no advert would come in or go out, and a backup does not wait longer.
RELOAD_CHAINS = ("filter_input", "filter_output")
# Before all rules of the zone that have no priority of their own, and no number that others would think of.
PRIORITY = -112
GONE = re.compile(r"\b(NOT_ENABLED|INVALID_ZONE)\b")  # firewall/errors.py
THERE = re.compile(r"\bALREADY_ENABLED\b")


class Bus(Protocol):
    """Somebody who can call a method of another service on the system bus, and hear its signals."""

    async def ask(
        self, destination: str, path: str, interface: str, member: str, signature: str, *body: Any
    ) -> list[Any]:
        """The body of the answer; variants as plain values. Raises Failed with the error's text."""

    async def follow(self, name: str, changed: Callable[[], None]) -> None:
        """Call `changed()` at each signal of a service, and whenever it comes or goes. Raises Failed."""

    def owner(self, name: str) -> str:
        """The unique name of a service that is followed, "" while it does not run."""


@dataclass(frozen=True, slots=True, order=True)
class ZoneRule:
    """A rich rule in a zone."""

    zone: str
    rule: str

    def __str__(self) -> str:
        return f"firewalld, zone {self.zone}: {self.rule}"


@dataclass(frozen=True, slots=True)
class ZoneReport:
    """How firewalld stands after `Firewalld.apply`; as FirewallReport. `failovers`: whose each rule is."""

    placed: tuple[ZoneRule, ...] = ()
    inserted: tuple[ZoneRule, ...] = ()
    removed: tuple[str, ...] = ()
    errors: Mapping[str, str] = field(default_factory=dict)
    failovers: Mapping[ZoneRule, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Zones:
    """The zones in use: interfaces and sources of each, and the one for all other interfaces."""

    default: str
    interfaces: Mapping[str, tuple[str, ...]]
    sources: Mapping[str, tuple[str, ...]]

    @classmethod
    def parse(cls, default: Any, active: Any) -> Zones:
        """Read getDefaultZone and getActiveZones. Raises Failed."""
        try:
            return cls(
                str(default),
                {zone: tuple(each.get("interfaces", ())) for zone, each in active.items()},
                {zone: tuple(each.get("sources", ())) for zone, each in active.items()},
            )
        except (AttributeError, TypeError) as error:
            raise Failed(
                "firewalld: its list of zones cannot be read", hint="see: journalctl -u firewalld"
            ) from error

    def of(self, rule: VrrpRule) -> tuple[str, ...]:
        """The zones that a packet may come to: the interface's, and those that go by the packet's source."""
        by_source = [
            zone for zone, sources in self.sources.items() if any(_may_be(each, rule) for each in sources)
        ]
        return tuple(dict.fromkeys((self._of_interface(rule.interface), *by_source)))

    def _of_interface(self, interface: str) -> str:
        patterns = [(pattern, zone) for zone, names in self.interfaces.items() for pattern in names]
        for pattern, zone in patterns:
            if pattern == interface:
                return zone
        for pattern, zone in patterns:
            if pattern.endswith("+") and interface.startswith(pattern[:-1]):
                return zone
        return self.default


def _may_be(source: str, rule: VrrpRule) -> bool:
    """Whether a zone's source (network, MAC address, set) may be an advert's; multicast comes from any node."""
    try:
        network = ip_network(source, strict=False)
    except ValueError:
        return True
    if rule.address.is_multicast:
        return network.version == rule.ip_version
    return rule.address in network


def rich_rule(rule: VrrpRule) -> str:
    """The narrowest rule that firewalld has for it, as firewalld prints it."""
    side = "destination" if rule.address.is_multicast else "source"
    return (
        f'rule priority="{PRIORITY}" family="ipv{rule.ip_version}" {side} address="{rule.address}" '
        f'protocol value="{VRRP_PROTOCOL}" accept'
    )


Note = Callable[[tuple[ZoneRule, ...]], None]


class Firewalld:
    """Owner of the rich rules that ipfod added, now or earlier."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._note: Note = lambda _: None
        self._ours: dict[ZoneRule, None] = {}
        self._lock = asyncio.Lock()

    def remember(self, taken: Iterable[ZoneRule], note: Note) -> None:
        """`taken` are the rules of an earlier ipfod.

        `note` gets the whole list before a rule is added and after one was removed, to be kept over a crash.
        """
        self._ours = dict.fromkeys(taken)
        self._note = note

    async def open(self, changed: Callable[[], None]) -> None:
        """Call `changed()` whenever firewalld may have changed something, comes or goes. Raises Failed."""
        await self._bus.follow(SERVICE, changed)

    @property
    def running(self) -> bool:
        return bool(self._bus.owner(SERVICE))

    async def apply(
        self, wishes: Iterable[FirewallWish], *, spare: frozenset[object] = frozenset()
    ) -> ZoneReport:
        """Make the zones hold the rules of these failovers, and none of ours else. Raises nothing.

        Rules in `spare` are not put back this time.
        """
        async with self._lock:
            if not self.running:
                self._forget(tuple(self._ours))  # they were in its memory
                return ZoneReport()
            wishes = [wish for wish in wishes if wish.chains]
            try:
                wanted = self._wanted(wishes, await self._zones())
            except Failed as error:
                return ZoneReport(errors={wish.failover: error.text for wish in wishes})
            removed, _ = await self._remove([each for each in self._ours if each not in wanted])
            placed, inserted = [], []
            errors: dict[str, str] = {}
            for rule, failovers in wanted.items():
                try:
                    fresh = rule not in spare and await self._put(rule)
                except Failed as error:
                    errors |= dict.fromkeys(failovers, f"firewalld, zone {rule.zone}: {error.text}")
                    continue
                placed += [rule] if rule not in spare else []
                inserted += [rule] if fresh else []
            return ZoneReport(tuple(placed), tuple(inserted), removed, errors, wanted)

    async def remove_all(self) -> tuple[str, ...]:
        """Remove every rule of ours; a sentence each. Raises Failed if some stayed."""
        async with self._lock:
            if not self.running:
                self._forget(tuple(self._ours))
                return ()
            removed, complaints = await self._remove(list(self._ours))
        if complaints:
            raise Failed("; ".join(complaints))
        return removed

    def _wanted(self, wishes: Iterable[FirewallWish], zones: Zones) -> dict[ZoneRule, tuple[str, ...]]:
        wanted: dict[ZoneRule, tuple[str, ...]] = {}
        for wish in wishes:
            for rule in wanted_rules(wish, Direction.INPUT):
                for zone in zones.of(rule):
                    key = ZoneRule(zone, rich_rule(rule))
                    wanted[key] = (*wanted.get(key, ()), wish.failover)
        return wanted

    async def _zones(self) -> Zones:
        [default] = await self._ask(SERVICE, "getDefaultZone")
        [active] = await self._ask(ZONE, "getActiveZones")
        return Zones.parse(default, active)

    async def _put(self, rule: ZoneRule) -> bool:
        """Add a rule unless it is there; whether it had to be added."""
        [there] = await self._ask(ZONE, "queryRichRule", "ss", rule.zone, rule.rule)
        if there:
            return False
        known = rule in self._ours
        self._ours[rule] = None
        self._note(tuple(self._ours))
        try:
            await self._ask(ZONE, "addRichRule", "ssi", rule.zone, rule.rule, 0)
        except Failed as error:
            if not known:
                self._forget((rule,))
            if THERE.search(error.text):
                return False  # somebody else's, added just now
            raise
        return True

    async def _remove(self, rules: Iterable[ZoneRule]) -> tuple[tuple[str, ...], list[str]]:
        removed, complaints = [], []
        for rule in rules:
            try:
                await self._ask(ZONE, "removeRichRule", "ss", rule.zone, rule.rule)
                removed.append(f"firewalld, zone {rule.zone}: removed {rule.rule}")
            except Failed as error:
                if not GONE.search(error.text):
                    complaints.append(f"firewalld, zone {rule.zone}: {error.text}")
                    continue
            self._forget((rule,))
        return tuple(removed), complaints

    def _forget(self, rules: Iterable[ZoneRule]) -> None:
        left = {rule: None for rule in self._ours if rule not in set(rules)}
        if len(left) != len(self._ours):
            self._ours = left
            self._note(tuple(left))

    async def _ask(self, interface: str, member: str, signature: str = "", *body: Any) -> list[Any]:
        # To its unique name: the bus would start a firewalld that has been stopped.
        return await self._bus.ask(self._bus.owner(SERVICE), PATH, interface, member, signature, *body)
