"""From configurations and the kernel's addresses to the plan: what waits, what is refused, what stays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_interface
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from plans import failover

from ipfod.addresses import InterfaceAddress
from ipfod.config.model import Failover
from ipfod.host.netlink import Host
from ipfod.plan.conflicts import conflicts
from ipfod.plan.model import FailoverPlan
from ipfod.plan.planning import Anchors
from ipfod.supervise.settle import Settlement, settle


def on(interface: str, *addresses: str) -> list[InterfaceAddress]:
    pairs = [ip_interface(address) for address in addresses]
    return [InterfaceAddress(interface, pair.ip, pair.network.prefixlen) for pair in pairs]


def a_host(
    *addresses: InterfaceAddress, interfaces: Iterable[str] = ("lo", "eth0", "eth1"), default: str | None = None
) -> Host:
    return Host(frozenset(interfaces), frozenset(interfaces), addresses, default)


ETH0 = on("eth0", "10.0.0.1/24", "fe80::1/64")
HOST = a_host(*ETH0, *on("eth1", "172.16.0.1/16"))


def web(vips: str = "10.1.0.1-2", *lines: str, name: str = "web") -> Failover:
    text = "\n".join([f'name = "{name}"', f'virtual_ips = "{vips}"', *lines])
    return failover(text, file=f"/etc/ipfod/{name}.toml")


def settled(
    *failovers: Failover,
    host: Host = HOST,
    in_force: Mapping[str, FailoverPlan] | None = None,
    ledger: Iterable[InterfaceAddress] = (),
    anchors: Mapping[str, Anchors] | None = None,
) -> Settlement:
    return settle(failovers, host, in_force=in_force or {}, ledger=ledger, anchors=anchors or {})


def running(*failovers: Failover, host: Host = HOST) -> dict[str, FailoverPlan]:
    """The plans of failovers that settled well."""
    settlement = settled(*failovers, host=host)
    assert settlement.plan.failovers.keys() == {failover.name for failover in failovers}
    return dict(settlement.plan.failovers)


def own(settlement: Settlement, name: str = "web") -> set[str]:
    return {str(address) for address in settlement.plan.failovers[name].addresses}


# ---------------------------------------------------------------- interfaces


def test_a_failover_on_an_interface_with_addresses_is_planned() -> None:
    settlement = settled(web(), web("10.1.0.9", 'interface = "eth1"', "vrrp_id_offset = 50", name="db"))
    assert {name: plan.interface for name, plan in settlement.plan.failovers.items()} == {
        "web": "eth0",
        "db": "eth1",
    }
    assert (settlement.waiting, settlement.complaints, settlement.refused) == ({}, (), frozenset())


def test_without_eth0_the_interface_of_the_default_route_is_taken() -> None:
    host = a_host(*on("ens3", "10.0.0.1/24"), interfaces=("lo", "ens3"), default="ens3")
    assert settled(web(), host=host).plan.failovers["web"].interface == "ens3"


def test_eth0_comes_before_the_default_route() -> None:
    host = a_host(*ETH0, *on("eth1", "172.16.0.1/16"), default="eth1")
    assert settled(web(), host=host).plan.failovers["web"].interface == "eth0"


def test_an_interface_that_is_named_and_missing_is_waited_for_and_never_replaced() -> None:
    settlement = settled(web("10.1.0.1", 'interface = "br-ex"'), host=a_host(*ETH0, default="eth0"))
    assert settlement.waiting == {"web": "web: interface br-ex is missing"}
    assert settlement.plan.failovers["web"].interface == "br-ex"  # its groups can be seen, and that they wait
    assert settlement.refused == frozenset()


@pytest.mark.parametrize(
    ("host", "vips", "why"),
    [
        (a_host(interfaces=("lo",)), "10.1.0.1", "web: there is no interface eth0 and no default route"),
        (a_host(), "10.1.0.1", "web: interface eth0 has no IPv4 address"),
        (a_host(*ETH0[1:]), "10.1.0.1", "web: interface eth0 has no IPv4 address"),
        (a_host(*ETH0[:1]), "10.1.0.1,fd00::1", "web: interface eth0 has no IPv6 address"),
    ],
)
def test_a_failover_that_cannot_run_yet_waits_and_says_for_what(host: Host, vips: str, why: str) -> None:
    settlement = settled(web(vips), host=host)
    assert settlement.waiting == {"web": why}
    assert settlement.complaints == ()


def test_what_runs_stays_in_force_when_its_interface_goes() -> None:
    before = running(web())
    for host in (a_host(interfaces=("lo",)), a_host(), a_host(*ETH0[1:])):
        settlement = settled(web(), host=host, in_force=before)
        assert settlement.plan.failovers == before
        assert "web" in settlement.waiting


@pytest.mark.parametrize("changed", [web("10.1.0.7"), web("10.1.0.1-2", 'interface = "br-ex"')])
def test_what_runs_stays_in_force_while_its_new_version_waits_for_an_interface(changed: Failover) -> None:
    before = running(web())
    host = a_host() if changed.interface is None else HOST
    settlement = settled(changed, host=host, in_force=before)
    assert settlement.plan.failovers == before
    assert "web" in settlement.waiting


# ---------------------------------------------------------------- own addresses and VIPs


def test_vips_that_are_held_are_not_the_nodes_own_addresses() -> None:
    held = on("eth0", "10.1.0.1/32", "10.1.0.2/32")
    settlement = settled(web(), host=a_host(*held, *ETH0))
    assert own(settlement) == {"10.0.0.1", "fe80::1"}
    assert settlement.complaints == ()


def test_vips_of_a_removed_configuration_are_not_the_nodes_own_either() -> None:
    stray = on("eth0", "10.1.0.77/32")
    assert own(settled(web(), host=a_host(*stray, *ETH0), ledger=stray)) == {"10.0.0.1", "fe80::1"}
    assert own(settled(web(), host=a_host(*stray, *ETH0))) == {"10.0.0.1", "fe80::1", "10.1.0.77"}


def test_a_vip_that_is_the_nodes_own_address_is_refused() -> None:
    settlement = settled(web("10.0.0.1"))
    assert [complaint.key for complaint in settlement.complaints] == ["virtual_ips"]
    assert "10.0.0.1 is this node's own address on eth0" in settlement.complaints[0].what
    assert settlement.refused == {"web"}
    assert settlement.plan.failovers == {}


def test_an_interface_that_holds_nothing_but_vips_has_no_address_of_its_own() -> None:
    settlement = settled(web(), host=a_host(*on("eth0", "10.1.0.1/32")))
    assert settlement.waiting == {"web": "web: interface eth0 has no IPv4 address"}


def test_the_anchors_of_a_failover_are_its_own() -> None:
    anchors = {"web": {11: ip_address("10.1.0.2")}, "db": {11: ip_address("10.1.0.1")}}
    settlement = settled(web("10.1.0.1-3", "vip_groups = 1"), anchors=anchors)
    assert str(settlement.plan.groups[0].anchor) == "10.1.0.2"


# ---------------------------------------------------------------- fail static


def test_a_new_version_that_cannot_be_planned_leaves_the_old_one_in_force() -> None:
    before = running(web())
    settlement = settled(web("10.1.0.1-10.1.1.200"), in_force=before)
    assert settlement.plan.failovers == before
    assert settlement.refused == {"web"}
    assert "only 245 do" in settlement.complaints[0].what


def test_a_new_failover_yields_to_what_runs_whatever_the_names_of_the_files() -> None:
    before = running(web())
    settlement = settled(web("10.1.0.2-3", "vrrp_id_offset = 50", name="aaa"), web(), in_force=before)
    assert settlement.plan.failovers == before
    assert settlement.refused == {"aaa"}
    (complaint,) = settlement.complaints
    assert complaint.file == "/etc/ipfod/aaa.toml"
    assert "/etc/ipfod/web.toml" in complaint.what


def test_of_two_new_failovers_the_first_file_wins() -> None:
    settlement = settled(web("10.1.0.1", name="bbb"), web("10.1.0.1", name="aaa"))
    assert set(settlement.plan.failovers) == {"aaa"}


def test_a_changed_failover_that_conflicts_goes_on_as_it_was() -> None:
    before = running(web(), web("10.1.0.9", "vrrp_id_offset = 50", name="db"))
    changed = web("10.1.0.2-9", "vrrp_id_offset = 50", name="db")
    settlement = settled(web(), changed, in_force=before)
    assert settlement.plan.failovers == before
    assert settlement.refused == {"db"}


def test_a_failover_that_conflicts_while_its_interface_is_missing_does_not_wait_too() -> None:
    settlement = settled(web(), web("10.1.0.1", name="zzz"), in_force=running(web()))
    assert settlement.refused == {"zzz"}
    assert settlement.waiting == {}


def test_a_removed_failover_claims_nothing() -> None:
    before = running(web())
    settlement = settled(web("10.1.0.1-2", name="aaa"), in_force=before)
    assert set(settlement.plan.failovers) == {"aaa"}
    assert settlement.complaints == ()


def test_two_failovers_may_exchange_a_vip() -> None:
    before = running(web("10.1.0.1-2"), web("10.1.0.3", "vrrp_id_offset = 50", name="db"))
    after = (web("10.1.0.1"), web("10.1.0.2-3", "vrrp_id_offset = 50", name="db"))
    settlement = settled(*after, in_force=before)
    assert settlement.complaints == ()
    assert {str(a) for a in settlement.plan.failovers["db"].failover.virtual_ips} == {"10.1.0.2", "10.1.0.3"}


versions = st.tuples(st.integers(1, 9), st.integers(0, 4), st.integers(0, 30))
files = st.dictionaries(st.sampled_from(["aaa", "bbb", "ccc"]), versions)


def read(found: Mapping[str, tuple[int, int, int]]) -> list[Failover]:
    return [
        web(f"10.1.0.{first}-10.1.0.{first + more}", f"vrrp_id_offset = {offset}", name=name)
        for name, (first, more, offset) in found.items()
    ]


@settings(deadline=None)
@given(before=files, after=files)
def test_whatever_changes_the_plan_is_sound_and_every_refusal_is_explained(
    before: Mapping[str, tuple[int, int, int]], after: Mapping[str, tuple[int, int, int]]
) -> None:
    in_force = dict(settled(*read(before)).plan.failovers)
    wanted = read(after)
    settlement = settled(*wanted, in_force=in_force)
    plans = settlement.plan.failovers
    assert conflicts(plans.values()) == {}
    assert settlement.refused == {Path(complaint.file).stem for complaint in settlement.complaints}
    for one in wanted:
        if one.name in plans and plans[one.name].failover != one:
            assert one.name in settlement.refused
            assert plans[one.name] == in_force[one.name]
        assert one.name in plans or one.name in settlement.refused
        if in_force.get(one.name) is not None and in_force[one.name].failover == one:
            assert plans[one.name] == in_force[one.name], "what did not change was stopped"


@settings(deadline=None)
@given(before=files, after=files)
@example(  # aaa wants the ID of bbb; bbb wants the VIP of aaa, must go back, and needs its ID again
    before={"aaa": (1, 0, 0), "bbb": (2, 0, 1)}, after={"aaa": (1, 0, 1), "bbb": (1, 0, 0)}
)
def test_no_refusal_ever_stops_what_runs(
    before: Mapping[str, tuple[int, int, int]], after: Mapping[str, tuple[int, int, int]]
) -> None:
    in_force = dict(settled(*read(before)).plan.failovers)
    plans = settled(*read(after), in_force=in_force).plan.failovers
    assert plans.keys() >= in_force.keys() & after.keys()
