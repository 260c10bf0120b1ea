"""Text for people: styled cells, aligned tables, times, and nothing that could upset a terminal. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

USEC_PER_S = 1_000_000
CUT = ">"  # ends a line that did not fit


class Style(Enum):
    """How a piece of text is shown where colour is allowed: parameters of ECMA-48 SGR."""

    PLAIN = ""
    BOLD = "1"
    DIM = "2"
    RED = "31"
    GREEN = "32"
    YELLOW = "33"


@dataclass(frozen=True, slots=True)
class Cell:
    """A piece of text in one style."""

    text: str
    style: Style = Style.PLAIN


Line = tuple[Cell, ...]


def line(*pieces: str | Cell) -> Line:
    """A line of cells; plain strings become plain cells."""
    return tuple(Cell(piece) if isinstance(piece, str) else piece for piece in pieces)


def printable(text: str) -> str:
    """The text with every character replaced that could move the cursor, break the line or change colours.

    Reasons and check output come from scripts and other nodes.
    """
    if text.isprintable():
        return text
    return "".join(c if unicodedata.category(c)[0] not in "CZ" or c == " " else " " for c in text)


def render(lines: Iterable[Line], *, colour: bool, width: int | None = None) -> str:
    """Put lines together, each closed by a newline; `width` cuts them, None leaves them as long as they are."""
    return "".join(_render_line(cells, colour, width) + "\n" for cells in lines)


def _render_line(cells: Line, colour: bool, width: int | None) -> str:
    parts = []
    length = sum(len(cell.text) for cell in cells)
    cut = width is not None and length > width
    left = width - 1 if width is not None and cut else length
    for cell in cells:
        text = printable(cell.text[:left])
        left -= len(text)
        if colour and cell.style is not Style.PLAIN and text.strip():
            text = f"\x1b[{cell.style.value}m{text}\x1b[0m"
        parts.append(text)
    return "".join(parts).rstrip() if not cut else "".join(parts) + CUT


def table(head: Sequence[str], rows: Sequence[Sequence[Cell]], *, indent: int = 0) -> tuple[Line, ...]:
    """Rows under a head, in columns two spaces apart; the last column is not padded."""
    titles = tuple(Cell(title, Style.BOLD) for title in head)
    widths = [max(len(row[column].text) for row in (titles, *rows)) for column in range(len(head))]
    return tuple(_row(row, widths, indent) for row in (titles, *rows))


def _row(row: Sequence[Cell], widths: Sequence[int], indent: int) -> Line:
    cells = [Cell(" " * indent)]
    for cell, width in zip(row[:-1], widths[:-1], strict=True):
        cells += [cell, Cell(" " * (width - len(cell.text) + 2))]
    return (*cells, row[-1])


def ago(usec: int, now_usec: int) -> str:
    """How long ago, in one unit: "12 s", "3 min", "5 h", "12 days". Future times count as now, 0 as unknown."""
    if not usec:
        return "-"
    seconds = max(0, now_usec - usec) // USEC_PER_S
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min"
    if seconds < 48 * 3600:
        return f"{seconds // 3600} h"
    return f"{seconds // 86400} days"


def clock(usec: int) -> str:
    """Local date and time to the millisecond; failovers take a few of those."""
    try:
        moment = datetime.fromtimestamp(usec // USEC_PER_S)
    except (ValueError, OverflowError, OSError):  # the bus may carry any 64-bit number
        return str(usec)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{usec % USEC_PER_S // 1000:03d}"


def count(number: int, singular: str, plural: str = "") -> str:
    """ "1 group", "2 groups"."""
    return f"{number} {singular if number == 1 else plural or singular + 's'}"
