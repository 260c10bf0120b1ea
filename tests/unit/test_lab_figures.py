"""What the lab computes and prints, without any machine: addresses, theory, agreement of the nodes, tables."""

from __future__ import annotations

import io
import json
from ipaddress import IPv4Network, ip_address, ip_interface

import pytest

from ipfod.lab.addressing import Addressing
from ipfod.lab.bus import configuration
from ipfod.lab.demonstration import NODES_MAX
from ipfod.lab.meter import Measurement
from ipfod.lab.ruleset import accept_port, ruleset
from ipfod.lab.screen import Row, Screen, ranges, table
from ipfod.lab.theory import Timers
from ipfod.lab.view import NodeView, disagreement, parse
from ipfod.lab.watch import Holding

VIPS = [ip_address("10.0.0.1"), ip_address("10.0.0.2")]


def status(state: str, *held: str, problems: list[dict[str, str]] | None = None) -> NodeView:
    """A node with one group of two virtual IPs."""
    group = {"name": "web_VIP_1", "state": state, "priority": 254, "virtual_ips": ["10.0.0.1", "10.0.0.2"]}
    vips = [{"address": str(vip), "held": str(vip) in held} for vip in VIPS]
    return parse(
        json.dumps({"failovers": [{"groups": [group]}], "virtual_ips": vips, "problems": problems or []})
    )


def test_nodes_get_the_listed_addresses_then_free_ones_near_the_virtual_ips() -> None:
    vips = [ip_address("10.1.2.101"), ip_address("fd00::1")]
    addressing = Addressing(virtual_ips=vips, listed=[ip_address("10.1.2.5")])
    assert addressing.node() == ["10.1.2.5/24", "fd00::65/64"]
    assert addressing.node() == ["10.1.2.102/24", "fd00::66/64"]
    assert addressing.other() == ["10.1.2.250/24", "fd00::3fa/64"]


def test_a_full_network_is_widened_until_machines_fit() -> None:
    vips = list(IPv4Network("10.1.2.0/24").hosts())
    addressing = Addressing(virtual_ips=vips)
    machines = [ip_interface(addressing.node()[0]) for _ in range(10)]
    assert not {machine.ip for machine in machines} & set(vips)
    assert all(vip in machines[0].network for vip in vips)


def test_a_network_with_one_address_too_few_for_the_largest_rehearsal_is_widened() -> None:
    vips = [ip_address(f"10.1.2.{host}") for host in range(101, 235)]  # leaves 16 of those that machines get
    addressing = Addressing(virtual_ips=vips)
    machines = [addressing.other(), *(addressing.node() for _ in range(NODES_MAX))]
    assert len({addresses[0] for addresses in machines}) == NODES_MAX + 1


def test_the_network_holds_all_listed_nodes() -> None:
    addressing = Addressing(listed=[ip_address("10.1.2.5"), ip_address("10.1.9.5")])
    assert [addressing.node()[0] for _ in range(2)] == ["10.1.2.5/20", "10.1.9.5/20"]
    assert addressing.is_near(ip_address("10.1.4.4"))
    assert not addressing.is_near(ip_address("1.1.1.1"))


def test_timers_are_those_of_the_rfcs() -> None:
    # Measured, keepalived 2.2.7, version 2, priority 100: 0.61 s after an advert with priority 0.
    assert Timers(2, 1.0).planned_ms(100) == pytest.approx(609.375)
    assert Timers(2, 1.0).master_down_ms(100) == pytest.approx(3609.375)
    assert Timers(2, 2.0).master_down_ms(100) == pytest.approx(6609.375)
    assert Timers(3, 0.1).planned_ms(100) == pytest.approx(60.9375)
    assert Timers(3, 0.1).master_down_ms(100) == pytest.approx(360.9375)
    assert Timers(3, 0.1).detected_ms(254) < 5


def test_nodes_agree_when_one_is_master_and_holds_all() -> None:
    good = {"a": status("master", "10.0.0.1", "10.0.0.2"), "b": status("backup"), "c": NodeView(silence="off")}
    assert disagreement(good, VIPS) == ""


@pytest.mark.parametrize(
    ("views", "told"),
    [
        ({"a": status("backup"), "b": status("backup")}, "web_VIP_1: master is nobody"),
        (
            {"a": status("master", "10.0.0.1"), "b": status("master", "10.0.0.2")},
            "web_VIP_1: master is a and b",
        ),
        (
            {"a": status("master", "10.0.0.1"), "b": status("backup")},
            "web_VIP_1: master is a, but 10.0.0.2 is on no node",
        ),
        (
            {"a": status("master", "10.0.0.1", "10.0.0.2"), "b": status("backup", "10.0.0.2")},
            "web_VIP_1: master is a, but 10.0.0.2 is on a and b",
        ),
        ({"a": status("backup"), "b": NodeView(silence="")}, "web_VIP_1: unknown on b"),
        ({"a": NodeView()}, "10.0.0.1: no node has it in a group"),
    ],
)
def test_what_nodes_disagree_on_is_said(views: dict[str, NodeView], told: str) -> None:
    assert disagreement(views, VIPS) == told


