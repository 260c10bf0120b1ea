"""The metrics of a node, read back with the library's own parser: names, labels, numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import pytest
from plans import planned
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from ipfod.metrics.collector import NodeCollector
from ipfod.metrics.snapshot import snapshot
from ipfod.metrics.tally import BOUNDS_S, Tally
from ipfod.node.events import (
    CheckReported,
    Event,
    InstanceReported,
    KeepalivedChanged,
    MaintenanceOrdered,
    PlanApplied,
    ProblemsSeen,
)
from ipfod.node.model import CheckState, KeepalivedState, Problem, ProblemCode, State
from ipfod.node.node import Node
from ipfod.node.orders import Maintenance
from ipfod.plan.model import Plan

WEB = 'name = "web"\nvirtual_ips = ["10.1.0.1-3", "fd00::9"]\nvip_groups = 2\nvrrp_id_offset = 40'
UNCHECKED = 'name = "db"\nvirtual_ips = "10.1.0.9"\nmonitor_port = 0\nvrrp_id_offset = 90'

Labels = frozenset[tuple[str, str]]
families: Callable[[str], Iterable[Metric]] = text_string_to_metric_families
openmetrics: Callable[[Collector], bytes] = generate_openmetrics
openmetrics_families: Callable[[str], Iterable[Metric]] = openmetrics_parser


class Counted:
    """A node whose events are counted as the daemon counts them."""

    def __init__(self, *texts: str) -> None:
        self.node = Node("node1")
        self.tally = Tally()
        self.take(PlanApplied(planned(*texts)))

    def take(self, event: Event, usec: int = 1_000_000) -> None:
        self.tally.take(event, self.node.apply(event, usec))

    def report(self, state: State, *, instance: str = "web_VIP_1", usec: int = 1_000_000) -> None:
        self.take(InstanceReported(instance.partition("_")[0], instance, state, 252), usec)

    def check(self, *durations_s: float | None) -> None:
        for duration_s in durations_s:
            self.take(CheckReported("web", CheckState.PASSING, "port 80 accepts", duration_s))

    @property
    def registry(self) -> CollectorRegistry:
        registry = CollectorRegistry()
        registry.register(NodeCollector(lambda: snapshot(self.node, self.tally)))
        return registry

    def samples(self) -> Mapping[str, Mapping[Labels, float]]:
        """What a scrape brings: labels and number of each sample, by its name; no series comes twice."""
        found: dict[str, dict[Labels, float]] = {}
        for family in families(generate_latest(self.registry).decode()):
            for sample in family.samples:
                series = found.setdefault(sample.name, {})
                labels = frozenset(sample.labels.items())
                assert labels not in series, sample
                series[labels] = sample.value
        return found

    def value(self, name: str, **labels: str) -> float:
        return self.samples()[name][frozenset(labels.items())]


@pytest.fixture
def web() -> Counted:
    return Counted(WEB)


def test_the_names_are_the_promised_ones(web: Counted) -> None:
    web.check(0.001)
    assert set(web.samples()) == {
        "keepalived_up",
        "keepalived_vrrp_state",
        "ipfod_transitions_total",
        "ipfod_group_since_seconds",
        "ipfod_check_duration_seconds_bucket",
        "ipfod_check_duration_seconds_count",
        "ipfod_check_duration_seconds_sum",
        "ipfod_problems",
        "ipfod_maintenance",
    }


def test_the_text_is_well_formed_in_the_format_of_openmetrics_too(web: Counted) -> None:
    web.check(0.001, 99.0)
    families = list(openmetrics_families(openmetrics(web.registry).decode()))
    assert {family.name: family.type for family in families} == {
        "keepalived_up": "gauge",
        "keepalived_vrrp_state": "gauge",
        "ipfod_transitions": "counter",
        "ipfod_group_since_seconds": "gauge",
        "ipfod_check_duration_seconds": "histogram",
        "ipfod_problems": "gauge",
        "ipfod_maintenance": "gauge",
    }
    assert all(family.documentation for family in families)


def test_each_virtual_ip_has_one_sample_with_its_group_s_labels(web: Counted) -> None:
    assert {tuple(sorted(labels)) for labels in web.samples()["keepalived_vrrp_state"]} == {
        (("iname", f"web_VIP_{index}"), ("intf", "eth0"), ("ip_address", address), ("vrid", str(40 + index)))
        for index, address in [(1, "10.1.0.1"), (1, "10.1.0.2"), (2, "10.1.0.3"), (3, "fd00::9")]
    }


@pytest.mark.parametrize(
    ("state", "number"), [(State.BACKUP, 1), (State.MASTER, 2), (State.FAULT, 3), (State.STOPPED, 0)]
)
def test_states_have_the_numbers_of_the_known_exporters(web: Counted, state: State, number: int) -> None:
    of_first = {"iname": "web_VIP_1", "intf": "eth0", "vrid": "41", "ip_address": "10.1.0.2"}
    assert web.value("keepalived_vrrp_state", **of_first) == 0
    web.report(state)
    assert web.value("keepalived_vrrp_state", **of_first) == number
    other = {"iname": "web_VIP_2", "intf": "eth0", "vrid": "42", "ip_address": "10.1.0.3"}
    assert web.value("keepalived_vrrp_state", **other) == 0


def test_keepalived_is_up_when_that_of_every_failover_runs() -> None:
    both = Counted(WEB, UNCHECKED)
    assert both.value("keepalived_up") == 0
    both.take(KeepalivedChanged("web", KeepalivedState.RUNNING, 7, ""))
    assert both.value("keepalived_up") == 0
    both.take(KeepalivedChanged("db", KeepalivedState.RUNNING, 8, ""))
    assert both.value("keepalived_up") == 1
    both.take(KeepalivedChanged("db", KeepalivedState.FAILED, 0, "killed"))
    assert both.value("keepalived_up") == 0
    assert Counted().value("keepalived_up") == 1  # none is to run


def test_every_state_of_every_group_is_counted_from_zero_on(web: Counted) -> None:
    assert set(web.samples()["ipfod_transitions_total"].values()) == {0}
    assert len(web.samples()["ipfod_transitions_total"]) == 3 * len(State)
    for state in (State.BACKUP, State.MASTER, State.MASTER, State.BACKUP, State.MASTER):
        web.report(state)
    counts = {
        state: web.value("ipfod_transitions_total", iname="web_VIP_1", state=str(state)) for state in State
    }
    assert counts == {
        State.BACKUP: 2,
        State.MASTER: 2,
        State.FAULT: 0,
        State.STOPPED: 0,
        State.UNKNOWN: 0,
    }
    assert web.value("ipfod_transitions_total", iname="web_VIP_2", state="master") == 0


def test_since_is_the_time_of_the_last_change_in_seconds(web: Counted) -> None:
    web.report(State.BACKUP, usec=1_760_000_000_250_000)
    web.report(State.BACKUP, usec=1_760_000_009_000_000)
    assert web.value("ipfod_group_since_seconds", iname="web_VIP_1") == 1_760_000_000.25


def test_durations_of_checks_are_in_the_bucket_that_ends_at_or_above_them(web: Counted) -> None:
    web.check(0.0, 0.001, 0.0011, 0.3, 10.0, 10.1)
    buckets = {
        dict(labels)["le"]: number
        for labels, number in web.samples()["ipfod_check_duration_seconds_bucket"].items()
    }
    assert len(buckets) == len(BOUNDS_S) + 1
    assert [buckets[le] for le in ("0.001", "0.0025", "0.25", "0.5", "5.0", "10.0", "+Inf")] == [
        *(2, 3, 3, 4, 4, 5, 6)
    ]
    assert web.value("ipfod_check_duration_seconds_count", failover="web") == 6
    assert web.value("ipfod_check_duration_seconds_sum", failover="web") == pytest.approx(20.4021)


def test_only_failovers_that_are_checked_have_durations_and_only_rounds_count() -> None:
    both = Counted(WEB, UNCHECKED)
    both.take(CheckReported("db", CheckState.DISABLED, ""))
    both.check(None)
    assert both.samples()["ipfod_check_duration_seconds_count"] == {frozenset({("failover", "web")}): 0}


def test_problems_are_counted_by_code_and_codes_without_one_are_0(web: Counted) -> None:
    problems = web.samples()["ipfod_problems"]
    assert problems == {frozenset({("code", str(code))}): 0 for code in ProblemCode}
    seen = [Problem(ProblemCode.SPLIT_BRAIN, f"web_VIP_{index}", "two masters", "") for index in (1, 2)]
    web.take(ProblemsSeen("rivals", tuple(seen)))
    assert web.value("ipfod_problems", code="split-brain") == 2
    assert web.value("ipfod_problems", code="check-failing") == 0
    web.take(ProblemsSeen("rivals", ()))
    assert web.value("ipfod_problems", code="split-brain") == 0


def test_maintenance_is_1_while_it_lasts(web: Counted) -> None:
    assert web.value("ipfod_maintenance") == 0
    web.take(MaintenanceOrdered(Maintenance("new kernel", 0, 1)))
    assert web.value("ipfod_maintenance") == 1
    web.take(MaintenanceOrdered(None))
    assert web.value("ipfod_maintenance") == 0


def test_what_is_no_longer_configured_is_told_no_more_and_begins_at_0_when_it_returns(web: Counted) -> None:
    web.report(State.MASTER)
    web.check(0.002)
    web.take(PlanApplied(Plan({})))
    gone = web.samples()
    for name in ("keepalived_vrrp_state", "ipfod_transitions_total", "ipfod_check_duration_seconds_count"):
        assert name not in gone
    web.take(PlanApplied(planned(WEB)))
    assert set(web.samples()["ipfod_transitions_total"].values()) == {0}
    assert web.value("ipfod_check_duration_seconds_count", failover="web") == 0


def test_instances_of_the_same_name_share_a_series() -> None:
    text = 'name = "{}"\nvirtual_ips = "10.1.0.{}"\nvrrp_id_offset = {}'
    both = Counted(text.format("a-b", 1, 10), text.format("a_b", 2, 20))
    for index, failover in enumerate(("a-b", "a_b")):
        both.take(InstanceReported(failover, "a_b_VIP_1", State.MASTER, 252), 5_000_000 + index * 1_000_000)
    assert both.value("ipfod_transitions_total", iname="a_b_VIP_1", state="master") == 2
    assert both.value("ipfod_group_since_seconds", iname="a_b_VIP_1") == 6
    assert len(both.samples()["keepalived_vrrp_state"]) == 2


def test_a_snapshot_does_not_change_with_the_node(web: Counted) -> None:
    web.report(State.MASTER)
    web.check(0.5)
    seen = snapshot(web.node, web.tally)
    before = repr(seen)
    web.report(State.BACKUP)
    web.check(0.5)
    web.take(MaintenanceOrdered(Maintenance("", 0, 1)))
    assert repr(seen) == before
    assert repr(snapshot(web.node, web.tally)) != before
