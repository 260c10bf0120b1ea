"""Stances: kept in the ledger, in force at once, over when their time is or their group's state says so."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ipfod.node import statefile
from ipfod.node.boot import this_boot
from ipfod.node.model import State, Transition
from ipfod.node.orders import Stance, StanceKind
from ipfod.plan.model import GroupKey
from ipfod.supervise import stances as under_test
from ipfod.supervise.ledger import Ledger
from ipfod.supervise.stances import HOLDING, TAKING, Stances, boot_time_s

FIRST, SECOND, OTHER = GroupKey("web", 1), GroupKey("web", 2), GroupKey("db", 1)
CLAIM = Stance(StanceKind.CLAIM, 253)
PATIENCE_S = 10.0


class Kept:
    """Stances over a ledger, and which groups were steered."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.ledger = Ledger(lambda event: None, file, file.with_name("boot"))
        self.ledger.load()
        self.steered: list[GroupKey] = []
        self.changed = asyncio.Event()
        self.stances = Stances(self.ledger, self.steer)

    def steer(self, key: GroupKey) -> None:
        assert (
            statefile.load(self.file, this_boot(self.file.with_name("boot")))[0].orders == self.ledger.orders
        ), "it counts before it is durable"
        self.steered.append(key)
        self.changed.set()


class Clock:
    """CLOCK_BOOTTIME as the tests want it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 1000.0
        monkeypatch.setattr(under_test, "boot_time_s", lambda: self.now_s)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
async def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "state.json")


def yielding(until_s: float) -> Stance:
    return Stance(StanceKind.YIELD, 1, until_s)


def change(key: GroupKey, old: State, new: State) -> Transition:
    return Transition(1, key, "", old, new, "")


async def test_a_stance_is_durable_then_in_force(kept: Kept) -> None:
    kept.stances.set(FIRST, CLAIM)
    assert kept.stances.get(FIRST) == CLAIM
    assert kept.stances.get(SECOND) is None
    assert kept.steered == [FIRST]


async def test_the_same_stance_again_steers_nothing(kept: Kept) -> None:
    kept.stances.set(FIRST, None)
    kept.stances.set(FIRST, CLAIM)
    kept.stances.set(FIRST, Stance(StanceKind.CLAIM, 253))
    assert kept.steered == [FIRST]
    kept.stances.set(FIRST, None)
    assert kept.steered == [FIRST, FIRST]


async def test_a_stance_outlives_a_restart(kept: Kept) -> None:
    kept.stances.set(FIRST, CLAIM)
    assert Kept(kept.file).stances.get(FIRST) == CLAIM


async def test_a_claim_goes_with_the_group_and_only_with_it(kept: Kept) -> None:
    kept.stances.set(FIRST, CLAIM)
    kept.stances.set(OTHER, CLAIM)
    kept.stances.follow(change(SECOND, State.MASTER, State.BACKUP))
    kept.stances.follow(change(FIRST, State.BACKUP, State.MASTER))
    assert kept.stances.get(FIRST) == CLAIM
    kept.stances.follow(change(FIRST, State.MASTER, State.FAULT))
    assert kept.stances.get(FIRST) is None
    assert kept.stances.get(OTHER) == CLAIM
    assert kept.steered == [FIRST, OTHER, FIRST]


async def test_what_is_over_is_dropped_at_its_end_and_not_before(kept: Kept, clock: Clock) -> None:
    kept.stances.set(FIRST, yielding(1010.0))
    kept.stances.set(SECOND, yielding(1020.0))
    kept.stances.set(OTHER, CLAIM)
    clock.now_s = 1009.9
    kept.stances.expire()
    assert kept.stances.get(FIRST) is not None
    clock.now_s = 1010.0
    kept.stances.expire()
    assert kept.stances.get(FIRST) is None
    assert kept.stances.get(SECOND) is not None
    clock.now_s = 1e9
    kept.stances.expire()
    assert kept.stances.get(SECOND) is None
    assert kept.stances.get(OTHER) == CLAIM  # without an end there is none
    assert kept.steered[3:] == [FIRST, SECOND]
    kept.stances.close()


async def test_what_ended_while_no_ipfod_ran_is_dropped_when_it_starts(kept: Kept, clock: Clock) -> None:
    kept.stances.set(FIRST, yielding(1010.0))
    kept.stances.close()
    clock.now_s = 1011.0
    started = Kept(kept.file)
    assert started.stances.get(FIRST) is not None
    started.stances.recall()
    assert started.stances.get(FIRST) is None
    assert started.steered == [FIRST]


async def test_a_take_over_that_was_cut_short_claims_no_more_than_it_takes_to_hold(kept: Kept) -> None:
    kept.stances.set(FIRST, TAKING)
    kept.stances.close()
    started = Kept(kept.file)
    started.stances.recall()
    assert started.stances.get(FIRST) == HOLDING
    assert started.steered == [FIRST]


async def test_it_ends_by_itself_the_earliest_first(kept: Kept) -> None:
    now = boot_time_s()
    kept.stances.set(FIRST, yielding(now + 0.4))
    kept.stances.set(SECOND, yielding(now + 0.1))
    kept.steered.clear()
    async with asyncio.timeout(PATIENCE_S):
        while len(kept.steered) < 2:
            kept.changed.clear()
            await kept.changed.wait()
    assert kept.steered == [SECOND, FIRST]
    assert boot_time_s() >= now + 0.4
    assert statefile.load(kept.file, this_boot(kept.file.with_name("boot")))[0].orders.stances == {}


async def test_after_close_nothing_ends_by_itself(kept: Kept) -> None:
    kept.stances.set(FIRST, yielding(boot_time_s() + 0.05))
    kept.stances.close()
    kept.stances.close()
    await asyncio.sleep(0.2)
    assert kept.stances.get(FIRST) is not None
    assert kept.steered == [FIRST]


async def test_an_end_far_away_is_no_trouble(kept: Kept) -> None:
    kept.stances.set(FIRST, yielding(2.0**52))
    await asyncio.sleep(0)
    assert kept.stances.get(FIRST) is not None
    kept.stances.close()
