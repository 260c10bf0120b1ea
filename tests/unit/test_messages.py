"""docs/messages.md is what the code says, and the collector of messages misses none."""

from __future__ import annotations

from pathlib import Path

import pytest
from manual.messages import COMMAND, ELSEWHERE, Message, document, places

from ipfod.node.model import ProblemCode

ROOT = Path(__file__).parents[2]


def test_the_list_of_messages_is_what_the_code_says() -> None:
    same = (ROOT / "docs/messages.md").read_text() == document()  # not compared in the assertion: it is long
    assert same, f"docs/messages.md is not what the code says: run {COMMAND}, and read what it changed"


def test_every_problem_has_its_place_in_the_list() -> None:
    text = document().partition("## Everything else")[0]
    assert [code for code in ProblemCode if f"`{code}`" not in text] == []


def test_modules_that_are_left_out_are_there() -> None:
    assert [module for module in ELSEWHERE if not (ROOT / "ipfod" / module).is_file()] == []


@pytest.mark.parametrize(
    ("code", "role", "text"),
    [
        ('raise Failed("web: is gone", hint="try again")', "raise Failed", "web: is gone"),
        ('raise Failed("web: is gone")', "raise Failed, no hint", "web: is gone"),
        ('raise Failed(f"{name} is", hint="try again")', "raise Failed", "{name} is"),
        ('hint = "do" " that"', "hint", "do that"),
        ('log.warning("%s: is gone", name)', "log.warning", "%s: is gone"),
        ('return f"{a}: is gone" if a else ""', "return", "{a}: is gone"),
        ('book.raise_(ProblemCode.SPLIT_BRAIN, name, "a text")', "book.raise_", "a text"),
        ('x = [{"key": ("deep down",)}]', "x", "deep down"),
        ('f(g(h("deep down")))', "h", "deep down"),
        ('assert x, "deep down"', "text", "deep down"),
    ],
)
def test_no_text_hides(code: str, role: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(f'"""A docstring is none."""\ndef act():\n    {code}\n')
    [place] = places(tmp_path / "module.py", tmp_path)
    assert (place.function, place.messages[0]) == ("act", Message(role, text))
    assert place.codes == (("split-brain",) if "ProblemCode" in code else ())
