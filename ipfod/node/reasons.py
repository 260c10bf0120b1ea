"""Why a group changed its state, as a sentence made of what was seen. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from ipfod.node.model import CheckState, FailoverStatus, GroupStatus, State
from ipfod.node.orders import Maintenance

# Why a group must not be served yet: texts of `Withheld`.
LISTENING = "listening whether another router uses its virtual router ID"
COLLIDING = "another router uses its virtual router ID"
_NOT_CHECKED = "not checked yet"


@dataclass(frozen=True, slots=True)
class Rival:
    """The other node that advertised a group last. `gone`: it said good-bye, or was given up as silent."""

    address: str
    priority: int
    gone: bool = False


def reason_for(
    status: GroupStatus,
    new: State,
    *,
    failover: FailoverStatus,
    rival: Rival | None,
    resync: bool,
    intent: str = "",
    maintenance: Maintenance | None = None,
    withheld: str = "",
) -> str:
    """The reason of a change from `status.state` to `new`.

    `resync` says that ipfod asked for the state after a restart of its own and did not see the change happen.
    `intent` is what somebody has ordered for the group just now, `withheld` why it must not be served.
    """
    if resync and status.state is State.UNKNOWN:
        return "found so when ipfod started"
    seen = _seen(status, new, failover, rival, in_maintenance(maintenance) if maintenance else withheld)
    return f"{intent}: {seen}" if intent else seen


def _seen(
    status: GroupStatus,
    new: State,
    failover: FailoverStatus,
    rival: Rival | None,
    given_up: str,
) -> str:
    match new:
        case State.MASTER:
            return _why_master(status, rival)
        case State.BACKUP:
            return _why_backup(status, failover, rival)
        case State.FAULT:
            return given_up or _why_fault(failover)
        case State.STOPPED:
            return "keepalived ended in order"
        case State.UNKNOWN:
            return "keepalived has not said yet"


def in_maintenance(maintenance: Maintenance) -> str:
    """ "maintenance", with the reason if one was given."""
    return f"maintenance: {maintenance.reason}" if maintenance.reason else "maintenance"


def _why_master(status: GroupStatus, rival: Rival | None) -> str:
    if rival is None:
        return "no other node advertises it"
    if rival.gone:
        return f"{rival.address} no longer advertises it"
    if rival.priority < status.priority:
        return f"priority {status.priority} is above {rival.priority} of {rival.address}"
    return f"{rival.address}, priority {rival.priority}, fell silent"


def _why_backup(status: GroupStatus, failover: FailoverStatus, rival: Rival | None) -> str:
    if status.state is State.FAULT:
        if status.reason.startswith("maintenance"):
            return "maintenance is over"
        if status.reason == LISTENING:
            return "no other router uses its virtual router ID"
        if status.reason == COLLIDING:
            return "the other router no longer uses its virtual router ID"
        return f"check passes again: {failover.check_text}" if failover.check_text else "the fault is over"
    if rival is not None and not rival.gone:
        return f"advert from {rival.address} with priority {rival.priority}"
    if status.state in (State.UNKNOWN, State.STOPPED):
        return "keepalived started"
    return "another node advertises it"


def fault_that_stays(
    status: GroupStatus, failover: FailoverStatus, maintenance: Maintenance | None, withheld: str
) -> str:
    """The reason of a group that is in fault still: its own, or what keeps it there if that is over.

    keepalived reports no fault that goes on for another reason.
    """
    if _holds(status.reason, failover, maintenance, withheld):
        return status.reason
    if maintenance is not None:
        return in_maintenance(maintenance)
    if withheld:
        return withheld
    # If it is none of these, keepalived is about to say that the fault is over.
    return _why_fault(failover) if failover.check_state is CheckState.FAILING else status.reason


def _holds(reason: str, failover: FailoverStatus, maintenance: Maintenance | None, withheld: str) -> bool:
    if reason.startswith("maintenance"):
        return maintenance is not None and reason == in_maintenance(maintenance)
    if reason in (LISTENING, COLLIDING):
        return reason == withheld
    if reason.startswith("check failed"):
        return failover.check_state is CheckState.FAILING
    return reason != _NOT_CHECKED or failover.check_state is CheckState.PENDING


def _why_fault(failover: FailoverStatus) -> str:
    if failover.check_state is CheckState.FAILING:
        return f"check failed: {failover.check_text}"
    if failover.check_state is CheckState.PENDING:
        return _NOT_CHECKED
    return f"{failover.plan.interface} is down or has lost its address"
