"""The history file survives a round trip, and whatever happens to it costs no more than the lines concerned."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipfod.errors import Failed
from ipfod.node.historyfile import REASON_MAX, append, load, save
from ipfod.node.model import State, Transition
from ipfod.plan.model import GroupKey

MOST = 1000

transitions = st.builds(
    Transition,
    usec=st.integers(0, 2**63 - 1),
    group=st.builds(GroupKey, st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True), st.integers(0, 65536)),
    group_name=st.from_regex(r"[A-Za-z0-9_]{1,80}", fullmatch=True),
    old=st.sampled_from(State),
    new=st.sampled_from(State),
    reason=st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
)


def some(count: int) -> tuple[Transition, ...]:
    key = GroupKey("web", 1)
    return tuple(
        Transition(usec, key, "web_VIP_1", State.BACKUP, State.MASTER, f"reason {usec} \u00e4")
        for usec in range(count)
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lib" / "history"


@pytest.fixture(scope="module")
def anywhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file for all examples of a property."""
    return tmp_path_factory.mktemp("history") / "history"


@settings(max_examples=200, deadline=None)
@given(first=st.lists(transitions, max_size=4), then=st.lists(transitions, max_size=4))
def test_what_is_saved_and_added_is_read_again(
    anywhere: Path, first: list[Transition], then: list[Transition]
) -> None:
    save(anywhere, first)
    append(anywhere, then)
    assert load(anywhere, MOST) == ((*first, *then), True)


def test_a_file_that_is_not_there_is_no_history_and_is_to_be_made(path: Path) -> None:
    assert load(path, MOST) == ((), False)
    with pytest.raises(Failed, match="cannot be written: No such file"):
        append(path, some(1))
    save(path, some(1))
    assert load(path, MOST) == (some(1), True)


def test_only_root_may_read_it(path: Path) -> None:
    save(path, some(1))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_last_ones_are_read(path: Path) -> None:
    save(path, some(1500))
    found, whole = load(path, MOST)
    assert found == some(1500)[500:]
    assert not whole  # it is to be written anew


def test_a_file_cut_at_any_length_loses_the_line_it_is_cut_in(path: Path) -> None:
    save(path, some(3))
    text = path.read_bytes()
    ends = [end for end, byte in enumerate(text, start=1) if byte == ord("\n")]
    for length in range(len(text) + 1):
        path.write_bytes(text[:length])
        found, whole = load(path, MOST)
        lines = sum(end <= length for end in ends)
        complete = length + 1 in ends  # all but the newline
        assert found == some(3)[: lines + complete]
        assert whole is (length in (0, *ends))


@settings(max_examples=300, deadline=None)
@given(junk=st.binary(max_size=200))
def test_whatever_else_is_in_it_is_left_out(anywhere: Path, junk: bytes) -> None:
    save(anywhere, some(1))
    anywhere.write_bytes(anywhere.read_bytes() + junk + b"\n" + anywhere.read_bytes())
    found, _ = load(anywhere, MOST)
    assert found == some(1) * 2


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("usec", -1),
        ("usec", 2**63),
        ("usec", True),
        ("usec", "1"),
        ("usec", 1.5),
        ("failover", "../etc"),
        ("failover", "a\n"),
        ("failover", 1),
        ("group", 65537),
        ("name", "web VIP"),
        ("name", None),
        ("old", "gone"),
        ("new", []),
        ("reason", 1),
    ],
)
def test_a_line_with_a_value_that_cannot_be_is_left_out(path: Path, key: str, value: object) -> None:
    save(path, some(2))
    first, second = path.read_text().splitlines()
    path.write_text(f"{json.dumps({**json.loads(first), key: value})}\n{second}\n")
    assert load(path, MOST) == (some(2)[1:], False)


def test_a_reason_is_cut_where_no_reason_is_longer(path: Path) -> None:
    [long] = some(1)
    save(path, [Transition(1, long.group, "web_VIP_1", State.BACKUP, State.FAULT, "x" * 5000)])
    [found] = load(path, MOST)[0]
    assert found.reason == "x" * REASON_MAX


def test_a_fifo_a_directory_and_a_link_in_its_place_hold_nothing_up(path: Path) -> None:
    path.parent.mkdir()
    os.mkfifo(path)
    assert load(path, MOST) == ((), False)
    with pytest.raises(Failed):
        append(path, some(1))
    save(path, some(1))
    assert load(path, MOST) == (some(1), True)
    path.unlink()
    path.mkdir()
    assert load(path, MOST) == ((), False)
    with pytest.raises(Failed, match="Is a directory"):
        save(path, some(1))
    path.rmdir()
    target = path.with_name("target")
    target.write_text("precious")
    path.symlink_to(target)
    with pytest.raises(Failed):
        append(path, some(1))
    save(path, some(1))
    assert target.read_text() == "precious"
