"""Maintenance and moves as far as no keepalived is needed: what is durable, what ends, what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from alone import Namespace
from plans import planned

from ipfod.errors import Busy, Failed, NotFound
from ipfod.node import statefile
from ipfod.node.boot import this_boot
from ipfod.node.events import Event, InstanceReported, MasterHeard, PlanApplied
from ipfod.node.model import State
from ipfod.node.node import Node
from ipfod.node.orders import Maintenance, Orders, Stance, StanceKind
from ipfod.plan.model import GroupKey
from ipfod.supervise import maintenance as under_test
from ipfod.supervise.failover import Supervisor
from ipfod.supervise.ledger import Ledger
from ipfod.supervise.maintenance import MaintenanceMode
from ipfod.supervise.overlap import Overlap
from ipfod.supervise.stances import Stances, boot_time_s
from ipfod.supervise.switchover import GRACE_S, LOWERED_S, Switchover

WEB = 'name = "web"\nvirtual_ips = "10.1.0.1"'
DB = 'name = "db"\nvirtual_ips = "10.1.0.9"\nvrrp_id_offset = 50'
WEB_1, DB_1 = GroupKey("web", 1), GroupKey("db", 1)
NOW_USEC = 1_700_000_000_000_000
PATIENCE_S = 10.0


def nobody_runs(failover: str) -> Supervisor:
    raise KeyError(failover)


class Parts:
    """A node whose failovers are planned and not started, with everything that moves and gives up groups."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.node = Node("node1")
        self.apply(PlanApplied(planned(WEB, DB)))
        self.ledger = Ledger(self.apply, file, file.with_name("boot"))
        self.ledger.load()
        self.stances = Stances(self.ledger, lambda key: None)
        self.switchover = Switchover(self.node.groups, nobody_runs, self.stances, Overlap(), self.apply)
        self.mode = MaintenanceMode(self.node, self.ledger, self.switchover, self.apply, self.follow)

    def apply(self, event: Event) -> None:
        self.node.apply(event, 1)

    def becomes(self, state: State, *keys: GroupKey) -> None:
        for key in keys:
            self.apply(InstanceReported(key.failover, f"{key.failover}_VIP_{key.index}", state, 100))

    def follow(self) -> None:
        """What keepalived does when its track files say fault."""
        if self.ledger.orders.maintenance is not None:
            self.becomes(State.FAULT, *self.node.groups)

    def written(self) -> Orders:
        return statefile.load(self.file, this_boot(self.file.with_name("boot")))[0].orders


@pytest.fixture
def namespace() -> Iterator[None]:
    """What a move lends to the loopback interface is not to be on that of this machine."""
    with Namespace() as namespace, namespace.inside():
        yield


@pytest.fixture
async def parts(tmp_path: Path, namespace: None) -> Parts:
    return Parts(tmp_path / "state.json")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "_now_usec", lambda: NOW_USEC)


# ---------------------------------------------------------------- maintenance


async def test_entering_is_durable_and_gives_everything_up(parts: Parts, clock: None) -> None:
    parts.becomes(State.BACKUP, WEB_1, DB_1)
    assert await parts.mode.enter("disk", NOW_USEC + 5) == ()
    ordered = Maintenance("disk", NOW_USEC + 5, NOW_USEC)
    assert parts.written().maintenance == parts.node.maintenance == ordered
    assert {status.reason for status in parts.node.groups.values()} == {"maintenance: disk"}


async def test_what_nobody_takes_is_given_up_with_a_warning(parts: Parts) -> None:
    parts.becomes(State.MASTER, WEB_1, DB_1)
    warnings = await parts.mode.enter("", 0)
    assert sorted(warnings) == [
        "db_VIP_1: no other node took over: 10.1.0.9 on no node now",
        "web_VIP_1: no other node took over: 10.1.0.1 on no node now",
    ]
    assert {status.state for status in parts.node.groups.values()} == {State.FAULT}


async def test_a_group_that_is_removed_meanwhile_keeps_no_node_from_maintenance(parts: Parts) -> None:
    parts.becomes(State.MASTER, WEB_1, DB_1)
    first, second = [key for key, status in parts.node.groups.items() if status.state is State.MASTER]
    async with parts.switchover._alone(second):  # it is being moved: maintenance waits for that
        entering = asyncio.create_task(parts.mode.enter("disk", 0))
        await asyncio.sleep(0.05)
        assert not entering.done()
        parts.apply(PlanApplied(planned(DB if second == DB_1 else WEB)))
        assert first not in parts.node.groups
    async with asyncio.timeout(PATIENCE_S):
        [warning] = await entering
    assert warning.startswith(f"{second.failover}_VIP_1: no other node took over")
    assert parts.written().maintenance is not None


async def test_it_goes_on_after_a_restart_until_its_end(parts: Parts, clock: None) -> None:
    await parts.mode.enter("disk", NOW_USEC + 1)
    again = Parts(parts.file)
    again.mode.restore()
    assert again.node.maintenance == parts.node.maintenance


@pytest.mark.parametrize("until_usec", [NOW_USEC, NOW_USEC - 1])
async def test_one_that_ended_while_no_ipfod_ran_is_over(parts: Parts, clock: None, until_usec: int) -> None:
    parts.ledger.order(Orders(maintenance=Maintenance("disk", until_usec, 1)))
    again = Parts(parts.file)
    again.mode.restore()
    assert again.node.maintenance is None
    assert again.written().maintenance is None


