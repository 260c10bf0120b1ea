"""The state machine of a node: events in, changes out. No I/O, no clock, no logging.

Invariants, held by the tests: every group of the plan has exactly one status; a group of a failover whose
keepalived does not run is never `master`; a transition is reported exactly when a group's state changes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from types import MappingProxyType

from ipfod.addresses import Address
from ipfod.node.events import (
    Added,
    AddressesSeen,
    Change,
    Changed,
    CheckReported,
    Event,
    FailoverRef,
    InstanceReported,
    Intended,
    KeepalivedChanged,
    MaintenanceOrdered,
    MasterHeard,
    NodeChanged,
    PlanApplied,
    PriorityReported,
    ProblemCleared,
    ProblemRaised,
    ProblemsSeen,
    Removed,
    VirtualIPRef,
    Withheld,
)
from ipfod.node.model import (
    CheckState,
    FailoverStatus,
    GroupStatus,
    KeepalivedState,
    Problem,
    ProblemKey,
    State,
    Transition,
    VirtualIPStatus,
)
from ipfod.node.orders import Maintenance
from ipfod.node.reasons import Rival, fault_that_stays, reason_for
from ipfod.plan.model import FailoverPlan, Group, GroupKey

HISTORY_LENGTH = 1000  # contract: the last 1000 transitions
WAITING = "waiting for keepalived"


class Node:
    """Everything that is known of this node's failovers, groups, virtual IPs, problems and transitions."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._failovers: dict[str, FailoverStatus] = {}
        self._groups: dict[GroupKey, GroupStatus] = {}
        self._virtual_ips: dict[Address, VirtualIPStatus] = {}
        self._instances: dict[tuple[str, str], GroupKey] = {}
        self._rivals: dict[GroupKey, Rival] = {}
        self._intents: dict[GroupKey, str] = {}
        self._withheld: dict[GroupKey, str] = {}
        self._maintenance: Maintenance | None = None
        self._problems: dict[ProblemKey, Problem] = {}
        self._reported: dict[str, dict[ProblemKey, Problem]] = {}  # by scope; two may see the same problem
        self._history: deque[Transition] = deque(maxlen=HISTORY_LENGTH)
        self._addresses: Mapping[str, frozenset[Address]] = {}

    @property
    def failovers(self) -> Mapping[str, FailoverStatus]:
        return MappingProxyType(self._failovers)

    @property
    def groups(self) -> Mapping[GroupKey, GroupStatus]:
        return MappingProxyType(self._groups)

    @property
    def virtual_ips(self) -> Mapping[Address, VirtualIPStatus]:
        return MappingProxyType(self._virtual_ips)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Everything that is wrong now, oldest first."""
        return tuple(self._problems.values())

    @property
    def maintenance(self) -> Maintenance | None:
        """What this node's maintenance was ordered with, None if there is none."""
        return self._maintenance

    def history(self, limit: int) -> tuple[Transition, ...]:
        """The last `limit` transitions, newest first."""
        return tuple(reversed(self._history))[:limit]

    def recall(self, transitions: Iterable[Transition]) -> None:
        """Take up what an earlier ipfod saw, the oldest first; before anything else is seen."""
        self._history.extend(transitions)

    def apply(self, event: Event, now_usec: int) -> tuple[Change, ...]:
        """Take in what was seen at `now_usec` and say what changed by it, in order."""
        match event:
            case PlanApplied():
                return tuple(self._plan_applied(event, now_usec))
            case InstanceReported():
                return tuple(self._instance_reported(event, now_usec))
            case PriorityReported():
                return tuple(self._priority_reported(event))
            case KeepalivedChanged():
                return tuple(self._keepalived_changed(event, now_usec))
            case AddressesSeen():
                self._addresses = event.addresses
                return tuple(self._addresses_seen())
            case MasterHeard():
                return tuple(self._master_heard(event))
            case CheckReported():
                return tuple(self._check_reported(event))
            case ProblemsSeen():
                return tuple(self._problems_seen(event, now_usec))
            case Intended():
                self._intended(event)
                return ()
            case Withheld():
                return tuple(self._withhold(event))
            case MaintenanceOrdered():
                return tuple(self._maintenance_ordered(event))

    # ------------------------------------------------------------ the plan

    def _plan_applied(self, event: PlanApplied, now: int) -> Iterable[Change]:
        planned = event.plan.failovers
        groups = {group.key: group for group in event.plan.groups}
        owners = {address: group.key for group in groups.values() for address in group.virtual_ips}
        for gone in [address for address in self._virtual_ips if address not in owners]:
            del self._virtual_ips[gone]
            yield Removed(VirtualIPRef(gone))
        for key in [key for key in self._groups if key not in groups]:
            yield from self._transition(key, State.STOPPED, "no longer configured", now)
            del self._groups[key]
            self._rivals.pop(key, None)
            self._intents.pop(key, None)
            self._withheld.pop(key, None)
            yield Removed(key)
        for name in [name for name in self._failovers if name not in planned]:
            del self._failovers[name]
            yield Removed(FailoverRef(name))
        for plan in planned.values():
            yield from self._plan_failover(plan)
        for group in groups.values():
            yield from self._plan_group(group, now)
        for address, key in owners.items():
            yield from self._plan_virtual_ip(address, key)
        self._instances = {(group.failover, group.name): group.key for group in groups.values()}
        yield from self._addresses_seen()

    def _plan_failover(self, plan: FailoverPlan) -> Iterable[Change]:
        ref = FailoverRef(plan.name)
        failover = plan.failover
        fresh = FailoverStatus(
            plan=plan,
            check_state=CheckState.PENDING if failover.monitored else CheckState.DISABLED,
        )
        if (known := self._failovers.get(plan.name)) is None:
            self._failovers[plan.name] = fresh
            yield Added(ref)
            return
        if known.plan.failover.monitored == failover.monitored:
            fresh = replace(fresh, check_state=known.check_state, check_text=known.check_text)
        yield from self._update_failover(
            replace(fresh, keepalived_state=known.keepalived_state, keepalived_pid=known.keepalived_pid)
        )

    def _plan_group(self, group: Group, now: int) -> Iterable[Change]:
        if (known := self._groups.get(group.key)) is not None:
            if known.group != group:
                self._groups[group.key] = replace(known, group=group)
                yield Changed(group.key, frozenset({"group"}))
            return
        self._groups[group.key] = GroupStatus(
            group=group, state=State.UNKNOWN, reason=WAITING, since_usec=now, priority=group.priority
        )
        yield Added(group.key)

    def _plan_virtual_ip(self, address: Address, key: GroupKey) -> Iterable[Change]:
        ref = VirtualIPRef(address)
        if (known := self._virtual_ips.get(address)) is None:
            self._virtual_ips[address] = VirtualIPStatus(address, key, held=self._is_held(address, key))
            yield Added(ref)
        elif known.group != key:
            self._virtual_ips[address] = replace(known, group=key)
            yield Changed(ref, frozenset({"group"}))

    # ------------------------------------------------------------ keepalived

    def _instance_reported(self, event: InstanceReported, now: int) -> Iterable[Change]:
        key = self._instances.get((event.failover, event.instance))
        if key is None:
            return  # an instance that a reload has just taken away
        if self._groups[key].priority != event.priority:
            self._groups[key] = replace(self._groups[key], priority=event.priority)
            yield Changed(key, frozenset({"priority"}))
        status = self._groups[key]
        reason = reason_for(
            status,
            event.state,
            failover=self._failovers[key.failover],
            rival=self._rivals.get(key),
            resync=event.resync,
            intent=self._intents.get(key, ""),
            maintenance=self._maintenance,
            withheld=self._withheld.get(key, ""),
        )
        yield from self._transition(key, event.state, reason, event.usec or now)
        if event.state is State.MASTER and (rival := self._rivals.get(key)) is not None and rival.gone:
            del self._rivals[key]  # that it is gone is the reason of this change, not of a later one

    def _priority_reported(self, event: PriorityReported) -> Iterable[Change]:
        key = self._instances.get((event.failover, event.instance))
        if key is not None and self._groups[key].priority != event.priority:
            self._groups[key] = replace(self._groups[key], priority=event.priority)
            yield Changed(key, frozenset({"priority"}))

    def _keepalived_changed(self, event: KeepalivedChanged, now: int) -> Iterable[Change]:
        known = self._failovers.get(event.failover)
        if known is None:
            return
        yield from self._update_failover(replace(known, keepalived_state=event.state, keepalived_pid=event.pid))
        if event.state in (KeepalivedState.STOPPED, KeepalivedState.FAILED):
            # What keepalived said last is bound to the process that said it.
            for group in known.plan.groups:
                yield from self._transition(group.key, State.STOPPED, event.text, now)

    def _transition(self, key: GroupKey, new: State, reason: str, usec: int) -> Iterable[Change]:
        known = self._groups[key]
        if known.state is new:
            if known.reason != reason and new is State.STOPPED:
                self._groups[key] = replace(known, reason=reason)
                yield Changed(key, frozenset({"reason"}))
            return
        self._groups[key] = replace(known, state=new, reason=reason, since_usec=usec)
        transition = Transition(usec, key, known.group.name, known.state, new, reason)
        self._history.append(transition)
        yield Changed(key, frozenset({"state", "reason", "since_usec"}))
        yield transition

    # ------------------------------------------------------------ kernel, wire, checks

    def _is_held(self, address: Address, key: GroupKey) -> bool:
        interface = self._failovers[key.failover].plan.interface
        return address in self._addresses.get(interface, frozenset())

    def _addresses_seen(self) -> Iterable[Change]:
        for address, known in self._virtual_ips.items():
            held = self._is_held(address, known.group)
            if held is not known.held:
                self._virtual_ips[address] = replace(known, held=held)
                yield Changed(VirtualIPRef(address), frozenset({"held"}))

    def _master_heard(self, event: MasterHeard) -> Iterable[Change]:
        known = self._groups.get(event.group)
        if known is None:
            return
        rival = self._rivals.get(event.group)
        if not event.address and rival is not None:
            self._rivals[event.group] = replace(rival, gone=True)
        elif event.address and event.address != str(known.group.source):
            self._rivals[event.group] = Rival(event.address, event.priority)
        elif event.address and known.state is State.MASTER:
            self._rivals.pop(event.group, None)  # it has given way to this node
        new = replace(known, master=event.address, master_priority=event.priority)
        names = ("master", "master_priority")
        if changed := frozenset(name for name in names if getattr(known, name) != getattr(new, name)):
            self._groups[event.group] = new
            yield Changed(event.group, changed)

    def _check_reported(self, event: CheckReported) -> Iterable[Change]:
        known = self._failovers.get(event.failover)
        if known is None:
            return
        yield from self._update_failover(replace(known, check_state=event.state, check_text=event.text))
        yield from self._look_at_faults(group.key for group in known.plan.groups)

    # ------------------------------------------------------------ orders

    def _intended(self, event: Intended) -> None:
        if event.text and event.group in self._groups:
            self._intents[event.group] = event.text
        else:
            self._intents.pop(event.group, None)

    def _withhold(self, event: Withheld) -> Iterable[Change]:
        if event.group not in self._groups:
            return
        if event.text:
            self._withheld[event.group] = event.text
        else:
            self._withheld.pop(event.group, None)
        yield from self._look_at_faults([event.group])

    def _maintenance_ordered(self, event: MaintenanceOrdered) -> Iterable[Change]:
        if event.maintenance == self._maintenance:
            return
        self._maintenance = event.maintenance
        yield NodeChanged(frozenset({"maintenance"}))
        yield from self._look_at_faults(self._groups)

    def _look_at_faults(self, keys: Iterable[GroupKey]) -> Iterable[Change]:
        """What keeps groups in fault may be another thing than before."""
        for key in keys:
            status, failover = self._groups[key], self._failovers[key.failover]
            if status.state is State.FAULT:
                withheld = self._withheld.get(key, "")
                reason = fault_that_stays(status, failover, self._maintenance, withheld)
                if reason != status.reason:
                    self._groups[key] = replace(status, reason=reason)
                    yield Changed(key, frozenset({"reason"}))

    # ------------------------------------------------------------ problems

    def _problems_seen(self, event: ProblemsSeen, now: int) -> Iterable[Change]:
        before = self._reported.get(event.scope, {})
        seen = {problem.key: problem for problem in event.problems}
        self._reported[event.scope] = seen
        for key in before:
            known = self._problems.get(key)
            if known is not None and not any(_same(known, each) for each in self._reported_of(key)):
                del self._problems[key]
                yield ProblemCleared(known)
        # What one part of the daemon no longer sees another may: then it is told in the other's words.
        for key in (*seen, *before):
            if key not in self._problems and (reports := self._reported_of(key)):
                self._problems[key] = dated = replace(reports[0], since_usec=now)
                yield ProblemRaised(dated)

    def _reported_of(self, key: ProblemKey) -> list[Problem]:
        return [found[key] for found in self._reported.values() if key in found]

    # ------------------------------------------------------------

    def _update_failover(self, new: FailoverStatus) -> Iterable[Change]:
        known = self._failovers[new.plan.name]
        names = [field.name for field in fields(FailoverStatus)]
        changed = frozenset(name for name in names if getattr(known, name) != getattr(new, name))
        if changed:
            self._failovers[new.plan.name] = new
            yield Changed(FailoverRef(new.plan.name), changed)


def _same(one: Problem, other: Problem) -> bool:
    return (one.key, one.text, one.hint) == (other.key, other.text, other.hint)
