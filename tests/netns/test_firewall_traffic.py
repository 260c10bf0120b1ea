"""VRRP really passes, and nothing else does: packets between two namespaces."""

from __future__ import annotations

import os

import pytest
from firewall_lab import Advert, Lab, drop_all, keeper, lab, nft, wish

from ipfod.firewall.keeper import FirewallKeeper

pytestmark = [pytest.mark.netns, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]
__all__ = ["keeper", "lab"]  # fixtures

V4, V6 = "224.0.0.18", "ff02::12"
NODE4, NODE6 = "10.78.0.1", "fd78::1"


@pytest.mark.parametrize("group", [V4, V6])
async def test_multicast_arrives_with_the_rule_and_only_then(
    lab: Lab, keeper: FirewallKeeper, group: str
) -> None:
    drop_all("inet", "filter", "input")
    assert lab.arrives_not(Advert(group))
    await keeper.apply([wish()])
    assert lab.arrives(Advert(group))
    await keeper.apply([])
    assert lab.arrives_not(Advert(group))


async def test_multicast_arrives_through_several_tables_that_drop(lab: Lab, keeper: FirewallKeeper) -> None:
    for family, table in (("inet", "one"), ("inet", "two"), ("ip", "filter"), ("ip6", "filter")):
        drop_all(family, table, "input")
    await keeper.apply([wish()])
    assert lab.arrives(Advert(V4))
    assert lab.arrives(Advert(V6))


@pytest.mark.parametrize(
    "other",
    [
        Advert(V4, ttl=64),
        Advert(V6, ttl=64),
        Advert(V4, interface="eth1"),
        Advert(V6, interface="eth1"),
        Advert(V4, protocol=113),
        Advert(V6, protocol=113),
        Advert("224.0.0.5"),
        Advert(NODE4),
        Advert(NODE6),
    ],
    ids=str,
)
async def test_beside_adverts_to_the_group_nothing_is_let_in(
    lab: Lab, keeper: FirewallKeeper, other: Advert
) -> None:
    drop_all("inet", "filter", "input")
    await keeper.apply([wish()])
    assert lab.arrives_not(other)
    nft("flush ruleset")
    assert lab.arrives(other), "this packet would not have arrived without a firewall either"


async def test_unicast_arrives_from_a_peer_and_from_nobody_else(lab: Lab, keeper: FirewallKeeper) -> None:
    drop_all("inet", "filter", "input")
    await keeper.apply([wish("web", "10.78.0.2", "fd78::2")])
    assert lab.arrives(Advert(NODE4, source="10.78.0.2"))
    assert lab.arrives(Advert(NODE6, source="fd78::2"))
    assert lab.arrives(Advert(NODE4, source="10.78.0.2", ttl=60)), "peers may be a router away"
    assert lab.arrives_not(Advert(NODE4, source="10.78.0.3"))
    assert lab.arrives_not(Advert(V4, source="10.78.0.3"))
    assert lab.arrives_not(Advert(NODE4, source="10.78.0.2", protocol=113))


async def test_adverts_leave_through_an_output_chain_that_is_named_as_well(
    lab: Lab, keeper: FirewallKeeper
) -> None:
    drop_all("inet", "filter", "input")
    nft("table inet filter { chain output { type filter hook output priority 0; policy drop; }; }")
    await keeper.apply([wish()])
    assert not lab.leaves(Advert(V4))
    await keeper.apply([wish(chains=("INPUT", "OUTPUT"))])
    assert lab.leaves(Advert(V4))
    assert lab.leaves(Advert(V6))
    assert not lab.leaves(Advert(V4, interface="eth1"))
    assert not lab.leaves(Advert("10.78.0.2"))
    await keeper.apply([wish("web", "10.78.0.2", chains=("INPUT", "OUTPUT"))])
    assert lab.leaves(Advert("10.78.0.2"))
    assert not lab.leaves(Advert("10.78.0.3"))
