"""`python -m bench`: measures, prints a table, writes bench.json; exit code 1 if something falls short."""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench import document, figures, growth, outages, story, table, tuning
from bench.configs import LARGE, SMALL
from bench.judge import shortfalls
from bench.model import Report, Row
from bench.scenarios import SCENARIOS, wanted
from bench.stage import Scene
from bench.svg import plot
from ipfod.errors import IpfodError

RUNS = 5
NAMES = [*(scenario.name for scenario in SCENARIOS), *(figure.name for figure in figures.FIGURES)]
STORY_TITLE = "What a client sees: one virtual IP, two nodes, default settings, a real run"
PLOT_TITLE = "Outages by scenario: median, shortest and longest"


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="bench", description="Measure ipfod's speed and size on this machine.")
    made.add_argument("--runs", type=int, default=RUNS, metavar="N", help="of each scenario (default: 5)")
    made.add_argument("--only", nargs="+", default=[], choices=NAMES, metavar="NAME", help=", ".join(NAMES))
    made.add_argument("--quick", action="store_true", help="one group of one virtual IP, no other size")
    made.add_argument("--nodes", type=int, default=2, choices=(2, 3), help="in the lab (default: 2)")
    made.add_argument("--busy", action="store_true", help="keep all processors busy during outages")
    others = made.add_mutually_exclusive_group()
    others.add_argument("--tuning", action="store_true", help="other settings instead, for docs/tuning.md")
    others.add_argument("--picture", type=Path, help="draw what happens in a failover instead, for the README")
    others.add_argument("--growth", action="store_true", help="other sizes instead: what grows, and how")
    made.add_argument("--json", type=Path, default=Path("bench.json"), help="where the figures go")
    made.add_argument("--svg", type=Path, help="where a plot of the outages goes")
    made.add_argument("--markdown", type=Path, help="where the table goes, for documents")
    return made


def main(argv: Sequence[str]) -> int:
    """Returns the exit code: 0, 1 if something falls short or could not be measured, 2 for usage."""
    options = parser().parse_args(argv)
    if options.runs < 1:
        parser().error("--runs: at least 1")
    if os.geteuid() != 0:
        print("bench: only root may: it makes network namespaces", file=sys.stderr)
        return 1
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {text}", flush=True)

    try:
        if options.picture:
            stories = asyncio.run(story.measure(say))
            options.picture.write_text(story.draw(stories, title=STORY_TITLE))
            return 0
        if options.tuning:
            rows = asyncio.run(tuning.measure(options.runs, say))
        elif options.growth:
            rows = asyncio.run(growth.measure(options.runs, say))
        else:
            scene = Scene(options.nodes, options.busy)
            rows = asyncio.run(measure(options.runs, options.only, scene, quick=options.quick, say=say))
    except IpfodError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    if not rows:
        print("bench: nothing of that is measured with one group only", file=sys.stderr)
        return 1
    report = Report(machine(), options.runs, tuple(rows))
    publish(report, options)
    return 1 if any(shortfalls(row) for row in rows) else 0


async def measure(runs: int, only: Sequence[str], scene: Scene, *, quick: bool, say: outages.Say) -> list[Row]:
    """All rows that are asked for, the small size first."""
    rows: list[Row] = []
    for size in (SMALL,) if quick else (SMALL, LARGE):
        if scenarios := wanted(size, only):
            rows += await outages.measure(scenarios, size, runs, say, scene)
        if found := figures.wanted(size, only):
            rows += await figures.measure(found, size, runs, say, scene)
    return rows


def machine() -> tuple[str, ...]:
    """What the figures depend on."""
    version = subprocess.run(["keepalived", "--version"], capture_output=True, text=True, check=False).stderr
    return (
        f"Linux {platform.release()}",
        f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f} at the end",
        version.splitlines()[0] if version else "keepalived of unknown version",
        f"Python {platform.python_version()}",
    )


def publish(report: Report, options: argparse.Namespace) -> None:
    """The table to the terminal, the rest to files."""
    print("\n" + "\n".join(table.text(report.rows)))
    print(f"\n{report.runs} runs each, minimum / median / maximum; " + "; ".join(report.machine))
    options.json.write_text(document.dump(report))
    if options.svg is not None:
        options.svg.write_text(plot(report.rows, title=PLOT_TITLE))
    if options.markdown is not None:
        made = growth.markdown(report.rows) if options.growth else table.markdown(report)
        options.markdown.write_text(made)
    short = [f"{row.title} ({row.size}): {text}" for row in report.rows for text in shortfalls(row)]
    print("\n" + ("\n".join(["Falls short:", *short]) if short else "Nothing falls short."))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
