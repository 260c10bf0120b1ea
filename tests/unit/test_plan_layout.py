"""Virtual IPs are put into groups, and groups get virtual router IDs, as the documentation says."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plans import failover, failover_texts

from ipfod.config.model import Address
from ipfod.errors import InvalidConfiguration
from ipfod.plan.layout import PlanError, distribute, layout, virtual_router_ids


def lengths(toml: str) -> list[int]:
    return [len(slot.virtual_ips) for slot in layout(failover(toml))]


def ids(toml: str) -> list[int]:
    return [slot.virtual_router_id for slot in layout(failover(toml))]


def test_seven_vips_in_three_groups_give_three_two_and_two() -> None:
    assert lengths('virtual_ips = "10.1.0.1-7"\nvip_groups = 3') == [3, 2, 2]


def test_255_vips_in_238_groups_give_17_groups_of_two_and_221_of_one() -> None:
    sizes = lengths('virtual_ips = "192.168.254.1-255"\nvip_groups = 238\nvrrp_id_offset = 0')
    assert Counter(sizes) == {2: 17, 1: 221}
    assert sizes == sorted(sizes, reverse=True)


def test_groups_are_filled_in_the_order_of_the_file() -> None:
    slots = layout(failover('virtual_ips = ["10.1.0.9", "10.1.0.1-2", "10.1.0.5"]\nvip_groups = 2'))
    found = [[str(address) for address in slot.virtual_ips] for slot in slots]
    assert found == [["10.1.0.9", "10.1.0.1"], ["10.1.0.2", "10.1.0.5"]]


def test_without_vip_groups_every_vip_has_a_group_of_its_own() -> None:
    assert lengths('virtual_ips = "10.1.0.1-5,10.1.0.9"') == [1] * 6


def test_per_range_makes_a_group_of_each_entry() -> None:
    text = 'virtual_ips = ["10.1.0.1-5", "10.1.0.9", "10.1.1.0/29"]\nvip_groups = "per-range"'
    assert lengths(text) == [5, 1, 6]


def test_more_groups_than_vips_leave_no_group_empty() -> None:
    assert lengths('virtual_ips = "10.1.0.1-3"\nvip_groups = 100') == [1, 1, 1]


def test_more_groups_than_there_are_ids_are_fine_where_there_are_few_vips() -> None:
    assert lengths('virtual_ips = "10.1.0.1-3"\nvip_groups = 1000') == [1, 1, 1]


def test_ids_begin_above_the_offset() -> None:
    assert ids('virtual_ips = "10.1.0.1-3"') == [11, 12, 13]
    assert ids('virtual_ips = "10.1.0.1-3"\nvrrp_id_offset = 0') == [1, 2, 3]


def test_excluded_ids_are_skipped_and_the_groups_after_them_move_up() -> None:
    assert ids('virtual_ips = "10.1.0.1-4"\nexcluded_vrrp_ids = [12, 13]') == [11, 14, 15, 16]


def test_exactly_255_groups_fit_and_have_every_id() -> None:
    assert ids('virtual_ips = "10.1.0.0-254"\nvrrp_id_offset = 0') == list(range(1, 256))


@pytest.mark.parametrize(
    ("toml", "wanted", "fit"),
    [
        ('virtual_ips = "10.1.0.1-10"\nvrrp_id_offset = 250', 10, 5),
        ('virtual_ips = "10.1.0.1-10"\nvrrp_id_offset = 250\nexcluded_vrrp_ids = [251, 255, 3]', 10, 3),
        ('virtual_ips = "10.1.0.1"\nvrrp_id_offset = 255', 1, 0),
        ('virtual_ips = "10.1.0.1-10.1.1.255"\nvip_groups = 300', 300, 245),
        ('virtual_ips = "10.1.0.1-200,fd00::1-c8"', 400, 245),
    ],
)
def test_too_many_groups_are_an_error_that_says_how_many_fit(toml: str, wanted: int, fit: int) -> None:
    with pytest.raises(PlanError) as caught:
        layout(failover(toml))
    complaint = caught.value.complaint
    assert isinstance(caught.value, InvalidConfiguration)
    assert complaint.key == "vrrp_id_offset"
    assert f"{wanted} groups do not fit" in complaint.what
    assert f"only {fit} do" in complaint.what
    assert f"at most {fit} groups" in complaint.accepted
    assert str(complaint).startswith("/etc/ipfod/web.toml:")


def test_the_error_points_at_the_line_of_the_offset_or_else_of_the_vips() -> None:
    with pytest.raises(PlanError) as caught:
        layout(failover('monitor_port = 0\nvrrp_id_offset = 254\nvirtual_ips = "10.1.0.1-2"'))
    assert caught.value.complaint.line == 2
    with pytest.raises(PlanError) as caught:
        layout(failover('monitor_port = 0\n\n\nvirtual_ips = "10.1.0.1-10.1.1.200"'))
    assert caught.value.complaint.line == 4


def test_ipv6_vips_get_groups_of_their_own_and_ids_go_on_counting() -> None:
    slots = layout(failover('virtual_ips = ["fd00::1-2", "10.1.0.1-3"]\nvip_groups = 2'))
    families = [{address.version for address in slot.virtual_ips} for slot in slots]
    assert families == [{4}, {4}, {6}, {6}]
    assert [slot.virtual_router_id for slot in slots] == [11, 12, 13, 14]
    assert [slot.index for slot in slots] == [1, 2, 3, 4]


def test_instances_are_named_as_the_original_names_them() -> None:
    slots = layout(failover('name = "my-web-1"\nvirtual_ips = "10.1.0.1-2"'))
    assert [slot.name for slot in slots] == ["my_web_1_VIP_1", "my_web_1_VIP_2"]


@settings(deadline=None)
@given(failover_texts())
def test_every_vip_is_in_exactly_one_group_of_one_family(toml: str) -> None:
    configured = failover(toml)
    slots = layout(configured)
    placed = [address for slot in slots for address in slot.virtual_ips]
    assert sorted(placed, key=str) == sorted(configured.virtual_ips, key=str)
    assert all(len({address.version for address in slot.virtual_ips}) == 1 for slot in slots)
    assert [slot.index for slot in slots] == list(range(1, len(slots) + 1))


@settings(deadline=None)
@given(count=st.integers(1, 1000), groups=st.integers(1, 300))
def test_groups_differ_in_size_by_one_at_most_and_the_larger_come_first(count: int, groups: int) -> None:
    addresses: list[Address] = [ip_address(0x0A010000 + number) for number in range(count)]
    runs = distribute(addresses, groups)
    sizes = [len(run) for run in runs]
    assert [address for run in runs for address in run] == addresses
    assert len(runs) == min(count, groups)
    assert max(sizes) - min(sizes) <= 1
    assert sizes == sorted(sizes, reverse=True)


@settings(deadline=None)
@given(st.integers(0, 255), st.lists(st.integers(1, 255), unique=True), st.integers(0, 300))
def test_ids_are_the_lowest_free_ones_above_the_offset(offset: int, excluded: list[int], count: int) -> None:
    found = virtual_router_ids(offset, excluded, count)
    free = sorted(set(range(1, 256)) - set(range(1, offset + 1)) - set(excluded))
    assert list(found) == free[:count]
