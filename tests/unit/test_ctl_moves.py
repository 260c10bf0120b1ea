"""`ipfoctl step-down` and `take-over`, against ipfod's own service: what is asked, sentences, exit codes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
from bus_harness import failover, planned, private_bus
from ctl_harness import TIMEOUT_S, Ended, Stand, ended, ipfoctl, running, standing

from ipfod.bus.paths import group_path
from ipfod.errors import Failed, NoSuccessor
from ipfod.node.events import MasterHeard
from ipfod.node.model import State
from ipfod.plan.model import GroupKey

FIRST, SECOND, THIRD = (GroupKey("web", index) for index in (1, 2, 3))
ROOT_ = "uid 0"
PEER = "192.168.3.2"


@pytest.fixture
async def stand() -> AsyncIterator[Stand]:
    with private_bus():
        async with standing() as made:
            yield made


def sentence(shown: Ended) -> str:
    """What it said, without how long it took."""
    said, found = re.subn(r" in [0-9]+ ms$", " in N ms", shown.out, flags=re.MULTILINE)
    assert found == len(shown.out.splitlines())
    return said


@pytest.mark.parametrize("target", ["web_VIP_1", "192.168.3.10"])
async def test_a_step_down_says_what_moved_where(stand: Stand, target: str) -> None:
    stand.sees(MasterHeard(FIRST, PEER, 250))
    done = await ipfoctl("step-down", target)
    assert (done.code, done.err) == (0, "")
    assert sentence(done) == f"192.168.3.10 moved to {PEER} in N ms\n"
    assert stand.daemon.orders == [("step_down", FIRST, 300, ROOT_)]


@pytest.mark.parametrize(("text", "hold_s"), [("0", 0), ("45", 45), ("30s", 30), ("5m", 300), ("2h", 7200)])
async def test_the_hold_is_a_span_of_time(stand: Stand, text: str, hold_s: int) -> None:
    assert (await ipfoctl("step-down", "web", "--hold", text)).code == 0
    assert stand.daemon.orders == [("step_down", FIRST, hold_s, ROOT_)]


async def test_a_new_master_that_is_not_heard_is_another_node(stand: Stand) -> None:
    assert sentence(await ipfoctl("step-down", "web_VIP_1")) == "192.168.3.10 moved to another node in N ms\n"


async def test_a_failover_steps_down_group_by_group_from_what_it_holds(stand: Stand) -> None:
    stand.group_becomes(State.BACKUP, 2)
    stand.group_becomes(State.MASTER, 3)
    for key in (FIRST, THIRD):
        stand.sees(MasterHeard(key, PEER, 250))
    done = await ipfoctl("step-down", "web")
    assert sentence(done) == f"192.168.3.10 moved to {PEER} in N ms\n2001:db8::1 moved to {PEER} in N ms\n"
    assert [order[:2] for order in stand.daemon.orders] == [("step_down", FIRST), ("step_down", THIRD)]


async def test_a_failover_of_which_nothing_is_here_cannot_step_down(stand: Stand) -> None:
    stand.group_becomes(State.BACKUP, 1)
    refused = await ipfoctl("step-down", "web")
    assert (refused.code, refused.out, stand.daemon.orders) == (1, "", [])
    assert refused.err == (
        "ipfoctl: web: this node is master of none of its groups\n  -> step down on the node that is\n"
    )


async def test_a_group_that_is_named_is_asked_for_whatever_it_is(stand: Stand) -> None:
    stand.daemon.error = Failed("web_VIP_2: this node is not its master", hint="step down on the node that is")
    refused = await ipfoctl("step-down", "web_VIP_2")
    assert (refused.code, len(stand.daemon.orders)) == (1, 1)
    assert refused.err == ("ipfoctl: web_VIP_2: this node is not its master (step down on the node that is)\n")


async def test_a_take_over_says_what_came_from_where(stand: Stand) -> None:
    stand.group_becomes(State.BACKUP, 2)
    stand.sees(MasterHeard(SECOND, PEER, 250))
    done = await ipfoctl("take-over", "192.168.3.11")
    assert (done.code, done.err) == (0, "")
    assert sentence(done) == f"192.168.3.11 moved here from {PEER} in N ms\n"
    assert stand.daemon.orders == [("take_over", SECOND, ROOT_)]


async def test_a_failover_is_taken_over_group_by_group_where_this_node_is_not_master(stand: Stand) -> None:
    stand.group_becomes(State.BACKUP, 2)
    done = await ipfoctl("take-over", "web")
    assert sentence(done) == "192.168.3.11 moved here in N ms\n2001:db8::1 moved here in N ms\n"
    assert [order[:2] for order in stand.daemon.orders] == [("take_over", SECOND), ("take_over", THIRD)]


@pytest.mark.parametrize(("command", "others"), [("step-down", State.MASTER), ("take-over", State.BACKUP)])
async def test_a_group_that_cannot_be_moved_keeps_none_of_the_others(
    stand: Stand, command: str, others: State
) -> None:
    for index in (1, 2, 3):
        stand.group_becomes(others, index)
    stand.daemon.refused = {SECOND: NoSuccessor("web_VIP_2: no other node took over", hint="look there")}
    done = await ipfoctl(command, "web")
    assert (done.code, len(done.out.splitlines())) == (1, 2)
    assert done.err == (
        "ipfoctl: web_VIP_2: no other node took over (look there)\nipfoctl: web: 1 of 3 groups not moved\n"
    )
    assert [order[1] for order in stand.daemon.orders] == [FIRST, SECOND, THIRD]


async def test_what_keeps_every_group_is_said_once(stand: Stand) -> None:
    stand.daemon.error = Failed("this node is in maintenance", hint="leave it first")
    done = await ipfoctl("take-over", "web")
    assert (done.code, done.out) == (1, "")
    assert done.err == (
        "ipfoctl: this node is in maintenance (leave it first)\nipfoctl: web: 2 of 2 groups not moved\n"
    )


async def test_a_group_that_a_reload_takes_away_meanwhile_is_said_to_be_gone(stand: Stand) -> None:
    stand.group_becomes(State.MASTER, 3)
    stand.daemon.hold.clear()
    async with running("step-down", "web") as process:
        async with asyncio.timeout(TIMEOUT_S):
            while not stand.daemon.orders:
                await asyncio.sleep(0.01)
        stand.sees(planned(failover("web", ("192.168.3.10",))))
        stand.daemon.hold.set()
        done = await ended(process)
    assert sentence(done) == "192.168.3.10 moved to another node in N ms\n"
    gone = f"StepDown: {group_path(THIRD)}: no such object"
    assert (done.code, done.err) == (
        1,
        f"ipfoctl: {gone}\n  -> a reload took it away; ipfoctl status lists what there is\n"
        "ipfoctl: web: 1 of 2 groups not moved\n",
    )


async def test_what_is_here_already_is_left_alone(stand: Stand) -> None:
    done = await ipfoctl("take-over", "192.168.3.10")
    assert (done.code, done.out, done.err) == (0, "web_VIP_1: node-a is its master already\n", "")
    assert stand.daemon.orders == []