async def test_leaving_is_durable_and_may_be_said_twice(parts: Parts) -> None:
    await parts.mode.enter("disk", 0)
    for _ in range(2):
        await parts.mode.leave()
        assert parts.node.maintenance is None
        assert parts.written().maintenance is None


async def test_the_end_is_seen_while_it_runs(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    now_usec = NOW_USEC
    monkeypatch.setattr(under_test, "_now_usec", lambda: now_usec)
    monkeypatch.setattr(under_test, "CLOCK_POLL_S", 0.01)
    await parts.mode.enter("disk", NOW_USEC + 1)
    watching = asyncio.create_task(parts.mode.watch())
    await asyncio.sleep(0.1)
    assert parts.node.maintenance is not None
    now_usec += 1
    async with asyncio.timeout(PATIENCE_S):
        while parts.node.maintenance is not None:
            await asyncio.sleep(0.01)
    assert parts.written().maintenance is None
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


# ---------------------------------------------------------------- moves that cannot be


async def test_a_group_that_is_not_there_is_not_found(parts: Parts) -> None:
    gone = GroupKey("web", 9)
    with pytest.raises(NotFound, match="web: there is no group 9"):
        await parts.switchover.step_down(gone, 0, "uid 0")
    with pytest.raises(NotFound, match="web: there is no group 9"):
        await parts.switchover.take_over(gone, "uid 0")


async def test_two_moves_of_one_group_are_one_too_many(parts: Parts) -> None:
    parts.becomes(State.MASTER, WEB_1, DB_1)
    async with parts.switchover._alone(WEB_1):
        with pytest.raises(Busy, match="web_VIP_1: it is being moved just now"):
            await parts.switchover.step_down(WEB_1, 0, "uid 0")
        with pytest.raises(Busy, match="web_VIP_1"):
            await parts.switchover.take_over(WEB_1, "uid 0")
        await parts.switchover.take_over(DB_1, "uid 0")  # another group's, and here already
    await parts.switchover.take_over(WEB_1, "uid 0")


async def test_only_a_master_steps_down_and_only_a_backup_takes_over(parts: Parts) -> None:
    parts.apply(MasterHeard(WEB_1, "10.0.0.2", 100))
    for state in (State.BACKUP, State.FAULT, State.STOPPED):
        parts.becomes(state, WEB_1)
        with pytest.raises(Failed, match=r"this node is not its master, 10\.0\.0\.2 is"):
            await parts.switchover.step_down(WEB_1, 0, "uid 0")
    for state in (State.FAULT, State.STOPPED):
        parts.becomes(state, WEB_1)
        with pytest.raises(Failed, match=f"web_VIP_1: this node cannot take it, it is {state}: "):
            await parts.switchover.take_over(WEB_1, "uid 0")


@pytest.mark.parametrize("before", [None, Stance(StanceKind.WAIT, 7)])
async def test_a_move_that_fails_leaves_stance_and_intent_as_they_were(
    parts: Parts, before: Stance | None
) -> None:
    parts.stances.set(WEB_1, before)
    parts.becomes(State.MASTER, WEB_1)
    with pytest.raises(Failed, match="web: it does not run"):
        await parts.switchover.step_down(WEB_1, 300, "uid 0")
    parts.becomes(State.BACKUP, WEB_1)
    assert parts.node.groups[WEB_1].reason == "another node advertises it"
    with pytest.raises(Failed, match="web: it does not run"):
        await parts.switchover.take_over(WEB_1, "uid 0")
    assert parts.stances.get(WEB_1) == before
    async with parts.switchover._alone(WEB_1):
        pass


# ---------------------------------------------------------------- many groups, one after the other


async def test_what_was_handed_over_first_stays_away_until_the_last_one_is(tmp_path: Path) -> None:
    """With a policy that preempts, groups came back while others were still to be handed over."""
    parts = Parts(tmp_path / "state.json")
    many = 'name = "web"\nvirtual_ips = "10.1.0.1-40"'
    parts.apply(PlanApplied(planned(many)))
    keys = list(parts.node.groups)

    class Obedient:
        """Another node takes each group at its first parting advert."""

        plan = planned(many).failovers["web"]

        def part(self, key: GroupKey) -> None:
            parts.apply(MasterHeard(key, "10.0.0.2", 100))
            parts.becomes(State.BACKUP, key)

    def lower(key: GroupKey) -> None:
        parts.apply(InstanceReported(key.failover, f"{key.failover}_VIP_{key.index}", State.MASTER, 1))

    obedient = Obedient()
    stances = Stances(parts.ledger, lower)
    overlap = Overlap()
    overlap.open()
    switchover = Switchover(
        parts.node.groups, lambda _: cast(Supervisor, obedient), stances, overlap, parts.apply
    )
    parts.becomes(State.MASTER, *keys)
    began = boot_time_s()
    assert await switchover.vacate_all("maintenance") == []
    ends = [parts.ledger.orders.stances[key].until_s - began for key in keys]
    stances.close()
    await overlap.close()
    # A move may take until keepalived has lowered its priority, then three intervals and a second.
    one_s = LOWERED_S + 3 * obedient.plan.failover.advert_interval_s + GRACE_S
    assert all(end >= one_s * (len(keys) - place) for place, end in enumerate(ends))
    assert {parts.ledger.orders.stances[key].kind for key in keys} == {StanceKind.YIELD}
