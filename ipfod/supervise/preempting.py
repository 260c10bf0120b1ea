"""Preemption at run time: a new policy moves nothing by itself, an order preempts whatever the policy. Pure."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import replace

from ipfod.config.model import Preemption, PreemptionMode
from ipfod.node.model import GroupStatus, State
from ipfod.node.orders import Orders, Stance, StanceKind
from ipfod.plan.model import FailoverPlan, GroupKey

PREEMPT = Preemption(PreemptionMode.PREEMPT)
# Nothing is below it (RFC 9568 5.2.4), and a backup does not preempt a master of its own priority (6.4.2).
PRIORITY_MIN = 1


def preempting(plan: FailoverPlan, eager: Container[GroupKey]) -> FailoverPlan:
    """The plan with some groups preempting."""
    groups = tuple(
        replace(group, preemption=replace(group.preemption, preemption=PREEMPT))
        if group.key in eager
        else group
        for group in plan.groups
    )
    return replace(plan, groups=groups)


def still(
    old: FailoverPlan, new: FailoverPlan, groups: Mapping[GroupKey, GroupStatus], orders: Orders
) -> Orders:
    """The orders by which groups that get another preemption policy stay where they are."""
    policies = {group.key: group.preemption.preemption for group in old.groups}
    for group in new.groups:
        policy = group.preemption.preemption
        if policies.get(group.key, policy) != policy:
            stance = _still(groups[group.key], policy, orders.stances.get(group.key))
            orders = orders.with_stance(group.key, stance)
    return orders


def _still(status: GroupStatus, policy: Preemption, stance: Stance | None) -> Stance | None:
    """What keeps a backup from taking over by its new policy alone.

    A master of lower priority is there because the old policy let it. The next change, a master that is lost
    or this node's own fault, ends the waiting.
    """
    if stance is not None and stance.kind is not StanceKind.WAIT:
        return stance
    if policy.mode is PreemptionMode.NOPREEMPT or status.state is not State.BACKUP:
        return None
    if PRIORITY_MIN <= status.master_priority < status.group.priority:
        return Stance(StanceKind.WAIT, max(PRIORITY_MIN, status.master_priority - 1))
    return stance
