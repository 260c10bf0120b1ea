"""What the benchmark finds out: rows of samples, with what the contract allows. Frozen, no I/O."""

from __future__ import annotations

from dataclasses import dataclass

IPFOD, PLAIN, ORIGINAL = "ipfod", "plain", "original"
SYSTEMS = (PLAIN, ORIGINAL, IPFOD)  # as the columns of the table


@dataclass(frozen=True, slots=True)
class Spread:
    """Samples in three figures."""

    minimum: float
    median: float
    maximum: float


@dataclass(frozen=True, slots=True)
class Limit:
    """What is allowed. `at_most` binds every run, `ratio` the medians of ipfod and plain keepalived.

    With `typical` the median is what `at_most` binds. Of one that is `relative` only one need hold, `at_most`
    or `ratio`: where keepalived itself takes longer than the contract says for one group.
    """

    at_most: float | None = None
    ratio: float | None = None
    typical: bool = False
    relative: bool = False


@dataclass(frozen=True, slots=True)
class Series:
    """The samples of one system, one a run."""

    system: str
    samples: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One scenario at one size."""

    name: str  # what `--only` takes
    title: str
    size: str
    unit: str
    series: tuple[Series, ...]
    limit: Limit = Limit()
    theory: float | None = None
    notes: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()  # what must not be, however fast it was
    outage: bool = False

    def samples(self, system: str) -> tuple[float, ...]:
        """Those of one system, () if it was not measured."""
        return next((one.samples for one in self.series if one.system == system), ())


@dataclass(frozen=True, slots=True)
class Report:
    """A whole run of the benchmark. `machine` is what there is to say about where it ran."""

    machine: tuple[str, ...]
    runs: int
    rows: tuple[Row, ...]
