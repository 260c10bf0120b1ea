"""The D-Bus interfaces as sections of a page: members from the XML, what they do from the comments in it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

from ipfod.bus.errors import ERRORS
from manual import roff


class Undocumented(Exception):
    """A member that has no comment before it, or a comment that is about something else."""


def described(files: Iterable[Path]) -> list[str]:
    """A section for each interface. Raises Undocumented."""
    return [line for file in files for line in _interface(file)]


def errors() -> list[str]:
    """The errors that the service answers with."""
    terms = [line for name, text in ERRORS for line in roff.term(name, text)]
    return [*roff.section("errors"), *terms]


def _interface(file: Path) -> list[str]:
    builder = ElementTree.TreeBuilder(insert_comments=True)
    node = ElementTree.parse(file, ElementTree.XMLParser(target=builder)).getroot()
    [interface] = node.findall("interface")
    about = next(child.text or "" for child in node if _is_comment(child))
    first, *rest = _paragraphs(about)
    summary = first.partition("@short_description: ")[2]
    made = [*roff.section(interface.attrib["name"]), *roff.paragraphs((f"{summary}.", *rest))]
    comment = ""
    for child in interface:
        if _is_comment(child):
            comment = child.text or ""
        else:
            made += _member(child, comment, file)
            comment = ""
    return made


def _is_comment(element: ElementTree.Element) -> bool:
    tag: object = element.tag  # a function for comments, whatever the type hints say
    return tag is ElementTree.Comment


def _member(member: ElementTree.Element, comment: str, file: Path) -> list[str]:
    """The member's comment begins with its name; "@argument: what" lines follow, then paragraphs."""
    name = member.attrib["name"]
    head, colon, text = comment.strip().partition(":")
    if head != name or not colon:
        raise Undocumented(f"{file.name}: {name}: no comment before it that begins with {name}:")
    if member.tag == "property":
        constant = any(note.attrib["value"] == "const" for note in member.findall("annotation"))
        what = f"{' '.join(text.split())}.{' It never changes.' if constant else ''}"
        return roff.term(f"{name} (property, {member.attrib['type']})", what)
    # Lines of arguments are paragraphs of their own.
    parts = _paragraphs(re.sub(r"^\s*@", "\n@", text, flags=re.MULTILINE))
    arguments = dict(part[1:].split(": ", 1) for part in parts if part.startswith("@"))
    known = {arg.attrib["name"] for arg in member.findall("arg")}
    if not set(arguments) <= known:
        raise Undocumented(f"{file.name}: {name}: has no argument {', '.join(set(arguments) - known)}")
    texts = [part for part in parts if not part.startswith("@")]
    made = [".TP", f".B {roff.bold(_signature(member))}"]
    body = [*texts, *(f"{argument}: {what}." for argument, what in arguments.items())]
    for place, each in enumerate(body):
        made += [*([".IP"] if place else []), *roff.lines(each)]
    return made


def _signature(member: ElementTree.Element) -> str:
    args = member.findall("arg")
    taken = [f"{a.attrib['type']} {a.attrib['name']}" for a in args if a.attrib.get("direction") != "out"]
    given = [f"{a.attrib['type']} {a.attrib['name']}" for a in args if a.attrib.get("direction") == "out"]
    answer = f" -> {', '.join(given)}" if given else ""
    return f"{member.attrib['name']}({', '.join(taken)}){answer} ({member.tag})"


def _paragraphs(text: str) -> list[str]:
    return [" ".join(part.split()) for part in re.split(r"\n\s*\n", text) if part.strip()]
