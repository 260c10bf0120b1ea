"""Killed by strace at any system call of a write, ipfod leaves the old content or the new one."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from ipfod.node import historyfile, statefile
from ipfod.node.model import State, Transition
from ipfod.node.orders import Maintenance, Orders
from ipfod.plan.model import GroupKey

BOOT = "5f0c" * 8
OLD = statefile.Taken(modules=("ip_vs",), orders=Orders(maintenance=Maintenance("new disk", 1, 0)))
NEW = replace(OLD, modules=("ip_vs", "dummy"))
KEY = GroupKey("web", 1)
BEFORE, AFTER = (Transition(usec, KEY, "web_VIP_1", State.BACKUP, State.MASTER, "why") for usec in (1, 2))

WRITE_STATE = f"""
import sys
from dataclasses import replace
from pathlib import Path
from ipfod.node import statefile
path = Path(sys.argv[1])
taken, damage = statefile.load(path, {BOOT!r})
assert not damage and taken.orders.maintenance
statefile.save(path, replace(taken, modules=("ip_vs", "dummy")), {BOOT!r})
"""
WRITE_HISTORY = """
import sys
from pathlib import Path
from ipfod.node import historyfile
from ipfod.node.model import State, Transition
from ipfod.plan.model import GroupKey
path = Path(sys.argv[1])
found, _ = historyfile.load(path, 9)
new = Transition(2, GroupKey("web", 1), "web_VIP_1", State.BACKUP, State.MASTER, "why")
{}
"""
HISTORIES = {
    "append": WRITE_HISTORY.format("historyfile.append(path, [new])"),
    "anew": WRITE_HISTORY.format("historyfile.save(path, [*found, new])"),
}
KILLED = 128 + 9


def traced(program: str, path: Path, *options: str) -> tuple[int, list[str]]:
    """Run a program on a file; answers its exit status and the system calls that touched the file, in order."""
    log = path.parent.with_suffix(".log")
    touched = [
        option for each in (path, path.with_name(path.name + ".new"), path.parent) for option in ("-P", each)
    ]
    argv = ["strace", "-f", "-qq", "-o", log, *touched, *options, sys.executable, "-c", program, path]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    code = done.returncode if done.returncode >= 0 else 128 - done.returncode  # strace ends as its child did
    calls = re.findall(r"^\d+ +(\w+)\(", log.read_text(), re.MULTILINE)
    assert code in (0, KILLED), done.stderr
    return code, calls


def moments(calls: list[str]) -> list[tuple[str, int]]:
    """Each call, and the how manyth of its name it is: strace counts so."""
    seen: Counter[str] = Counter()
    found = []
    for call in calls:
        seen[call] += 1
        found.append((call, seen[call]))
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lib" / "file"


def test_a_state_file_is_on_disk_before_it_counts_and_its_name_after(path: Path) -> None:
    statefile.save(path, OLD, BOOT)
    code, calls = traced(WRITE_STATE, path)
    assert code == 0
    steps = [call for call in calls if re.fullmatch(r"write|fsync|renameat2?|rename", call)]
    assert [step[:6] for step in steps] == ["write", "fsync", "rename", "fsync"]


def test_whenever_the_writing_of_the_state_is_cut_off_it_is_the_old_or_the_new_one(path: Path) -> None:
    statefile.save(path, OLD, BOOT)
    found = set()
    for call, number in moments(traced(WRITE_STATE, path)[1]):
        statefile.save(path, OLD, BOOT)
        code, _ = traced(WRITE_STATE, path, "-e", f"inject={call}:signal=KILL:when={number}")
        assert code == KILLED, (call, number)
        taken, damage = statefile.load(path, BOOT)
        assert damage == "", (call, number)
        assert taken in (OLD, NEW), (call, number)
        assert taken.orders.maintenance == OLD.orders.maintenance
        found.add(taken.modules)
        statefile.save(path, NEW, BOOT)  # what was left is in nobody's way
        assert [each.name for each in path.parent.iterdir()] == ["file"]
    assert found == {OLD.modules, NEW.modules}


@pytest.mark.parametrize("how", HISTORIES)
def test_whenever_the_writing_of_the_history_is_cut_off_what_was_there_is_there(path: Path, how: str) -> None:
    historyfile.save(path, [BEFORE])
    found = set()
    for call, number in moments(traced(HISTORIES[how], path)[1]):
        historyfile.save(path, [BEFORE])
        code, _ = traced(HISTORIES[how], path, "-e", f"inject={call}:signal=KILL:when={number}")
        assert code == KILLED, (call, number)
        transitions, whole = historyfile.load(path, 9)
        assert whole
        assert transitions in ((BEFORE,), (BEFORE, AFTER)), (call, number)
        found.add(len(transitions))
    assert found == {1, 2}


@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
def test_a_disk_that_fails_leaves_the_old_state_in_force(path: Path, call: str) -> None:
    statefile.save(path, OLD, BOOT)
    program = f"""
from ipfod.errors import Failed
try:
    {WRITE_STATE.replace(chr(10), chr(10) + "    ")}
except Failed as error:
    assert str(error).endswith("cannot be written: Input/output error"), error
else:
    raise AssertionError
"""
    code, _ = traced(program, path, "-e", f"inject={call}:error=EIO:when=1")
    assert code == 0
    assert statefile.load(path, BOOT) == (OLD, "")
