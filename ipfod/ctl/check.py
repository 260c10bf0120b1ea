"""`ipfoctl check`: everything that is wrong with configuration files, before anything runs them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from ipfod.config.model import Complaint
from ipfod.ctl.console import Console
from ipfod.ctl.failures import Exit
from ipfod.ctl.offline import EMPTY, read, shown
from ipfod.ctl.text import Cell, Line, Style, line
from ipfod.scripts import script_complaints


def run(files: Sequence[Path], console: Console, *, as_json: bool) -> Exit:
    """Check files, or all of /etc/ipfod. FAILED if there is any error; warnings alone are none."""
    reading = read(files)
    scripts = [complaint for failover in reading.failovers for complaint in script_complaints(failover)]
    complaints = (*reading.complaints, *scripts)
    if as_json:
        console.show_json(
            {"files": reading.files, "complaints": [asdict(complaint) for complaint in complaints]}
        )
    else:
        console.show(rendered(reading.files, complaints))
    return Exit.FAILED if any(not complaint.warning for complaint in complaints) else Exit.DONE


def rendered(files: Sequence[str], complaints: Sequence[Complaint]) -> Iterable[Line]:
    """All complaints in the order of files and lines, then the files that have none."""
    order = {file: place for place, file in enumerate(files)}
    for complaint in sorted(complaints, key=lambda c: (order.get(c.file, len(order)), c.file, c.line)):
        yield line(Cell(shown(complaint), Style.YELLOW if complaint.warning else Style.RED))
    blamed = {complaint.file for complaint in complaints}
    for file in files:
        if file not in blamed:
            yield line(f"{file}: ", Cell("fine", Style.GREEN))
    if not files and not complaints:
        yield line(EMPTY)
