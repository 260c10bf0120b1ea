"""All that is told at one scrape, taken from the node at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ipfod.metrics.tally import Durations, Tally
from ipfod.node.model import FailoverStatus, GroupStatus, Problem, State
from ipfod.node.node import Node
from ipfod.plan.model import GroupKey


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Frozen, and of frozen parts: another thread may read it while the node goes on."""

    failovers: tuple[FailoverStatus, ...]
    groups: tuple[GroupStatus, ...]
    problems: tuple[Problem, ...]
    maintenance: bool
    transitions: Mapping[GroupKey, Mapping[State, int]]
    durations: Mapping[str, Durations]


def snapshot(node: Node, tally: Tally) -> Snapshot:
    """What is so now. To be called where the node is changed, on the event loop."""
    return Snapshot(
        failovers=tuple(node.failovers.values()),
        groups=tuple(node.groups.values()),
        problems=node.problems,
        maintenance=node.maintenance is not None,
        transitions=tally.transitions,
        durations=tally.durations,
    )
