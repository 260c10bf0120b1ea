"""Keeps the rules where they are wanted, and puts them back; takes them away without a trace.

Nothing is remembered that the ruleset can tell: every call lists the chains concerned, finds our rules by their
comment and changes what differs. The one thing kept is which chains may hold rules of ours.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ipfod.firewall.chain import Chain, Expression, Rule
from ipfod.firewall.legacy import legacy_tables
from ipfod.firewall.netlink import RulesetEvents
from ipfod.firewall.nft import Nft, NftError, NftUnavailable, delete, insert
from ipfod.firewall.place import compare, is_reload_chain, place
from ipfod.firewall.rule import COMMENT_PREFIX, VRRP_PROTOCOL, FirewallWish, VrrpRule, read_rule
from ipfod.firewall.suspects import Packet, Suspect, base_chains, suspects, targets

log = logging.getLogger(__name__)

_READ_MAX = 500  # chains that are read to find one that drops; Kubernetes makes thousands
_ATTEMPTS = 3  # a ruleset that is being reloaded changes between our list and our transaction


@dataclass(frozen=True, slots=True)
class PlacedRule:
    """A rule of ours and the chain it stands in."""

    chain: Chain
    rule: VrrpRule

    def __str__(self) -> str:
        return f"chain {self.chain}: {self.rule} for {self.rule.failover}"


@dataclass(frozen=True, slots=True)
class FirewallReport:
    """How the ruleset stands after `FirewallKeeper.apply`.

    `filters` says whether anything looks at incoming packets. `missing` and `errors` are by failover. `placed`
    is every rule that now stands, `inserted` those of them that had to be put (back), `removed` a sentence for
    each one taken away. `legacy` names tables of the old iptables that may drop adverts, where ipfod does not
    write. `wanted` is where each failover's rules belong.
    """

    filters: bool = False
    missing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)
    placed: tuple[PlacedRule, ...] = ()
    inserted: tuple[PlacedRule, ...] = ()
    removed: tuple[str, ...] = ()
    legacy: tuple[str, ...] = ()
    wanted: Mapping[str, tuple[Chain, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Settled:
    """What became of one chain."""

    chain: Chain
    placed: tuple[VrrpRule, ...] = ()
    inserted: tuple[VrrpRule, ...] = ()
    removed: tuple[Rule, ...] = ()
    failovers: tuple[str, ...] = ()  # whose rules they are, for an error
    error: str = ""


class FirewallKeeper:
    """Owner of every rule with an `ipfod:` comment in this network namespace.

    Calls may overlap, they are done one after the other. `close()` when done with it; the rules stay.
    """

    def __init__(self) -> None:
        self._nft = Nft()
        self._lock = asyncio.Lock()
        self._held: set[Chain] | None = None  # chains that may hold rules of ours; None: not yet looked
        self._events: RulesetEvents | None = None
        self._unwatched = ""

    async def apply(
        self, wishes: Sequence[FirewallWish], *, firewalld: bool = False, spare: Container[object] = ()
    ) -> FirewallReport:
        """Make the ruleset hold the rules of these failovers and no others of ours. Changes nothing if it does.

        What goes wrong is in the report; a chain that refuses does not keep the others from theirs. For
        `firewalld` see `place`. Chains in `spare` are left as they are this time.
        """
        async with self._lock:
            try:
                chains = await self._nft.chains()
                if self._held is None:
                    self._held = set(await self._nft.chains_holding(COMMENT_PREFIX))
            except NftError as error:
                errors = {wish.failover: str(error) for wish in wishes if wish.chains}
                return FirewallReport(errors=errors, legacy=await asyncio.to_thread(legacy_tables))
            placement = place(wishes, chains, firewalld=firewalld)
            # Where rules once stood they may come back, out of a file that iptables-save wrote.
            self._held.update(placement.rules)
            settled = [
                await self._settle(chain, placement.rules.get(chain, ()))
                for chain in chains
                if chain in self._held and chain not in spare
            ]
            legacy = await asyncio.to_thread(legacy_tables)
            report = self._report(wishes, placement.missing, settled, legacy)
            filters = firewalld or bool(report.legacy) or any(chain.hook == "input" for chain in chains)
            return replace(report, filters=filters, wanted=_by_failover(placement.rules))

    async def remove(self, failover: str) -> tuple[str, ...]:
        """Remove one failover's rules wherever they are; a sentence each. Raises NftError if some stayed."""
        return await self._remove(lambda rule: rule.comment == COMMENT_PREFIX + failover)

    async def remove_all(self) -> tuple[str, ...]:
        """Remove every rule of ours, whenever it was placed; a sentence each. Raises NftError if some stayed.

        A kernel without nf_tables has none: then the answer is ().
        """
        return await self._remove(lambda _: True)

    async def suspects(self, packet: Packet) -> tuple[Suspect, ...]:
        """The chains that drop a packet, or may do so, as the ruleset reads now. Raises NftError."""
        async with self._lock:
            chains = await self._nft.chains()
            ruleset: dict[Chain, tuple[tuple[Expression, ...], ...]] = {}
            to_read = list(base_chains(chains, packet))
            while to_read and len(ruleset) < _READ_MAX:
                chain = to_read.pop(0)
                if chain not in ruleset:
                    ruleset[chain] = await self._nft.statements(chain)
                    inside = [Chain(chain.family, chain.table, name) for name in targets(ruleset[chain])]
                    to_read += [each for each in chains if each in inside]
            return suspects(ruleset, packet)

    @property
    def other(self) -> str:
        """The name of the program that changed the ruleset last, ipfod not counted; "" if none was seen."""
        return self._events.other if self._events is not None else ""

    def watch(self, changed: Callable[[], None]) -> None:
        """Call `changed()` in this event loop soon after anybody else changed the ruleset, once for a burst.

        Raises nothing: where that cannot be had, each report says so.
        """
        if self._events is not None:
            self._events.close()
        try:
            self._events, self._unwatched = RulesetEvents(self._nft.thread_name, changed), ""
        except OSError as error:
            self._events, self._unwatched = None, f"nftables: changes cannot be watched: {error.strerror}"

    def close(self) -> None:
        """Stop watching and end the worker thread. May be called twice."""
        if self._events is not None:
            self._events.close()
        self._nft.close()

    async def _ours(self, chain: Chain) -> tuple[Rule, ...]:
        return await self._nft.rules(chain, prefix=COMMENT_PREFIX, protocol=VRRP_PROTOCOL)

    async def _settle(self, chain: Chain, wanted: tuple[VrrpRule, ...]) -> _Settled:
        """Make one chain hold the wanted rules, each once, in one transaction."""
        failovers = [rule.failover for rule in wanted]
        complaint = ""
        for _ in range(_ATTEMPTS):
            try:
                difference = compare(wanted, await self._ours(chain))
                failovers += [_failover(rule) for rule in difference.delete]
                commands = [delete(rule) for rule in difference.delete]
                # Each insert goes to the head: the last one ends up first.
                commands += [
                    insert(chain, rule.comment, rule.expressions()) for rule in reversed(difference.insert)
                ]
                if commands:
                    await self._nft.transact(commands)
                return _Settled(chain, wanted, difference.insert, difference.delete)
            except NftError as error:
                complaint = f"chain {chain}: the rule for VRRP could not be set: {error}"
                if is_reload_chain(chain) or chain not in await self._there():
                    return _Settled(chain)  # a moment's drop, or gone meanwhile with all its rules
        return _Settled(chain, failovers=tuple(dict.fromkeys(failovers)), error=complaint)

    async def _there(self) -> tuple[Chain, ...]:
        try:
            return await self._nft.chains()
        except NftError:
            return ()

    def _report(
        self,
        wishes: Iterable[FirewallWish],
        missing: Mapping[str, tuple[str, ...]],
        settled: Iterable[_Settled],
        legacy: tuple[str, ...],
    ) -> FirewallReport:
        errors: dict[str, list[str]] = {}
        placed, inserted, removed = [], [], []
        for each in settled:
            placed += [PlacedRule(each.chain, rule) for rule in each.placed]
            inserted += [PlacedRule(each.chain, rule) for rule in each.inserted]
            removed += [_sentence(rule) for rule in each.removed]
            for failover in each.failovers:
                errors.setdefault(failover, []).append(each.error)
        if self._unwatched:
            for wish in wishes:
                if wish.chains:
                    errors.setdefault(wish.failover, []).append(self._unwatched)
        return FirewallReport(
            missing=missing,
            errors={failover: "; ".join(texts) for failover, texts in errors.items()},
            placed=tuple(placed),
            inserted=tuple(inserted),
            removed=tuple(removed),
            legacy=legacy,
        )

    async def _remove(self, doomed: Callable[[Rule], bool]) -> tuple[str, ...]:
        sentences: list[str] = []
        async with self._lock:
            for _ in range(_ATTEMPTS):
                try:
                    chains = await self._nft.chains_holding(COMMENT_PREFIX)
                except NftUnavailable:
                    return ()
                complaints = []
                for chain in chains:
                    try:
                        sentences += await self._clear(chain, doomed)
                    except NftError as error:
                        complaints.append(f"chain {chain}: the rules of ipfod could not be removed: {error}")
                if not complaints:
                    return tuple(sentences)
        raise NftError("; ".join(complaints))

    async def _clear(self, chain: Chain, doomed: Callable[[Rule], bool]) -> list[str]:
        rules = [rule for rule in await self._ours(chain) if doomed(rule)]
        if rules:
            await self._nft.transact([delete(rule) for rule in rules])
        sentences = [_sentence(rule) for rule in rules]
        for sentence in sentences:
            log.info("%s", sentence)
        return sentences


def _by_failover(rules: Mapping[Chain, Iterable[VrrpRule]]) -> dict[str, tuple[Chain, ...]]:
    found: dict[str, dict[Chain, None]] = {}
    for chain, wanted in rules.items():
        for rule in wanted:
            found.setdefault(rule.failover, {})[chain] = None
    return {failover: tuple(chains) for failover, chains in found.items()}


def _failover(rule: Rule) -> str:
    return rule.comment.removeprefix(COMMENT_PREFIX)


def _sentence(rule: Rule) -> str:
    """What was removed, for people."""
    known = read_rule(rule.comment, rule.expressions)
    return f"chain {rule.chain}: removed the rule for {known or 'VRRP'} ({rule.comment})"
