"""The linters and the house's own rules, as tests: `pytest` is the whole gate."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "ipfod"
MODULES = sorted(PACKAGE.rglob("*.py"))
FILES = [*MODULES, *sorted((ROOT / "tests").rglob("*.py"))]
MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 50

# What every room may know of: errors, types, paths and files that belong to no room.
COMMON = {"errors", "addresses", "paths", "files"}
# What each room may know of beside that; what is not here it knows nothing of (docs/architecture.md).
MAY_IMPORT = {
    "config": set[str](),
    "plan": {"config"},
    "node": {"config", "plan"},
    "keepalived": {"config", "plan", "host"},
    "vrrp": {"config", "plan", "host"},
    "checks": {"config", "node", "host"},
    "firewall": {"config", "host"},
    "host": {"config.model"},
    "bus": {"config", "plan", "node", "host"},
    "metrics": {"config", "plan", "node"},
    "supervise": {"config", "plan", "node", "keepalived", "vrrp", "checks", "firewall", "host", "scripts"},
    "ctl": {"config", "plan", "bus.connection", "bus.errors", "bus.paths", "metrics.listen", "scripts", "lab"},
    "lab": {"config", "node.model"},
}
# Modules outside of the rooms put the rooms together. Only they may know each other.
ENTRY_POINTS = {"daemon", "cleanup", "lab", "ctl"}
MAY_IMPORT_ENTRY_POINTS = {"__main__": {"daemon", "cleanup"}, "ctl": {"lab"}}
DBUS_NEXT_ROOMS = {"bus", "ctl"}
# Run by their path, in namespaces where only the interpreter is certain.
PROGRAMS = ("lab/init.py", "lab/echo.py", "lab/service.py")


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
    assert [shown(path) for path in FILES if path.read_text() and not ast.get_docstring(parsed(path))] == []


def test_rooms_know_nothing_of_what_they_have_no_business_with() -> None:
    offenders = [
        f"{shown(path)} imports ipfod.{target}"
        for path in MODULES
        if (room := room_of(path)) in MAY_IMPORT
        for target in own_imports(path)
        if not is_within(target, {room, *COMMON, *MAY_IMPORT[room]})
    ]
    assert offenders == []


def test_every_room_has_its_rule() -> None:
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == set(MAY_IMPORT)


def test_nobody_but_the_entry_points_imports_entry_points() -> None:
    offenders = [
        f"{shown(path)} imports ipfod.{target}"
        for path in MODULES
        for target in own_imports(path)
        if (entry := target.split(".")[0]) in ENTRY_POINTS - {room_of(path)}
        and entry not in MAY_IMPORT_ENTRY_POINTS.get(room_of(path), set())
    ]
    assert offenders == []


def test_only_the_bus_and_ipfoctl_import_dbus_next() -> None:
    importers = {
        room_of(path) for path in MODULES for name in imports(path) if name.split(".")[0] == "dbus_next"
    }
    assert "bus" in importers
    assert importers <= DBUS_NEXT_ROOMS


def test_programs_that_run_by_their_path_import_the_standard_library_only() -> None:
    for program in PROGRAMS:
        names = {name.split(".")[0] for name in imports(PACKAGE / program)}
        assert names - sys.stdlib_module_names == set(), program


# ---------------------------------------------------------------- reading the sources


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def room_of(path: Path) -> str:
    """The directory below ipfod/ that a module is in, or the module's own name."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """Everything that a module imports, inside of functions too; what it imports from a package one by one."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{shown(path)}:{node.lineno}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_imports(path: Path) -> Iterator[str]:
    """What a module imports of ipfod: names below it."""
    for name in imports(path):
        package, _, below = name.partition(".")
        if package == "ipfod" and below not in ("", "__version__"):
            yield below


def is_within(name: str, allowed: set[str]) -> bool:
    return any(name == each or name.startswith(f"{each}.") for each in allowed)
