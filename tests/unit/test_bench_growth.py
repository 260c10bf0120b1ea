"""The benchmark's costs: what a group and a virtual IP add, and what that makes of another size."""

from __future__ import annotations

import pytest
from bench import growth
from bench.configs import Size
from bench.model import IPFOD, Row, Series


def measured(size: Size) -> float:
    """Something that costs 7, 0.5 a group and 0.01 a virtual IP."""
    return 7.0 + 0.5 * size.groups + 0.01 * size.groups * size.each


def test_the_costs_are_those_that_explain_the_figures() -> None:
    found = growth.cost(*map(measured, (growth.FEW, growth.GROUPS, growth.VIRTUAL_IPS)))
    assert (found.fixed, found.group, found.virtual_ip) == pytest.approx((7.0, 0.5, 0.01))
    for size in growth.SIZES:
        assert found.of(size) == pytest.approx(measured(size))


def test_the_table_has_every_size_and_puts_paper_beside_the_measurement() -> None:
    rows = [Row("plan", "plan", str(size), "ms", (Series(IPFOD, (measured(size),)),)) for size in growth.SIZES]
    sizes, costs = growth.markdown(rows).split("\n\n")
    assert sizes.splitlines()[0].split(" | ")[1:] == [*map(str, growth.SIZES[:-1]), f"{growth.SIZES[-1]} |"]
    assert sizes.splitlines()[2].startswith("| plan, ms | 7.51 | 7.66 | 8.14 | 13.6 |")
    assert costs.splitlines()[-1] == "| plan, ms | 7.00 | 50.0 | 10.0 | 298 | 298 |"
