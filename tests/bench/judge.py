"""Samples in three figures, and whether they are within the contract's limits. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from bench.model import IPFOD, PLAIN, Row, Spread

OK = "ok"
NOT_JUDGED = "-"


def spread(samples: Sequence[float]) -> Spread:
    """Raises ValueError when there are none."""
    if not samples:
        raise ValueError("no samples")
    return Spread(min(samples), statistics.median(samples), max(samples))


def ratio(row: Row) -> float | None:
    """ipfod's median as a multiple of plain keepalived's; None where one is missing or nothing was lost."""
    ours, plain = row.samples(IPFOD), row.samples(PLAIN)
    if not ours or not plain:
        return None
    below = statistics.median(plain)
    return statistics.median(ours) / below if below > 0 else None


def shortfalls(row: Row) -> list[str]:
    """What is not as the contract says; [] if all is."""
    found = list(row.faults)
    if not row.samples(IPFOD):
        return [*found, "not measured"]
    absolute, relative = _absolute(row), _relative(row)
    either = row.limit.relative and ratio(row) is not None
    if either and not (absolute and relative):
        return found
    return found + [text for text in (absolute, relative) if text]


def verdict(row: Row) -> str:
    """One word, or what falls short."""
    if missed := shortfalls(row):
        return "SHORT: " + "; ".join(missed)
    return OK if row.limit.at_most is not None or row.limit.ratio is not None else NOT_JUDGED


def _absolute(row: Row) -> str:
    if row.limit.at_most is None:
        return ""
    found = spread(row.samples(IPFOD))
    value = found.median if row.limit.typical else found.maximum
    return f"{value:.4g} > {row.limit.at_most:g} {row.unit}" if value > row.limit.at_most else ""


def _relative(row: Row) -> str:
    times = ratio(row)
    if row.limit.ratio is None or times is None:
        return ""
    return f"{times:.3f} > {row.limit.ratio:g} x plain" if times > row.limit.ratio else ""
