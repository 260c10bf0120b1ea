"""Zones of firewalld: where an advert may come to, and the rule that lets it in there."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from ipfod.errors import Failed
from ipfod.firewall.chain import Chain, Direction
from ipfod.firewall.firewalld import Zones, rich_rule
from ipfod.firewall.place import place
from ipfod.firewall.rule import FirewallWish, VrrpRule

MULTICAST = VrrpRule("web", Direction.INPUT, "eth0", ip_address("224.0.0.18"))
MULTICAST6 = VrrpRule("web", Direction.INPUT, "eth0", ip_address("ff02::12"))
PEER = VrrpRule("web", Direction.INPUT, "eth0", ip_address("10.0.0.2"))


def zones(**active: dict[str, list[str]]) -> Zones:
    return Zones.parse("public", active)


@pytest.mark.parametrize(
    ("active", "found"),
    [
        ({}, ("public",)),
        ({"dmz": {"interfaces": ["eth0"]}}, ("dmz",)),
        ({"dmz": {"interfaces": ["eth1"]}}, ("public",)),
        ({"dmz": {"interfaces": ["eth+"]}}, ("dmz",)),
        ({"dmz": {"interfaces": ["eth+"]}, "work": {"interfaces": ["eth0"]}}, ("work",)),
        ({"trusted": {"sources": ["10.0.0.0/8"]}}, ("public", "trusted")),
        ({"trusted": {"sources": ["fd00::/8"]}}, ("public",)),
        ({"trusted": {"sources": ["ipset:friends"]}, "home": {"sources": ["02:00:00:00:00:01"]}},
         ("public", "trusted", "home")),
    ],
    ids=str,
)  # fmt: skip
def test_multicast_may_come_to_the_zone_of_the_interface_and_to_those_of_sources(
    active: dict[str, dict[str, list[str]]], found: tuple[str, ...]
) -> None:
    assert zones(**active).of(MULTICAST) == found


def test_a_peer_comes_to_the_zone_of_its_own_address() -> None:
    active = {"near": {"sources": ["10.0.0.0/24"]}, "far": {"sources": ["10.0.1.0/24"]}}
    assert zones(**active).of(PEER) == ("public", "near")


@pytest.mark.parametrize("active", [None, [], {"public": []}, {"public": None}, {"public": {"sources": 1}}])
def test_a_list_of_zones_that_cannot_be_is_a_failure_with_a_sentence(active: Any) -> None:
    with pytest.raises(Failed, match="list of zones"):
        Zones.parse("public", active)


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (MULTICAST, 'family="ipv4" destination address="224.0.0.18"'),
        (MULTICAST6, 'family="ipv6" destination address="ff02::12"'),
        (PEER, 'family="ipv4" source address="10.0.0.2"'),
    ],
)
def test_the_rule_is_as_firewalld_prints_it(rule: VrrpRule, text: str) -> None:
    assert rich_rule(rule) == f'rule priority="-112" {text} protocol value="112" accept'


OWN = Chain("inet", "firewalld", "filter_INPUT", hook="input", kind="filter")
RELOAD = Chain("inet", "firewalld_policy_drop", "filter_input", hook="input", kind="filter", policy="drop")
RELOAD_OUT = Chain(
    "inet", "firewalld_policy_drop", "filter_output", hook="output", kind="filter", policy="drop"
)
PANIC = Chain(
    "inet", "firewalld_policy_drop", "raw_prerouting", hook="prerouting", kind="filter", policy="drop"
)
OTHER = Chain("inet", "other", "input", hook="input", kind="filter")


def wish(*chains: str) -> FirewallWish:
    return FirewallWish("web", "eth0", (4, 6), (), chains)


def test_with_firewalld_its_own_chains_are_left_to_it_but_those_of_a_reload() -> None:
    chains = (OWN, RELOAD, RELOAD_OUT, PANIC, OTHER)
    placement = place([wish("INPUT", "inet firewalld filter_INPUT")], chains, firewalld=True)
    assert set(placement.rules) == {RELOAD, RELOAD_OUT, OTHER}
    assert {rule.direction for rule in placement.rules[RELOAD_OUT]} == {Direction.OUTPUT}
    assert not placement.missing


def test_with_firewalld_a_usual_chain_need_not_be_but_a_named_one_must() -> None:
    placement = place([wish("INPUT", "output", "MINE", "ip filter INPUT")], (OWN,), firewalld=True)
    assert placement.missing == {"web": ("MINE", "ip filter INPUT")}
    assert place([wish("INPUT")], (OWN,)).missing == {"web": ("INPUT",)}


def test_a_failover_that_leaves_the_firewall_alone_leaves_a_reload_alone_too() -> None:
    assert not place([wish()], (RELOAD, RELOAD_OUT), firewalld=True).rules
