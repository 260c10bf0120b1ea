"""What track files say, when a stance ends, and what keeps a new preemption policy from moving anything."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plans import plan

from ipfod.config.model import Preemption, PreemptionMode
from ipfod.keepalived.track import FAULT, FIT
from ipfod.node.model import CheckState, GroupStatus, State, Transition
from ipfod.node.orders import Orders, Stance, StanceKind
from ipfod.plan.model import FailoverPlan, Group, GroupKey, Origin, Setting
from ipfod.supervise.preempting import PREEMPT, preempting, still
from ipfod.supervise.steering import outlives, track_value

NOPREEMPT = Preemption(PreemptionMode.NOPREEMPT)
DELAYED = Preemption(PreemptionMode.PREEMPT_DELAY, 60)
PLAN = plan('virtual_ips = "10.1.0.1-2"\npreemption = "nopreempt"')
GROUP = PLAN.groups[0]
FIRST, SECOND = (group.key for group in PLAN.groups)

groups = st.integers(1, 254).map(lambda priority: replace(GROUP, priority=priority))
stances = st.builds(Stance, st.sampled_from(StanceKind), st.integers(1, 254))
verdicts = st.sampled_from([None, *CheckState])
befores = st.none() | st.integers(-99999, 99999)


# ---------------------------------------------------------------- track files


@given(group=groups, verdict=verdicts, before=befores, stance=st.none() | stances)
def test_in_maintenance_nothing_else_counts(
    group: Group, verdict: CheckState | None, before: int | None, stance: Stance | None
) -> None:
    assert track_value(group, verdict, before=before, given_up=True, stance=stance) == FAULT


@given(group=groups, before=befores, stance=st.none() | stances)
def test_a_group_whose_check_fails_is_given_up_whatever_was_ordered(
    group: Group, before: int | None, stance: Stance | None
) -> None:
    assert track_value(group, CheckState.FAILING, before=before, given_up=False, stance=stance) == FAULT


@given(group=groups, verdict=st.sampled_from([CheckState.PASSING, CheckState.DISABLED]), stance=stances)
def test_a_stance_becomes_the_effective_priority_and_never_a_fault(
    group: Group, verdict: CheckState, stance: Stance
) -> None:
    value = track_value(group, verdict, before=None, given_up=False, stance=stance)
    effective = group.priority + value
    if stance.kind is StanceKind.CLAIM:  # never less than what the group has anyway
        assert effective == max(stance.priority, group.priority)
    else:
        assert effective == stance.priority
    assert value > FAULT


@pytest.mark.parametrize(
    ("before", "stance", "value"),
    [
        (None, None, FAULT),
        (None, Stance(StanceKind.CLAIM, 253), FAULT),
        (FAULT, Stance(StanceKind.CLAIM, 253), FAULT),
        (FAULT - 1, None, FAULT),
        (FIT, None, FIT),
        (-7, None, FIT),  # what was ordered before holds no longer
        (FIT, Stance(StanceKind.YIELD, 1), 1 - GROUP.priority),
    ],
)
def test_before_the_first_verdict_a_group_stays_fit_or_unfit_as_it_is(
    before: int | None, stance: Stance | None, value: int
) -> None:
    assert track_value(GROUP, None, before=before, given_up=False, stance=stance) == value


# ---------------------------------------------------------------- how long a stance holds


def survives(kind: StanceKind, old: State, new: State) -> bool:
    return outlives(Stance(kind, 7), Transition(0, FIRST, "web_VIP_1", old, new, ""))


def test_a_claim_holds_from_taking_the_group_until_it_is_lost() -> None:
    assert survives(StanceKind.CLAIM, State.BACKUP, State.MASTER)
    for lost in set(State) - {State.MASTER}:
        assert not survives(StanceKind.CLAIM, State.MASTER, lost)


def test_a_claim_holds_over_a_restart_of_ipfod_if_the_group_does() -> None:
    assert survives(StanceKind.CLAIM, State.UNKNOWN, State.MASTER)
    for lost in set(State) - {State.MASTER, State.UNKNOWN}:
        assert not survives(StanceKind.CLAIM, State.UNKNOWN, lost), "it was lost while no ipfod looked"


@pytest.mark.parametrize("old", State)
@pytest.mark.parametrize("new", State)
def test_a_yielding_group_yields_whatever_happens(old: State, new: State) -> None:
    assert survives(StanceKind.YIELD, old, new)


def test_waiting_ends_with_the_next_change_but_not_by_a_restart_of_ipfod() -> None:
    for new in (State.MASTER, State.FAULT, State.STOPPED):
        assert not survives(StanceKind.WAIT, State.BACKUP, new)
    assert survives(StanceKind.WAIT, State.UNKNOWN, State.BACKUP)


# ---------------------------------------------------------------- a new policy


def with_policy(policy: Preemption, *keys: GroupKey) -> FailoverPlan:
    """The plan with another policy for some groups."""
    changed = Setting(policy, Origin.RUNTIME)
    return replace(
        PLAN,
        groups=tuple(
            replace(group, preemption=changed) if group.key in keys else group for group in PLAN.groups
        ),
    )


def seen(group: Group, state: State, master_priority: int) -> GroupStatus:
    return GroupStatus(group, state, "", 1, master="10.0.0.2", master_priority=master_priority)


def stilled(
    policy: Preemption, state: State, master_priority: int, *, before: Stance | None = None
) -> Stance | None:
    """The stance of the first group after it gets a policy."""
    new = with_policy(policy, FIRST)
    statuses = {group.key: seen(group, state, master_priority) for group in new.groups}
    orders = still(PLAN, new, statuses, Orders().with_stance(FIRST, before))
    assert SECOND not in orders.stances, "its policy did not change"
    return orders.stances.get(FIRST)


@pytest.mark.parametrize("policy", [PREEMPT, DELAYED])
def test_a_backup_that_would_take_over_by_its_new_policy_waits_below_the_master(policy: Preemption) -> None:
    assert stilled(policy, State.BACKUP, 100) == Stance(StanceKind.WAIT, 99)


@pytest.mark.parametrize("policy", [PREEMPT, DELAYED])
@given(own=st.integers(1, 254), master=st.integers(1, 254))
def test_after_any_new_policy_no_backup_is_above_the_master(policy: Preemption, own: int, master: int) -> None:
    old = replace(PLAN, groups=(replace(GROUP, priority=own),))
    new = replace(old, groups=(replace(old.groups[0], preemption=Setting(policy, Origin.RUNTIME)),))
    orders = still(old, new, {FIRST: seen(new.groups[0], State.BACKUP, master)}, Orders())
    stance = orders.stances.get(FIRST)
    effective = own if stance is None else stance.priority
    # RFC 9568 6.4.2: an advert of the same priority is accepted, only a lower one is preempted.
    assert effective <= master
    assert effective >= 1


def test_waiting_needs_a_master_of_lower_priority() -> None:
    assert stilled(PREEMPT, State.BACKUP, GROUP.priority) is None
    assert stilled(PREEMPT, State.BACKUP, 0) is None  # nobody is heard
    for state in set(State) - {State.BACKUP}:
        assert stilled(PREEMPT, state, 100) is None


def test_with_nopreempt_nothing_has_to_wait() -> None:
    old = with_policy(PREEMPT, FIRST)
    waiting = Orders().with_stance(FIRST, Stance(StanceKind.WAIT, 99))
    statuses = {group.key: seen(group, State.BACKUP, 100) for group in PLAN.groups}
    assert still(old, PLAN, statuses, waiting) == Orders()


@pytest.mark.parametrize("stance", [Stance(StanceKind.CLAIM, 253), Stance(StanceKind.YIELD, 1, 99.0)])
def test_an_order_to_move_is_not_replaced_by_waiting(stance: Stance) -> None:
    assert stilled(PREEMPT, State.BACKUP, 100, before=stance) == stance


def test_a_policy_that_stays_and_a_group_that_is_new_change_no_stance() -> None:
    waiting = Orders().with_stance(FIRST, Stance(StanceKind.WAIT, 5))
    statuses = {group.key: seen(group, State.BACKUP, 100) for group in PLAN.groups}
    assert still(PLAN, PLAN, statuses, waiting) == waiting
    fewer = replace(with_policy(PREEMPT, FIRST), groups=PLAN.groups[1:])
    assert still(fewer, with_policy(PREEMPT, FIRST), statuses, Orders()) == Orders()


# ---------------------------------------------------------------- preempting for a while


def test_eager_groups_preempt_and_keep_their_origin_and_everything_else() -> None:
    eager = preempting(PLAN, {SECOND})
    assert eager.groups[0] == PLAN.groups[0]
    assert eager.groups[1] == replace(PLAN.groups[1], preemption=Setting(PREEMPT, Origin.CONFIGURATION))
    assert replace(eager, groups=PLAN.groups) == PLAN
    assert preempting(PLAN, set()) == PLAN
    assert preempting(PLAN, {GroupKey("db", 1)}) == PLAN
