"""What single events bring about on a node: states, times, held VIPs, problems, history, and the reasons."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest
from plans import planned

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
    ProblemCleared,
    ProblemRaised,
    ProblemsSeen,
    Removed,
    VirtualIPRef,
    Withheld,
)
from ipfod.node.model import CheckState, KeepalivedState, Problem, ProblemCode, State, Transition
from ipfod.node.node import Node
from ipfod.node.orders import Maintenance
from ipfod.node.reasons import COLLIDING, LISTENING
from ipfod.plan.model import GroupKey, Plan

WEB = 'name = "web"\nvirtual_ips = "10.1.0.1-2"'
DB = 'name = "db"\nvirtual_ips = "10.1.0.9"\nvrrp_id_offset = 50'
FIRST = GroupKey("web", 1)


def web_node(text: str = WEB) -> Node:
    node = Node("node1")
    node.apply(PlanApplied(planned(text)), 1)
    return node


def report(state: State, *, usec: int = 0, instance: str = "web_VIP_1") -> InstanceReported:
    return InstanceReported("web", instance, state, 254, usec)


def transitions(changes: tuple[Change, ...]) -> list[tuple[State, State]]:
    return [(change.old, change.new) for change in changes if isinstance(change, Transition)]


def test_a_new_group_is_unknown_until_keepalived_has_spoken() -> None:
    node = web_node()
    status = node.groups[FIRST]
    assert (status.state, status.reason, status.since_usec) == (State.UNKNOWN, "waiting for keepalived", 1)
    assert node.history(10) == ()


def test_objects_appear_from_the_failover_downwards_and_go_the_other_way() -> None:
    node = Node("node1")
    added = [change.ref for change in node.apply(PlanApplied(planned(WEB)), 1) if isinstance(change, Added)]
    gone = [change.ref for change in node.apply(PlanApplied(Plan({})), 2) if isinstance(change, Removed)]
    kinds = [FailoverRef, GroupKey, GroupKey, VirtualIPRef, VirtualIPRef]
    assert [type(ref) for ref in added] == kinds
    assert [type(ref) for ref in gone] == kinds[::-1]


def test_the_time_of_a_change_is_keepalived_s_where_it_says_one() -> None:
    node = web_node()
    node.apply(report(State.BACKUP), 50)
    assert node.groups[FIRST].since_usec == 50
    node.apply(report(State.MASTER, usec=42), 60)
    assert node.groups[FIRST].since_usec == 42
    assert node.history(1)[0].usec == 42


def test_a_state_that_is_reported_again_is_no_transition_and_keeps_its_time() -> None:
    node = web_node()
    node.apply(report(State.MASTER), 50)
    assert node.apply(report(State.MASTER), 60) == ()
    assert node.groups[FIRST].since_usec == 50


def test_the_death_of_keepalived_stops_every_group_of_its_failover_and_no_other() -> None:
    node = Node("node1")
    node.apply(PlanApplied(planned(WEB, DB)), 1)
    for name, instance in (("web", "web_VIP_1"), ("web", "web_VIP_2"), ("db", "db_VIP_1")):
        node.apply(InstanceReported(name, instance, State.MASTER, 254), 2)
    changes = node.apply(KeepalivedChanged("web", KeepalivedState.FAILED, 0, "keepalived crashed"), 3)
    assert transitions(changes) == [(State.MASTER, State.STOPPED)] * 2
    assert {key: status.state for key, status in node.groups.items()} == {
        FIRST: State.STOPPED,
        GroupKey("web", 2): State.STOPPED,
        GroupKey("db", 1): State.MASTER,
    }


def test_a_changed_plan_leaves_the_state_of_a_group_that_stays_alone() -> None:
    node = web_node()
    node.apply(report(State.MASTER), 2)
    node.apply(KeepalivedChanged("web", KeepalivedState.RUNNING, 7, "started"), 3)
    node.apply(CheckReported("web", CheckState.PASSING, "port 80 answers"), 4)
    changes = node.apply(PlanApplied(planned('name = "web"\nvirtual_ips = "10.1.0.1-3"')), 5)
    assert transitions(changes) == []
    assert node.groups[FIRST].state is State.MASTER
    web = node.failovers["web"]
    assert (web.keepalived_state, web.keepalived_pid) == (KeepalivedState.RUNNING, 7)
    assert (web.check_state, web.check_text) == (CheckState.PASSING, "port 80 answers")


def test_a_group_that_is_no_longer_configured_ends_in_the_history() -> None:
    node = web_node()
    for instance in ("web_VIP_2", "web_VIP_1"):
        node.apply(report(State.MASTER, instance=instance), 2)
    node.apply(KeepalivedChanged("web", KeepalivedState.STOPPED, 0, "stopped"), 3)
    node.apply(report(State.MASTER), 4)
    changes = node.apply(PlanApplied(Plan({})), 5)
    assert transitions(changes) == [(State.MASTER, State.STOPPED)]
    last = node.history(1)[0]
    assert (last.group_name, last.old, last.new, last.reason) == (
        "web_VIP_1",
        State.MASTER,
        State.STOPPED,
        "no longer configured",
    )


def test_a_failover_without_checks_says_so() -> None:
    assert web_node().failovers["web"].check_state is CheckState.PENDING
    assert web_node(WEB + "\nmonitor_port = 0").failovers["web"].check_state is CheckState.DISABLED


def test_an_instance_that_is_not_in_the_plan_is_passed_over() -> None:
    node = web_node()
    assert node.apply(report(State.MASTER, instance="web_VIP_9"), 2) == ()
    assert node.apply(InstanceReported("gone", "web_VIP_1", State.MASTER, 254), 2) == ()


def test_a_vip_is_held_when_the_kernel_has_it_on_the_failovers_interface() -> None:
    node = web_node()
    vip = ip_address("10.1.0.1")
    (change,) = node.apply(AddressesSeen({"eth0": frozenset({vip}), "eth1": frozenset()}), 2)
    assert change == Changed(VirtualIPRef(vip), frozenset({"held"}))
    assert node.virtual_ips[vip].held
    node.apply(AddressesSeen({"eth1": frozenset({vip})}), 3)
    assert not node.virtual_ips[vip].held


def test_a_vip_that_was_there_before_its_plan_is_held_from_the_beginning() -> None:
    node = Node("node1")
    node.apply(AddressesSeen({"eth0": frozenset({ip_address("10.1.0.2")})}), 1)
    node.apply(PlanApplied(planned(WEB)), 2)
    assert {str(address): status.held for address, status in node.virtual_ips.items()} == {
        "10.1.0.1": False,
        "10.1.0.2": True,
    }


def test_a_problem_that_is_seen_again_keeps_its_time_and_a_changed_one_is_told_anew() -> None:
    node = Node("node1")
    problem = Problem(ProblemCode.CHECK_FAILING, "web", "port 80 refused", "hint")
    assert [type(change) for change in node.apply(ProblemsSeen("web", (problem,)), 5)] == [ProblemRaised]
    assert node.apply(ProblemsSeen("web", (problem,)), 6) == ()
    assert [found.since_usec for found in node.problems] == [5]
    other = Problem(ProblemCode.CHECK_FAILING, "web", "port 80 silent", "hint")
    changes = node.apply(ProblemsSeen("web", (other,)), 7)
    assert [type(change) for change in changes] == [ProblemCleared, ProblemRaised]
    assert node.apply(ProblemsSeen("firewall", ()), 8) == ()
    assert [type(change) for change in node.apply(ProblemsSeen("web", ()), 9)] == [ProblemCleared]
    assert node.problems == ()


def test_a_problem_that_two_see_is_over_when_neither_sees_it_any_more() -> None:
    """A keepalived that hangs is killed: the watch over its silence told of it, then its supervisor does."""
    node = Node("node1")
    hangs = Problem(ProblemCode.KEEPALIVED_FAILED, "web", "web: keepalived does not give way", "hint")
    ended = Problem(ProblemCode.KEEPALIVED_FAILED, "web", "keepalived was killed or crashed", "hint")
    node.apply(ProblemsSeen("silence", (hangs,)), 5)
    assert node.apply(ProblemsSeen("failover web", (ended,)), 6) == ()
    assert node.apply(ProblemsSeen("silence", ()), 7) == (
        ProblemCleared(replace(hangs, since_usec=5)),
        ProblemRaised(replace(ended, since_usec=7)),
    )
    assert node.problems == (replace(ended, since_usec=7),)
    assert node.apply(ProblemsSeen("failover web", ()), 8) == (ProblemCleared(replace(ended, since_usec=7)),)


def test_the_last_1000_transitions_are_kept_newest_first() -> None:
    node = web_node()
    for number in range(1, 1501):
        node.apply(report(State.MASTER if number % 2 else State.BACKUP), number)
    found = node.history(5000)
    assert len(found) == 1000
    assert [transition.usec for transition in found] == list(range(1500, 500, -1))
    assert node.history(3) == found[:3]
    assert node.history(0) == ()


# ---------------------------------------------------------------- reasons

OTHER = "10.0.0.2"


def heard(address: str, priority: int) -> MasterHeard:
    return MasterHeard(FIRST, address, priority)


CHECK_FAILS = CheckReported("web", CheckState.FAILING, "port 80 refused")
CHECK_PASSES = CheckReported("web", CheckState.PASSING, "port 80 answers")


STEP_DOWN = Intended(FIRST, "step-down by uid 0")
DISK = MaintenanceOrdered(Maintenance("disk", 0, 1))
NO_REASON = MaintenanceOrdered(Maintenance("", 0, 1))
LEFT = MaintenanceOrdered(None)
WAITS, COLLIDES, GOES_ON = (Withheld(FIRST, text) for text in (LISTENING, COLLIDING, ""))


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ([report(State.BACKUP)], "keepalived started"),
        ([report(State.BACKUP), report(State.MASTER)], "no other node advertises it"),
        (
            [report(State.BACKUP), heard(OTHER, 100), report(State.MASTER)],
            f"priority 254 is above 100 of {OTHER}",
        ),
        (
            [report(State.BACKUP), heard(OTHER, 254), report(State.MASTER)],
            f"{OTHER}, priority 254, fell silent",
        ),
        (
            [report(State.BACKUP), heard(OTHER, 254), heard("", 0), report(State.MASTER)],
            f"{OTHER} no longer advertises it",
        ),
        (
            [report(State.MASTER), heard("10.0.0.1", 254), report(State.BACKUP), report(State.MASTER)],
            "no other node advertises it",
        ),
        (
            [report(State.MASTER), heard(OTHER, 255), report(State.BACKUP)],
            f"advert from {OTHER} with priority 255",
        ),
        ([report(State.MASTER), report(State.BACKUP)], "another node advertises it"),
        ([report(State.MASTER), CHECK_FAILS, report(State.FAULT)], "check failed: port 80 refused"),
        (
            [CHECK_FAILS, report(State.FAULT), CHECK_PASSES, report(State.BACKUP)],
            "check passes again: port 80 answers",
        ),
        ([report(State.FAULT)], "not checked yet"),
        ([CHECK_PASSES, report(State.MASTER), report(State.FAULT)], "eth0 is down or has lost its address"),
        ([report(State.MASTER), report(State.STOPPED)], "keepalived ended in order"),
        (
            [
                report(State.MASTER),
                KeepalivedChanged("web", KeepalivedState.FAILED, 0, "keepalived was killed"),
            ],
            "keepalived was killed",
        ),
        (
            [InstanceReported("web", "web_VIP_1", State.MASTER, 254, 7, resync=True)],
            "found so when ipfod started",
        ),
        (
            [STEP_DOWN, InstanceReported("web", "web_VIP_1", State.MASTER, 254, 7, resync=True)],
            "found so when ipfod started",
        ),
        (
            [report(State.MASTER), STEP_DOWN, heard(OTHER, 100), report(State.BACKUP)],
            f"step-down by uid 0: advert from {OTHER} with priority 100",
        ),
        (
            [report(State.MASTER), STEP_DOWN, Intended(FIRST, ""), heard(OTHER, 100), report(State.BACKUP)],
            f"advert from {OTHER} with priority 100",
        ),
        (
            [
                report(State.BACKUP),
                heard(OTHER, 100),
                Intended(FIRST, "take-over by uid 0"),
                report(State.MASTER),
            ],
            f"take-over by uid 0: priority 254 is above 100 of {OTHER}",
        ),
        ([report(State.MASTER), DISK, report(State.FAULT)], "maintenance: disk"),
        ([report(State.MASTER), NO_REASON, report(State.FAULT)], "maintenance"),
        ([report(State.MASTER), CHECK_FAILS, DISK, report(State.FAULT)], "maintenance: disk"),
        ([DISK, report(State.FAULT), LEFT], "maintenance: disk"),  # until keepalived has followed
        ([DISK, report(State.FAULT), LEFT, report(State.BACKUP)], "maintenance is over"),
        ([NO_REASON, report(State.FAULT), LEFT, report(State.BACKUP)], "maintenance is over"),
        (
            [report(State.MASTER), DISK, report(State.FAULT), CHECK_FAILS, LEFT],
            "check failed: port 80 refused",
        ),
        (
            [DISK, report(State.FAULT), CHECK_FAILS, LEFT, CHECK_PASSES, report(State.BACKUP)],
            "check passes again: port 80 answers",
        ),
        ([CHECK_FAILS, report(State.FAULT), DISK], "check failed: port 80 refused"),
        ([CHECK_FAILS, report(State.FAULT), DISK, CHECK_PASSES], "maintenance: disk"),
        ([DISK, report(State.FAULT), NO_REASON], "maintenance"),
        ([report(State.FAULT), CHECK_FAILS], "check failed: port 80 refused"),
        ([WAITS, report(State.FAULT)], LISTENING),
        ([CHECK_FAILS, WAITS, report(State.FAULT), GOES_ON], "check failed: port 80 refused"),
        ([WAITS, report(State.FAULT), COLLIDES], COLLIDING),
        ([DISK, report(State.FAULT), COLLIDES, LEFT], COLLIDING),
        ([CHECK_FAILS, report(State.FAULT), COLLIDES, CHECK_PASSES], COLLIDING),
        (
            [CHECK_PASSES, WAITS, report(State.FAULT), GOES_ON, report(State.BACKUP)],
            "no other router uses its virtual router ID",
        ),
        (
            [CHECK_PASSES, COLLIDES, report(State.FAULT), GOES_ON, report(State.BACKUP)],
            "the other router no longer uses its virtual router ID",
        ),
        ([CHECK_PASSES, report(State.FAULT), DISK, LEFT], "eth0 is down or has lost its address"),
    ],
)
def test_reasons_say_what_was_seen(events: list[Event], reason: str) -> None:
    node = web_node()
    for event in events:
        node.apply(event, 2)
    assert node.groups[FIRST].reason == reason


def test_a_master_forgets_the_node_that_had_left() -> None:
    node = web_node()
    for event in (report(State.BACKUP), heard(OTHER, 100), heard("", 0), report(State.MASTER)):
        node.apply(event, 2)
    assert node.groups[FIRST].reason == f"{OTHER} no longer advertises it"
    for event in (report(State.BACKUP), report(State.MASTER)):
        node.apply(event, 4)
    assert node.groups[FIRST].reason == "no other node advertises it"


# ---------------------------------------------------------------- orders


def test_maintenance_is_told_once_and_again_when_it_is_another() -> None:
    node = web_node()
    changed = (NodeChanged(frozenset({"maintenance"})),)
    assert node.maintenance is None
    assert node.apply(LEFT, 2) == ()
    assert node.apply(DISK, 3) == changed
    assert node.maintenance == DISK.maintenance
    assert node.apply(DISK, 4) == ()
    assert node.apply(NO_REASON, 5) == changed
    assert node.apply(LEFT, 6) == changed
    assert node.maintenance is None


def test_a_fault_that_outlasts_maintenance_says_why_and_keeps_its_time() -> None:
    node = web_node()
    for event in (DISK, report(State.FAULT), CHECK_FAILS):
        node.apply(event, 2)
    assert node.apply(LEFT, 9) == (
        NodeChanged(frozenset({"maintenance"})),
        Changed(FIRST, frozenset({"reason"})),
    )
    assert node.groups[FIRST].since_usec == 2
    assert len(node.history(9)) == 1


def test_the_priority_of_the_master_is_known_as_its_adverts_say_it() -> None:
    node = web_node()
    (change,) = node.apply(heard(OTHER, 100), 2)
    assert change == Changed(FIRST, frozenset({"master", "master_priority"}))
    (change,) = node.apply(heard(OTHER, 1), 3)
    assert change == Changed(FIRST, frozenset({"master_priority"}))
    assert node.groups[FIRST].master_priority == 1
    assert node.apply(heard(OTHER, 1), 4) == ()
    node.apply(heard("", 0), 5)
    assert (node.groups[FIRST].master, node.groups[FIRST].master_priority) == ("", 0)


def test_an_intent_goes_with_its_group() -> None:
    node = web_node()
    assert node.apply(STEP_DOWN, 2) == ()
    node.apply(PlanApplied(Plan({})), 3)
    assert node.apply(STEP_DOWN, 4) == ()  # nothing to remember it for
    node.apply(PlanApplied(planned(WEB)), 5)
    node.apply(report(State.MASTER), 6)
    assert node.groups[FIRST].reason == "no other node advertises it"
