"""Text as roff with the macros of man(7). Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

LINE_MAX = 78  # mandoc complains of source lines over 80
# ASCII that roff reads as something else, or shows as typographers like it: man(7), groff_char(7).
ESCAPES = str.maketrans(
    {
        "\\": "\\e",
        "-": "\\-",
        "'": "\\(aq",
        "`": "\\(ga",
        "^": "\\(ha",
        "~": "\\(ti",
        '"': "\\(dq",
    }
)


def escaped(text: str) -> str:
    """Text that is shown as it is, within a line or as an argument of a macro."""
    return "".join(
        each if each.isascii() else f"\\[u{ord(each):04X}]" for each in text.translate(ESCAPES) if each != "\n"
    )


def lines(text: str) -> list[str]:
    """A paragraph as source lines, none of which is taken for a macro."""
    wrapped = textwrap.wrap(text, LINE_MAX - 18, break_long_words=False, break_on_hyphens=False)
    return [f"\\&{line}" if line[:1] in (".", "'") else line for line in map(escaped, wrapped)]


def title(name: str, section: int, date: str, version: str) -> list[str]:
    """The head of a page."""
    return [f'.TH "{escaped(name)}" "{section}" "{date}" "ipfod {version}" "ipfod"']


def section(name: str) -> list[str]:
    """A heading in capitals, unless it is a name."""
    return [f".SH {escaped(name if '.' in name else name.upper())}"]


def subsection(name: str) -> list[str]:
    return [f'.SS "{escaped(name)}"']


def paragraphs(texts: Iterable[str]) -> list[str]:
    """Paragraphs right after a heading, or one another."""
    found = [lines(text) for text in texts]
    return [line for place, text in enumerate(found) for line in ([".PP"] if place else []) + text]


def term(name: str, text: str) -> list[str]:
    """A tagged paragraph with a bold tag."""
    return [".TP", f".B {bold(name)}", *lines(text)]


def bold(name: str) -> str:
    """The argument of .B, which would join several with spaces and treat a leading dot as text anyway."""
    return f'"{escaped(name)}"' if " " in name else escaped(name)


def example(text: str) -> list[str]:
    """Lines that are kept as they are, indented."""
    kept = [f"\\&{escaped(line)}" for line in text.strip("\n").splitlines()]
    return [".RS 4", ".nf", *kept, ".fi", ".RE"]


def see_also(pages: Iterable[str]) -> list[str]:
    """References to other pages: "ipfod(8)"."""
    split = [page.rstrip(")").split("(") for page in pages]
    ends = [","] * (len(split) - 1) + [""]
    return [f".BR {escaped(name)} ({number}){end}" for (name, number), end in zip(split, ends, strict=True)]
