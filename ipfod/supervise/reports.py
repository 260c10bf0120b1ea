"""From keepalived's words to events of the node. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from ipfod.keepalived.dump import InstanceDump
from ipfod.keepalived.fifo import Notification
from ipfod.node.events import InstanceReported, PriorityReported
from ipfod.node.model import State

# keepalived's words for events, keepalived.conf(5) "vrrp_notify_fifo"; the others carry no state.
STATES = {
    "MASTER": State.MASTER,
    "BACKUP": State.BACKUP,
    "FAULT": State.FAULT,
    "STOP": State.STOPPED,
}
PRIORITY_WORDS = frozenset({"MASTER_PRIORITY", "BACKUP_PRIORITY"})


def from_notification(
    failover: str, said: Notification, *, resync: bool
) -> InstanceReported | PriorityReported | None:
    """What a line of the FIFO tells of a VRRP instance, if anything."""
    if said.kind != "INSTANCE":
        return None
    if (state := STATES.get(said.word)) is not None:
        return InstanceReported(failover, said.name, state, said.number, resync=resync)
    if said.word in PRIORITY_WORDS:
        return PriorityReported(failover, said.name, said.number)
    return None


def from_dump(failover: str, instances: Iterable[InstanceDump]) -> Iterable[InstanceReported]:
    """What a dump tells of all VRRP instances."""
    for each in instances:
        if (state := STATES.get(each.word)) is not None:
            yield InstanceReported(failover, each.name, state, each.priority, each.since_usec, resync=True)
