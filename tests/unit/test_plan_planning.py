"""What one node runs: its priority, its source address, its peers, and the anchor of each group."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plans import HERE, NO_ANCHORS, failover, failover_texts, plan

from ipfod.config.model import Address
from ipfod.plan.layout import PlanError
from ipfod.plan.model import FailoverPlan, Here
from ipfod.plan.placement import hashed_priority
from ipfod.plan.planning import plan_failover


def here(*addresses: str) -> Here:
    return Here("eth0", tuple(ip_address(address) for address in addresses))


def dual_stack(number: int) -> Here:
    """Node `number`, which has an address of every kind."""
    return here(f"10.0.0.{number}", f"fe80::{number}", f"fd00::{number}")


def refusal(toml: str, where: Here = HERE) -> str:
    with pytest.raises(PlanError) as caught:
        plan(toml, here=where)
    return str(caught.value.complaint)


def firsts(plans: dict[int, FailoverPlan]) -> Counter[int]:
    """How many groups prefer each node. Every group must have priorities that differ on all nodes."""
    found: Counter[int] = Counter()
    for rows in zip(*(planned.groups for planned in plans.values()), strict=True):
        priorities = dict(zip((row.priority for row in rows), plans, strict=True))
        assert len(priorities) == len(plans), "two nodes have the same priority"
        found[priorities[max(priorities)]] += 1
    return found


# ---------------------------------------------------------------- anchors


def test_without_a_known_anchor_the_first_vip_of_the_group_is_advertised() -> None:
    groups = plan('virtual_ips = "10.1.0.1-6"\nvip_groups = 2').groups
    assert [str(group.anchor) for group in groups] == ["10.1.0.1", "10.1.0.4"]


def test_an_anchor_is_kept_as_long_as_its_group_has_it() -> None:
    configured = failover('virtual_ips = ["10.1.0.9", "10.1.0.1-3"]\nvip_groups = 1')
    kept = plan_failover(configured, HERE, {11: ip_address("10.1.0.2")})
    assert str(kept.groups[0].anchor) == "10.1.0.2"


@pytest.mark.parametrize("gone", ["10.1.0.77", "fd00::1:1"])
def test_an_anchor_that_is_gone_is_replaced(gone: str) -> None:
    configured = failover('virtual_ips = "10.1.0.1-3"\nvip_groups = 1')
    replaced = plan_failover(configured, HERE, {11: ip_address(gone)})
    assert str(replaced.groups[0].anchor) == "10.1.0.1"


def test_an_anchor_that_moved_to_another_group_is_not_kept_by_the_old_one() -> None:
    configured = failover('virtual_ips = "10.1.0.1-4"\nvip_groups = 2')
    anchors = {11: ip_address("10.1.0.4"), 12: ip_address("10.1.0.4")}
    groups = plan_failover(configured, HERE, anchors).groups
    assert [str(group.anchor) for group in groups] == ["10.1.0.1", "10.1.0.4"]


@settings(deadline=None)
@given(failover_texts(vips_max=8), st.data())
def test_the_anchor_is_always_one_of_the_groups_own_vips(toml: str, data: st.DataObject) -> None:
    configured = failover(toml)
    vips = st.sampled_from(configured.virtual_ips)
    anchors: dict[int, Address] = data.draw(st.dictionaries(st.integers(1, 255), vips))
    for group in plan_failover(configured, HERE, anchors).groups:
        assert group.anchor in group.virtual_ips
        known = anchors.get(group.virtual_router_id)
        if known in group.virtual_ips:
            assert group.anchor == known


# ---------------------------------------------------------------- this node


def test_a_vip_that_is_the_nodes_own_address_is_refused() -> None:
    text = refusal('monitor_port = 0\nvirtual_ips = "10.0.0.1-3"')
    assert text.startswith("/etc/ipfod/web.toml:2: virtual_ips: 10.0.0.1 is this node's own address on eth0")
    assert "fd00::1 is this node's own" in refusal('virtual_ips = "fd00::1"')


def test_a_node_that_is_not_listed_is_refused() -> None:
    text = refusal('virtual_ips = "10.1.0.1"\nnodes = ["10.0.0.2", "10.0.0.3"]')
    assert text.startswith("/etc/ipfod/web.toml:2: nodes: none of the listed nodes is this one (10.0.0.1")
    assert "fe80" not in text


def test_a_node_without_an_address_yet_is_not_held_to_be_unlisted() -> None:
    assert plan('virtual_ips = "10.1.0.1"\nnodes = ["10.0.0.2"]', here=here()).groups[0].source is None


def test_a_node_may_be_listed_by_its_ipv6_address() -> None:
    nodes = '["fd00::1", "fd00::2"]'
    plans = {
        number: plan(f'virtual_ips = "10.1.0.1-10"\nnodes = {nodes}', here=dual_stack(number))
        for number in (1, 2)
    }
    assert firsts(plans) == {1: 5, 2: 5}


def test_adverts_come_from_the_ipv4_address_and_the_link_local_ipv6_address() -> None:
    groups = plan('virtual_ips = ["10.1.0.1", "fd00::1:1"]', here=here("fd00::1", "fe80::1", "10.0.0.1")).groups
    assert [str(group.source) for group in groups] == ["10.0.0.1", "fe80::1"]


def test_without_a_link_local_address_adverts_come_from_another_ipv6_address() -> None:
    groups = plan('virtual_ips = "fd00::1:1"', here=here("10.0.0.1", "fd00::1")).groups
    assert str(groups[0].source) == "fd00::1"


def test_a_fixed_priority_is_taken_as_it_is() -> None:
    groups = plan('virtual_ips = "10.1.0.1-9"\npriority = 33\nnodes = ["10.0.0.1", "10.0.0.2"]').groups
    assert {group.priority for group in groups} == {33}


def test_a_node_that_knows_no_other_hashes_its_ipv4_address_in_both_families() -> None:
    groups = plan('virtual_ips = ["10.1.0.1", "fd00::1:1"]', here=here("fe80::1", "fd00::1", "10.0.0.1")).groups
    own = ip_address("10.0.0.1")
    assert [group.priority for group in groups] == [hashed_priority(own, 11), hashed_priority(own, 12)]


@settings(deadline=None)
@given(failover_texts())
def test_every_plan_is_complete(toml: str) -> None:
    configured = failover(toml)
    planned = plan_failover(configured, HERE, NO_ANCHORS)
    assert planned.interface == "eth0"
    assert planned.unicast is configured.use_unicast
    for group in planned.groups:
        assert 1 <= group.priority <= 254
        assert group.source is not None
        assert group.source.version == group.ip_version
        assert all(peer.version == group.ip_version for peer in group.peers)
        assert bool(group.peers) is configured.use_unicast
        assert not set(group.peers) & set(HERE.addresses)


# ---------------------------------------------------------------- unicast

THREE = '["10.0.0.1", "10.0.0.2", "10.0.0.3"]'


def test_the_own_address_is_no_peer() -> None:
    text = f'virtual_ips = "10.1.0.1-2"\nuse_unicast = true\nunicast_peers = {THREE}'
    assert [[str(peer) for peer in group.peers] for group in plan(text).groups] == [
        ["10.0.0.2", "10.0.0.3"]
    ] * 2


def test_peers_that_are_set_without_use_unicast_are_not_used() -> None:
    planned = plan(f'virtual_ips = "10.1.0.1"\nunicast_peers = {THREE}')
    assert planned.groups[0].peers == ()
    assert not planned.unicast


def test_unicast_without_any_other_node_is_an_error_and_never_multicast() -> None:
    text = refusal('virtual_ips = "10.1.0.1"\nuse_unicast = true\nunicast_peers = ["10.0.0.1"]')
    assert text.startswith("/etc/ipfod/web.toml:3: unicast_peers: names no node but this one")
    both = 'virtual_ips = ["10.1.0.1", "fd00::1:1"]\nuse_unicast = true\nunicast_peers = '
    assert "for IPv6" in refusal(both + '["10.0.0.2", "fd00::1"]')


def test_each_group_has_the_peers_of_its_family() -> None:
    text = 'virtual_ips = ["10.1.0.1", "fd00::1:1"]\nuse_unicast = true\nunicast_peers = '
    groups = plan(text + '["10.0.0.2", "fd00::2", "fd00::3"]').groups
    assert [[str(peer) for peer in group.peers] for group in groups] == [["10.0.0.2"], ["fd00::2", "fd00::3"]]


@pytest.mark.parametrize(
    ("peer", "source"), [("fd00::2", "fd00::1"), ("fe80::2", "fe80::1"), ("2001:db8::2", "2001:db8::1")]
)
def test_unicast_adverts_come_from_the_address_nearest_to_the_peers(peer: str, source: str) -> None:
    where = here("fe80::1", "fd00::1", "2001:db8::1")
    text = f'virtual_ips = "fd00::1:1"\nuse_unicast = true\nunicast_peers = ["{peer}"]'
    assert str(plan(text, here=where).groups[0].source) == source


@pytest.mark.parametrize("named", [True, False], ids=["own-address-listed", "own-address-left-out"])
@pytest.mark.parametrize(
    "vips", ['"10.1.0.1-30"', '"fd00::1:1-1e"', '["10.1.0.1-15", "fd00::1:1-f"]'], ids=["IPv4", "IPv6", "both"]
)
def test_unicast_peers_and_this_node_share_the_groups_evenly(vips: str, named: bool) -> None:
    plans = {}
    for number in (1, 2, 3):
        others = [other for other in (1, 2, 3) if named or other != number]
        peers = [f"10.0.0.{other}" for other in others] + [f"fd00::{other}" for other in others]
        text = f"virtual_ips = {vips}\nuse_unicast = true\nunicast_peers = {peers}"
        plans[number] = plan(text, here=dual_stack(number))
    assert firsts(plans) == {1: 10, 2: 10, 3: 10}


def test_nodes_say_who_shares_the_groups_also_with_unicast() -> None:
    plans = {}
    for number in (1, 2, 3):
        peers = [f"10.0.0.{other}" for other in (1, 2, 3) if other != number]
        text = f'virtual_ips = "10.1.0.1-9"\nnodes = {THREE}\nuse_unicast = true\nunicast_peers = {peers}'
        plans[number] = plan(text, here=dual_stack(number))
    assert firsts(plans) == {1: 3, 2: 3, 3: 3}
