"""What is cached is made once, appears when it is complete, and a failure leaves nothing."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from node.cache import UNFINISHED, cached


def names(home: Path) -> list[str]:
    return sorted(path.name for path in home.iterdir())


def test_it_is_made_once_for_each_recipe(tmp_path: Path) -> None:
    made: list[Path] = []

    def make(directory: Path) -> None:
        (directory / "file").write_text("text")
        made.append(directory)

    first = cached("thing", "recipe", make, home=tmp_path)
    assert cached("thing", "recipe", make, home=tmp_path) == first
    other = cached("thing", "other recipe", make, home=tmp_path)
    assert len(made) == 2
    assert other != first
    assert (first / "file").read_text() == (other / "file").read_text() == "text"


def test_two_that_want_it_at_once_make_it_once(tmp_path: Path) -> None:
    made: list[Path] = []

    def make(directory: Path) -> None:
        made.append(directory)
        time.sleep(0.2)
        (directory / "complete").touch()

    def want() -> None:
        found.append((cached("thing", "recipe", make, home=tmp_path) / "complete").exists())

    found: list[bool] = []
    threads = [threading.Thread(target=want) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True, True, True]
    assert len(made) == 1


def test_a_failure_leaves_nothing_but_the_lock(tmp_path: Path) -> None:
    def fail(directory: Path) -> None:
        (directory / "half").touch()
        raise RuntimeError("no mirror")

    with pytest.raises(RuntimeError, match="no mirror"):
        cached("thing", "recipe", fail, home=tmp_path)
    assert names(tmp_path) == ["thing.lock"]


def test_what_a_killed_maker_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / f"thing-0123{UNFINISHED}").mkdir()
    (tmp_path / f"another-0123{UNFINISHED}").mkdir()
    done = cached("thing", "recipe", Path.stat, home=tmp_path)  # type: ignore[arg-type]  # makes nothing
    assert names(tmp_path) == [f"another-0123{UNFINISHED}", done.name, "thing.lock"]
