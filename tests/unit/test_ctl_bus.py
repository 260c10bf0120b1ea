"""ipfoctl against ipfod's own service on a private bus: output, exit codes, and what happens when it goes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from bus_harness import NOBODY, private_bus
from ctl_harness import TIMEOUT_S, USEC, Stand, ended, ipfoctl, running, standing

from ipfod.errors import InvalidConfiguration
from ipfod.node.events import InstanceReported, ProblemsSeen
from ipfod.node.model import Problem, ProblemCode, State

TROUBLE = Problem(ProblemCode.INTERFACE_MISSING, "web", "eth0 is not there", "plug it in")


@pytest.fixture
def bus() -> Iterator[subprocess.Popen[str]]:
    with private_bus() as daemon:
        yield daemon


@pytest.fixture
async def stand(bus: subprocess.Popen[str]) -> AsyncIterator[Stand]:
    async with standing() as made:
        yield made


async def next_line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(TIMEOUT_S):
        return (await process.stdout.readline()).decode()


async def line_with(process: asyncio.subprocess.Process, text: str) -> str:
    while text not in (line := await next_line(process)):
        assert line, f"ended before it said {text!r}"
    return line


async def subscribed(process: asyncio.subprocess.Process, stand: Stand) -> str:
    """The first line of `events`; makes events until it listens."""
    first = asyncio.create_task(next_line(process), name="first line")
    states = (State.BACKUP, State.MASTER)
    for turn in range(TIMEOUT_S * 20):
        stand.group_becomes(states[turn % 2])
        await asyncio.wait([first], timeout=0.05)
        if first.done():
            break
    return await first


# ---------------------------------------------------------------- status


async def test_status_shows_what_the_service_knows(stand: Stand) -> None:
    shown = await ipfoctl("status")
    assert shown.code == 0
    assert shown.out.startswith("node-a: ipfod ")
    assert "web on eth0, keepalived running (pid 4711)" in shown.out
    [row] = [line for line in shown.out.splitlines() if "web_VIP_1" in line]
    assert row.split()[:3] == ["web_VIP_1", "192.168.3.10", "master"]


async def test_status_shows_problems_and_exits_1(stand: Stand) -> None:
    stand.sees(ProblemsSeen("interface", (TROUBLE,)))
    shown = await ipfoctl("status")
    assert shown.code == 1
    assert shown.out.index("interface-missing  web") < shown.out.index("web on eth0")
    assert "    eth0 is not there\n    -> plug it in\n" in shown.out


async def test_status_as_json_is_what_describe_says(stand: Stand) -> None:
    stand.sees(ProblemsSeen("interface", (TROUBLE,)))
    shown = await ipfoctl("status", "--json", "192.168.3.11")
    document = json.loads(shown.out)
    assert shown.code == 1
    assert document["problems"][0]["code"] == "interface-missing"
    assert [group["name"] for group in document["failovers"][0]["groups"]] == ["web_VIP_2"]
    assert document["failovers"][0]["groups"][0]["virtual_router_id"] == 12
    assert document["virtual_ips"][0]["address"] == "192.168.3.11"


async def test_a_name_that_nobody_has_exits_1(stand: Stand) -> None:
    shown = await ipfoctl("status", "nix")
    assert (shown.code, shown.out) == (1, "")
    assert shown.err.startswith("ipfoctl: nix: no failover, group or virtual IP of that name on node-a\n")


async def test_reading_is_for_everyone(stand: Stand) -> None:
    assert (await ipfoctl("status", user=NOBODY)).code == 0
    assert (await ipfoctl("history", user=NOBODY)).code == 0


async def test_a_watched_status_is_shown_again_on_change_and_ends_on_ctrl_c(stand: Stand) -> None:
    async with running("status", "--watch") as process:
        assert " master " in await line_with(process, "web_VIP_1 ")
        stand.group_becomes(State.FAULT)
        while " fault " not in await line_with(process, "web_VIP_1 "):
            pass
        process.send_signal(signal.SIGINT)
        assert (await ended(process)).code == 0


async def test_a_watched_status_as_json_is_one_document_a_line(stand: Stand) -> None:
    async with running("status", "--watch", "--json") as process:
        before = json.loads(await next_line(process))
        stand.sees(ProblemsSeen("interface", (TROUBLE,)))
        after = json.loads(await next_line(process))
    assert (len(before["problems"]), len(after["problems"])) == (0, 1)


async def test_a_watched_status_outlives_the_daemon(stand: Stand) -> None:
    async with running("status", "--watch") as process:
        await line_with(process, "web_VIP_1")
        await stand.service.stop()
        await line_with(process, "ipfod is not running; waiting for it")
        await stand.service.start()
        await line_with(process, "web_VIP_1")


# ---------------------------------------------------------------- history, events


async def test_history_shows_the_newest_last(stand: Stand) -> None:
    stand.group_becomes(State.FAULT)
    shown = await ipfoctl("history")
    changes = [" ".join(line.split()[3:6]) for line in shown.out.splitlines()[1:]]
    assert shown.code == 0
    assert changes == ["unknown -> master", "master -> fault"]


async def test_history_is_limited_and_becomes_json(stand: Stand) -> None:
    stand.group_becomes(State.FAULT)
    [entry] = json.loads((await ipfoctl("history", "--limit", "1", "--json")).out)["history"]
    assert (entry["name"], entry["old"], entry["new"], entry["usec"]) == ("web_VIP_1", "master", "fault", USEC)
    assert len(json.loads((await ipfoctl("history", "--limit", "0", "--json")).out)["history"]) == 2


@pytest.mark.parametrize("target", ["web_VIP_1", "web", "192.168.3.10"])
async def test_history_of_one_target(stand: Stand, target: str) -> None:
    stand.group_becomes(State.FAULT)
    stand.group_becomes(State.BACKUP, index=2)
    every = json.loads((await ipfoctl("history", "--json")).out)["history"]
    found = json.loads((await ipfoctl("history", target, "--json")).out)["history"]
    assert found == (every if target == "web" else [each for each in every if each["name"] == "web_VIP_1"])
    assert len(found) < len(every) or target == "web"
    limited = json.loads((await ipfoctl("history", target, "--limit", "1", "--json")).out)["history"]
    assert limited == found[-1:]


async def test_history_of_what_nothing_is_called(stand: Stand) -> None:
    shown = await ipfoctl("history", "10.9.9.9")
    assert (shown.code, shown.out) == (1, "")
    assert "10.9.9.9: no failover, group or virtual IP of that name" in shown.err


async def test_history_since_a_time(stand: Stand) -> None:
    stand.group_becomes(State.FAULT)  # long ago
    stand.node.apply(InstanceReported("web", "web_VIP_1", State.BACKUP, 254), time.time_ns() // 1000)
    found = json.loads((await ipfoctl("history", "--since", "1h", "--json")).out)["history"]
    assert [entry["new"] for entry in found] == ["backup"]
    assert (await ipfoctl("history", "web_VIP_2", "--since", "1h")).out == "No change of state.\n"
    assert len(json.loads((await ipfoctl("history", "--since", "2020-01-01", "--json")).out)["history"]) == 3


async def test_events_are_written_as_they_happen(stand: Stand) -> None:
    async with running("events") as process:
        assert "web_VIP_1" in await subscribed(process, stand)
        stand.sees(ProblemsSeen("interface", (TROUBLE,)))
        assert "problem: interface-missing  eth0 is not there -> plug it in" in await line_with(
            process, "problem:"
        )
        stand.sees(ProblemsSeen("interface", ()))
        assert "solved: interface-missing" in await line_with(process, "solved:")
        process.send_signal(signal.SIGINT)
        assert (await ended(process)).code == 0


async def test_events_as_json_are_one_object_a_line(stand: Stand) -> None:
    async with running("events", "--json") as process:
        first = json.loads(await subscribed(process, stand))
        stand.group_becomes(State.STOPPED, index=2)
        last = json.loads(await line_with(process, "web_VIP_2"))
    assert first["event"] == "Transition"
    assert (last["name"], last["new"]) == ("web_VIP_2", "stopped")
    assert last["group"] == "/org/ipfod/Ipfod1/failover/web/group/_32"


async def test_events_end_with_3_when_the_daemon_goes(stand: Stand) -> None:
    async with running("events") as process:
        await subscribed(process, stand)
        await stand.service.stop()
        over = await ended(process)
    assert over.code == 3
    assert over.err.startswith("ipfoctl: ipfod has left the bus\n")


async def test_events_end_with_3_when_the_bus_goes(bus: subprocess.Popen[str], stand: Stand) -> None:
    async with running("events") as process:
        await subscribed(process, stand)
        bus.kill()
        over = await ended(process)
    assert over.code == 3
    assert over.err.startswith("ipfoctl: the system bus hung up\n")


async def test_signals_of_a_stranger_are_not_events(stand: Stand) -> None:
    async with running("events", "--json") as process:
        await subscribed(process, stand)
        forged = await asyncio.create_subprocess_exec(
            *("dbus-send", f"--bus={os.environ['DBUS_SYSTEM_BUS_ADDRESS']}", "--type=signal"),
            *("/org/ipfod/Ipfod1", "org.ipfod.Ipfod1.Manager.Transition"),
            *(
                "objpath:/org/ipfod/Ipfod1/failover/web/group/_31",
                "string:master",
                "string:forged",
                "string:no",
            ),
            "uint64:1",
        )
        assert await forged.wait() == 0
        stand.group_becomes(State.STOPPED, index=2)
        assert "forged" not in await next_line(process)


# ---------------------------------------------------------------- reload


async def test_reload_says_what_runs_now(stand: Stand) -> None:
    shown = await ipfoctl("reload")
    assert (shown.code, stand.daemon.reloads) == (0, 1)
    assert shown.out == "ipfod has read its configuration again and runs 1 failover with 3 groups.\n"


async def test_a_refused_configuration_is_shown_line_by_line_and_exits_1(stand: Stand) -> None:
    complaints = "/etc/ipfod/a.toml:3: vip_group: unknown key\n/etc/ipfod/b.toml:1: virtual_ips: missing"
    stand.daemon.error = InvalidConfiguration(complaints)
    shown = await ipfoctl("reload")
    assert (shown.code, shown.out, shown.err) == (1, "", f"{complaints}\n")


async def test_the_complaints_of_a_thoroughly_bad_file_arrive_whole(stand: Stand) -> None:
    complaints = "\n".join(f"/etc/ipfod/web.toml:{line}: virtual_ips: what is that" for line in range(1, 101))
    stand.daemon.error = InvalidConfiguration(complaints)
    assert (await ipfoctl("reload")).err.splitlines() == complaints.splitlines()


async def test_who_may_not_reload_gets_4(stand: Stand) -> None:
    shown = await ipfoctl("reload", user=NOBODY)
    assert (shown.code, stand.daemon.reloads) == (4, 0)
    assert shown.err.startswith("ipfoctl: Reload: not permitted\n")


# ---------------------------------------------------------------- nobody there


@pytest.mark.parametrize("command", ["status", "history", "events", "reload"])
async def test_without_a_daemon_every_command_exits_3(bus: subprocess.Popen[str], command: str) -> None:
    shown = await ipfoctl(command)
    assert (shown.code, shown.out) == (3, "")
    assert shown.err == "ipfoctl: ipfod is not running\n  -> start it with: systemctl start ipfod\n"


async def test_a_daemon_that_goes_while_it_is_asked_exits_3(stand: Stand) -> None:
    stand.daemon.hold.clear()
    async with running("reload") as process:
        async with asyncio.timeout(TIMEOUT_S):
            while not stand.daemon.reloads:  # the harness counts, it has no event
                await asyncio.sleep(0.01)
        await stand.service.stop()
        over = await ended(process)
    assert over.code == 3
    assert over.err.startswith("ipfoctl: ipfod ")
