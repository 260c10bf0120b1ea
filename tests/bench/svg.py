"""The outages as a plot: one bar for each system and scenario, on a logarithmic scale. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

from bench.judge import spread
from bench.model import SYSTEMS, Row
from bench.table import number

WIDTH, LEFT, RIGHT = 900, 250, 90
TOP, BAR, GAP, FOOT = 64, 13, 14, 34
LOW_MS, HIGH_MS = 1.0, 10_000.0
LEGEND = {"plain": "plain keepalived", "original": "OpenShift's settings", "ipfod": "ipfod"}
STYLE = """\
text { font: 13px sans-serif; fill: #1f2328; }
.small { font-size: 11px; }
.title { font-size: 15px; font-weight: bold; }
.grid { stroke: #d0d7de; }
.whisker { stroke: #1f2328; }
.plain { fill: #8c959f; }
.original { fill: #d4a72c; }
.ipfod { fill: #0969da; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .grid { stroke: #30363d; }
  .whisker { stroke: #e6edf3; }
  .plain { fill: #6e7681; }
  .original { fill: #bb8009; }
  .ipfod { fill: #58a6ff; }
}
"""


def position(ms: float) -> float:
    """Where a time is from the left, kept within the plot."""
    share = math.log(min(max(ms, LOW_MS), HIGH_MS) / LOW_MS) / math.log(HIGH_MS / LOW_MS)
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def plot(rows: Sequence[Row], *, title: str) -> str:
    """The SVG document for those rows that are outages in milliseconds."""
    shown = [row for row in rows if row.outage]
    parts: list[str] = []
    top = float(TOP)
    for row in shown:
        lines = _row(row, top)
        parts += lines
        top += _height(row)
    height = top + FOOT
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img">',
            f"<title>{escape(title)}</title>",
            f"<style>\n{STYLE}</style>",
            f'<text class="title" x="10" y="22">{escape(title)}</text>',
            *_legend(),
            *_grid(top),
            *parts,
            "</svg>\n",
        ]
    )


def _measured(row: Row) -> list[str]:
    return [system for system in SYSTEMS if row.samples(system)]


def _height(row: Row) -> int:
    return len(_measured(row)) * BAR + GAP


def _row(row: Row, top: float) -> list[str]:
    middle = top + len(_measured(row)) * BAR / 2 + 4
    label = escape(f"{row.title}, {row.size}")
    parts = [f'<text class="small" x="{LEFT - 8}" y="{middle:.1f}" text-anchor="end">{label}</text>']
    for place, system in enumerate(_measured(row)):
        parts += _bar(row.samples(system), system, top + place * BAR)
    return parts


def _bar(samples: Sequence[float], system: str, top: float) -> list[str]:
    """The median as a bar, from the shortest to the longest as a line, the median in figures."""
    found = spread(samples)
    end = position(found.median)
    low, high = position(found.minimum), position(found.maximum)
    middle = top + (BAR - 2) / 2
    width = max(end - LEFT, 2)  # what is nothing is still seen
    text = "0" if found.median == 0 else f"{number(found.median)} ms"
    return [
        f'<rect class="{system}" x="{LEFT}" y="{top:.1f}" width="{width:.1f}" height="{BAR - 2}"/>',
        f'<line class="whisker" x1="{low:.1f}" x2="{high:.1f}" y1="{middle:.1f}" y2="{middle:.1f}"/>',
        f'<text class="small" x="{max(end, high) + 6:.1f}" y="{top + BAR - 3:.1f}">{text}</text>',
    ]


def _legend() -> list[str]:
    parts = []
    for place, system in enumerate(SYSTEMS):
        x = LEFT + 170 * place
        parts.append(f'<rect class="{system}" x="{x}" y="34" width="11" height="11"/>')
        parts.append(f'<text class="small" x="{x + 17}" y="44">{escape(LEGEND[system])}</text>')
    return parts


def _grid(bottom: float) -> list[str]:
    parts = []
    decades = round(math.log10(HIGH_MS / LOW_MS))
    for ms in (LOW_MS * 10**decade for decade in range(decades + 1)):
        x = position(ms)
        name = f"{ms:g} ms" if ms < 1000 else f"{ms / 1000:g} s"
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 6}" y2="{bottom:.1f}"/>')
        parts.append(
            f'<text class="small" x="{x:.1f}" y="{bottom + 18:.1f}" text-anchor="middle">{name}</text>'
        )
    return parts
