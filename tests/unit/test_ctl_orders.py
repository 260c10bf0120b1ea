"""ipfoctl's commands that steer, against ipfod's own service: what is asked, sentences, exit codes."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import subprocess
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from bus_harness import NOBODY, private_bus
from ctl_harness import IPFOCTL, TIMEOUT_S, Stand, environment, ipfoctl, running, standing

from ipfod.config.model import Preemption, PreemptionMode
from ipfod.errors import Busy, Failed, InvalidRequest, NoSuccessor, NotFound
from ipfod.node.events import MaintenanceOrdered, PlanApplied
from ipfod.node.model import State
from ipfod.node.orders import Maintenance
from ipfod.plan.model import GroupKey, Here, Plan
from ipfod.plan.planning import Overrides, plan_failover

FIRST, SECOND, THIRD = (GroupKey("web", index) for index in (1, 2, 3))
NOPREEMPT = Preemption(PreemptionMode.NOPREEMPT)
ROOT_ = "uid 0"
PEER = "192.168.3.2"
EVERY_ORDER = (
    ("preemption", "web", "preempt"),
    ("preemption", "web", "reset"),
    ("step-down", "web"),
    ("take-over", "web"),
    ("maintenance", "on"),
    ("maintenance", "off"),
)


@pytest.fixture
def bus() -> Iterator[subprocess.Popen[str]]:
    with private_bus() as daemon:
        yield daemon


@pytest.fixture
async def stand(bus: subprocess.Popen[str]) -> AsyncIterator[Stand]:
    async with standing() as made:
        yield made


def order_in_force(stand: Stand, overrides: Overrides) -> None:
    """The plan as it is after an order of another preemption policy."""
    plan = stand.node.failovers["web"].plan
    here = Here(plan.interface, plan.addresses)
    stand.sees(PlanApplied(Plan({"web": plan_failover(plan.failover, here, {}, overrides)})))


# ---------------------------------------------------------------- every order


@pytest.mark.parametrize("arguments", EVERY_ORDER, ids=" ".join)
async def test_who_may_not_gets_4_and_what_to_do(stand: Stand, arguments: tuple[str, ...]) -> None:
    refused = await ipfoctl(*arguments, user=NOBODY)
    assert (refused.code, refused.out, stand.daemon.orders) == (4, "", [])
    hint = "run it as root; ipfoctl help permissions says who else may"
    assert re.fullmatch(rf"ipfoctl: [A-Za-z]+: not permitted\n  -> {hint}\n", refused.err)


@pytest.mark.parametrize("arguments", EVERY_ORDER, ids=" ".join)
async def test_without_a_daemon_it_is_3(bus: subprocess.Popen[str], arguments: tuple[str, ...]) -> None:
    refused = await ipfoctl(*arguments)
    assert (refused.code, refused.out) == (3, "")
    assert refused.err == "ipfoctl: ipfod is not running\n  -> start it with: systemctl start ipfod\n"


@pytest.mark.parametrize("command", ["preemption", "step-down", "take-over"])
async def test_a_target_that_is_none_is_1(stand: Stand, command: str) -> None:
    arguments = (command, "10.9.9.9", *(("preempt",) if command == "preemption" else ()))
    refused = await ipfoctl(*arguments)
    assert (refused.code, refused.out, stand.daemon.orders) == (1, "", [])
    assert refused.err == (
        "ipfoctl: 10.9.9.9: no failover, group or virtual IP of that name on node-a\n"
        "  -> ipfoctl status lists them all\n"
    )


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            NoSuccessor("web_VIP_1: no other node took over; this one keeps it", hint="look there"),
            "web_VIP_1: no other node took over; this one keeps it (look there)",
        ),
        (Busy("web_VIP_1: it is being moved just now"), "web_VIP_1: it is being moved just now"),
        (Failed("web_VIP_1: it does not run"), "web_VIP_1: it does not run"),
        (NotFound("web: there is no group 1"), "web: there is no group 1"),
    ],
)
async def test_what_ipfod_refuses_is_1_in_ipfod_s_words(stand: Stand, error: Exception, text: str) -> None:
    stand.daemon.error = error
    refused = await ipfoctl("step-down", "web_VIP_1")
    assert (refused.code, refused.out, refused.err) == (1, "", f"ipfoctl: {text}\n")


@pytest.mark.parametrize(
    "arguments",
    [("step-down", "web_VIP_1"), ("take-over", "web_VIP_2"), ("maintenance", "on"), ("maintenance", "off")],
    ids=" ".join,
)
async def test_no_answer_in_time_is_1(stand: Stand, arguments: tuple[str, ...]) -> None:
    stand.daemon.hold.clear()
    began = time.monotonic()
    refused = await ipfoctl(*arguments, "--timeout", "1s")
    assert 1 <= time.monotonic() - began < TIMEOUT_S / 2
    assert (refused.code, refused.out) == (1, "")
    assert re.match(r"ipfoctl: ipfod has not answered [A-Za-z]+ within 1 s\n", refused.err)
    stand.daemon.hold.set()


async def test_a_daemon_that_goes_meanwhile_is_3(stand: Stand) -> None:
    stand.daemon.hold.clear()
    async with running("step-down", "web_VIP_1") as process:
        async with asyncio.timeout(TIMEOUT_S):
            while not stand.daemon.orders:  # the harness notes them, it has no event
                await asyncio.sleep(0.01)
        await stand.service.stop()
        _, err = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
    assert process.returncode == 3
    assert err.startswith(b"ipfoctl: ipfod ")


# ---------------------------------------------------------------- preemption


async def test_policies_are_shown_with_their_origin(stand: Stand) -> None:
    order_in_force(stand, {2: NOPREEMPT})
    shown = await ipfoctl("preemption", user=NOBODY)
    assert (shown.code, shown.err) == (0, "")
    assert shown.out == (
        "NAME       PREEMPTION         ORIGIN\n"
        "web        preempt_delay 300  configuration\n"
        "web_VIP_2  nopreempt          runtime\n"
    )
    assert (await ipfoctl("preemption", "192.168.3.10")).out.splitlines()[1:] == [
        "web_VIP_1  preempt_delay 300  configuration"
    ]
    assert stand.daemon.orders == []


async def test_policies_as_json_have_the_properties_names(stand: Stand) -> None:
    order_in_force(stand, {2: NOPREEMPT})
    entries = json.loads((await ipfoctl("preemption", "--json")).out)["preemption"]
    assert [entry["name"] for entry in entries] == ["web", "web_VIP_1", "web_VIP_2", "web_VIP_3"]
    assert entries[2] == {"name": "web_VIP_2", "preemption": "nopreempt", "preemption_origin": "runtime"}
    [one] = json.loads((await ipfoctl("preemption", "--json", "web_VIP_1")).out)["preemption"]
    assert one["preemption_origin"] == "configuration"


async def test_without_a_failover_there_is_nothing_to_show(stand: Stand) -> None:
    stand.sees(PlanApplied(Plan({})))
    shown = await ipfoctl("preemption")
    assert (shown.code, shown.out) == (0, "No failover is configured on node-a.\n")
    assert json.loads((await ipfoctl("preemption", "--json")).out) == {"preemption": []}


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (("web", "nopreempt"), ("set_preemption", "web", 0, "nopreempt")),
        (("web", "preempt_delay", "60"), ("set_preemption", "web", 0, "preempt_delay 60")),
        (("web", "preempt_delay 60"), ("set_preemption", "web", 0, "preempt_delay 60")),
        (("web_VIP_2", "preempt"), ("set_preemption", "web", 2, "preempt")),
        (("2001:DB8:0::1", "preempt"), ("set_preemption", "web", 3, "preempt")),
        (("web", "reset"), ("reset_preemption", "web", 0)),
        (("192.168.3.11", "reset"), ("reset_preemption", "web", 2)),
    ],
)
async def test_a_policy_is_ordered_for_a_failover_or_a_group_and_shown(
    stand: Stand, arguments: tuple[str, ...], asked: tuple[object, ...]
) -> None:
    done = await ipfoctl("preemption", *arguments)
    assert (done.code, done.err) == (0, "")
    assert stand.daemon.orders == [asked]
    assert done.out.startswith("NAME ")


async def test_a_policy_that_is_none_is_1_and_says_what_is_accepted(stand: Stand) -> None:
    stand.daemon.error = InvalidRequest("'sometimes' is not a preemption policy: \"preempt\" or others")
    refused = await ipfoctl("preemption", "web", "sometimes")
    assert (refused.code, refused.out) == (1, "")
    assert refused.err == "ipfoctl: 'sometimes' is not a preemption policy: \"preempt\" or others\n"


# ---------------------------------------------------------------- maintenance


async def test_entering_maintenance_says_what_was_handed_over(stand: Stand) -> None:
    stand.group_becomes(State.MASTER, 2)
    done = await ipfoctl("maintenance", "on", "--reason", "new disk")
    assert (done.code, done.err) == (0, "")
    assert done.out == "node-a is in maintenance (new disk): 2 groups handed over.\n"
    assert stand.daemon.orders == [("enter_maintenance", "new disk", 0)]


async def test_who_held_nothing_is_told_so(stand: Stand) -> None:
    stand.group_becomes(State.BACKUP)
    assert (await ipfoctl("maintenance", "on")).out == "node-a is in maintenance: it held nothing.\n"


async def test_groups_that_nobody_took_are_warned_of_and_not_counted(stand: Stand) -> None:
    stand.group_becomes(State.MASTER, 2)
    stand.daemon.warnings = ("web_VIP_2: no other node took over: 192.168.3.11 on no node now",)
    done = await ipfoctl("maintenance", "on")
    assert done.code == 0  # maintenance means what it says
    assert done.out == "node-a is in maintenance: 1 group handed over.\n"
    assert done.err == "warning: web_VIP_2: no other node took over: 192.168.3.11 on no node now\n"


async def test_more_warnings_than_it_held_before_are_not_counted_below_nothing(stand: Stand) -> None:
    stand.daemon.warnings = ("web_VIP_1: x", "web_VIP_2: x")
    assert (await ipfoctl("maintenance", "on")).out == "node-a is in maintenance: 0 groups handed over.\n"


async def test_an_end_is_counted_from_now(stand: Stand) -> None:
    before = time.time_ns() // 1000
    done = await ipfoctl("maintenance", "on", "--for", "2h")
    after = time.time_ns() // 1000
    [(name, reason, until_usec)] = stand.daemon.orders
    assert (name, reason) == ("enter_maintenance", "")
    assert isinstance(until_usec, int)
    assert before + 7_200_000_000 <= until_usec <= after + 7_200_000_000
    assert re.match(
        r"node-a is in maintenance until \d{4}-\d\d-\d\d \d\d:\d\d: 1 group handed over\.\n", done.out
    )


async def test_leaving_says_what_holds_from_then_on(stand: Stand) -> None:
    done = await ipfoctl("maintenance", "off")
    assert (done.code, done.err, stand.daemon.orders) == (0, "", [("leave_maintenance",)])
    assert done.out == "node-a takes part again; the preemption policies say what it gets.\n"


async def test_status_shows_maintenance_before_everything_else(stand: Stand) -> None:
    stand.sees(MaintenanceOrdered(Maintenance("new\x1b[31mdisk", 0, 1)))
    shown = await ipfoctl("status")
    assert shown.out.splitlines()[1] == (
        "in maintenance until it is left (ipfoctl maintenance off): new [31mdisk"
    )
    document = json.loads((await ipfoctl("status", "--json")).out)
    assert (document["maintenance"], document["maintenance_until"]) == (True, 0)


# ---------------------------------------------------------------- what is waited for


async def on_a_terminal(*arguments: str, **more: str) -> str:
    """What a command writes to a terminal."""
    ours, theirs = pty.openpty()
    try:
        process = await asyncio.create_subprocess_exec(
            *IPFOCTL, *arguments, stdin=subprocess.DEVNULL, stdout=theirs, env=environment(**more)
        )
        async with asyncio.timeout(TIMEOUT_S):
            assert await process.wait() == 0
        return os.read(ours, 65536).decode()
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize(
    ("arguments", "text", "after"),
    [
        (("step-down", "web_VIP_1"), "web_VIP_1: handing over ...", "192.168.3.10 moved"),
        (("take-over", "web_VIP_2"), "web_VIP_2: taking over ...", "192.168.3.11 moved"),
        (("maintenance", "on"), "handing over 1 group ...", "node-a is in maintenance"),
    ],
)
async def test_a_terminal_shows_what_is_waited_for_until_it_is_over(
    stand: Stand, arguments: tuple[str, ...], text: str, after: str
) -> None:
    shown = await on_a_terminal(*arguments, TERM="xterm")
    assert shown.startswith(f"{text}\r\x1b[K{after}")
    plain = await on_a_terminal(*arguments, TERM="dumb")
    assert plain.startswith(f"{text}\r\n{after}")
    assert "\x1b" not in plain


async def test_a_wait_that_ends_in_a_failure_is_not_left_on_the_terminal(stand: Stand) -> None:
    stand.daemon.error = Busy("web_VIP_1: busy")
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *IPFOCTL,
        *("step-down", "web_VIP_1"),
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.PIPE,
        env=environment(TERM="xterm"),
    )
    _, err = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    os.close(theirs)
    assert process.returncode == 1
    assert shown == "web_VIP_1: handing over ...\r\x1b[K"
    assert err == b"ipfoctl: web_VIP_1: busy\n"
