"""Choosing chains, and what has to change in them."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipfod.firewall.chain import Chain, Direction, Rule
from ipfod.firewall.place import compare, find_chains, place
from ipfod.firewall.rule import FirewallWish, VrrpRule, read_rule


def base(family: str, table: str, name: str, *, hook: str = "input", kind: str = "filter") -> Chain:
    return Chain(family, table, name, hook=hook, kind=kind)


IPTABLES = base("ip", "filter", "INPUT")
IP6TABLES = base("ip6", "filter", "INPUT")
NATIVE = base("inet", "filter", "input")
OUTPUT = base("inet", "filter", "output", hook="output")
REGULAR = Chain("ip", "filter", "OS_FIREWALL_ALLOW")
EVERYTHING = (IPTABLES, IP6TABLES, NATIVE, OUTPUT, REGULAR)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("INPUT", (IPTABLES, IP6TABLES)),
        ("input", (NATIVE,)),
        ("Input", (IPTABLES, IP6TABLES, NATIVE)),
        ("OUTPUT", (OUTPUT,)),
        ("inet filter input", (NATIVE,)),
        ("inet filter INPUT", ()),
        ("ip filter OS_FIREWALL_ALLOW", (REGULAR,)),
        ("OS_FIREWALL_ALLOW", ()),
        ("FORWARD", ()),
        ("filter input", ()),
        ("", ()),
    ],
)
def test_a_name_finds_its_chains(name: str, found: tuple[Chain, ...]) -> None:
    assert find_chains(name, EVERYTHING) == found


def test_a_bare_name_passes_over_other_hooks_and_nat() -> None:
    others = (base("ip", "nat", "INPUT", kind="nat"), base("ip", "raw", "INPUT", hook="prerouting"))
    assert find_chains("INPUT", others) == ()
    assert find_chains("INPUT", (*others, NATIVE)) == (NATIVE,)


def wish(*chains: str, failover: str = "web", ip_versions: tuple[int, ...] = (4, 6)) -> FirewallWish:
    return FirewallWish(failover, "eth0", ip_versions, (), chains)


def test_every_chain_found_gets_the_rules_of_its_own_families() -> None:
    rules = place([wish("Input")], EVERYTHING).rules
    versions = {chain: [rule.ip_version for rule in wanted] for chain, wanted in rules.items()}
    assert versions == {IPTABLES: [4], IP6TABLES: [6], NATIVE: [4, 6]}


def test_a_chain_on_the_output_hook_gets_rules_for_what_goes_out() -> None:
    (rules,) = place([wish("OUTPUT")], EVERYTHING).rules.values()
    assert {rule.direction for rule in rules} == {Direction.OUTPUT}


def test_a_chain_that_is_missing_is_reported_and_the_others_are_filled() -> None:
    placement = place([wish("OS_FIREWALL_ALLOW", "input", failover="web"), wish(failover="db")], EVERYTHING)
    assert placement.missing == {"web": ("OS_FIREWALL_ALLOW",)}
    assert set(placement.rules) == {NATIVE}


def test_a_chain_for_the_other_family_only_counts_as_missing() -> None:
    assert place([wish("INPUT", ip_versions=(6,))], (IPTABLES,)).missing == {"web": ("INPUT",)}


def test_tables_of_other_families_are_left_alone_even_by_their_exact_name() -> None:
    bridge = base("bridge", "filter", "INPUT")
    placement = place([wish("INPUT", "bridge filter INPUT")], (bridge,))
    assert not placement.rules
    assert placement.missing == {"web": ("INPUT", "bridge filter INPUT")}


def test_two_names_for_one_chain_put_one_rule_there() -> None:
    (rules,) = place([wish("input", "inet filter input")], EVERYTHING).rules.values()
    assert len(rules) == 2


def test_two_failovers_share_a_chain() -> None:
    (rules,) = place([wish("input"), wish("input", failover="db")], EVERYTHING).rules.values()
    assert [(rule.failover, rule.ip_version) for rule in rules] == [
        ("web", 4),
        ("web", 6),
        ("db", 4),
        ("db", 6),
    ]


POOL = [
    VrrpRule(failover, Direction.INPUT, interface, IPv4Address(address))
    for failover in ("web", "db")
    for interface in ("eth0", "eth1")
    for address in ("224.0.0.18", "10.0.0.1")
]


@given(
    st.lists(st.sampled_from(POOL), unique=True),
    st.lists(st.tuples(st.sampled_from(POOL), st.booleans())),
)
def test_after_the_change_each_wanted_rule_stands_once_and_nothing_else_of_ours(
    wanted: list[VrrpRule], before: list[tuple[VrrpRule, bool]]
) -> None:
    present = []
    for handle, (rule, spoilt) in enumerate(before):
        expressions = ({"counter": None}, *rule.expressions()) if spoilt else rule.expressions()
        present.append(Rule(NATIVE, handle, rule.comment, expressions))
    difference = compare(wanted, present)
    gone = {rule.handle for rule in difference.delete}
    stayed = [read_rule(rule.comment, rule.expressions) for rule in present if rule.handle not in gone]
    after = [*difference.insert, *stayed]
    assert len(after) == len(wanted)
    assert set(after) == set(wanted)
    assert bool(difference) == (set(wanted) != set(stayed) or len(stayed) != len(present))


def test_nothing_changes_where_all_is_as_wanted() -> None:
    present = [Rule(NATIVE, handle, rule.comment, rule.expressions()) for handle, rule in enumerate(POOL)]
    assert not compare(POOL, reversed(present))
