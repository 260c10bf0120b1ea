"""What metrics count of the things that pass by: transitions, and how long checks took. Pure, like the node."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from ipfod.node.events import Change, CheckReported, Event, FailoverRef, Removed
from ipfod.node.model import State, Transition
from ipfod.plan.model import GroupKey

# Seconds. A port of this machine answers within a millisecond, a script within some tens of them; a check that
# times out has taken `check_timeout`, seconds at most in all but odd configurations.
BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Durations:
    """How many rounds of checks took how long: one number for each bound, and one for what is above all."""

    counts: tuple[int, ...] = (0,) * (len(BOUNDS_S) + 1)
    sum_s: float = 0.0

    def with_one(self, duration_s: float) -> Durations:
        """These and one more; a bound belongs to what is below it."""
        place = bisect_left(BOUNDS_S, duration_s)
        counts = (*self.counts[:place], self.counts[place] + 1, *self.counts[place + 1 :])
        return Durations(counts, self.sum_s + duration_s)


class Tally:
    """Counts from the start of ipfod on; what is no longer configured is forgotten."""

    def __init__(self) -> None:
        self._transitions: dict[GroupKey, Counter[State]] = {}
        self._durations: dict[str, Durations] = {}

    @property
    def transitions(self) -> Mapping[GroupKey, Mapping[State, int]]:
        """How often each group has changed to each state, a copy."""
        return {key: dict(counts) for key, counts in self._transitions.items()}

    @property
    def durations(self) -> Mapping[str, Durations]:
        """How long the checks of each failover took, a copy."""
        return dict(self._durations)

    def take(self, event: Event, changes: tuple[Change, ...]) -> None:
        """Count an event and what the node has made of it."""
        if isinstance(event, CheckReported) and event.duration_s is not None:
            known = self._durations.get(event.failover, Durations())
            self._durations[event.failover] = known.with_one(event.duration_s)
        for change in changes:
            match change:
                case Transition():
                    self._transitions.setdefault(change.group, Counter())[change.new] += 1
                case Removed(GroupKey() as key):
                    self._transitions.pop(key, None)
                case Removed(FailoverRef(name)):
                    self._durations.pop(name, None)
