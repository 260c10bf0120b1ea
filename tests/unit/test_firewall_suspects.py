"""Which chain drops an advert, read from rulesets as libnftables lists them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipfod.firewall.chain import Chain, Direction
from ipfod.firewall.suspects import Packet, Suspect, suspects, targets

V4 = Packet(Direction.INPUT, "eth0", ip_address("224.0.0.18"))
V6 = Packet(Direction.INPUT, "eth0", ip_address("ff02::12"))
OUT = Packet(Direction.OUTPUT, "eth0", ip_address("224.0.0.18"), ip_address("10.0.0.1"))
UNICAST = Packet(Direction.INPUT, "eth0", ip_address("10.0.0.1"), ip_address("10.0.0.2"))
INPUT = Chain("inet", "filter", "input", hook="input", kind="filter", policy="drop")
OPEN = replace(INPUT, policy="accept")

Rules = dict[Chain, list[list[Any]]]
ACCEPT, DROP, RETURN = {"accept": None}, {"drop": None}, {"return": None}
COUNTER = {"counter": {"packets": 0, "bytes": 0}}


def meta(key: str, right: Any, op: str = "==") -> dict[str, Any]:
    return {"match": {"op": op, "left": {"meta": {"key": key}}, "right": right}}


def payload(protocol: str, field: str, right: Any, op: str = "==") -> dict[str, Any]:
    return {"match": {"op": op, "left": {"payload": {"protocol": protocol, "field": field}}, "right": right}}


def state(*names: str) -> dict[str, Any]:
    return {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": list(names)}}


def jump(target: str, kind: str = "jump") -> dict[str, Any]:
    return {kind: {"target": target}}


def prefix(address: str, length: int) -> dict[str, Any]:
    return {"prefix": {"addr": address, "len": length}}


@pytest.mark.parametrize(
    ("rule", "packet"),
    [
        ([meta("l4proto", 112), ACCEPT], V4),
        ([meta("l4proto", {"set": [1, 112]}), ACCEPT], V4),
        ([payload("ip", "protocol", 112), payload("ip", "daddr", prefix("224.0.0.0", 24)), ACCEPT], V4),
        ([payload("ip6", "nexthdr", 112), payload("ip6", "daddr", "ff02::12"), ACCEPT], V6),
        ([payload("ip", "saddr", {"set": ["10.0.0.2", "10.0.0.3"]}), COUNTER, ACCEPT], UNICAST),
        ([payload("ip", "saddr", {"range": ["10.0.0.1", "10.0.0.9"]}), ACCEPT], UNICAST),
        ([payload("ip", "ttl", 255), ACCEPT], V4),
        ([meta("iifname", "eth*"), ACCEPT], V4),
        ([meta("iifname", "lo", "!="), ACCEPT], V4),
        ([meta("nfproto", "ipv6"), ACCEPT], V6),
        ([state("new"), ACCEPT], V4),
        ([ACCEPT], V4),
    ],
    ids=str,
)
def test_a_rule_that_accepts_it_clears_the_policy_behind_it(rule: list[Any], packet: Packet) -> None:
    assert suspects({INPUT: [rule]}, packet) == ()


@pytest.mark.parametrize(
    ("rule", "packet"),
    [
        ([meta("l4proto", 113), ACCEPT], V4),
        ([meta("l4proto", 112, "!="), ACCEPT], V4),
        ([payload("tcp", "dport", 22), ACCEPT], V4),
        ([payload("icmpv6", "type", "nd-neighbor-solicit"), ACCEPT], V6),
        ([payload("ip", "daddr", "224.0.0.18"), ACCEPT], V6),
        ([payload("ip", "saddr", "10.0.0.9"), ACCEPT], UNICAST),
        ([meta("iifname", "lo"), ACCEPT], V4),
        ([meta("oifname", "eth0"), ACCEPT], V4),
        ([state("established", "related"), ACCEPT], V4),
        ([payload("ip", "ttl", 255, "!="), ACCEPT], V4),
    ],
    ids=str,
)
def test_a_rule_that_does_not_match_leaves_it_to_the_policy(rule: list[Any], packet: Packet) -> None:
    assert suspects({INPUT: [rule]}, packet) == (Suspect(INPUT, certain=True),)


@pytest.mark.parametrize(
    "match",
    [
        payload("ip", "saddr", "@friends"),
        {"xt": {"type": "match", "name": "comment"}},
        {"limit": {"rate": 5, "per": "second"}},
        meta("mark", 7),
        payload("th", "dport", 7),
    ],
    ids=str,
)
def test_what_cannot_be_told_makes_a_suspicion(match: dict[str, Any]) -> None:
    assert suspects({INPUT: [[match, ACCEPT]]}, V4) == (Suspect(INPUT, certain=False),)
    assert suspects({OPEN: [[match, DROP]]}, V4) == (Suspect(OPEN, certain=False),)


def test_the_chain_in_which_it_ends_is_named_and_not_the_one_it_came_from() -> None:
    inner, deeper = Chain("inet", "filter", "zone"), Chain("inet", "filter", "deny")
    ruleset: Rules = {
        OPEN: [[meta("iifname", "eth1"), jump("other")], [jump("zone", "goto")], [DROP]],
        inner: [[jump("deny")], [ACCEPT]],
        deeper: [[meta("l4proto", 112), {"reject": {"type": "icmpx", "expr": "admin-prohibited"}}]],
    }
    assert suspects(ruleset, V4) == (Suspect(deeper, certain=True),)
    assert targets(ruleset[OPEN]) == {"other", "zone"}


def test_a_chain_returns_and_one_gone_to_leaves_the_rest_to_the_policy() -> None:
    inner = Chain("inet", "filter", "zone")
    assert suspects({INPUT: [[jump("zone")], [ACCEPT]], inner: [[RETURN], [DROP]]}, V4) == ()
    [found] = suspects({INPUT: [[jump("zone", "goto")], [ACCEPT]], inner: [[RETURN], [DROP]]}, V4)
    assert found == Suspect(INPUT, certain=True)


def test_a_map_of_verdicts_is_looked_up() -> None:
    key, inner = {"ct": {"key": "state"}}, Chain("inet", "filter", "fresh")
    pairs = [["established", ACCEPT], ["invalid", DROP], ["new", jump("fresh")]]
    ruleset: Rules = {
        OPEN: [[{"vmap": {"key": key, "data": {"set": pairs}}}]],
        inner: [[DROP]],
    }
    assert suspects(ruleset, V4) == (Suspect(inner, certain=True),)
    assert targets(ruleset[OPEN]) == {"fresh"}


def test_chains_that_it_does_not_come_through_are_not_asked() -> None:
    drop = [[DROP]]
    elsewhere = [
        Chain("ip6", "filter", "INPUT", hook="input", kind="filter"),
        Chain("inet", "filter", "output", hook="output", kind="filter"),
        Chain("inet", "filter", "forward", hook="forward", kind="filter"),
        Chain("ip", "nat", "PREROUTING", hook="prerouting", kind="nat"),
        Chain("netdev", "x", "x", hook="ingress", kind="filter", device="eth1"),
        Chain("arp", "filter", "INPUT", hook="input", kind="filter"),
    ]
    assert suspects(dict.fromkeys(elsewhere, drop), V4) == ()
    through = [
        Chain("netdev", "x", "x", hook="ingress", kind="filter", device="eth0"),
        Chain("ip", "raw", "PREROUTING", hook="prerouting", kind="filter", priority=-300),
        Chain("ip", "filter", "INPUT", hook="input", kind="filter"),
    ]
    found = suspects(dict.fromkeys(reversed(through), drop), V4)
    assert [each.chain for each in found] == through
    output = Chain("inet", "filter", "output", hook="output", kind="filter")
    assert suspects({output: [[meta("oifname", "eth0"), DROP]]}, OUT) == (Suspect(output, certain=True),)


def test_a_loop_of_chains_ends() -> None:
    inner = Chain("inet", "filter", "zone")
    assert suspects({INPUT: [[jump("zone")]], inner: [[jump("zone")]]}, V4) == (Suspect(INPUT, certain=True),)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
words = st.sampled_from(["==", "!=", "in", "<"])
lefts = st.sampled_from([meta(key, 0)["match"]["left"] for key in ("l4proto", "iifname", "mark")]) | values
statements = st.fixed_dictionaries(
    {"match": st.fixed_dictionaries({"op": words, "left": lefts, "right": values})}
) | st.sampled_from([ACCEPT, DROP, RETURN, COUNTER, jump("input"), {"vmap": {"key": 1, "data": "@x"}}])


@settings(deadline=None)
@given(st.lists(st.lists(statements, max_size=4), max_size=4))
def test_whatever_rules_say_it_answers(rules: list[Sequence[Any]]) -> None:
    for suspect in suspects({INPUT: rules}, UNICAST):
        assert suspect.chain == INPUT


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_real_listing_is_understood() -> None:
    text = """
    table inet filter {
        set friends { type ipv4_addr; elements = { 10.9.9.9 } }
        chain zone { ip daddr 224.0.0.0/24 meta l4proto { 2, 112 } reject with icmpx admin-prohibited; }
        chain input { type filter hook input priority 0; policy accept; iif lo accept
            ct state vmap { established : accept, related : accept, invalid : drop }
            ip saddr @friends accept
            iifname "eth0" goto zone; }
    }"""
    script = f"nft -f - <<'END' && nft -j -y list ruleset\n{text}\nEND\n"
    argv = ["unshare", "--net", "sh", "-c", f"ip link set lo up; {script}"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    listed = json.loads(done.stdout)["nftables"]
    ruleset: dict[Chain, list[Any]] = {
        Chain("inet", "filter", each["chain"]["name"], each["chain"].get("hook", ""), "filter", 0, "accept"): []
        for each in listed
        if "chain" in each
    }
    for each in listed:
        if "rule" in each:
            ruleset[Chain("inet", "filter", each["rule"]["chain"])].append(each["rule"]["expr"])
    zone = Chain("inet", "filter", "zone")
    assert suspects(ruleset, V4) == (Suspect(zone, certain=False),)
    assert suspects(ruleset, replace(V4, interface="eth1")) == ()
