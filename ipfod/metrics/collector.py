"""The metrics that Prometheus gets, made of a snapshot. Names and labels are a contract: docs/monitoring.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ipfod.metrics.snapshot import Snapshot
from ipfod.metrics.tally import BOUNDS_S, Durations
from ipfod.node.model import CheckState, KeepalivedState, ProblemCode, State

# keepalived's own numbers (vrrp/include/vrrp.h, VRRP_STATE_INIT and so on), as the known exporters have them:
# gen2brain/keepalived_exporter (collector/collector.go) and mehdy/keepalived-exporter
# (internal/collector/parser.go); name and labels are the latter's. Where keepalived does not run, or has not
# spoken, it is INIT.
VRRP_STATES = {State.UNKNOWN: 0, State.STOPPED: 0, State.BACKUP: 1, State.MASTER: 2, State.FAULT: 3}
VRRP_LABELS = ("iname", "intf", "vrid", "ip_address")
BOUNDS = (*(str(bound) for bound in BOUNDS_S), "+Inf")

Samples = Iterable[tuple[tuple[str, ...], float]]


class NodeCollector(Collector):
    """Tells the registry what `look` finds, anew for each scrape."""

    def __init__(self, look: Callable[[], Snapshot]) -> None:
        """`look` is called in the thread of the scrape; what it raises, the scrape raises."""
        self._look = look

    def collect(self) -> Iterator[Metric]:
        """All metrics of one moment."""
        return metrics(self._look())


def metrics(seen: Snapshot) -> Iterator[Metric]:
    """What a snapshot is in Prometheus' terms. All that is configured is there from the start, if only as 0."""
    running = all(status.keepalived_state is KeepalivedState.RUNNING for status in seen.failovers)
    yield GaugeMetricFamily(
        "keepalived_up", "Whether the keepalived of every failover runs.", value=float(running)
    )
    yield _gauge(
        "keepalived_vrrp_state",
        "State of a virtual IP's group on this node: 0 none yet, 1 backup, 2 master, 3 fault.",
        VRRP_LABELS,
        _vrrp_states(seen),
    )
    yield _transitions(seen)
    yield _gauge(
        "ipfod_group_since_seconds",
        "When the group came into its state, in seconds since 1970-01-01 UTC.",
        ("iname",),
        _since(seen),
    )
    yield _durations(seen)
    problems = Counter(problem.code for problem in seen.problems)
    yield _gauge(
        "ipfod_problems",
        "How many problems of a code there are now.",
        ("code",),
        (((str(code),), problems[code]) for code in ProblemCode),
    )
    yield GaugeMetricFamily(
        "ipfod_maintenance", "Whether this node is in maintenance.", value=float(seen.maintenance)
    )


def _gauge(name: str, text: str, labels: Sequence[str], samples: Samples) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, number in samples:
        family.add_metric(values, number)
    return family


def _vrrp_states(seen: Snapshot) -> Samples:
    interfaces = {status.plan.name: status.plan.interface for status in seen.failovers}
    for status in seen.groups:
        group = status.group
        of_group = (group.name, interfaces[group.failover], str(group.virtual_router_id))
        for address in group.virtual_ips:
            yield (*of_group, str(address)), VRRP_STATES[status.state]


def _transitions(seen: Snapshot) -> Metric:
    family = CounterMetricFamily(
        "ipfod_transitions",
        "How often a group changed to a state since ipfod started.",
        labels=("iname", "state"),
    )
    # Failovers called a-b and a_b have instances of the same names. No series may come twice.
    counts: Counter[tuple[str, State]] = Counter()
    for status in seen.groups:
        known = seen.transitions.get(status.group.key, {})
        counts.update({(status.group.name, state): known.get(state, 0) for state in State})
    for (name, state), count in counts.items():
        family.add_metric((name, str(state)), count)
    return family


def _since(seen: Snapshot) -> Samples:
    latest: dict[str, int] = {}
    for status in seen.groups:
        latest[status.group.name] = max(status.since_usec, latest.get(status.group.name, 0))
    for name, usec in latest.items():
        yield (name,), usec / 1_000_000


def _durations(seen: Snapshot) -> Metric:
    family = HistogramMetricFamily(
        "ipfod_check_duration_seconds", "How long a round of checks took.", labels=("failover",)
    )
    for status in seen.failovers:
        if status.check_state is not CheckState.DISABLED:
            known = seen.durations.get(status.plan.name, Durations())
            buckets = list(zip(BOUNDS, accumulate(known.counts), strict=True))
            family.add_metric((status.plan.name,), buckets, known.sum_s)
    return family
