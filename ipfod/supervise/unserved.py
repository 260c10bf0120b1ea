"""Groups that no node serves: this one has given them up, and nobody else advertises them."""

from __future__ import annotations

from collections.abc import Callable

from ipfod.node.events import Event, ProblemsSeen
from ipfod.node.model import CheckState, FailoverStatus, Problem, ProblemCode, State
from ipfod.node.node import Node
from ipfod.plan.model import GroupKey
from ipfod.supervise.soon import Soon

SCOPE = "unserved"
# A group changes hands within milliseconds: what is on no node at two looks so far apart stays there.
LOOK_AGAIN_S = 0.4
NAMES_SHOWN = 3


class UnservedWatch:
    """Raises `vip-missing` for a failover with such groups."""

    def __init__(self, node: Node, emit: Callable[[Event], None]) -> None:
        self._node = node
        self._emit = emit
        self._before: frozenset[GroupKey] = frozenset()
        self._said: frozenset[GroupKey] = frozenset()
        self._soon = Soon(self._look)

    def seen(self) -> None:
        """Something changed: look soon."""
        self._soon.within(LOOK_AGAIN_S)

    def close(self) -> None:
        self._soon.cancel()

    def _look(self) -> None:
        now = unserved(self._node)
        lasting, self._before = now & self._before, now
        if now != lasting:
            self.seen()
        if lasting or self._said:
            self._said = lasting
            self._emit(ProblemsSeen(SCOPE, problems(self._node, lasting)))


def unserved(node: Node) -> frozenset[GroupKey]:
    """Groups that this node has given up on purpose while nobody else is heard. Where this node cannot hear,
    for want of a link, it cannot tell. Pure."""
    return frozenset(
        key
        for key, status in node.groups.items()
        if status.state is State.FAULT and not status.master and _given_up(node, node.failovers[key.failover])
    )


def _given_up(node: Node, failover: FailoverStatus) -> bool:
    return node.maintenance is not None or failover.check_state is CheckState.FAILING


def problems(node: Node, groups: frozenset[GroupKey]) -> tuple[Problem, ...]:
    """One problem for each failover with such groups. Pure."""
    found = []
    for name in sorted({key.failover for key in groups} & node.failovers.keys()):
        keys = sorted(key for key in groups if key.failover == name and key in node.groups)
        names = [node.groups[key].group.name for key in keys]
        more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
        which = ", ".join(names[:NAMES_SHOWN]) + more
        why, hint = _why(node, node.failovers[name])
        text = f"{name}: no node serves {which}: {why}, and no other is heard"
        found.append(Problem(ProblemCode.VIP_MISSING, name, text, hint))
    return tuple(found)


def _why(node: Node, failover: FailoverStatus) -> tuple[str, str]:
    if node.maintenance is not None:
        hint = "ipfoctl status on the other nodes says what keeps them from it; here: ipfoctl maintenance off"
        return "this node is in maintenance", hint
    hint = "mend the service on any node; ipfoctl status on the others says what is wrong there"
    return f"the check fails here ({failover.check_text})", hint
