"""Where a command writes to: a terminal or not, with colour or without."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TextIO

from ipfod.ctl.text import Line, printable, render
from ipfod.errors import IpfodError

# ECMA-48: cursor to the first line; erase the rest of the line, of the page. Erasing first would flicker.
HOME, ERASE_LINE, ERASE_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


@dataclass(frozen=True, slots=True)
class Console:
    """Standard output and what it can do."""

    stream: TextIO
    terminal: bool
    colour: bool

    def show(self, lines: Iterable[Line]) -> None:
        """Write lines as long as they are; the terminal wraps them."""
        self._write(render(lines, colour=self.colour))

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """Say on a terminal what is waited for, for as long as it is."""
        if self.colour:
            self._write(f"{printable(text)}\r")
        elif self.terminal:
            self._write(f"{printable(text)}\n")
        try:
            yield
        finally:
            if self.colour:
                self._write(ERASE_LINE)

    def show_screen(self, lines: Iterable[Line], *, more: str) -> None:
        """Replace what the terminal shows; what does not fit is cut, and `more` says so in the last line."""
        columns, rows = shutil.get_terminal_size()
        shown = list(lines)
        text = render(shown[: rows - 1], colour=self.colour, width=columns)
        if len(shown) > rows - 1:
            text = render(shown[: rows - 2], colour=self.colour, width=columns)
            text += more.format(left=len(shown) - rows + 2)[:columns] + "\n"
        self._write(HOME + text.replace("\n", f"{ERASE_LINE}\n") + ERASE_BELOW)

    def show_json(self, document: Mapping[str, Any], *, one_line: bool = False) -> None:
        """Write one JSON document, over several lines for people to read or in one for streams."""
        if one_line:
            self._write(json.dumps(document, separators=(",", ":")) + "\n")
        else:
            self._write(json.dumps(document, indent=2) + "\n")

    def _write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()


def complain(*lines: str) -> None:
    """Write lines to standard error."""
    try:
        sys.stderr.write("".join(f"{printable(line)}\n" for line in lines))
        sys.stderr.flush()
    except OSError:
        return  # nobody listens


def complain_of(error: IpfodError) -> None:
    """Write an error to standard error as ipfoctl's: a line, and one with what to do."""
    complain(f"ipfoctl: {error.text}", *([f"  -> {error.hint}"] if error.hint else []))


def open_console() -> Console:
    """Standard output as it was given to this process. https://no-color.org says when NO_COLOR counts."""
    stream = sys.stdout
    terminal = stream.isatty()
    colour = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return Console(stream=stream, terminal=terminal, colour=colour)
