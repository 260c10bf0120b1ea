"""The rows as a table: for the terminal, and in Markdown for documents. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from bench.judge import ratio, spread, verdict
from bench.model import IPFOD, ORIGINAL, PLAIN, Limit, Report, Row

HEAD = ("SCENARIO", "SIZE", "UNIT", "THEORY", "PLAIN", "ORIGINAL", "IPFOD", "RATIO", "LIMIT", "VERDICT")
RIGHT = {"THEORY", "PLAIN", "ORIGINAL", "IPFOD", "RATIO"}
NOTHING = "-"


def number(value: float) -> str:
    """Three digits that count, at most one behind the point from 10 on."""
    if value == 0:
        return "0"
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def figures(samples: Sequence[float]) -> str:
    """min / median / max."""
    if not samples:
        return NOTHING
    found = spread(samples)
    return " / ".join(number(value) for value in (found.minimum, found.median, found.maximum))


def limit(row: Row) -> str:
    """What is allowed, in words: "≤ 400, ≤ 1.05 x plain"."""
    return _limit(row.limit) or NOTHING


def _limit(allowed: Limit) -> str:
    parts = []
    if allowed.at_most is not None:
        parts.append(f"≤ {allowed.at_most:g}" + (" (median)" if allowed.typical else ""))
    if allowed.ratio is not None:
        parts.append(f"≤ {allowed.ratio:g} x plain")
    return (" or " if allowed.relative else ", ").join(parts)


def cells(row: Row) -> tuple[str, ...]:
    """One line of the table."""
    times = ratio(row)
    return (
        row.title,
        row.size,
        row.unit,
        NOTHING if row.theory is None else number(row.theory),
        figures(row.samples(PLAIN)),
        figures(row.samples(ORIGINAL)),
        figures(row.samples(IPFOD)),
        NOTHING if times is None else f"{times:.2f}",
        limit(row),
        verdict(row),
    )


def text(rows: Sequence[Row]) -> list[str]:
    """Lines with the columns side by side, then the notes."""
    lines = [HEAD, *(cells(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligned = [
        "  ".join(
            cell.rjust(width) if head in RIGHT else cell.ljust(width)
            for cell, width, head in zip(line, widths, HEAD, strict=True)
        ).rstrip()
        for line in lines
    ]
    return [*aligned, *([""] if notes(rows) else []), *notes(rows)]


def notes(rows: Sequence[Row]) -> list[str]:
    """What is to be known of single rows, each said once."""
    found = [f"{row.title} ({row.size}): {note}" for row in rows for note in row.notes]
    return list(dict.fromkeys(found))


def markdown(report: Report) -> str:
    """A table for documents, with the notes as a list below."""
    lines = [
        "| " + " | ".join(head.lower() for head in HEAD) + " |",
        "|" + "|".join("--:" if head in RIGHT else "---" for head in HEAD) + "|",
        *("| " + " | ".join(cells(row)) + " |" for row in report.rows),
    ]
    told = [f"- {note}" for note in notes(report.rows)]
    return "\n".join([*lines, *([""] if told else []), *told]) + "\n"
