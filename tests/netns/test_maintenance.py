"""Maintenance: everything is given up, stays so, and comes back by the ordinary rules."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from functools import partial

import pytest
from orders import UNNOTICED_MS, VIP, on_group, on_manager, owner_and_others, run_all
from scenario import (
    PORT,
    configure,
    each_on_one,
    group,
    listed,
    no_traceback,
    on_node,
    problems,
    status,
    until,
)

from ipfod.lab.lab import Lab
from ipfod.lab.node import Node

VIPS = ("192.168.3.10", "192.168.3.11", "192.168.3.12")


async def state(node: Node) -> tuple[bool, str, int]:
    document = await status(node)
    return document["maintenance"], document["maintenance_reason"], document["maintenance_until"]


async def is_in(node: Node, expected: str, name: str = "web_VIP_1") -> bool:
    return bool((await group(node, name))["state"] == expected)


async def test_a_node_in_maintenance_holds_nothing_until_it_is_left(pair: Lab) -> None:
    await run_all(pair, 'preemption = "preempt"\n', vips=VIPS)
    first, second = pair.nodes
    async with pair.meter(VIPS) as meter:
        await asyncio.sleep(0.1)
        answer = await on_manager(first, "EnterMaintenance", "new kernel", "0")
        assert (answer.error, answer.text) == ("", "(@as [],)")
        await on_node(pair, second, VIPS)
        await asyncio.sleep(0.1)
    assert meter.result().longest_ms <= UNNOTICED_MS
    assert await state(first) == (True, "new kernel", 0)
    for name in ("web_VIP_1", "web_VIP_2", "web_VIP_3"):
        found = await group(first, name)
        assert (found["state"], found["master"]) == ("fault", str(second.own_addresses[0]))
    assert "maintenance: new kernel" in (await group(first, "web_VIP_1"))["state_reason"]
    assert "in maintenance until it is left" in (await first.ipfoctl("status")).stdout
    assert await problems(first) == {}
    answer = await on_group(first, "TakeOver")
    assert (answer.error, "this node is in maintenance" in answer.text) == ("Failed", True)
    async with pair.meter(VIPS) as meter:
        await first.kill_ipfod(signal.SIGKILL)
        await first.start_ipfod()
        await first.kill("keepalived", signal.SIGKILL)
        await until(lambda: is_in(first, "fault"), what="keepalived is back, and in fault")
        assert await first.kill_ipfod(signal.SIGTERM) == 0
        await first.start_ipfod()
        await asyncio.sleep(1.0)
        await on_node(pair, second, VIPS)
        configure([first], f'virtual_ips = "192.168.3.10-13"\nmonitor_port = 0\n{listed(pair)}\n')
        assert (await first.ipfoctl("reload")).returncode == 0
        assert await is_in(first, "fault", "web_VIP_4")  # what is new is no exception
        assert await state(first) == (True, "new kernel", 0)
        assert (await on_manager(first, "LeaveMaintenance")).error == ""
    assert meter.result().lost == 0
    assert await state(first) == (False, "", 0)


@pytest.mark.parametrize(("policy", "comes_back"), [("preempt", True), ("nopreempt", False)])
async def test_the_preemption_policy_says_what_a_node_gets_afterwards(
    pair: Lab, policy: str, comes_back: bool
) -> None:
    await run_all(pair, f'preemption = "{policy}"\n')
    owner, [other] = await owner_and_others(pair)
    if owner is not pair.nodes[0]:
        owner, other = other, owner
        assert (await on_group(owner, "TakeOver")).error == ""
    async with pair.meter([VIP]) as meter:
        await asyncio.sleep(0.1)
        assert (await on_manager(owner, "EnterMaintenance", "", "0")).error == ""
        await on_node(pair, other, [VIP])
        assert (await on_manager(owner, "LeaveMaintenance")).error == ""
        if comes_back:
            await on_node(pair, owner, [VIP])
        else:
            await asyncio.sleep(1.5)
            await on_node(pair, other, [VIP])
            assert await is_in(owner, "backup")
    assert meter.result().longest_ms <= UNNOTICED_MS
    assert "maintenance is over" in (await owner.ipfoctl("history")).stdout


async def test_maintenance_means_what_it_says_and_warns_of_what_nobody_takes(single: Lab) -> None:
    [node] = single.nodes
    await run_all(single, vips=VIPS)
    done = await node.ipfoctl("maintenance", "on", "--reason", "new disk", "--for", "1h")
    assert done.returncode == 0, done.stderr
    assert "node1 is in maintenance until " in done.stdout
    assert done.stdout.endswith(" (new disk): 0 groups handed over.\n")
    warnings = done.stderr.splitlines()
    assert "warning: web_VIP_1: no other node took over: 192.168.3.10 on no node now" in warnings
    assert len(warnings) == 3
    assert await single.holders(VIP) == []
    await until(lambda: has_problem(node, "vip-missing"), what="the problem is raised", timeout_s=5.0)
    text = (await problems(node))["vip-missing"]
    assert text.startswith("web: no node serves web_VIP_1, web_VIP_2, web_VIP_3: this node is in maintenance")
    assert (await node.ipfoctl("maintenance", "off")).returncode == 0
    await each_on_one(single, VIPS)
    await until(lambda: is_well(node), what="the problem is over", timeout_s=5.0)


async def has_problem(node: Node, code: str) -> bool:
    return code in await problems(node)


async def is_well(node: Node) -> bool:
    return not await problems(node)


async def test_maintenance_ends_by_itself(single: Lab) -> None:
    [node] = single.nodes
    await run_all(single)
    until_usec = int((time.time() + 3.0) * 1e6)
    answer = await on_manager(node, "EnterMaintenance", "short", str(until_usec))
    assert answer.error == ""
    assert await state(node) == (True, "short", until_usec)
    await until(lambda: is_over(node), what="maintenance is over")
    assert time.time() * 1e6 >= until_usec
    await on_node(single, node, [VIP])
    # One whose end has passed while ipfod was down is over as well, whatever boot it was ordered in.
    assert await node.kill_ipfod(signal.SIGTERM) == 0
    document = json.loads(node.read("/var/lib/ipfod/state.json"))
    for end, expected in ((1, False), (0, True)):
        document["orders"] |= {
            "boot": "another",
            "maintenance": {"reason": "before the reboot", "until_usec": end, "since_usec": 1},
        }
        node.write("/var/lib/ipfod/state.json", json.dumps(document))
        await node.start_ipfod()
        assert (await state(node))[0] is expected
        followed = partial(is_in, node, "fault" if expected else "master")
        await until(followed, what=f"the node has followed an end at {end}")
        assert await node.kill_ipfod(signal.SIGTERM) == 0


async def is_over(node: Node) -> bool:
    return not (await state(node))[0]


async def test_what_makes_no_sense_is_refused(single: Lab) -> None:
    [node] = single.nodes
    await run_all(single)
    answer = await on_manager(node, "EnterMaintenance", json.dumps("two\nlines"), "0")
    assert (answer.error, "one line of at most 256 characters" in answer.text) == ("InvalidArgs", True)
    answer = await on_manager(node, "EnterMaintenance", "x" * 257, "0")
    assert answer.error == "InvalidArgs"
    answer = await on_manager(node, "EnterMaintenance", "past", "1000")
    assert (answer.error, "is in the past" in answer.text) == ("InvalidArgs", True)
    assert await state(node) == (False, "", 0)
    done = await node.ipfoctl("maintenance", "maybe")
    assert (done.returncode, no_traceback(done.stderr)) == (2, True)


async def test_a_service_that_is_down_everywhere_is_stated_as_such(pair: Lab) -> None:
    for node in pair.nodes:
        await node.start_service(PORT)
    await run_all(pair, f"monitor_port = {PORT}\ncheck_interval = 0.5\n", vips=VIPS)
    first, second = pair.nodes
    await first.stop_service(PORT)
    await on_node(pair, second, VIPS)
    assert "vip-missing" not in await problems(first)
    await second.stop_service(PORT)
    for node in pair.nodes:
        await until(partial(has_problem, node, "vip-missing"), what="the problem", timeout_s=5.0)
        text = (await problems(node))["vip-missing"]
        assert "the check fails here (port 8080 on 192.168.3.10" in text
        assert text.endswith("and no other is heard")
    await second.start_service(PORT)
    await on_node(pair, second, VIPS)
    for node in pair.nodes:
        await until(partial(not_missing, node), what="no problem", timeout_s=5.0)


async def not_missing(node: Node) -> bool:
    return not await has_problem(node, "vip-missing")
