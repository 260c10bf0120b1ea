"""Choosing the chains that rules belong into, and what has to change in each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ipfod.firewall.chain import Chain, Rule
from ipfod.firewall.firewalld import POLICY_TABLE, RELOAD_CHAINS, TABLE
from ipfod.firewall.rule import FirewallWish, VrrpRule, read_rule, wanted_rules

_HOOKS = ("input", "output")


@dataclass(frozen=True, slots=True)
class Placement:
    """`rules`: what each chain shall hold of ours. `missing`: chain names not found, by failover."""

    rules: Mapping[Chain, tuple[VrrpRule, ...]]
    missing: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Difference:
    """What makes a chain hold the wanted rules, each once: insert these at its head, delete those."""

    insert: tuple[VrrpRule, ...]
    delete: tuple[Rule, ...]

    def __bool__(self) -> bool:
        return bool(self.insert or self.delete)


def find_chains(name: str, chains: Sequence[Chain]) -> tuple[Chain, ...]:
    """The chains that an entry of `firewall_chain` means; () if there is none.

    "FAMILY TABLE CHAIN" means exactly that one, which may be a regular chain. A bare name means every base
    chain of that name on the input or output hook, case as written; if there is none, in any case. Chains
    of type nat are passed over: they see only the first packet of a flow and are no place to drop in.
    """
    match name.split():
        case [family, table, chain]:
            return tuple(each for each in chains if each == Chain(family, table, chain))
        case [chain]:
            base = [each for each in chains if each.hook in _HOOKS and each.kind != "nat"]
            as_written = tuple(each for each in base if each.name == chain)
            return as_written or tuple(each for each in base if each.name.casefold() == chain.casefold())
    return ()


def place(wishes: Iterable[FirewallWish], chains: Sequence[Chain], *, firewalld: bool = False) -> Placement:
    """Which rules go into which of the chains that there are. A chain that is missing is never made.

    Where `firewalld` runs its own chains are left to it, except those by which it drops everything during a
    reload; and a chain INPUT or OUTPUT need not be: firewalld is what filters.
    """
    rules: dict[Chain, dict[VrrpRule, None]] = {}  # a dict as an ordered set: two names may mean one chain
    missing: dict[str, dict[str, None]] = {}
    for wish in wishes:
        usable = [chain for chain in chains if set(chain.ip_versions) & set(wish.ip_versions)]
        chosen = [chain for chain in usable if wish.chains and firewalld and is_reload_chain(chain)]
        for name in wish.chains:
            found = find_chains(name, usable)
            if not found and not (firewalld and name.casefold() in _HOOKS):
                missing.setdefault(wish.failover, {})[name] = None
            chosen += [chain for chain in found if not (firewalld and chain.table in (TABLE, POLICY_TABLE))]
        for chain in chosen:
            wanted = wanted_rules(wish, chain.direction)
            fitting = (rule for rule in wanted if rule.ip_version in chain.ip_versions)
            rules.setdefault(chain, {}).update(dict.fromkeys(fitting))
    return Placement(
        rules={chain: tuple(wanted) for chain, wanted in rules.items()},
        missing={failover: tuple(names) for failover, names in missing.items()},
    )


def is_reload_chain(chain: Chain) -> bool:
    """Whether firewalld drops everything there while it loads its configuration."""
    return chain.table == POLICY_TABLE and chain.name in RELOAD_CHAINS


def compare(wanted: Sequence[VrrpRule], present: Iterable[Rule]) -> Difference:
    """What has to change where the rules `present` (ours only) are and `wanted` shall be.

    A rule that is not to the letter what ipfod writes is replaced, also one that iptables-restore rewrote.
    """
    lacking = dict.fromkeys(wanted)
    delete = []
    for rule in present:
        known = read_rule(rule.comment, rule.expressions)
        if known is not None and known in lacking:
            del lacking[known]
        else:
            delete.append(rule)
    return Difference(insert=tuple(lacking), delete=tuple(delete))
