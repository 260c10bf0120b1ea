"""`ipfoctl help`: what the manual says about a topic; without one, which topics there are."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Iterator

from ipfod.ctl.console import Console
from ipfod.ctl.failures import Exit
from ipfod.ctl.text import Cell, Line, Style, line
from ipfod.ctl.topics import Kind, Topic, find, topics

WIDTH_MAX = 100  # longer lines are hard to read
INDENT = "  "


def run(name: str | None, console: Console) -> Exit:
    """Show a topic, or the names of all. Raises CommandFailed, which exits with USAGE, if there is none."""
    width = min(shutil.get_terminal_size().columns, WIDTH_MAX)
    console.show(listed(topics(), width) if name is None else rendered(find(name), width))
    return Exit.DONE


def listed(known: Iterable[Topic], width: int) -> Iterator[Line]:
    """The names of topics under the heads of their kinds."""
    names: dict[Kind, dict[str, None]] = {kind: {} for kind in Kind}
    for topic in known:
        names[topic.kind][topic.name] = None  # a set that keeps the order
    for kind, members in names.items():
        yield line(Cell(f"{kind}:", Style.BOLD))
        yield from _wrapped(" ".join(members), INDENT, width)
    yield line("ipfoctl help TOPIC shows one.")


def rendered(found: Iterable[Topic], width: int) -> Iterator[Line]:
    """Topics as text, with an empty line between two."""
    for place, topic in enumerate(found):
        if place:
            yield line("")
        yield line(Cell(topic.title, Style.BOLD))
        for paragraph in topic.paragraphs:
            yield from _wrapped(paragraph, INDENT, width)
        for term, text in topic.terms:
            yield line(f"{INDENT}{term}")
            yield from _wrapped(text, INDENT * 3, width)


def _wrapped(text: str, indent: str, width: int) -> Iterator[Line]:
    wrapped = textwrap.wrap(
        text,
        max(width, 40),
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return (line(each) for each in wrapped)
