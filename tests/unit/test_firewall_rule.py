"""The rules of one failover: which there are, and that they are recognised again."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipfod.firewall.chain import Direction, Expression
from ipfod.firewall.rule import FirewallWish, VrrpRule, read_rule, wanted_rules

NAMES = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
INTERFACES = st.from_regex(r"[a-z][a-z0-9.@-]{0,14}", fullmatch=True)
ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))
RULES = st.builds(VrrpRule, NAMES, st.sampled_from(Direction), INTERFACES, ADDRESSES)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def wish(*peers: str, ip_versions: tuple[int, ...] = (4, 6)) -> FirewallWish:
    return FirewallWish("web", "eth0", ip_versions, tuple(ip_address(peer) for peer in peers))


def addresses(asked: FirewallWish) -> list[str]:
    return [str(rule.address) for rule in wanted_rules(asked, Direction.INPUT)]


def test_without_peers_each_family_gets_its_multicast_group() -> None:
    assert addresses(wish()) == ["224.0.0.18", "ff02::12"]


def test_a_family_that_is_not_wanted_gets_no_rule() -> None:
    assert addresses(wish(ip_versions=(6,))) == ["ff02::12"]
    assert addresses(wish("fd00::1", ip_versions=(4,))) == ["224.0.0.18"]


def test_peers_take_the_place_of_the_group_in_their_own_family_only() -> None:
    assert addresses(wish("10.0.0.1", "10.0.0.2")) == ["10.0.0.1", "10.0.0.2", "ff02::12"]


def test_a_peer_named_twice_gets_one_rule() -> None:
    assert addresses(wish("10.0.0.1", "fd00::1", "10.0.0.1")) == ["10.0.0.1", "fd00::1"]


def test_the_scope_of_a_link_local_peer_is_left_to_the_interface_match() -> None:
    assert addresses(wish("fe80::1%eth0", "fe80::1", ip_versions=(6,))) == ["fe80::1"]


def keys_and_values(rule: VrrpRule) -> list[tuple[str, object]]:
    matches = [each["match"] for each in rule.expressions() if "match" in each]
    assert all(match["op"] == "==" for match in matches)
    return [(json.dumps(match["left"]), match["right"]) for match in matches]


def test_a_multicast_rule_matches_interface_protocol_group_and_ttl_and_nothing_more() -> None:
    rule = VrrpRule("web", Direction.INPUT, "eth0", IPv4Address("224.0.0.18"))
    assert keys_and_values(rule) == [
        ('{"meta": {"key": "iifname"}}', "eth0"),
        ('{"meta": {"key": "l4proto"}}', 112),
        ('{"payload": {"protocol": "ip", "field": "daddr"}}', "224.0.0.18"),
        ('{"payload": {"protocol": "ip", "field": "ttl"}}', 255),
    ]
    assert rule.expressions()[-1] == {"accept": None}


def test_a_unicast_rule_matches_the_peer_as_source_coming_in_and_as_destination_going_out() -> None:
    peer = IPv6Address("fd00::1")
    coming = keys_and_values(VrrpRule("web", Direction.INPUT, "eth0", peer))
    going = keys_and_values(VrrpRule("web", Direction.OUTPUT, "eth0", peer))
    assert coming[2] == ('{"payload": {"protocol": "ip6", "field": "saddr"}}', "fd00::1")
    assert going[2] == ('{"payload": {"protocol": "ip6", "field": "daddr"}}', "fd00::1")
    assert going[0] == ('{"meta": {"key": "oifname"}}', "eth0")
    assert len(coming) == len(going) == 3


@given(RULES)
def test_every_rule_is_read_back_as_itself(rule: VrrpRule) -> None:
    listed: list[Expression] = json.loads(json.dumps(rule.expressions()))
    assert read_rule(rule.comment, listed) == rule


@given(RULES)
def test_a_comment_fits_into_nftables(rule: VrrpRule) -> None:
    assert rule.comment.isascii()
    assert len(rule.comment) <= 128
    assert rule.comment.startswith("ipfod:")


@given(RULES, st.data())
def test_a_rule_with_any_statement_taken_out_is_not_ours_to_the_letter(
    rule: VrrpRule, data: st.DataObject
) -> None:
    listed = list(rule.expressions())
    del listed[data.draw(st.integers(0, len(listed) - 1))]
    assert read_rule(rule.comment, listed) is None


@given(RULES, JSON)
def test_a_rule_with_anything_added_is_not_ours_to_the_letter(rule: VrrpRule, other: object) -> None:
    assert read_rule(rule.comment, [*rule.expressions(), {"match": other}]) is None


@given(st.lists(JSON, max_size=6))
def test_any_listing_at_all_is_read_without_an_error(listed: list[Expression]) -> None:
    assert read_rule("ipfod:web", listed) is None


@pytest.mark.parametrize("comment", ["", "web", "Ipfod:web", " ipfod:web"])
def test_a_rule_without_our_comment_is_not_ours(comment: str) -> None:
    rule = VrrpRule("web", Direction.INPUT, "eth0", IPv4Address("224.0.0.18"))
    assert read_rule(comment, rule.expressions()) is None


def test_rules_read_as_a_sentence() -> None:
    assert (
        str(VrrpRule("web", Direction.INPUT, "eth0", IPv4Address("224.0.0.18"))) == "VRRP to 224.0.0.18 on eth0"
    )
    assert (
        str(VrrpRule("web", Direction.INPUT, "eth0", IPv4Address("10.0.0.1"))) == "VRRP from 10.0.0.1 on eth0"
    )
    assert str(VrrpRule("web", Direction.OUTPUT, "eth0", IPv4Address("10.0.0.1"))) == "VRRP to 10.0.0.1 on eth0"
