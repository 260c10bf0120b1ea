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
# Of these three the costs of a group and of a virtual IP follow; the others show whether they hold.
FEW, GROUPS, VIRTUAL_IPS = Size(1, 1), Size(255, 1), Size(255, 16)
BEYOND = Size(255, 64)
NAMES = ("plan", "start", "reload-call", "status", "managed-objects", "memory", "idle")


@dataclasses.dataclass(frozen=True, slots=True)
class Cost:
    """What a figure is made of, each in the figure's own unit."""

    fixed: float
    group: float
    virtual_ip: float

    def of(self, size: Size) -> float:
        """On paper: what a size costs if nothing grows faster than groups and virtual IPs do."""
        return self.fixed + self.group * size.groups + self.virtual_ip * size.groups * size.each


def cost(few: float, groups: float, virtual_ips: float) -> Cost:
    """The costs that explain what was measured at FEW, GROUPS and VIRTUAL_IPS."""
    more = GROUPS.groups - FEW.groups
    each = (virtual_ips - groups) / (VIRTUAL_IPS.groups * (VIRTUAL_IPS.each - GROUPS.each))
    group = (groups - few) / more - each
    return Cost(few - group - each, group, each)


async def measure(runs: int, say: Callable[[str], None]) -> list[Row]:
    """The rows of all sizes; none has a limit."""
    chosen = [figure for figure in figures.FIGURES if figure.name in NAMES]
    rows: list[Row] = []
    for size in SIZES:
        rows += await figures.measure(chosen, size, runs, say)
    return [dataclasses.replace(row, limit=Limit()) for row in rows]


def markdown(rows: Sequence[Row]) -> str:
    """Two tables: the medians at each size; the costs, and what they make of the largest size."""
    titles = list(dict.fromkeys((row.title, row.unit) for row in rows))
    medians = {(row.title, row.size): spread(row.samples(IPFOD)).median for row in rows}
    lines = ["| | " + " | ".join(map(str, SIZES)) + " |", "|---|" + "--:|" * len(SIZES)]
    lines += [_line(title, unit, [medians[title, str(size)] for size in SIZES]) for title, unit in titles]
    lines += [
        "",
        f"| | fixed | 100 groups | 1000 virtual IPs | {BEYOND} on paper | measured |",
        "|---|" + "--:|" * 5,
    ]
    for title, unit in titles:
        found = cost(*(medians[title, str(size)] for size in (FEW, GROUPS, VIRTUAL_IPS)))
        parts = [found.fixed, 100 * found.group, 1000 * found.virtual_ip]
        lines.append(_line(title, unit, [*parts, found.of(BEYOND), medians[title, str(BEYOND)]]))
    return "\n".join(lines) + "\n"


def _line(title: str, unit: str, values: Sequence[float]) -> str:
    return f"| {title}, {unit} | " + " | ".join(map(number, values)) + " |"