def test_addresses_are_shown_as_ranges() -> None:
    texts = ["10.0.0.3", "10.0.0.1", "10.0.0.2", "10.0.0.9", "fd00::a", "fd00::9"]
    assert ranges(ip_address(text) for text in texts) == "10.0.0.1-3, 10.0.0.9, fd00::9-a"
    assert (
        ranges(ip_address(f"10.0.0.{last}") for last in (1, 3, 5, 7, 9))
        == "10.0.0.1, 10.0.0.3, 10.0.0.5, 2 more"
    )


def test_the_table_shows_what_nodes_say_and_who_holds_by_now() -> None:
    views = {"node1": status("master", "10.0.0.1", "10.0.0.2"), "node2": status("backup"), "node3": NodeView()}
    assert [line.split() for line in table(views)] == [
        ["GROUP", "VIRTUAL", "IPS", "node1", "node2", "node3"],
        ["web_VIP_1", "10.0.0.1-2", "MASTER", "backup", "-"],
    ]
    moving = table(views, lambda address: {"node2"} if str(address) == "10.0.0.1" else set())
    assert moving[1].split() == ["web_VIP_1", "10.0.0.1-2", "...", "backup", "-"]
    moved = table(views, lambda _: {"node2"})
    assert moved[1].split() == ["web_VIP_1", "10.0.0.1-2", "...", "MASTER", "-"]


def test_without_a_terminal_only_changed_tables_are_printed() -> None:
    stream = io.StringIO()
    screen = Screen(stream)
    for lines in (["one"], ["one"], ["two"]):
        screen.show(lines)
    screen.show(["three"], settled=False)
    assert stream.getvalue().split() == ["one", "two"]


def test_on_a_terminal_the_frame_goes_over_the_last_one() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    screen = Screen(stream)
    screen.show(["head", "row 1"])
    screen.show(["head", "row 2"], settled=False)
    assert stream.getvalue() == "\nhead\nrow 1\n\x1b[3A\r\x1b[J\nhead\nrow 2\n"
    screen.add(Row("planned", "node1", 3, 2.0, 4.0, 4.7, 14.7, "ok"))
    assert stream.getvalue().splitlines()[-1].split() == [
        "planned",
        "node1",
        "3",
        "2.0",
        "4.0",
        "4.7",
        "14.7",
        "ok",
    ]


def test_two_nodes_overlap_only_while_both_hold_the_same_address() -> None:
    one = Holding("a", VIPS[0], start=1.0, end=3.0)
    assert one.overlap_s(Holding("b", VIPS[0], start=2.0), now=9.0) == 1.0
    assert one.overlap_s(Holding("b", VIPS[0], start=3.5), now=9.0) == 0.0
    assert one.overlap_s(Holding("b", VIPS[1], start=2.0), now=9.0) == 0.0
    assert one.overlap_s(Holding("a", VIPS[0], start=2.0), now=9.0) == 0.0


def test_the_longest_outage_is_that_of_the_worst_address() -> None:
    gaps = [
        {"start": 1.0, "lost": 2, "ms": 10.0, "open": False},
        {"start": 2.0, "lost": 9, "ms": 45.0, "open": True},
    ]
    quiet = {"address": "10.0.0.1", "sent": 100, "received": 100, "slowest_ms": 0.1, "gaps": []}
    away = {"address": "10.0.0.2", "sent": 100, "received": 89, "slowest_ms": 0.1, "gaps": gaps}
    report = Measurement.parse(json.dumps({"interval_ms": 5.0, "late_ms": 0.2, "addresses": [quiet, away]}))
    assert (report.longest_ms, report.lost) == (45.0, 11)
    assert report.echoes["10.0.0.1"].longest_ms == 0.0


def test_the_packet_filter_drops_in_the_chain_that_the_user_names() -> None:
    assert "chain input {" in ruleset()
    own = ruleset(["ip mine incoming"])
    assert own.startswith("table ip mine {\n  chain incoming {")
    assert " ".join(accept_port(80, ["ip mine incoming"])) == "add rule ip mine incoming tcp dport 80 accept"
    jumping = ruleset(["OWN_CHAIN"])
    assert "chain OWN_CHAIN { }" in jumping
    assert "jump OWN_CHAIN" in jumping
    assert ruleset(["INPUT"]) == ruleset()


def test_the_nodes_bus_has_the_projects_own_policy() -> None:
    assert configuration().count("<include>") == 1
    assert "org.ipfod.Ipfod1.conf</include>" in configuration()
