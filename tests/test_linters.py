"""The linters and limits of size, as tests: `pytest` is the whole gate. The rooms: tests/unit/test_house.py."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest
from sources import FILES, ROOT, parsed, shown

MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 50


@pytest.mark.parametrize(
    "argv",
    [("ruff", "check"), ("ruff", "format", "--check"), ("mypy",)],
    ids=["ruff check", "ruff format", "mypy"],
)
def test_linter_has_no_complaint(argv: tuple[str, ...]) -> None:
    done = subprocess.run([sys.executable, "-m", *argv], cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"


def test_no_module_is_longer_than_400_lines() -> None:
    lengths = {shown(path): len(path.read_text().splitlines()) for path in FILES}
    assert {name: lines for name, lines in lengths.items() if lines > MODULE_LINES_MAX} == {}


def test_no_function_is_longer_than_50_lines() -> None:
    lengths = {
        f"{shown(path)}:{node.lineno} {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in FILES
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert len(lengths) > 100
    assert {name: lines for name, lines in lengths.items() if lines > FUNCTION_LINES_MAX} == {}


def test_every_module_says_in_its_first_line_what_it_is_for() -> None:
    silent = [
        shown(path)
        for path in FILES
        if path.read_text() and not (ast.get_docstring(parsed(path)) or "").partition("\n")[0].strip(". ")
    ]
    assert silent == []
