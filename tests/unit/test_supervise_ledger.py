"""The ledger: durable before it counts; a file that cannot be written is said, and tried again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ipfod.config.model import Preemption, PreemptionMode
from ipfod.node import statefile
from ipfod.node.boot import this_boot
from ipfod.node.events import Event, ProblemsSeen
from ipfod.node.model import Problem, ProblemCode
from ipfod.node.orders import Maintenance, Orders
from ipfod.node.statefile import Taken
from ipfod.supervise.ledger import Ledger

ORDERS = Orders(preemption={"web": {0: Preemption(PreemptionMode.NOPREEMPT)}})


class Kept:
    """A ledger, its file and what it said."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.events: list[Event] = []
        self.ledger = Ledger(self.events.append, file, file.with_name("boot"))

    def block(self) -> None:
        """A directory where the temporary file goes: also root cannot write it."""
        self.file.with_name("state.json.new").mkdir(parents=True)

    def unblock(self) -> None:
        self.file.with_name("state.json.new").rmdir()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong according to the last event."""
        last = self.events[-1]
        assert isinstance(last, ProblemsSeen)
        return last.problems


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "lib" / "state.json")


def test_a_first_start_finds_nothing_and_says_nothing(kept: Kept) -> None:
    kept.ledger.load()
    assert kept.ledger.taken == Taken()
    assert kept.events == []
    assert not kept.file.exists()


def test_an_order_is_in_the_file_when_it_counts(kept: Kept) -> None:
    kept.ledger.order(ORDERS)
    assert kept.ledger.orders == ORDERS
    assert statefile.load(kept.file, this_boot(kept.file.with_name("boot"))) == (Taken(orders=ORDERS), "")
    assert kept.events == []


def test_orders_leave_what_was_taken_and_the_other_way_round(kept: Kept) -> None:
    kept.ledger.save(Taken(modules=("ip_vs",)))
    kept.ledger.order(ORDERS)
    kept.ledger.save(replace(kept.ledger.taken, modules=()))
    other = Kept(kept.file)
    other.ledger.load()
    assert other.ledger.taken == Taken(orders=ORDERS)


def test_the_same_again_does_not_touch_the_file(kept: Kept) -> None:
    kept.ledger.order(ORDERS)
    before = kept.file.stat().st_ino
    kept.ledger.order(replace(ORDERS))
    assert kept.file.stat().st_ino == before
    kept.ledger.order(Orders())
    assert kept.file.stat().st_ino != before


def test_a_damaged_file_is_a_problem_with_file_text_and_hint(kept: Kept) -> None:
    kept.file.parent.mkdir()
    kept.file.write_text("{")
    kept.ledger.load()
    [problem] = kept.problems
    assert (problem.code, problem.object) == (ProblemCode.STATE_DAMAGED, str(kept.file))
    assert problem.text.startswith(f"{kept.file} was damaged (")
    assert problem.hint
    assert kept.ledger.taken == Taken()


def test_an_order_counts_although_its_file_cannot_be_written(kept: Kept) -> None:
    kept.block()
    kept.ledger.order(ORDERS)
    assert kept.ledger.orders == ORDERS
    [problem] = kept.problems
    assert problem.text == f"{kept.file} cannot be written: Is a directory"
    assert problem.hint == "see that the disk has room and can be written; it is tried again"


def test_what_could_not_be_written_is_written_with_the_next_save_of_the_same_and_is_over(kept: Kept) -> None:
    kept.block()
    kept.ledger.order(ORDERS)
    kept.ledger.order(ORDERS)
    assert kept.problems
    kept.unblock()
    kept.ledger.order(ORDERS)
    assert statefile.load(kept.file, this_boot(kept.file.with_name("boot"))) == (Taken(orders=ORDERS), "")
    assert kept.problems == ()
    told = len(kept.events)
    kept.ledger.order(Orders())
    assert len(kept.events) == told  # nothing is over twice


def test_damage_that_was_found_stays_a_problem_when_writing_works_again(kept: Kept) -> None:
    kept.file.parent.mkdir()
    kept.file.write_text("{")
    kept.ledger.load()
    damage = kept.problems
    kept.block()
    kept.ledger.order(Orders(maintenance=Maintenance("disk", 0, 1)))
    assert kept.problems != damage
    kept.unblock()
    kept.ledger.order(ORDERS)
    assert kept.problems == damage
