"""Groups are spread evenly over the listed nodes, also when one of them is lost, and alike on every node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plans import NAMES, NO_ANCHORS, failover, ipv4_addresses, ipv6_addresses

from ipfod.config.model import Address
from ipfod.plan.model import Here
from ipfod.plan.placement import PRIORITY_MAX, hashed_priority, preference, priorities
from ipfod.plan.planning import plan_failover

GROUPS_MAX = 255


def some_nodes(count: int) -> list[Address]:
    return [ip_address(f"10.0.0.{number}") for number in range(1, count + 1)]


def node_lists(most: int) -> st.SearchStrategy[list[Address]]:
    return st.lists(ipv4_addresses(0x0A000000) | ipv6_addresses(), unique=True, min_size=1, max_size=most)


def spread(firsts: Counter[Address], nodes: Sequence[Address]) -> int:
    """By how many groups the node with most and the node with fewest differ."""
    counts = [firsts[node] for node in nodes]
    return max(counts) - min(counts)


@pytest.mark.parametrize("count", range(1, 9))
def test_first_choices_are_even_for_every_number_of_groups_and_after_the_loss_of_any_node(count: int) -> None:
    nodes = some_nodes(count)
    lost: list[Address | None] = [None, *(nodes if count > 1 else ())]
    firsts: dict[Address | None, Counter[Address]] = {gone: Counter() for gone in lost}
    for index in range(GROUPS_MAX):
        order = preference(index, nodes)
        for gone in lost:
            firsts[gone][next(node for node in order if node != gone)] += 1
            left = [node for node in nodes if node != gone]
            assert spread(firsts[gone], left) <= 1, f"{index + 1} groups, {gone} lost"


@pytest.mark.parametrize("count", range(1, 9))
def test_every_node_is_in_every_order_once(count: int) -> None:
    nodes = some_nodes(count)
    for index in range(GROUPS_MAX):
        assert sorted(preference(index, nodes), key=int) == nodes


@settings(deadline=None)
@given(name=NAMES, nodes=node_lists(8), data=st.data())
def test_priorities_are_even_whatever_the_name_and_the_nodes(
    name: str, nodes: list[Address], data: st.DataObject
) -> None:
    configured = failover(f'name = "{name}"\nvirtual_ips = "10.1.0.1-10.1.0.255"\nvrrp_id_offset = 0')
    groups = data.draw(st.integers(1, GROUPS_MAX))
    gone = data.draw(st.sampled_from([None, *nodes]) if len(nodes) > 1 else st.none())
    left = [node for node in nodes if node != gone]
    firsts: Counter[Address] = Counter()
    for index in range(1, groups + 1):
        by_node = priorities(configured, index, nodes)
        firsts[max(left, key=by_node.__getitem__)] += 1
    assert spread(firsts, left) <= 1


@settings(deadline=None)
@given(nodes=node_lists(252), index=st.integers(1, GROUPS_MAX))
def test_no_two_nodes_have_the_same_priority(nodes: list[Address], index: int) -> None:
    configured = failover('virtual_ips = "10.1.0.1"')
    found = sorted(priorities(configured, index, nodes).values(), reverse=True)
    assert len(set(found)) == len(nodes)
    assert found[0] == PRIORITY_MAX
    assert found[-1] >= 1


def test_ranks_are_far_apart_and_high_so_that_a_hand_over_is_quick() -> None:
    found = priorities(failover('virtual_ips = "10.1.0.1"'), 1, some_nodes(3))
    assert sorted(found.values(), reverse=True) == [252, 242, 232]


@settings(deadline=None)
@given(nodes=node_lists(8), index=st.integers(1, GROUPS_MAX), data=st.data())
def test_the_order_of_the_list_does_not_matter(nodes: list[Address], index: int, data: st.DataObject) -> None:
    configured = failover('virtual_ips = "10.1.0.1"')
    shuffled = data.draw(st.permutations(nodes))
    assert priorities(configured, index, nodes) == priorities(configured, index, shuffled)


def test_failovers_of_one_group_do_not_all_begin_with_the_same_node() -> None:
    nodes = some_nodes(3)
    firsts: Counter[Address] = Counter()
    for number in range(60):
        by_node = priorities(failover(f'name = "site-{number}"\nvirtual_ips = "10.1.0.1"'), 1, nodes)
        firsts[max(nodes, key=by_node.__getitem__)] += 1
    assert min(firsts[node] for node in nodes) > 5


def test_a_fixed_priority_is_that_of_every_node() -> None:
    configured = failover('virtual_ips = "10.1.0.1-9"\npriority = 77')
    assert set(priorities(configured, 4, some_nodes(5)).values()) == {77}


@settings(deadline=None)
@given(node=ipv4_addresses() | ipv6_addresses(), virtual_router_id=st.integers(1, 255))
def test_without_a_list_priorities_stay_high(node: IPv4Address | IPv6Address, virtual_router_id: int) -> None:
    assert 220 <= hashed_priority(node, virtual_router_id) <= PRIORITY_MAX


def test_without_a_list_two_nodes_share_the_groups_about_evenly() -> None:
    first, second = some_nodes(2)
    ahead = sum(hashed_priority(first, number) > hashed_priority(second, number) for number in range(1, 256))
    assert 80 < ahead < 175  # binomial, n = 255: five standard deviations are 40


@settings(deadline=None)
@given(
    count=st.integers(1, 8),
    offset=st.integers(0, 255),
    groups=st.integers(1, 120),
    ipv6=st.booleans(),
)
def test_plans_of_all_nodes_agree_on_who_comes_first(count: int, offset: int, groups: int, ipv6: bool) -> None:
    groups = min(groups, (255 - offset) // (2 if ipv6 else 1))
    if groups == 0:
        return
    nodes = some_nodes(count)
    vips = [f"10.1.0.1-10.1.0.{groups}"] + ([f"fd00::1:1-fd00::1:{groups:x}"] if ipv6 else [])
    configured = failover(
        f"virtual_ips = {vips}\nvrrp_id_offset = {offset}\nnodes = {[str(node) for node in nodes]}"
    )
    plans = [
        plan_failover(configured, Here("eth0", (node, ip_address(f"fe80::{number}"))), NO_ANCHORS)
        for number, node in enumerate(nodes)
    ]
    firsts: Counter[Address] = Counter()
    for rows in zip(*(plan.groups for plan in plans), strict=True):
        assert len({row.virtual_router_id for row in rows}) == 1
        assert len({row.priority for row in rows}) == count
        firsts[max(zip(rows, nodes, strict=True), key=lambda pair: pair[0].priority)[1]] += 1
    assert spread(firsts, nodes) <= 1
