"""Groups that no node serves: which they are, how the problem reads, and that one look is not enough for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from plans import planned

from ipfod.node.events import (
    CheckReported,
    Event,
    InstanceReported,
    MaintenanceOrdered,
    MasterHeard,
    PlanApplied,
    ProblemsSeen,
)
from ipfod.node.model import CheckState, ProblemCode, State
from ipfod.node.node import Node
from ipfod.node.orders import Maintenance
from ipfod.plan.model import GroupKey, Plan
from ipfod.supervise.unserved import LOOK_AGAIN_S, UnservedWatch, problems, unserved

WEB = 'name = "web"\nvirtual_ips = "10.1.0.1-5"'
DB = 'name = "db"\nvirtual_ips = "10.1.0.9"\nvrrp_id_offset = 50'
FIRST = GroupKey("web", 1)
FAILING = CheckReported("web", CheckState.FAILING, "port 80 refused")
PASSING = CheckReported("web", CheckState.PASSING, "port 80 open")
MAINTENANCE = MaintenanceOrdered(Maintenance("disk", 0, 1))


def fault(index: int, failover: str = "web") -> InstanceReported:
    return InstanceReported(failover, f"{failover}_VIP_{index}", State.FAULT, 0)


def node_after(*events: Event) -> Node:
    node = Node("node1")
    for event in (PlanApplied(planned(WEB, DB)), *events):
        node.apply(event, 1)
    return node


@pytest.mark.parametrize(
    ("events", "keys"),
    [
        ((FAILING, fault(1), fault(3)), {FIRST, GroupKey("web", 3)}),
        ((MAINTENANCE, fault(1), fault(1, "db")), {FIRST, GroupKey("db", 1)}),
        ((FAILING, fault(1), MasterHeard(FIRST, "10.0.0.2", 100)), set()),
        (
            (FAILING, fault(1), MasterHeard(FIRST, "10.0.0.2", 100), MasterHeard(FIRST, "", 0)),
            {FIRST},
        ),
        ((PASSING, fault(1)), set()),  # a link that is down: it cannot tell
        ((FAILING,), set()),
        ((FAILING, fault(1, "db")), set()),
        ((FAILING, InstanceReported("web", "web_VIP_1", State.BACKUP, 1)), set()),
    ],
)
def test_unserved_is_what_was_given_up_on_purpose_and_nobody_advertises(
    events: tuple[Event, ...], keys: set[GroupKey]
) -> None:
    assert unserved(node_after(*events)) == keys


def test_a_problem_names_the_groups_the_cause_and_what_to_do() -> None:
    [problem] = problems(node_after(FAILING, fault(2), fault(1)), frozenset({GroupKey("web", 2), FIRST}))
    assert (problem.code, problem.object) == (ProblemCode.VIP_MISSING, "web")
    assert problem.text == (
        "web: no node serves web_VIP_1, web_VIP_2: the check fails here (port 80 refused), "
        "and no other is heard"
    )
    assert problem.hint.startswith("mend the service on any node")


def test_maintenance_is_the_cause_even_if_the_check_fails_as_well() -> None:
    node = node_after(FAILING, MAINTENANCE, fault(1))
    [problem] = problems(node, unserved(node))
    assert ": this node is in maintenance, and no other is heard" in problem.text
    assert "ipfoctl maintenance off" in problem.hint


def test_many_groups_are_counted_and_each_failover_has_its_problem() -> None:
    node = node_after(MAINTENANCE, *(fault(index) for index in range(1, 6)), fault(1, "db"))
    found = problems(node, unserved(node))
    assert [problem.object for problem in found] == ["db", "web"]
    assert "no node serves web_VIP_1, web_VIP_2, web_VIP_3 and 2 more:" in found[1].text


def test_groups_that_are_gone_meanwhile_are_no_problem() -> None:
    assert problems(node_after(), frozenset({GroupKey("mail", 1)})) == ()


# ---------------------------------------------------------------- two looks


class Watched:
    """A node and its watch, wired as the daemon does: whatever changes wakes the watch."""

    def __init__(self) -> None:
        self.node = node_after()
        self.emitted: list[Event] = []
        self.watch = UnservedWatch(self.node, self._emit)

    def _emit(self, event: Event) -> None:
        self.emitted.append(event)
        self.apply(event)

    def apply(self, *events: Event) -> None:
        for event in events:
            if self.node.apply(event, 1):
                self.watch.seen()

    async def until(self, *, missing: bool) -> None:
        async with asyncio.timeout(20 * LOOK_AGAIN_S):
            while bool(self.node.problems) is not missing:
                await asyncio.sleep(0.01)


@pytest.fixture
async def watched() -> AsyncIterator[Watched]:
    made = Watched()
    yield made
    made.watch.close()


async def test_what_two_looks_see_is_a_problem_and_its_end_is_seen_too(watched: Watched) -> None:
    began = asyncio.get_running_loop().time()
    watched.apply(FAILING, fault(1))
    await watched.until(missing=True)
    assert asyncio.get_running_loop().time() - began >= 2 * LOOK_AGAIN_S - 0.01
    [problem] = watched.node.problems
    assert problem.code is ProblemCode.VIP_MISSING
    watched.apply(MasterHeard(FIRST, "10.0.0.2", 100))
    await watched.until(missing=False)
    assert watched.emitted[-1] == ProblemsSeen("unserved", ())


async def test_a_group_that_changes_hands_is_none(watched: Watched) -> None:
    watched.apply(FAILING, fault(1))
    await asyncio.sleep(1.5 * LOOK_AGAIN_S)  # between the first look and the second
    watched.apply(MasterHeard(FIRST, "10.0.0.2", 100))
    await asyncio.sleep(3 * LOOK_AGAIN_S)
    assert watched.emitted == []


async def test_groups_that_take_turns_in_being_missed_are_none(watched: Watched) -> None:
    watched.apply(FAILING, fault(1))
    await asyncio.sleep(1.5 * LOOK_AGAIN_S)
    watched.apply(MasterHeard(FIRST, "10.0.0.2", 100), fault(2))
    await asyncio.sleep(LOOK_AGAIN_S)
    watched.apply(MasterHeard(GroupKey("web", 2), "10.0.0.2", 100))
    await asyncio.sleep(2 * LOOK_AGAIN_S)
    assert watched.emitted == []


async def test_a_lasting_problem_is_not_looked_at_for_ever(watched: Watched) -> None:
    watched.apply(FAILING, fault(1))
    await watched.until(missing=True)
    await asyncio.sleep(2 * LOOK_AGAIN_S)
    told = len(watched.emitted)
    await asyncio.sleep(3 * LOOK_AGAIN_S)
    assert len(watched.emitted) == told


async def test_a_failover_that_is_removed_takes_its_problem_with_it(watched: Watched) -> None:
    watched.apply(FAILING, fault(1))
    await watched.until(missing=True)
    watched.apply(PlanApplied(Plan({})))
    await watched.until(missing=False)


async def test_after_close_nobody_looks(watched: Watched) -> None:
    watched.apply(FAILING, fault(1))
    watched.watch.close()
    watched.watch.close()
    await asyncio.sleep(3 * LOOK_AGAIN_S)
    assert watched.emitted == []
