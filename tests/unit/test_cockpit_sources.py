"""What the sources of the Cockpit page must keep: text is set as text, nothing is inline, parts stay small."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "cockpit"
MODULES = sorted(PAGE.glob("*.js"))
MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 50
MARKUP = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\(|new Function\(")
INLINE = re.compile(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)|javascript:")
OUTSIDE = re.compile(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]")
OPENED = re.compile(r"^( *)(?!if|for|while|switch)[\w ]*\w+\([^()]*\) \{$")
EXPORTED = re.compile(r"^export (?:async )?(?:function|class) \w+")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_a_module_is_short_says_what_it_is_for_and_makes_no_markup_of_text(path: Path) -> None:
    text = path.read_text()
    lines = text.splitlines()
    assert lines[0].startswith("/** ")
    assert len(lines) <= MODULE_LINES_MAX
    assert MARKUP.findall(text) == []
    assert OUTSIDE.findall(text) == []
    long = {name: length for name, length in functions(lines) if length > FUNCTION_LINES_MAX}
    assert long == {}
    assert [
        line for before, line in pairwise(lines) if EXPORTED.match(line) and not before.endswith("*/")
    ] == []


def functions(lines: list[str]) -> Iterator[tuple[str, int]]:
    """Functions and methods, by their indentation, with their lengths in lines."""
    for start, line in enumerate(lines):
        if found := OPENED.match(line):
            end = lines.index(f"{found[1]}}}", start)
            yield line.strip(), end - start + 1


def test_functions_are_found() -> None:
    found = [name for path in MODULES for name, _ in functions(path.read_text().splitlines())]
    assert {"start() {", "function row(transition) {"} <= set(found)
    assert len(found) > 60


def test_nothing_is_inline_or_from_elsewhere() -> None:
    text = (PAGE / "index.html").read_text()
    assert INLINE.findall(text) == []
    for name in re.findall(r'(?:src|href)="([^"]*)"', text):
        assert name == "../base1/cockpit.js" or (PAGE / name).is_file()
    style = (PAGE / "ipfod.css").read_text()
    assert "url(" not in style
    assert "@import" not in style


def test_the_menu_of_cockpit_has_it() -> None:
    manifest = json.loads((PAGE / "manifest.json").read_text())
    assert manifest["menu"]["index"]["label"] == "IP failover"
    assert "content-security-policy" not in manifest  # Cockpit's own is good enough
