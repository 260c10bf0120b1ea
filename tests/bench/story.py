"""What happens in a failover, as a picture: who holds the virtual IP, whether it answers. `--picture FILE`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from bench.configs import SMALL
from bench.model import IPFOD
from bench.scenarios import SCENARIOS, Act
from bench.stage import Stage, staged
from bench.svg import STYLE
from bench.systems import KINDS
from bench.table import number
from ipfod.lab.meter import Gap
from ipfod.lab.watch import AddressWatch, Holding

BEFORE_S, AFTER_S = 0.1, 0.4
SPACING_MS = 2.0
WIDTH, LEFT, RIGHT = 900, 190, 30
TOP, TITLE, LANE, GAP, FOOT = 40, 24, 16, 18, 40
MORE_STYLE = """\
.lost { fill: #cf222e; }
.moment { stroke: #cf222e; stroke-dasharray: 3 3; }
@media (prefers-color-scheme: dark) { .lost { fill: #f85149; } .moment { stroke: #f85149; } }
"""
TOLD = {
    "node-lost": "A node loses power",
    "service-dies": "The service on a node dies",
    "step-down": "ipfoctl step-down",
}


@dataclass(frozen=True, slots=True)
class Story:
    """One run: when it began, who held the virtual IP, and when it did not answer. Seconds since the epoch."""

    title: str
    moment: float
    nodes: tuple[str, ...]
    held: tuple[Holding, ...]
    gaps: tuple[Gap, ...]


async def measure(say: Callable[[str], None]) -> list[Story]:
    """Let each of them happen once to ipfod with its defaults."""
    stories = []
    async with staged(KINDS[IPFOD], SMALL) as stage:
        for scenario in SCENARIOS:
            if scenario.name not in TOLD:
                continue
            act = scenario.acts[IPFOD]
            stories.append(await _tell(stage, TOLD[scenario.name], act))
            say(f"{TOLD[scenario.name]}: {_lost(stories[-1])}")
            await act.undo(stage)
            await stage.settle()
    return stories


async def _tell(stage: Stage, title: str, act: Act) -> Story:
    async with (
        AddressWatch(stage.lab.nodes) as watch,
        stage.lab.meter(stage.sample, interval_ms=SPACING_MS) as meter,
    ):
        await asyncio.sleep(3 * BEFORE_S)
        began, stage.moment = time.time(), None
        await act.do(stage)
        await asyncio.sleep(2 * AFTER_S)
        [echo] = (await meter.stop()).echoes.values()
        held = tuple(one for one in watch.holdings() if one.address in stage.sample)
    if act.lasts_s == 0:  # an order: it begins to show when the first address moves, ipfoctl must start before
        began = min(one.start for one in held if one.start > began)
    return Story(title, stage.moment or began, tuple(node.name for node in stage.lab.nodes), held, echo.gaps)


def draw(stories: Sequence[Story], *, title: str) -> str:
    """The SVG document. Pure."""
    parts: list[str] = []
    top = float(TOP)
    for story in stories:
        parts += _draw(story, top)
        top += TITLE + (len(story.nodes) + 1) * (LANE + 4) + GAP
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top + FOOT:.0f}" role="img">',
            f"<title>{escape(title)}</title>",
            f"<style>\n{STYLE}{MORE_STYLE}</style>",
            f'<text class="title" x="10" y="22">{escape(title)}</text>',
            *_axis(top),
            *parts,
            "</svg>\n",
        ]
    )


def _place(seconds: float) -> float:
    """Where a time is from the left, counted from the moment; kept within the picture."""
    share = (min(max(seconds, -BEFORE_S), AFTER_S) + BEFORE_S) / (BEFORE_S + AFTER_S)
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _axis(bottom: float) -> list[str]:
    parts = []
    for ms in range(-100, 401, 100):
        x = _place(ms / 1000)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom:.1f}"/>')
        parts.append(
            f'<text class="small" x="{x:.1f}" y="{bottom + 16:.1f}" text-anchor="middle">{ms} ms</text>'
        )
    return parts


def _draw(story: Story, top: float) -> list[str]:
    parts = [
        f'<text x="10" y="{top + 14:.1f}">{escape(story.title)}: {escape(_lost(story))}</text>',
    ]
    y = top + TITLE
    for node in story.nodes:
        spans = [(one.start, one.end) for one in story.held if one.node == node]
        parts += _lane(
            f"virtual IP on {node}", [(_since(story, s), _since(story, e)) for s, e in spans], y, "ipfod"
        )
        y += LANE + 4
    gaps = [(gap.start - story.moment, gap.start + gap.ms / 1000 - story.moment) for gap in story.gaps]
    answered, at = [], -BEFORE_S
    for start, end in gaps:
        answered.append((at, start))
        at = end
    parts += _lane("it answers a client", [*answered, (at, AFTER_S)], y, "plain")
    parts += _bars(gaps, y, "lost")
    x = _place(0)
    parts.append(
        f'<line class="moment" x1="{x:.1f}" x2="{x:.1f}" y1="{top + TITLE - 4:.1f}" y2="{y + LANE + 2:.1f}"/>'
    )
    return parts


def _since(story: Story, moment: float | None) -> float:
    return AFTER_S if moment is None else moment - story.moment


def _lane(name: str, spans: Sequence[tuple[float, float]], y: float, kind: str) -> list[str]:
    label = f'<text class="small" x="{LEFT - 8}" y="{y + LANE - 4:.1f}" text-anchor="end">{escape(name)}</text>'
    return [label, *_bars(spans, y, kind)]


def _bars(spans: Sequence[tuple[float, float]], y: float, kind: str) -> list[str]:
    return [
        f'<rect class="{kind}" x="{_place(start):.1f}" y="{y:.1f}" '
        f'width="{max(_place(end) - _place(start), 1):.1f}" height="{LANE}"/>'
        for start, end in spans
        if end > -BEFORE_S and start < AFTER_S
    ]


def _lost(story: Story) -> str:
    longest = max((gap.ms for gap in story.gaps), default=0.0)
    return f"{number(longest)} ms without an answer" if longest else "every request is answered"
