"""What the demonstration shows: the table of virtual IPs and the rows of measured outages."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

from ipfod.addresses import Address
from ipfod.lab.view import GroupView, NodeView

GROUPS_SHOWN = 24  # so that table and rows fit on a screen of some 40 lines
ADDRESSES_SHOWN = 3
CELL = len("stopped")  # columns keep their width while states change
CLEAR_BELOW = "\x1b[J"
HEAD = ("MOVE", "NODE", "VIPS", "MEDIAN ms", "MAX ms", "THEORY ms", "PROMISED ms", "VERDICT")


@dataclass(frozen=True, slots=True)
class Row:
    """One move and what it cost. Outages are those of the virtual IPs that moved."""

    move: str
    node: str
    virtual_ips: int
    median_ms: float
    max_ms: float
    theory_ms: float
    promised_ms: float
    verdict: str

    def cells(self) -> tuple[str, ...]:
        figures = (self.median_ms, self.max_ms, self.theory_ms, self.promised_ms)
        return (self.move, self.node, str(self.virtual_ips), *(f"{ms:.1f}" for ms in figures), self.verdict)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns side by side; those whose cells below the head are all numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    numeric = [
        len(rows) > 1 and all(cell.replace(".", "", 1).isdigit() for cell in column[1:])
        for column in zip(*rows, strict=True)
    ]
    return [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in rows
    ]


def ranges(addresses: Iterable[Address]) -> str:
    """Addresses as in the configuration, neighbours joined: 192.168.3.10-12, fd00::1."""
    runs: list[list[Address]] = []
    for address in sorted(addresses, key=lambda a: (a.version, int(a))):
        if runs and runs[-1][-1].version == address.version and int(runs[-1][-1]) + 1 == int(address):
            runs[-1].append(address)
        else:
            runs.append([address])
    texts = [str(run[0]) if len(run) == 1 else f"{run[0]}-{_last_part(run[-1])}" for run in runs]
    more = len(texts) - ADDRESSES_SHOWN
    return ", ".join(texts[:ADDRESSES_SHOWN]) + (f", {more} more" if more > 0 else "")


def _last_part(address: Address) -> str:
    return str(address).rsplit("." if address.version == 4 else ":", 1)[1]


def table(views: Mapping[str, NodeView], holders: Callable[[Address], set[str]] | None = None) -> list[str]:
    """Groups by nodes: the state that each node tells over D-Bus.

    With `holders`, who holds the virtual IPs by now says more than a "master" told earlier.
    """
    groups: dict[str, GroupView] = {}
    for view in views.values():
        for name, group in view.groups.items():
            groups.setdefault(name, group)
    rows = [["GROUP", "VIRTUAL IPS", *views]]
    for name, group in list(groups.items())[:GROUPS_SHOWN]:
        now = [holders(address) for address in group.virtual_ips] if holders else []
        cells = [_cell(view, name, [node in held for held in now]).ljust(CELL) for node, view in views.items()]
        rows.append([name, ranges(group.virtual_ips), *cells])
    more = len(groups) - GROUPS_SHOWN
    return aligned(rows) + ([f"... {more} more groups"] if more > 0 else [])


def _cell(view: NodeView, name: str, held: Sequence[bool]) -> str:
    told = view.silence or "?"
    if name in view.groups:
        told = view.groups[name].state
    if held and all(held):
        return "MASTER"
    if held and told == "master":
        return "..."  # it was, and the next answer will tell what it is now
    return "MASTER" if told == "master" else told


class Screen:
    """Where it all goes. On a terminal table, rows and a line on what is going on are drawn over the last ones.

    Otherwise a table is printed when it differs from the one before.
    """

    def __init__(self, stream: TextIO, *, titles: Sequence[str] = ()) -> None:
        self._stream = stream
        self._title_width = max(map(len, titles), default=0)
        self._live = stream.isatty()
        self._drawn = 0  # lines on the terminal that the next frame goes over
        self._last: list[str] = []
        self._rows: list[Row] = []
        self._doing = ""
        self._table: list[str] = []

    def say(self, text: str) -> None:
        """Print text that stays."""
        self._erase()
        self._print(text)
        if self._live:
            self._draw()

    def doing(self, text: str) -> None:
        """What is going on now."""
        self._doing = text
        if self._live:
            self._draw()
        elif text:
            self._print(f"\n{text}")

    def show(self, lines: list[str], *, settled: bool = True) -> None:
        """The table as it is now; one that is not settled is for terminals only."""
        self._table = lines
        if self._live:
            self._draw()
        elif settled and lines != self._last:
            self._last = lines
            self._print("\n".join(("", *lines)))

    def add(self, row: Row) -> None:
        """One more move was measured."""
        self._rows.append(row)
        if self._live:
            self._draw()
        else:
            lines = self._results()
            self._print("\n".join(("", lines[0], lines[-1])))

    def finish(self) -> None:
        """The summary stays."""
        self._doing = ""
        if self._live:
            self._draw()
        elif self._rows:
            self._print("\n".join(("", *self._results())))

    def _results(self) -> list[str]:
        head, *cells = HEAD
        return aligned([(head.ljust(self._title_width), *cells), *(row.cells() for row in self._rows)])

    def _draw(self) -> None:
        rows = self._results() if self._rows else []
        lines = ["", *self._table, *([""] if rows else []), *rows, *(["", self._doing] if self._doing else [])]
        width = shutil.get_terminal_size().columns
        self._erase()
        self._print("\n".join(text[: width - 1] for text in lines))  # a line that wraps would count as two
        self._drawn = len(lines)

    def _erase(self) -> None:
        if self._drawn:
            self._print(f"\x1b[{self._drawn}A\r{CLEAR_BELOW}", end="")
            self._drawn = 0

    def _print(self, text: str, *, end: str = "\n") -> None:
        print(text, end=end, file=self._stream, flush=True)
