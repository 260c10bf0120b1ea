"""The rooms of the house, docs/architecture.md: who knows whom, which library is whose, what is pure."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from sources import (
    FILES,
    MODULES,
    PACKAGE,
    ROOT,
    imports,
    is_within,
    module_of,
    own_imports,
    parsed,
    room_of,
    shown,
)

# What every room may know of: errors, types, paths and files that belong to no room.
COMMON = {"errors", "addresses", "paths", "files"}
# What each room may know of beside that.
MAY_IMPORT = {
    "config": set[str](),
    "plan": {"config"},
    "node": {"config", "plan"},
    "keepalived": {"config", "plan", "host"},
    "vrrp": {"host"},
    "checks": {"node.model", "host"},
    "firewall": set[str](),
    "host": set[str](),
    "bus": {"plan", "node"},
    "metrics": {"config", "plan", "node"},
    "supervise": {"config", "plan", "node", "keepalived", "vrrp", "checks", "firewall", "host", "scripts"},
    "ctl": {"config", "plan", "bus.connection", "bus.errors", "bus.paths", "metrics.listen", "scripts", "lab"},
    "lab": {"config", "node.model"},
}
# Modules outside of the rooms put the rooms together. Only they may know each other.
ENTRY_POINTS = {"daemon", "cleanup", "lab", "ctl"}
MAY_IMPORT_ENTRY_POINTS = {"__main__": {"daemon", "cleanup"}, "ctl": {"lab"}}

MACHINE = {
    "ipfod.host",
    "asyncio",
    "socket",
    "subprocess",
    "signal",
    "ctypes",
    "pyroute2",
    "nftables",
    "systemd",
}
INSIDES = {f"ipfod.{room}" for room in ("keepalived", "vrrp", "checks", "firewall", "host", "supervise")}
# What a phrase of the last column of the table in docs/architecture.md keeps out of a room.
WALLS: Mapping[str, set[str]] = {
    "the machine": MACHINE,
    "everything but config": {f"ipfod.{room}" for room in MAY_IMPORT.keys() - {"plan", "config"}} | MACHINE,
    "D-Bus": {"ipfod.bus", "dbus_next"},
    "how D-Bus is spoken": {"ipfod.bus", "dbus_next"},
    "configuration": {"ipfod.config"},
    "plans": {"ipfod.plan"},
    "failover of any kind": {f"ipfod.{room}" for room in MAY_IMPORT.keys() - {"host"}},
    "keepalived": {"ipfod.keepalived"},
    "keepalived's formats": {"ipfod.keepalived"},
    "VRRP": {"ipfod.vrrp"},
    "`supervise`": {"ipfod.supervise"},
    "who does what it is asked for": INSIDES,
    "the daemon's insides": INSIDES
    | {"ipfod.daemon", "ipfod.bus.server", "ipfod.node.node", "ipfod.node.events"},
}

# Where each library may be imported; modules of ipfod/ stand for themselves. A library that is not here is none
# of ours yet: give it one room.
LIBRARIES = {
    "dbus_next": {"bus", "ctl"},
    "nftables": {"firewall"},
    "prometheus_client": {"metrics"},
    "pyroute2": {"host"},
    "sdnotify": {"host"},
    "systemd": {"journal"},
    "yaml": {"config"},
}
# The same for those of the standard library that reach out of the process.
REACHING_OUT = {
    "subprocess": {"host", "keepalived", "lab"},
    "socket": {"host", "vrrp", "checks", "firewall", "metrics", "lab", "daemon"},
    "signal": {"host", "keepalived", "lab", "daemon"},
    "threading": {"metrics", "lab"},
    "ctypes": {"host", "vrrp", "firewall", "lab"},
}
# Names in pyproject.toml, which names what to install.
INSTALLED_AS = {"dbus-next": "dbus_next", "PyYAML": "yaml", "prometheus-client": "prometheus_client"}
FROM_THE_DISTRIBUTION = {"nftables", "systemd"}

# Rooms that take values and give values: no I/O, no clock, no log, no chance, nothing to wait for. With the
# modules in them that read or write files.
PURE_BUT_FOR = {
    "plan": set[str](),
    "config": {"load", "openshift"},
    "node": {"boot", "durable", "historyfile", "statefile"},
}
# Modules of other rooms that are as pure.
PURE = (
    *("vrrp/heard.py", "vrrp/masters.py", "vrrp/packet.py", "vrrp/voices.py"),
    *("checks/hysteresis.py", "checks/verdict.py"),
    *("firewall/chain.py", "firewall/contest.py", "firewall/rule.py", "firewall/suspects.py"),
)
IMPURE = MACHINE | {
    *("os", "sys", "io", "time", "logging", "random", "secrets", "threading", "select", "fcntl"),
    *("shutil", "tempfile", "concurrent", "multiprocessing"),
}
IMPURE_CALLS = {
    "open",
    "print",
    "input",
    "now",
    "today",
    "read_text",
    "write_text",
    "read_bytes",
    "write_bytes",
}
FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef
# Run by their path, in namespaces where only the interpreter is certain.
PROGRAMS = ("lab/init.py", "lab/echo.py", "lab/service.py")


# ---------------------------------------------------------------- who knows whom


def test_rooms_import_only_what_they_may() -> None:
    offenders = [
        f"{shown(path)} imports ipfod.{target}"
        for path in MODULES
        if (room := room_of(path)) in MAY_IMPORT
        for target in own_imports(path)
        if not is_within(target, {room, *COMMON, *MAY_IMPORT[room]})
    ]
    assert offenders == []


def test_every_room_has_its_rule_and_no_rule_allows_what_nobody_needs() -> None:
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == MAY_IMPORT.keys()
    unused = [
        f"{room}: {allowed}"
        for room, names in MAY_IMPORT.items()
        for allowed in names
        if not any(
            is_within(target, {allowed})
            for path in MODULES
            if room_of(path) == room
            for target in own_imports(path)
        )
    ]
    assert unused == []


def test_nobody_but_the_entry_points_imports_entry_points() -> None:
    offenders = [
        f"{shown(path)} imports ipfod.{target}"
        for path in MODULES
        for target in own_imports(path)
        if (entry := target.split(".")[0]) in ENTRY_POINTS - {room_of(path)}
        and entry not in MAY_IMPORT_ENTRY_POINTS.get(room_of(path), set())
    ]
    assert offenders == []


def test_no_room_comes_round_to_itself() -> None:
    known: dict[str, set[str]] = defaultdict(set)
    for path in MODULES:
        known[room_of(path)] |= {room_of(module_of(target)) for target in own_imports(path)} - {room_of(path)}
    assert len(known) > len(MAY_IMPORT)
    assert cycle(known) == []


def test_no_module_comes_round_to_itself() -> None:
    known = {shown(path): {shown(found) for found in imported(path)} - {shown(path)} for path in MODULES}
    assert cycle(known) == []


def test_a_cycle_is_found() -> None:
    assert set(cycle({"bus": {"node"}, "node": {"plan"}, "plan": {"bus"}})) == {"bus", "node", "plan"}


# ---------------------------------------------------------------- the table in docs/architecture.md


def documented() -> dict[str, list[str]]:
    """What each room knows nothing of, as the document says: phrases."""
    text = (ROOT / "docs/architecture.md").read_text()
    rows = re.findall(r"^\| `ipfod/(\w+)/` \| .+ \| ([^|]*) \|$", text, re.MULTILINE)
    return {room: re.split(r", | or ", unknown) for room, unknown in rows}


def test_the_document_has_a_row_for_each_room() -> None:
    assert documented().keys() == MAY_IMPORT.keys()


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_a_room_knows_nothing_of_what_the_document_says(room: str) -> None:
    phrases = documented()[room]
    assert [phrase for phrase in phrases if phrase not in WALLS] == [], "say what it keeps out, in WALLS"
    offenders = [
        f"{shown(path)} imports {name}, and is to know nothing of {phrase}"
        for path in MODULES
        if room_of(path) == room
        for name in imports(path)
        for phrase in phrases
        if is_within(name, WALLS[phrase])
    ]
    assert offenders == []


def test_every_wall_is_in_the_document_and_stands_where_something_is() -> None:
    assert WALLS.keys() == {phrase for phrases in documented().values() for phrase in phrases}
    for name in {name for kept in WALLS.values() for name in kept if name.startswith("ipfod.")}:
        assert module_of(name.removeprefix("ipfod."))


# ---------------------------------------------------------------- libraries


def test_libraries_are_imported_where_they_belong() -> None:
    importers: dict[str, set[str]] = defaultdict(set)
    for path in MODULES:
        for library in {name.split(".")[0] for name in imports(path)} - {"ipfod", "__future__"}:
            if library not in sys.stdlib_module_names or library in REACHING_OUT:
                importers[library].add(room_of(path))
    assert importers == LIBRARIES | REACHING_OUT


def test_libraries_are_those_that_are_installed() -> None:
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {re.split("[<>=]", requirement)[0] for requirement in wanted}
    assert {INSTALLED_AS.get(name, name) for name in names} == LIBRARIES.keys() - FROM_THE_DISTRIBUTION


def test_programs_that_run_by_their_path_import_the_standard_library_only() -> None:
    for program in PROGRAMS:
        names = {name.split(".")[0] for name in imports(PACKAGE / program)}
        assert names - sys.stdlib_module_names == set(), program


# ---------------------------------------------------------------- what is pure


def pure() -> list[Path]:
    rooms = [
        path
        for room, others in PURE_BUT_FOR.items()
        for path in sorted((PACKAGE / room).glob("*.py"))
        if path.stem not in others
    ]
    return [*rooms, *(PACKAGE / name for name in PURE)]


@pytest.mark.parametrize("path", pure(), ids=shown)
def test_what_is_pure_loads_nothing_that_is_not(path: Path) -> None:
    for module in (path, *reached(path)):
        found = {name for name in imports(module) if is_within(name, IMPURE)}
        assert not found | impure_calls(module), f"by {shown(module)}"


def test_what_is_not_pure_is_seen() -> None:
    assert any(is_within(name, IMPURE) for name in imports(PACKAGE / "config/load.py"))
    assert impure_calls(PACKAGE / "lab/machine.py") == {"read_text", "write_text"}
    assert PACKAGE / "config/model.py" in reached(PACKAGE / "plan/placement.py")


# ---------------------------------------------------------------- CONTRIBUTING.md


def test_what_contributors_are_told_of_is_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    tests = {node.name for path in FILES for node in ast.walk(parsed(path)) if isinstance(node, FUNCTIONS)}
    named = set(re.findall(r"`(test_\w+)`", text))
    assert len(named) > 10
    assert named <= tests
    paths = re.findall(r"(?:ipfod|tests|docs|dbus)/[\w/.*]*\w", text)
    assert [path for path in paths if not any(ROOT.glob(path))] == []


# ---------------------------------------------------------------- reading imports


def imported(path: Path) -> set[Path]:
    """The modules of ipfod that a module imports."""
    return {module_of(target) for target in own_imports(path)}


def reached(path: Path) -> set[Path]:
    """The modules of ipfod that are loaded with a module."""
    found: set[Path] = set()
    open_ends = [path]
    while open_ends:
        new = imported(open_ends.pop()) - found
        found |= new
        open_ends += new
    return found


def cycle(known: Mapping[str, set[str]]) -> list[str]:
    """One way round, [] if there is none."""
    try:
        TopologicalSorter(known).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def impure_calls(path: Path) -> set[str]:
    """What a module calls, by the name alone, that reads, writes or asks for the time."""
    called = {node.func for node in ast.walk(parsed(path)) if isinstance(node, ast.Call)}
    names = {func.id for func in called if isinstance(func, ast.Name)}
    return IMPURE_CALLS & (names | {func.attr for func in called if isinstance(func, ast.Attribute)})
