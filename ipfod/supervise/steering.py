"""What each group's track file is to say. Pure."""

from __future__ import annotations

from ipfod.keepalived.track import FAULT, FIT
from ipfod.node.model import CheckState, State, Transition
from ipfod.node.orders import Stance, StanceKind
from ipfod.plan.model import Group


def track_value(
    group: Group,
    verdict: CheckState | None,
    *,
    before: int | None,
    given_up: bool,
    stance: Stance | None,
) -> int:
    """The value of a group's track file, see `keepalived/track.py`.

    `verdict` is what the checks say, None while they have not said anything: then the group keeps what the file
    has (`before`), and a new one is not fit yet. `given_up`: maintenance, or another router had
    the id before; then nothing else counts.
    """
    if given_up or verdict is CheckState.FAILING:
        return FAULT
    if verdict is None and (before is None or before <= FAULT):
        return FAULT
    if stance is None:
        return FIT
    if stance.kind is StanceKind.CLAIM:
        return max(FIT, stance.priority - group.priority)
    return stance.priority - group.priority


def outlives(stance: Stance, change: Transition) -> bool:
    """Whether a stance still holds after its group has changed its state."""
    match stance.kind:
        case StanceKind.CLAIM:  # it is for holding on to a group, not for coming back to it
            # Unknown: another node took the group while no ipfod looked.
            return change.new is State.MASTER or change.old not in (State.MASTER, State.UNKNOWN)
        case StanceKind.WAIT:  # whatever happens now is no consequence of the new policy alone
            return change.new not in (State.MASTER, State.FAULT, State.STOPPED)
        case StanceKind.YIELD:
            return True
