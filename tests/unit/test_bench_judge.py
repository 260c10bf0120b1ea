"""The benchmark's figures and verdicts: three figures of samples, limits of the contract."""

from __future__ import annotations

import pytest
from bench.judge import ratio, shortfalls, spread, verdict
from bench.model import Limit, Spread
from bench_rows import row


def test_samples_become_minimum_median_and_maximum() -> None:
    assert spread([3.0]) == Spread(3.0, 3.0, 3.0)
    assert spread([5.0, 1.0, 2.0]) == Spread(1.0, 2.0, 5.0)
    assert spread([4.0, 1.0, 2.0, 3.0]) == Spread(1.0, 2.5, 4.0)
    with pytest.raises(ValueError, match="no samples"):
        spread([])


def test_the_ratio_is_that_of_the_medians() -> None:
    assert ratio(row([2.0, 4.0, 90.0], [1.0, 2.0, 3.0])) == 2.0
    assert ratio(row([2.0])) is None
    assert ratio(row([], [2.0])) is None
    assert ratio(row([2.0], [0.0])) is None  # plain keepalived has lost nothing


def test_every_run_must_be_within_the_limit() -> None:
    limit = Limit(at_most=400.0)
    assert verdict(row([399.0, 400.0], limit=limit)) == "ok"
    assert verdict(row([1.0, 1.0, 401.0], limit=limit)) == "SHORT: 401 > 400 ms"
    assert verdict(row([0.0, 0.0], limit=Limit(at_most=0.0))) == "ok"
    assert verdict(row([0.0, 5.0], limit=Limit(at_most=0.0))) == "SHORT: 5 > 0 ms"


def test_a_typical_limit_binds_the_median_alone() -> None:
    limit = Limit(at_most=5.0, typical=True)
    assert verdict(row([4.0, 5.0, 90.0], limit=limit)) == "ok"
    assert verdict(row([4.0, 6.0, 90.0], limit=limit)) == "SHORT: 6 > 5 ms"


def test_limit_and_ratio_must_both_hold() -> None:
    limit = Limit(at_most=400.0, ratio=1.05)
    assert verdict(row([105.0], [100.0], limit=limit)) == "ok"
    assert verdict(row([110.0], [100.0], limit=limit)) == "SHORT: 1.100 > 1.05 x plain"
    assert shortfalls(row([500.0], [100.0], limit=limit)) == ["500 > 400 ms", "5.000 > 1.05 x plain"]


def test_of_a_relative_limit_one_part_is_enough() -> None:
    limit = Limit(at_most=15.0, ratio=1.05, relative=True)
    assert verdict(row([100.0], [100.0], limit=limit)) == "ok"
    assert verdict(row([12.0], [4.0], limit=limit)) == "ok"
    assert shortfalls(row([120.0], [100.0], limit=limit)) == ["120 > 15 ms", "1.200 > 1.05 x plain"]
    assert shortfalls(row([120.0], limit=limit)) == ["120 > 15 ms"]


def test_what_must_not_be_is_a_shortfall_however_fast_it_was() -> None:
    found = row([1.0], limit=Limit(at_most=30.0), faults=("the VIP was on both nodes",))
    assert verdict(found) == "SHORT: the VIP was on both nodes"
    relative = Limit(at_most=30.0, ratio=1.05, relative=True)
    assert shortfalls(row([90.0], [90.0], limit=relative, faults=("gone",))) == ["gone"]


def test_what_has_no_limit_or_no_samples_is_not_called_ok() -> None:
    assert verdict(row([1.0])) == "-"
    assert verdict(row([], [1.0], limit=Limit(at_most=1.0))) == "SHORT: not measured"
