"""Keeps the rules for VRRP in the firewall, and says what stands in the way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from ipfod.firewall.keeper import FirewallKeeper, FirewallReport
from ipfod.firewall.rule import FirewallWish
from ipfod.node.events import Event, ProblemsSeen
from ipfod.node.model import Problem, ProblemCode
from ipfod.plan.model import FailoverPlan, Plan

log = logging.getLogger(__name__)

SCOPE = "firewall"


class FirewallGuard:
    """Rules of the plan in force; put back when somebody else changed the ruleset."""

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self._emit = emit
        self._keeper = FirewallKeeper()
        self._wishes: tuple[FirewallWish, ...] = ()
        self._changed = asyncio.Event()

    def open(self) -> None:
        """Begin to watch the ruleset."""
        self._keeper.watch(self._changed.set)

    async def follow(self, plan: Plan) -> None:
        """Make the ruleset fit a plan."""
        self._wishes = tuple(_wish(planned) for planned in plan.failovers.values())
        await self._apply()

    async def watch(self) -> None:
        """Put the rules back whenever the ruleset changed. Runs until it is cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self._apply()

    async def _apply(self) -> None:
        report = await self._keeper.apply(self._wishes)
        for rule in report.inserted:
            log.info("firewall: added: %s", rule)
        for sentence in report.removed:
            log.info("firewall: %s", sentence)
        self._emit(ProblemsSeen(SCOPE, tuple(_problems(report))))

    async def remove(self) -> None:
        """Take every rule of ours away."""
        self._wishes = ()
        await self._apply()

    def close(self) -> None:
        self._keeper.close()


def _wish(planned: FailoverPlan) -> FirewallWish:
    peers = tuple(dict.fromkeys(peer for group in planned.groups for peer in group.peers))
    return FirewallWish(
        failover=planned.name,
        interface=planned.interface,
        ip_versions=tuple(sorted({group.ip_version for group in planned.groups})),
        peers=peers,
        chains=planned.failover.firewall_chain,
    )


def _problems(report: FirewallReport) -> Iterable[Problem]:
    # Where nothing filters there is nothing to open, and the default "INPUT" names a chain that need not be.
    for failover, chains in report.missing.items() if report.filters else ():
        names = ", ".join(f'"{chain}"' for chain in chains)
        text = f"{failover}: there is no chain {names}; whatever filters here may drop VRRP"
        hint = (
            'set firewall_chain to the chain that filters what comes in, or to "" to leave the firewall alone'
        )
        yield Problem(ProblemCode.FIREWALL_CHAIN_MISSING, failover, text, hint)
    for failover, text in report.errors.items():
        hint = "nft list ruleset shows who else manages this chain"
        yield Problem(ProblemCode.FIREWALL_BLOCKING, failover, f"{failover}: {text}", hint)
