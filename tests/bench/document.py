"""bench.json: a report for programs, and back. Pure."""

from __future__ import annotations

import json
from typing import Any

from bench.judge import ratio, verdict
from bench.model import Limit, Report, Row, Series

FORMAT = 1


def dump(report: Report) -> str:
    """The JSON document. Ratio and verdict are in it for those who read it, `load` finds them anew."""
    document = {
        "format": FORMAT,
        "machine": list(report.machine),
        "runs": report.runs,
        "rows": [_row(row) for row in report.rows],
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def load(text: str) -> Report:
    """What `dump` wrote. Raises ValueError for another format."""
    document = json.loads(text)
    if document.get("format") != FORMAT:
        raise ValueError(f"format {document.get('format')!r}, not {FORMAT}")
    rows = tuple(_load_row(entry) for entry in document["rows"])
    return Report(tuple(document["machine"]), document["runs"], rows)


def _row(row: Row) -> dict[str, Any]:
    allowed = row.limit
    return {
        "name": row.name,
        "title": row.title,
        "size": row.size,
        "unit": row.unit,
        "outage": row.outage,
        "theory": row.theory,
        "samples": {series.system: list(series.samples) for series in row.series},
        "limit": {name: getattr(allowed, name) for name in ("at_most", "ratio", "typical", "relative")},
        "notes": list(row.notes),
        "faults": list(row.faults),
        "ratio": ratio(row),
        "verdict": verdict(row),
    }


def _load_row(entry: dict[str, Any]) -> Row:
    return Row(
        name=entry["name"],
        title=entry["title"],
        size=entry["size"],
        unit=entry["unit"],
        series=tuple(Series(system, tuple(samples)) for system, samples in entry["samples"].items()),
        limit=Limit(**entry["limit"]),
        theory=entry["theory"],
        notes=tuple(entry["notes"]),
        faults=tuple(entry["faults"]),
        outage=entry["outage"],
    )
