"""Preemption policies that were ordered: which one wins, and where each says that it comes from."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plans import HERE, NO_ANCHORS, failover, failover_texts

from ipfod.config.model import Preemption, PreemptionMode
from ipfod.plan.model import FailoverPlan, Origin, Setting
from ipfod.plan.placement import (
    CLAIM_HOLDING,
    CLAIM_TAKING,
    PRIORITY_MAX,
    RANK_STEP,
    hashed_priority,
    priorities,
)
from ipfod.plan.planning import WHOLE_FAILOVER, Overrides, plan_failover

TWO = 'virtual_ips = "10.1.0.1-2"\npreemption = "preempt_delay 40"'
FROM_FILE = Setting(Preemption(PreemptionMode.PREEMPT_DELAY, 40))
PREEMPT = Preemption(PreemptionMode.PREEMPT)
NOPREEMPT = Preemption(PreemptionMode.NOPREEMPT)


def ordered(policy: Preemption) -> Setting:
    return Setting(policy, Origin.RUNTIME)


def planned(overrides: Overrides, toml: str = TWO) -> FailoverPlan:
    return plan_failover(failover(toml), HERE, NO_ANCHORS, overrides)


@pytest.mark.parametrize(
    ("overrides", "whole", "groups"),
    [
        ({}, FROM_FILE, [FROM_FILE, FROM_FILE]),
        ({WHOLE_FAILOVER: NOPREEMPT}, ordered(NOPREEMPT), [ordered(NOPREEMPT)] * 2),
        ({2: NOPREEMPT}, FROM_FILE, [FROM_FILE, ordered(NOPREEMPT)]),
        (
            {WHOLE_FAILOVER: NOPREEMPT, 1: PREEMPT},
            ordered(NOPREEMPT),
            [ordered(PREEMPT), ordered(NOPREEMPT)],
        ),
        # An order that says what the file says is an order all the same: it holds when the file changes.
        ({1: FROM_FILE.preemption}, FROM_FILE, [ordered(FROM_FILE.preemption), FROM_FILE]),
        ({7: NOPREEMPT}, FROM_FILE, [FROM_FILE, FROM_FILE]),
    ],
)
def test_a_group_s_order_wins_over_its_failover_s_and_that_over_the_file(
    overrides: Overrides, whole: Setting, groups: list[Setting]
) -> None:
    plan = planned(overrides)
    assert plan.preemption == whole
    assert [group.preemption for group in plan.groups] == groups


def test_origins_are_spelled_as_the_contract_has_them() -> None:
    assert [str(origin) for origin in Origin] == ["configuration", "runtime"]


policies = st.builds(Preemption, st.just(PreemptionMode.PREEMPT_DELAY), st.integers(0, 1000)) | st.sampled_from(
    [PREEMPT, NOPREEMPT]
)


@settings(deadline=None)
@given(toml=failover_texts(), overrides=st.dictionaries(st.integers(0, 14), policies))
def test_orders_change_the_policies_and_nothing_else(toml: str, overrides: dict[int, Preemption]) -> None:
    plain, steered = planned({}, toml), planned(overrides, toml)
    assert steered.preemption.preemption == overrides.get(WHOLE_FAILOVER, plain.preemption.preemption)
    for before, after in zip(plain.groups, steered.groups, strict=True):
        assert replace(after, preemption=before.preemption) == before
        assert after.preemption.preemption == overrides.get(after.index, steered.preemption.preemption)
        is_ordered = bool(overrides.keys() & {WHOLE_FAILOVER, after.index})
        assert after.preemption.origin is (Origin.RUNTIME if is_ordered else Origin.CONFIGURATION)
    assert replace(steered, groups=plain.groups, preemption=plain.preemption) == plain


# ---------------------------------------------------------------- room for those who take over by order


def test_claims_are_above_all_planned_priorities_and_within_the_protocol_s() -> None:
    assert PRIORITY_MAX < CLAIM_HOLDING < CLAIM_TAKING <= 254  # RFC 9568 5.2.4: 255 is the address owner's


@settings(deadline=None)
@given(toml=failover_texts())
def test_no_plan_without_a_fixed_priority_reaches_a_claim(toml: str) -> None:
    configured = replace(failover(toml), priority=None)
    assert all(group.priority < CLAIM_HOLDING for group in plan_failover(configured, HERE, NO_ANCHORS).groups)


@pytest.mark.parametrize("count", [1, 2, 26, 27, 251, 252])
def test_listed_nodes_stay_below_the_claims_and_above_nothing_however_many(count: int) -> None:
    nodes = [HERE.addresses[0] + number for number in range(count)]
    found = sorted(priorities(failover('virtual_ips = "10.9.0.1"'), 1, nodes).values(), reverse=True)
    assert found[0] == PRIORITY_MAX
    assert found[-1] >= 1
    assert len(set(found)) == count
    if 1 < count <= 26:
        assert found[0] - found[1] == RANK_STEP


@pytest.mark.parametrize("virtual_router_id", range(1, 256, 7))
def test_hashed_priorities_stay_below_the_claims(virtual_router_id: int) -> None:
    assert all(hashed_priority(address, virtual_router_id) < CLAIM_HOLDING for address in HERE.addresses)
