"""Rise and fall, against a model that looks at the last verdicts only."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ipfod.checks.hysteresis import Hysteresis
from ipfod.node.model import CheckState

PASSING, FAILING = CheckState.PASSING, CheckState.FAILING


def states(said: str, *, rise: int, fall: int) -> str:
    """Verdicts and states as letters, + and -."""
    hysteresis = Hysteresis(rise=rise, fall=fall)
    return "".join("+" if hysteresis.feed(letter == "+") is PASSING else "-" for letter in said)


def test_nothing_is_known_before_the_first_verdict() -> None:
    assert Hysteresis(rise=1, fall=1).state is CheckState.PENDING


def test_first_verdict_decides_at_once() -> None:
    assert states("+", rise=5, fall=5) == "+"
    assert states("-", rise=5, fall=5) == "-"


def test_state_changes_after_so_many_in_a_row_only() -> None:
    assert states("+--+---+", rise=1, fall=3) == "++++++-+"
    assert states("-++-+++-", rise=3, fall=1) == "------+-"
    assert states("+-+-", rise=1, fall=1) == "+-+-"


def test_progress_is_counted() -> None:
    hysteresis = Hysteresis(rise=2, fall=3)
    seen = []
    for letter in "+--+---++":
        hysteresis.feed(letter == "+")
        seen.append((hysteresis.count, hysteresis.needed))
    assert [count for count, _ in seen] == [0, 1, 2, 0, 1, 2, 0, 1, 0]
    assert seen[1] == (1, 3)
    assert seen[7] == (1, 2)


@given(st.lists(st.booleans(), min_size=1), st.integers(1, 4), st.integers(1, 4))
def test_state_is_that_of_the_last_run_that_was_long_enough(said: list[bool], rise: int, fall: int) -> None:
    hysteresis = Hysteresis(rise=rise, fall=fall)
    for end, passing in enumerate(said, start=1):
        before = hysteresis.state
        state = hysteresis.feed(passing)
        if before is CheckState.PENDING:
            expected = PASSING if passing else FAILING
        elif before is PASSING:
            expected = FAILING if end >= fall and not any(said[end - fall : end]) else PASSING
        else:
            expected = PASSING if end >= rise and all(said[end - rise : end]) else FAILING
        assert state is expected
