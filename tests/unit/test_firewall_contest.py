"""Fights over a rule: free at first, slower and slower then, over in the end."""

from __future__ import annotations

from ipfod.firewall.contest import CALM_S, FREE_TIMES, FREE_WITHIN_S, PAUSE_MAX_S, Contest

CHAIN = "inet filter input"


def test_a_few_times_are_free() -> None:
    contest = Contest()
    for number in range(FREE_TIMES):
        contest.put_back([CHAIN], number * 0.1)
        assert contest.resting(number * 0.1) == contest.fought(number * 0.1) == frozenset()
    assert contest.next_s(1.0) is None


def test_the_same_times_over_a_longer_time_are_free_for_ever() -> None:
    contest = Contest()
    for number in range(10 * FREE_TIMES):
        now = number * FREE_WITHIN_S / FREE_TIMES * 1.01
        contest.put_back([CHAIN], now)
        assert contest.resting(now) == frozenset()


def test_each_pause_is_twice_the_last_one_up_to_a_limit() -> None:
    contest = Contest()
    now, pauses = 0.0, []
    for _ in range(FREE_TIMES + 10):
        contest.put_back([CHAIN], now)
        if contest.resting(now):
            ready = contest.next_s(now)
            assert ready is not None
            pauses.append(ready - now)
            assert contest.resting(ready) == frozenset()
            now = ready
    assert pauses[:4] == [0.25, 0.5, 1.0, 2.0]
    assert pauses[-1] == PAUSE_MAX_S
    assert contest.fought(now) == {CHAIN}


def test_it_is_over_when_nobody_has_removed_it_for_long_enough() -> None:
    contest = Contest()
    for _ in range(FREE_TIMES + 1):
        contest.put_back([CHAIN], 5.0)
    assert contest.fought(5.0 + CALM_S - 0.1) == {CHAIN}
    assert contest.next_s(20.0) == 5.0 + CALM_S
    assert contest.fought(5.0 + CALM_S) == frozenset()
    assert contest.next_s(5.0 + CALM_S) is None
    contest.put_back([CHAIN], 100.0)
    assert contest.resting(100.0) == frozenset(), "it begins anew"


def test_one_place_does_not_slow_another_down() -> None:
    contest = Contest()
    for _ in range(FREE_TIMES + 1):
        contest.put_back([CHAIN], 1.0)
    contest.put_back(["other", "other"], 1.0)
    assert contest.resting(1.0) == {CHAIN}
