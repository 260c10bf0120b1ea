"""A guide in docs/ whose commands a test types: where each is typed, and what the text says it prints."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

PROMPT = re.compile(r"    ([a-z]+[0-9]*)[#$] (.*)")
NOTE = re.compile(r"<!-- (.*) -->")


@dataclass(frozen=True)
class Step:
    """A command, the machine that it is typed at, what is printed, and the comment of its section before it."""

    where: str
    command: str
    printed: str = ""
    note: str = ""


def steps(text: str) -> Iterator[Step]:
    """The commands of a guide in its order. What is indented below one is what it prints."""
    for section in re.split(r"\n##+ ", text):
        note = ""
        found: list[Step] = []
        for line in section.splitlines():
            if comment := NOTE.fullmatch(line):
                note = comment[1]
            elif prompt := PROMPT.fullmatch(line):
                found.append(Step(prompt[1], prompt[2], note=note))
            elif line.startswith("    ") and found:
                found[-1] = replace(found[-1], printed=f"{found[-1].printed}{line[4:]}\n")
        yield from found


def without_figures(text: str) -> list[str]:
    """What is printed, without what differs each time: times, spans, process IDs, widths of columns."""
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}", "TIME", text)
    text = re.sub(r"\b\d+ (ms|s|min)\b", "SPAN", text)
    text = re.sub(r"\(pid \d+\)", "(pid)", text)
    return [" ".join(line.split()) for line in text.splitlines() if line]
