"""The sources of ipfod and of its tests, as the tests of the house read them: trees, and what they import."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "ipfod"
MODULES = sorted(PACKAGE.rglob("*.py"))
FILES = [*MODULES, *sorted((ROOT / "tests").rglob("*.py"))]


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
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


def module_of(name: str) -> Path:
    """The module in which a name below ipfod is: `config.model.Failover` is in config/model.py."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        path = PACKAGE.joinpath(*parts[:end])
        for found in (path.with_suffix(".py"), path / "__init__.py"):
            if found.exists():
                return found
    raise AssertionError(f"ipfod.{name} is nowhere")


def is_within(name: str, any_of: Iterable[str]) -> bool:
    return any(name == each or name.startswith(f"{each}.") for each in any_of)
