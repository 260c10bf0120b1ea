"""Kubernetes manifests: YAML or JSON as plain trees with line numbers, bounded in size, depth and number.

The parser's events are enough for that. No YAML object is ever constructed, so no tag can do anything, and a
value stays the text that was written: 010 is not 8, and "80" is 80.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import yaml

from ipfod.config.values import quoted

MANIFEST_MAX = 1 << 20  # bytes; etcd takes objects of 1.5 MiB at most, and a Deployment has some 5 KiB
DEPTH_MAX = 64  # a Deployment is some 12 deep; PyYAML takes quadratic time for "[[[[" (measured)
VALUES_MAX = 50_000  # a Deployment has some 200, with the defaults a cluster adds; PyYAML reads 50 000 in 1 s

_PREFIX = "tag:yaml.org,2002:"
_TAGS = {None, "!", *(_PREFIX + name for name in ("str", "int", "float", "bool", "null", "seq", "map"))}
_NULLS = {"", "~", "null", "Null", "NULL"}  # YAML 1.1, tag null


@dataclass(frozen=True, slots=True)
class Scalar:
    """A value without parts, as the text that was written; a null is ""."""

    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    items: tuple[Node, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Fields:
    """A mapping. `lines` has the line that each key is on."""

    fields: Mapping[str, Node]
    lines: Mapping[str, int]
    line: int


Node = Scalar | Items | Fields


class Unreadable(Exception):
    """A text that is no manifest: the line, what is wrong, what is accepted."""

    def __init__(self, line: int, what: str, accepted: str = "YAML or JSON") -> None:
        super().__init__(line, what, accepted)
        self.line, self.what, self.accepted = line, what, accepted


def read(text: bytes) -> tuple[Node, ...]:
    """The documents of a file, empty ones left out. Raises Unreadable."""
    return tuple(document for document in _documents(_decoded(text)) if document != Scalar("", document.line))


def _decoded(text: bytes) -> str:
    if len(text) > MANIFEST_MAX:
        raise Unreadable(1, "is too large", f"at most {MANIFEST_MAX} bytes")
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        raise Unreadable(line, f"contains byte 0x{text[error.start]:02x}, which is not UTF-8") from None


@dataclass(slots=True)
class _Open:
    """A list or mapping that is not closed yet; in a mapping `key` waits for its value."""

    mapping: bool
    line: int
    items: list[Node] = field(default_factory=list)
    fields: dict[str, Node] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    key: Scalar | None = None

    def add(self, node: Node) -> None:
        if not self.mapping:
            self.items.append(node)
        elif self.key is not None:
            self.fields[self.key.text] = node
            self.key = None
        elif not isinstance(node, Scalar):
            raise Unreadable(node.line, "has a list or mapping for a key", "text for a key")
        elif node.text in self.lines:
            what = f"sets {quoted(node.text)} twice, first on line {self.lines[node.text]}"
            raise Unreadable(node.line, what, "each key once")
        else:
            self.key = node
            self.lines[node.text] = node.line

    def closed(self) -> Node:
        if self.mapping:
            return Fields(self.fields, self.lines, self.line)
        return Items(tuple(self.items), self.line)


def _documents(text: str) -> Iterator[Node]:
    """The top-level nodes, one a document. Raises Unreadable as soon as a bound is passed."""
    open_: list[_Open] = []
    values = 0
    for event in _events(text):
        line = event.start_mark.line + 1 if event.start_mark else 1
        match event:
            case yaml.AliasEvent():
                raise Unreadable(line, f"refers to the anchor {quoted(event.anchor)}", "values without aliases")
            case yaml.ScalarEvent():
                node: Node = _scalar(event, line)
            case yaml.CollectionStartEvent():
                if len(open_) == DEPTH_MAX:
                    raise Unreadable(line, "is nested too deeply", f"at most {DEPTH_MAX} levels")
                _refuse_tag(event.tag, line)
                open_.append(_Open(isinstance(event, yaml.MappingStartEvent), line))
                continue
            case yaml.CollectionEndEvent():
                node = open_.pop().closed()
            case _:
                continue
        values += 1
        if values > VALUES_MAX:
            raise Unreadable(line, "has too many values", f"at most {VALUES_MAX}")
        if open_:
            open_[-1].add(node)
        else:
            yield node


def _scalar(event: yaml.ScalarEvent, line: int) -> Scalar:
    _refuse_tag(event.tag, line)
    plain = event.implicit[0]  # not in quotes, and no tag
    return Scalar("" if plain and event.value in _NULLS else event.value, line)


def _refuse_tag(tag: str | None, line: int) -> None:
    if tag not in _TAGS:
        raise Unreadable(line, f"has the tag {quoted(tag)}", "values without tags")


def _events(text: str) -> Iterator[yaml.Event]:
    """PyYAML's events. Raises Unreadable."""
    try:
        yield from yaml.parse(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        what = ", ".join(filter(None, (error.context, error.problem)))
        raise Unreadable(line, f"is not YAML: {_printable(what)} (column {column})") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise Unreadable(line, "contains a character that YAML does not allow") from None
    except (ValueError, OverflowError):  # PyYAML's own: "\\UFFFFFFFF", a version of thousands of digits
        raise Unreadable(1, "is not YAML: a number in an escape or a directive is too large") from None


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)
