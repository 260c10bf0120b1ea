"""Why a group changed its state, as a sentence made of what was seen. Pure."""

from __future__ import annotations

from ipfod.node.model import CheckState, FailoverStatus, GroupStatus, State


def reason_for(
    status: GroupStatus, new: State, *, failover: FailoverStatus, master_priority: int, resync: bool
) -> str:
    """The reason of a change from `status.state` to `new`.

    `master_priority` is the priority in the last advert heard for the group (0: none was heard); `resync` says
    that ipfod asked for the state after a restart of its own and did not see the change happen.
    """
    if resync and status.state is State.UNKNOWN:
        return "found so when ipfod started"
    match new:
        case State.MASTER:
            return _why_master(status, master_priority)
        case State.BACKUP:
            return _why_backup(status, failover, master_priority)
        case State.FAULT:
            return _why_fault(status, failover)
        case State.STOPPED:
            return "keepalived stopped this VRRP instance"
        case State.UNKNOWN:
            return "keepalived has not said yet"


def _other_master(status: GroupStatus) -> str:
    """The address of the other node that advertises the group, "" if there is none."""
    return "" if status.master == str(status.group.source) else status.master


def _why_master(status: GroupStatus, master_priority: int) -> str:
    other = _other_master(status)
    if not other or not master_priority:
        return "no other node advertises it"
    return f"priority {status.priority} is above {master_priority} of {other}"


def _why_backup(status: GroupStatus, failover: FailoverStatus, master_priority: int) -> str:
    other = _other_master(status)
    if status.state is State.FAULT:
        return f"check passes again: {failover.check_text}" if failover.check_text else "the fault is over"
    if other and master_priority:
        return f"advert from {other} with priority {master_priority}"
    if status.state in (State.UNKNOWN, State.STOPPED):
        return "keepalived started"
    return "another node advertises it"


def _why_fault(status: GroupStatus, failover: FailoverStatus) -> str:
    if failover.check_state is CheckState.FAILING:
        return f"check failed: {failover.check_text}"
    if failover.check_state is CheckState.PENDING:
        return "not checked yet"
    return f"{failover.plan.interface} is down or has lost its address"
