"""The state machine of a node: its invariants under any sequence of events, and what single events do."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from plans import OWN, planned

from ipfod.config.model import Address
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
    Ref,
    Removed,
    VirtualIPRef,
)
from ipfod.node.model import (
    CheckState,
    FailoverStatus,
    GroupStatus,
    KeepalivedState,
    Problem,
    ProblemCode,
    ProblemKey,
    State,
    Transition,
    VirtualIPStatus,
)
from ipfod.node.node import HISTORY_LENGTH, Node
from ipfod.node.orders import Maintenance
from ipfod.node.reasons import in_maintenance
from ipfod.plan.model import GroupKey, Plan

Status = FailoverStatus | GroupStatus | VirtualIPStatus

VERSIONS = (
    'name = "web"\nvirtual_ips = "10.1.0.1-3"',
    'name = "web"\nvirtual_ips = "10.1.0.1-4"\nvip_groups = 2\npreemption = "nopreempt"',
    'name = "web"\nvirtual_ips = ["10.1.0.2", "fd00::1:1"]\nmonitor_port = 0',
    'name = "db"\nvirtual_ips = "10.1.0.3-4"\nvrrp_id_offset = 50',  # takes VIPs that web may have
    'name = "db"\nvirtual_ips = "10.1.0.9"\nvrrp_id_offset = 50',
)


def possible_plans() -> list[Plan]:
    """Every plan of at most one version of each failover in which no VIP is served twice."""
    web, db = ([text for text in VERSIONS if f'"{name}"' in text] for name in ("web", "db"))
    found = [Plan({})]
    for interface in ("eth0", "eth1"):
        found += [planned(text, interface=interface) for text in VERSIONS]
        found += [planned(one, other, interface=interface) for one in web for other in db]

    def sound(candidate: Plan) -> bool:
        vips = [address for group in candidate.groups for address in group.virtual_ips]
        return len(set(vips)) == len(vips)

    return [candidate for candidate in found if sound(candidate)]


PLANS = possible_plans()
GROUPS = sorted({group.key for candidate in PLANS for group in candidate.groups})
VIPS = sorted({a for candidate in PLANS for group in candidate.groups for a in group.virtual_ips}, key=str)
WORDS = [State.MASTER, State.BACKUP, State.FAULT, State.STOPPED]
PROBLEMS = [
    Problem(code, name, text, "hint")
    for code in (ProblemCode.CHECK_FAILING, ProblemCode.KEEPALIVED_FAILED)
    for name in ("web", "db")
    for text in ("one way", "another way")
]

failover_names = st.sampled_from(["web", "db", "gone"])
instance_names = st.sampled_from([f"{name}_VIP_{index}" for name in ("web", "db") for index in (1, 2, 3)])
held_addresses = st.dictionaries(
    st.sampled_from(["eth0", "eth1", "lo"]), st.frozensets(st.sampled_from([*VIPS, *OWN]))
)


def snapshot(node: Node) -> dict[Ref, Status]:
    """Every object and its status."""
    found: dict[Ref, Status] = {FailoverRef(name): status for name, status in node.failovers.items()}
    for key, group in node.groups.items():
        found[key] = group
    found.update({VirtualIPRef(address): status for address, status in node.virtual_ips.items()})
    return found


def differing(one: Status, other: Status) -> set[str]:
    return {name for name in one.__slots__ if getattr(one, name) != getattr(other, name)}


class NodeMachine(RuleBasedStateMachine):
    """Any events in any order. What the changes say is compared with what the node says of itself."""

    def __init__(self) -> None:
        super().__init__()
        self.node = Node("node1")
        self.now = 1_000
        self.plan = Plan({})
        self.addresses: Mapping[str, frozenset[Address]] = {}
        self.silenced: set[str] = set()  # failovers whose keepalived has ended and that said nothing since
        self.intents: dict[GroupKey, str] = {}
        self.maintenance: Maintenance | None = None
        self.problems: dict[ProblemKey, Problem] = {}
        self.reported: dict[str, dict[ProblemKey, str]] = {}  # what each part of the daemon sees, with its text
        self.history: list[Transition] = []

    def apply(self, event: Event) -> tuple[Change, ...]:
        self.now += 10
        before, maintenance = snapshot(self.node), self.node.maintenance
        changes = self.node.apply(event, self.now)
        of_the_node = [change for change in changes if isinstance(change, NodeChanged)]
        different = self.node.maintenance != maintenance
        assert of_the_node == ([NodeChanged(frozenset({"maintenance"}))] if different else [])
        after = snapshot(self.node)
        self.check_objects(before, changes, after)
        self.check_fields(before, changes, after)
        self.check_transitions(before, changes, after)
        self.check_problems(changes)
        return changes

    # ------------------------------------------------------------ what changes must say

    def check_objects(
        self, before: Mapping[Ref, Status], changes: tuple[Change, ...], after: Mapping[Ref, Status]
    ) -> None:
        """Added and Removed lead from the objects before to the objects after, each once."""
        objects = set(before)
        for change in changes:
            if isinstance(change, Added):
                assert change.ref not in objects
                objects.add(change.ref)
            elif isinstance(change, Removed):
                objects.remove(change.ref)
            elif isinstance(change, Changed):
                assert change.ref in objects
        assert objects == set(after)

    def check_fields(
        self, before: Mapping[Ref, Status], changes: tuple[Change, ...], after: Mapping[Ref, Status]
    ) -> None:
        """Every field that is another one now was named, and no Changed was empty."""
        named: dict[Ref, set[str]] = {}
        for change in changes:
            if isinstance(change, Changed):
                assert change.fields
                named.setdefault(change.ref, set()).update(change.fields)
        for ref in before.keys() & after.keys():
            changed = differing(before[ref], after[ref])
            assert changed <= named.get(ref, set()), ref
            assert changed or ref not in named, f"{ref}: told of {named[ref]}, nothing changed"

    def check_transitions(
        self, before: Mapping[Ref, Status], changes: tuple[Change, ...], after: Mapping[Ref, Status]
    ) -> None:
        """A group's transitions lead from its state before to its state after; none stays where it was."""
        told = [change for change in changes if isinstance(change, Transition)]
        self.history += told
        for key in GROUPS:
            mine = [transition for transition in told if transition.group == key]
            old, new = before.get(key), after.get(key)
            states = [status.state for status in (old, new) if isinstance(status, GroupStatus)]
            state = states[0] if states else State.UNKNOWN
            for transition in mine:
                assert transition.old is state
                assert transition.new is not state
                state = transition.new
            if isinstance(new, GroupStatus):
                assert state is new.state
                if mine:
                    assert (mine[-1].usec, mine[-1].reason) == (new.since_usec, new.reason)
            elif isinstance(old, GroupStatus):
                assert state is State.STOPPED

    def check_problems(self, changes: tuple[Change, ...]) -> None:
        """Each problem is raised once and cleared once, in turn."""
        for change in changes:
            if isinstance(change, ProblemRaised):
                assert change.problem.key not in self.problems
                assert change.problem.since_usec == self.now
                self.problems[change.problem.key] = change.problem
            elif isinstance(change, ProblemCleared):
                assert self.problems.pop(change.problem.key) == change.problem

    # ------------------------------------------------------------ events

    @initialize(candidate=st.sampled_from(PLANS))
    def begin(self, candidate: Plan) -> None:
        self.plan_applied(candidate)

    @rule(candidate=st.sampled_from(PLANS))
    def plan_applied(self, candidate: Plan) -> None:
        self.plan = candidate
        self.apply(PlanApplied(candidate))
        self.silenced &= candidate.failovers.keys()
        self.intents = {key: text for key, text in self.intents.items() if key in self.node.groups}

    @rule()
    def same_plan_applied_again(self) -> None:
        assert self.apply(PlanApplied(self.plan)) == ()

    @rule(
        failover=failover_names,
        instance=instance_names,
        state=st.sampled_from(WORDS),
        priority=st.integers(0, 255),
        usec=st.just(0) | st.integers(1, 10**15),
        resync=st.booleans(),
    )
    def instance_reported(
        self, failover: str, instance: str, state: State, priority: int, usec: int, resync: bool
    ) -> None:
        changes = self.apply(InstanceReported(failover, instance, state, priority, usec, resync))
        known = [group for group in self.plan.groups if (group.failover, group.name) == (failover, instance)]
        if not known:
            assert changes == ()
            return
        self.silenced.discard(failover)
        status = self.node.groups[known[0].key]
        assert (status.state, status.priority) == (state, priority)
        for change in changes:
            if isinstance(change, Transition):
                self.check_reason(change, resync)

    def check_reason(self, change: Transition, resync: bool) -> None:
        """What was ordered comes first, then what was seen; a state found after a restart has no reason."""
        if resync and change.old is State.UNKNOWN:
            assert change.reason == "found so when ipfod started"
            return
        intent = self.intents.get(change.group)
        assert change.reason.startswith("by order of ") is (intent is not None)
        seen = change.reason.removeprefix(f"{intent}: ")
        assert (seen != change.reason) is (intent is not None)
        if change.new is State.FAULT and self.maintenance is not None:
            assert seen == in_maintenance(self.maintenance)

    @rule(failover=failover_names, instance=instance_names, priority=st.integers(0, 255))
    def priority_reported(self, failover: str, instance: str, priority: int) -> None:
        for change in self.apply(PriorityReported(failover, instance, priority)):
            assert isinstance(change, Changed)
            assert change.fields == {"priority"}

    @rule(failover=failover_names, state=st.sampled_from(KeepalivedState), pid=st.integers(0, 3))
    def keepalived_changed(self, failover: str, state: KeepalivedState, pid: int) -> None:
        self.apply(KeepalivedChanged(failover, state, pid, "keepalived was killed"))
        if failover in self.plan.failovers and state in (KeepalivedState.STOPPED, KeepalivedState.FAILED):
            self.silenced.add(failover)
            for group in self.plan.failovers[failover].groups:
                assert self.node.groups[group.key].state is State.STOPPED
                assert self.node.groups[group.key].reason == "keepalived was killed"

    @rule(addresses=held_addresses)
    def addresses_seen(self, addresses: Mapping[str, frozenset[Address]]) -> None:
        self.addresses = addresses
        self.apply(AddressesSeen(addresses))

    @rule(
        group=st.sampled_from(GROUPS),
        address=st.sampled_from(["", "10.0.0.1", "10.0.0.2", "fe80::1", "10.0.0.3"]),
        priority=st.integers(0, 255),
    )
    def master_heard(self, group: GroupKey, address: str, priority: int) -> None:
        self.apply(MasterHeard(group, address, priority))
        if group in self.node.groups:
            assert self.node.groups[group].master == address
            assert self.node.groups[group].master_priority == priority

    @rule(group=st.sampled_from(GROUPS), text=st.sampled_from(["", "by order of uid 0", "by order of uid 7"]))
    def intended(self, group: GroupKey, text: str) -> None:
        assert self.apply(Intended(group, text)) == ()
        self.intents.pop(group, None)
        if text and group in self.node.groups:
            self.intents[group] = text

    @rule(
        maintenance=st.none()
        | st.builds(Maintenance, st.sampled_from(["", "disk", "by night"]), st.integers(0, 1), st.just(7))
    )
    def maintenance_ordered(self, maintenance: Maintenance | None) -> None:
        self.maintenance = maintenance
        for change in self.apply(MaintenanceOrdered(maintenance)):
            if isinstance(change, Changed):
                assert change.fields == {"reason"}
                assert isinstance(change.ref, GroupKey)
                status = self.node.groups[change.ref]
                failover = self.node.failovers[change.ref.failover]
                assert status.state is State.FAULT
                assert maintenance is None
                assert failover.check_state is CheckState.FAILING
                assert status.reason == f"check failed: {failover.check_text}"

    @rule(
        failover=failover_names,
        state=st.sampled_from(CheckState),
        text=st.sampled_from(["", "port 80 refused"]),
    )
    def check_reported(self, failover: str, state: CheckState, text: str) -> None:
        self.apply(CheckReported(failover, state, text))
        if failover in self.plan.failovers:
            assert self.node.failovers[failover].check_state is state
            assert self.node.failovers[failover].check_text == text

    @rule(
        scope=st.sampled_from(["configuration", "firewall"]),
        problems=st.lists(st.sampled_from(PROBLEMS), unique_by=lambda problem: problem.key),
    )
    def problems_seen(self, scope: str, problems: list[Problem]) -> None:
        """Two parts of the daemon may see the same: it is told as long as one does, in the words of one."""
        self.reported[scope] = {problem.key: problem.text for problem in problems}
        self.apply(ProblemsSeen(scope, tuple(problems)))
        assert {found.key for found in self.node.problems} == set().union(*self.reported.values())
        for found in self.node.problems:
            assert found.text in [each.get(found.key) for each in self.reported.values()]

    # ------------------------------------------------------------ what always holds

    @invariant()
    def every_failover_group_and_vip_of_the_plan_has_exactly_one_status(self) -> None:
        assert set(self.node.failovers) == set(self.plan.failovers)
        assert set(self.node.groups) == {group.key for group in self.plan.groups}
        for group in self.plan.groups:
            assert self.node.groups[group.key].group == group
        owners = {address: group.key for group in self.plan.groups for address in group.virtual_ips}
        assert {address: status.group for address, status in self.node.virtual_ips.items()} == owners
        assert all(status.plan == self.plan.failovers[name] for name, status in self.node.failovers.items())

    @invariant()
    def a_vip_is_held_when_the_kernel_has_it_on_its_interface(self) -> None:
        for address, status in self.node.virtual_ips.items():
            interface = self.plan.failovers[status.group.failover].interface
            assert status.held is (address in self.addresses.get(interface, frozenset()))

    @invariant()
    def nothing_is_master_whose_keepalived_has_ended(self) -> None:
        for key, status in self.node.groups.items():
            assert key.failover not in self.silenced or status.state is not State.MASTER

    @invariant()
    def the_node_is_in_the_maintenance_that_was_ordered_last(self) -> None:
        assert self.node.maintenance == self.maintenance

    @invariant()
    def the_history_is_what_was_told_newest_first(self) -> None:
        assert list(self.node.history(HISTORY_LENGTH)) == self.history[::-1][:HISTORY_LENGTH]

    @invariant()
    def the_problems_are_those_raised_and_not_cleared(self) -> None:
        assert {problem.key: problem for problem in self.node.problems} == self.problems


NodeMachine.TestCase.settings = settings(deadline=None, max_examples=150, stateful_step_count=30)
TestAnySequenceOfEvents = NodeMachine.TestCase
