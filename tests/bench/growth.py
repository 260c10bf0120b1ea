"""What grows with groups and virtual IPs, and how: `--growth`, a table of docs/benchmark.md."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from bench import figures
from bench.configs import Size
from bench.judge import spread
from bench.model import IPFOD, Limit, Row
from bench.table import number

SIZES = (
    Size(1, 1),
    Size(1, 16),
    Size(1, 64),
    Size(10, 16),
    Size(100, 16),
    Size(255, 1),
    Size(255, 16),
    Size(255, 64),
)
NAMES = ("plan", "start", "reload-call", "status", "managed-objects", "memory", "idle")


async def measure(runs: int, say: Callable[[str], None]) -> list[Row]:
    """The rows of all sizes; none has a limit."""
    chosen = [figure for figure in figures.FIGURES if figure.name in NAMES]
    rows: list[Row] = []
    for size in SIZES:
        rows += await figures.measure(chosen, size, runs, say)
    return [dataclasses.replace(row, limit=Limit()) for row in rows]


def markdown(rows: Sequence[Row]) -> str:
    """A line for each figure, a column for each size: medians."""
    sizes = list(dict.fromkeys(row.size for row in rows))
    titles = list(dict.fromkeys((row.title, row.unit) for row in rows))
    medians = {(row.title, row.size): spread(row.samples(IPFOD)).median for row in rows}
    lines = ["| | " + " | ".join(sizes) + " |", "|---|" + "--:|" * len(sizes)]
    for title, unit in titles:
        found = " | ".join(number(medians[title, size]) for size in sizes)
        lines.append(f"| {title}, {unit} | {found} |")
    return "\n".join(lines) + "\n"
