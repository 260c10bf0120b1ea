"""TOML files, statement by statement: tomllib reads the values, this module knows the lines."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from ipfod.config.reading import UNREADABLE, Complaints, Reading, Setting

NO_TABLES = "one file is one failover: every line is KEY = VALUE, without sections and tables"
SYNTAX_ACCEPTED = "KEY = VALUE as in TOML, with text in quotes"

# All that decides where a statement ends (TOML 1.0); and in strings of each kind, their end and what to step
# over. Simple patterns in a loop: one for a whole string costs 150 bytes a character (measured), or possessive
# quantifiers, which Python 3.11.2 gets wrong (measured; cpython issue 106052).
_TOKEN = re.compile(r"""\"\"\"|\'\'\'|"|'|\#[^\n]*|[\[\]{}\n]""")
_IN_STRING = {
    '"""': re.compile(r'\\.|"{3,5}', re.DOTALL),
    "'''": re.compile(r"'{3,5}"),
    '"': re.compile(r'\\[^\n]|["\n]'),
    "'": re.compile(r"['\n]"),
}
_HEADER = re.compile(r"[ \t]*\[\[?([^\]\n]*)")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_POSITION = re.compile(r" \(at (?:line ([0-9]+), column ([0-9]+)|end of document)\)$")


@dataclass(frozen=True, slots=True)
class _Statement:
    """A stretch of the file that TOML reads on its own; `braces`: it has a brace outside of its strings."""

    line: int
    text: str
    braces: bool


def _statements(text: str) -> Iterator[_Statement]:
    """Cut at the line ends that are in no string and no bracket: those end a statement, and only those."""
    start, line, depth, braces, position = 0, 1, 0, False, 0
    while token := _TOKEN.search(text, position):
        position = token.end()
        match token[0]:
            case "[" | "{" as opening:
                depth += 1
                braces = braces or opening == "{"
            case "]" | "}":
                depth = max(depth - 1, 0)
            case "\n" if depth == 0:
                yield _Statement(line, text[start : token.start()], braces)
                line += text.count("\n", start, position)
                start, braces = position, False
            case quote if quote in _IN_STRING:
                position = _string_end(text, quote, position)
    if start < len(text):
        yield _Statement(line, text[start:], braces)


def _string_end(text: str, quote: str, position: int) -> int:
    """Where the string ends that `quote` opened before `position`; never closed: with its line or the text."""
    while found := _IN_STRING[quote].search(text, position):
        if found[0] == "\n":
            return found.start()
        position = found.end()
        if not found[0].startswith("\\"):
            return position
    return len(text)


class _Unreadable(Exception):
    """A statement without a usable value: its key, "" if it has none, and the complaint's line and wording."""

    def __init__(self, line: int, key: str, what: str, accepted: str) -> None:
        super().__init__(line, key, what, accepted)
        self.key = key
        self.complaint = (line, key or "syntax", what, accepted)


def read(text: str, complaints: Complaints) -> Reading:
    """The top-level keys of a TOML text, in its order, with their lines. What cannot be read is complained of.

    The text has no CR before LF. Tables in any form are refused before tomllib sees them: ipfod has no use for
    them, and dotted keys cost tomllib quadratic time (measured: 6.7 s for 40 KB).
    """
    settings: dict[str, Setting] = {}
    complete = True
    for statement in _statements(text):
        if header := _HEADER.match(statement.text):
            complaints.add(statement.line, header[1].strip(), "is a section", NO_TABLES)
            # Every key from here on belongs to this section or a later one.
            return Reading(tuple(settings.values()), complete=False)
        try:
            setting = _setting(statement)
        except _Unreadable as unreadable:
            complaints.add(*unreadable.complaint)
            # A statement of several lines may have swallowed what follows it, for want of a bracket or quote.
            complete = complete and unreadable.key != "" and "\n" not in statement.text
            if unreadable.key:
                settings.setdefault(unreadable.key, Setting(unreadable.key, UNREADABLE, statement.line))
            continue
        if setting is None:
            continue
        if setting.key in settings:
            first = settings[setting.key].line
            complaints.add(setting.line, setting.key, f"is set twice, first on line {first}", "each key once")
        else:
            settings[setting.key] = setting
    return Reading(tuple(settings.values()), complete)


def _setting(statement: _Statement) -> Setting | None:
    """The key and value of one statement, None if it is a comment or blank. Raises _Unreadable."""
    visible = statement.text.strip(" \t")
    if not visible or (visible[0] == "#" and visible.replace("\t", "").isprintable()):
        return None
    name, after = _key(statement.text)
    if after == ".":
        raise _Unreadable(statement.line, name, "is a dotted key", NO_TABLES)
    if after == "=" and statement.braces:
        raise _Unreadable(statement.line, name, "is a table", NO_TABLES)
    try:
        document = tomllib.loads(statement.text)
    except RecursionError:
        raise _Unreadable(statement.line, name, "is nested too deeply", SYNTAX_ACCEPTED) from None
    except ValueError as error:
        line, what = _located(statement, str(error))
        raise _Unreadable(line, name, what, SYNTAX_ACCEPTED) from None
    for found, value in document.items():
        return Setting(found, value, statement.line)
    return None


def _key(statement: str) -> tuple[str, str]:
    """The key that a statement begins with, unquoted, and the = or . after it; both "" if none."""
    text = statement.lstrip(" \t")
    quote = text[:1]
    bare = _BARE.match(text)
    end = bare.end() if bare else _string_end(text, quote, 1) if quote in {"'", '"'} else 0
    after = text[end:].lstrip(" \t")[:1]
    if end == 0 or after not in {"=", "."}:
        return "", ""
    key = text[:end]
    if not bare:
        with suppress(ValueError):  # a bad escape: tomllib will say so of the statement
            key = next(iter(tomllib.loads(f"{key} = 0")))
    return key, after


def _located(statement: _Statement, error: str) -> tuple[int, str]:
    """The line in the file and the wording of tomllib's error about a statement."""
    position = _POSITION.search(error)
    if not position:  # not a syntax error: int() refuses numbers of thousands of digits
        return statement.line, "has a value that is too long"
    reason = error[: position.start()]
    what = "is not TOML: " + "".join(c if c.isprintable() else " " for c in reason[:1].lower() + reason[1:])
    if position[1] is None:
        return statement.line + statement.text.count("\n"), what
    return statement.line + int(position[1]) - 1, f"{what} (column {position[2]})"
