"""Two failovers that claim one virtual IP or virtual router ID: both files are named, the first one runs."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from plans import HERE, NO_ANCHORS, OWN, failover

from ipfod.plan.conflicts import conflicts
from ipfod.plan.model import FailoverPlan, Here
from ipfod.plan.planning import plan_failover


def planned(name: str, vips: str, offset: int, *, interface: str = "eth0") -> FailoverPlan:
    text = f'name = "{name}"\nvirtual_ips = "{vips}"\nvrrp_id_offset = {offset}'
    return plan_failover(failover(text, file=f"/etc/ipfod/{name}.toml"), Here(interface, OWN), NO_ANCHORS)


def test_failovers_with_vips_and_ids_of_their_own_live_side_by_side() -> None:
    assert conflicts([planned("a", "10.1.0.1-3", 10), planned("b", "10.1.0.4-6", 13)]) == {}


def test_a_vip_of_two_failovers_names_both_files_and_the_first_one_wins() -> None:
    (found,) = conflicts([planned("a", "10.1.0.1-3", 10), planned("b", "10.1.0.3-5", 20)])["b"]
    assert str(found) == (
        "/etc/ipfod/b.toml:2: virtual_ips: 10.1.0.3 already served by a (/etc/ipfod/a.toml:2); "
        "each virtual IP in one failover only"
    )


def test_a_vip_may_not_be_on_two_interfaces_either() -> None:
    found = conflicts([planned("a", "10.1.0.1", 10), planned("b", "10.1.0.1", 10, interface="eth1")])
    assert [complaint.key for complaint in found["b"]] == ["virtual_ips"]


def test_an_id_used_twice_on_an_interface_names_both_files_and_the_interface() -> None:
    (found,) = conflicts([planned("a", "10.1.0.1-3", 10), planned("b", "10.1.0.4-6", 12)])["b"]
    assert str(found).startswith(
        "/etc/ipfod/b.toml:3: vrrp_id_offset: virtual router ID 13 already used on eth0 "
        "by a (/etc/ipfod/a.toml:3)"
    )


def test_the_same_ids_on_different_interfaces_are_fine() -> None:
    assert conflicts([planned("a", "10.1.0.1", 10), planned("b", "10.1.0.2", 10, interface="eth1")]) == {}


def test_both_kinds_of_conflict_and_every_file_are_complained_of_at_once() -> None:
    incumbents = [planned("a", "10.1.0.1-2", 10), planned("b", "10.1.0.3-4", 20)]
    found = conflicts([*incumbents, planned("c", "10.1.0.2-3", 11)])
    assert list(found) == ["c"]
    assert [(complaint.key, complaint.file) for complaint in found["c"]] == [
        ("virtual_ips", "/etc/ipfod/c.toml"),
        ("vrrp_id_offset", "/etc/ipfod/c.toml"),
        ("virtual_ips", "/etc/ipfod/c.toml"),
    ]
    assert "/etc/ipfod/a.toml" in found["c"][0].what
    assert "/etc/ipfod/b.toml" in found["c"][2].what


def test_a_failover_that_has_to_yield_claims_nothing() -> None:
    found = conflicts(
        [planned("a", "10.1.0.1-2", 10), planned("b", "10.1.0.2-3", 20), planned("c", "10.1.0.3", 22)]
    )
    assert list(found) == ["b"]


def test_a_long_list_of_shared_vips_is_cut_short() -> None:
    (vips, ids) = conflicts([planned("a", "10.1.0.1-100", 10), planned("b", "10.1.0.1-100", 10)])["b"]
    assert vips.what.startswith("10.1.0.1, 10.1.0.2, 10.1.0.3, 10.1.0.4 and 96 more already served")
    assert ids.what.startswith("virtual router ID 11, 12, 13, 14 and 96 more already used")


claims = st.lists(
    st.tuples(st.integers(0, 40), st.integers(1, 10), st.integers(0, 40), st.sampled_from(["eth0", "eth1"])),
    max_size=8,
)


@settings(deadline=None)
@given(claims)
def test_what_is_left_never_shares_a_vip_nor_an_id_and_nothing_yields_without_need(
    found: list[tuple[int, int, int, str]],
) -> None:
    plans = [
        planned(f"n{number}", f"10.1.0.{first}-10.1.0.{first + count - 1}", offset, interface=interface)
        for number, (first, count, offset, interface) in enumerate(found)
    ]
    refused = conflicts(plans)
    left = [plan for plan in plans if plan.name not in refused]
    vips = [address for plan in left for address in plan.failover.virtual_ips]
    ids = [(plan.interface, group.virtual_router_id) for plan in left for group in plan.groups]
    assert len(set(vips)) == len(vips)
    assert len(set(ids)) == len(ids)
    for position, plan in enumerate(plans):
        earlier = [other for other in plans[:position] if other.name not in refused]
        if plan.name in refused:
            assert conflicts([*earlier, plan]), "yields to nobody"
            named = " ".join(complaint.what for complaint in refused[plan.name])
            assert any(other.failover.source.file in named for other in earlier)


def test_ipv6_vips_are_listed_in_order_too() -> None:
    text = 'virtual_ips = ["fd00::1:2", "10.1.0.9", "fd00::1:1"]\nvrrp_id_offset = {}\nname = "{}"'
    plans = [
        plan_failover(failover(text.format(offset, name)), HERE, NO_ANCHORS)
        for offset, name in ((10, "a"), (20, "b"))
    ]
    (found,) = conflicts(plans)["b"]
    assert found.what.startswith("10.1.0.9, fd00::1:1, fd00::1:2 already served by a")
