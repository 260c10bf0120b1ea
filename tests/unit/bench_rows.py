"""Rows of the benchmark as tests need them."""

from __future__ import annotations

from collections.abc import Sequence

from bench.model import IPFOD, ORIGINAL, PLAIN, Limit, Row, Series

NO_LIMIT = Limit()


def row(
    ipfod: Sequence[float],
    plain: Sequence[float] = (),
    original: Sequence[float] = (),
    *,
    limit: Limit = NO_LIMIT,
    theory: float | None = None,
    faults: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
) -> Row:
    """An outage; systems without samples were not measured."""
    measured = [(PLAIN, plain), (ORIGINAL, original), (IPFOD, ipfod)]
    return Row(
        name="node-lost",
        title="node lost",
        size="1 x 1",
        unit="ms",
        series=tuple(Series(system, tuple(samples)) for system, samples in measured if samples),
        limit=limit,
        theory=theory,
        notes=notes,
        faults=faults,
        outage=True,
    )
