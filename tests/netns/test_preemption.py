"""Preemption policies ordered while ipfod runs: what is in force, for how long, and that they move nothing."""

from __future__ import annotations

import asyncio
import json
import signal

import pytest
from orders import UNNOTICED_MS, VIP, on_failover, on_group, owner_and_others, preemption, run_all
from scenario import configure, each_on_one, listed, no_traceback, on_node, until

from ipfod.lab.lab import Lab

FILE = ("preempt_delay 300", "configuration")
TWO_VIPS = ("192.168.3.10", "192.168.3.11")


async def test_the_nearest_order_counts_and_a_reset_goes_back_to_the_file(pair: Lab) -> None:
    await run_all(pair, vips=TWO_VIPS)
    node = pair.nodes[0]

    async def now() -> list[tuple[str, str]]:
        return [await preemption(node, f"web_VIP_{index}") for index in (1, 2)]

    assert await now() == [FILE, FILE]
    assert (await on_group(node, "SetPreemption", "nopreempt", index=2)).error == ""
    assert await now() == [FILE, ("nopreempt", "runtime")]
    assert (await on_failover(node, "SetPreemption", "preempt_delay 7")).error == ""
    assert await now() == [("preempt_delay 7", "runtime")] * 2
    assert "preempt_delay 7\n" in node.read("/run/ipfod/web/keepalived.conf")
    assert (await on_group(node, "SetPreemption", "preempt", index=1)).error == ""
    assert await now() == [("preempt", "runtime"), ("preempt_delay 7", "runtime")]
    assert (await on_group(node, "ResetPreemption", index=1)).error == ""
    assert await now() == [("preempt_delay 7", "runtime")] * 2
    await node.kill_ipfod(signal.SIGKILL)
    await node.start_ipfod()
    assert await now() == [("preempt_delay 7", "runtime")] * 2  # a restart does not forget
    assert (await on_failover(node, "ResetPreemption")).error == ""
    assert await now() == [FILE, FILE]
    assert "preempt_delay 300\n" in node.read("/run/ipfod/web/keepalived.conf")


async def test_an_order_does_not_outlive_a_reboot_nor_its_failover(pair: Lab) -> None:
    node = pair.nodes[0]
    await run_all(pair)
    assert (await on_failover(node, "SetPreemption", "nopreempt")).error == ""
    assert await node.kill_ipfod(signal.SIGTERM) == 0
    state = json.loads(node.read("/var/lib/ipfod/state.json"))
    state["orders"]["boot"] = "an earlier one"
    node.write("/var/lib/ipfod/state.json", json.dumps(state))
    await node.start_ipfod()
    assert await preemption(node) == FILE
    assert (await on_failover(node, "SetPreemption", "nopreempt")).error == ""
    await node.run(["rm", "/etc/ipfod/web.toml"], check=True)
    assert (await node.ipfoctl("reload")).returncode == 0
    configure([node], f'virtual_ips = "{VIP}"\nmonitor_port = 0\n{listed(pair)}\n')
    assert (await node.ipfoctl("reload")).returncode == 0
    assert await preemption(node) == FILE


async def test_what_is_no_policy_is_refused_with_what_is_accepted(single: Lab) -> None:
    [node] = single.nodes
    await run_all(single)
    for text in ("", "maybe", "preempt_delay", "preempt_delay 1001", "preempt_delay -1", "PREEMPT"):
        answer = await on_failover(node, "SetPreemption", json.dumps(text))
        assert answer.error == "InvalidArgs", text
        assert '"preempt", "nopreempt" or "preempt_delay SECONDS" with 0 to 1000' in answer.text
    assert await preemption(node) == FILE


@pytest.mark.parametrize("policy", ["preempt", "preempt_delay 0", "preempt_delay 1", "nopreempt"])
async def test_a_new_policy_moves_nothing_until_something_else_happens(pair: Lab, policy: str) -> None:
    """The preferred node has lost the group to another one, which the old policy lets keep it."""
    await run_all(pair, 'preemption = "nopreempt"\n')
    preferred, [other] = await owner_and_others(pair)
    if preferred is not pair.nodes[0]:
        preferred, other = other, preferred
        assert (await on_group(preferred, "TakeOver")).error == ""
    assert (await on_group(preferred, "StepDown", "0")).error == ""
    await on_node(pair, other, [VIP])
    async with pair.meter([VIP]) as meter:
        for node in pair.nodes:
            assert (await on_failover(node, "SetPreemption", policy)).error == ""
        await asyncio.sleep(2.5)
        await on_node(pair, other, [VIP])
        await preferred.kill_ipfod(signal.SIGKILL)
        await preferred.start_ipfod()
        await asyncio.sleep(1.0)
        await on_node(pair, other, [VIP])
    assert meter.result().lost == 0
    # From now on the policy counts: the preferred node was away and is back.
    assert await preferred.kill_ipfod(signal.SIGTERM) == 0
    await preferred.start_ipfod()
    if policy == "nopreempt":
        await asyncio.sleep(1.5)
        await on_node(pair, other, [VIP])
    else:
        await on_node(pair, preferred, [VIP])


async def test_a_node_that_waits_takes_over_when_the_master_is_lost(pair: Lab) -> None:
    await run_all(pair, 'preemption = "nopreempt"\n')
    owner, [other] = await owner_and_others(pair)
    for node in pair.nodes:
        assert (await on_failover(node, "SetPreemption", "preempt")).error == ""
    assert (await on_group(owner, "StepDown", "0")).error == ""
    await each_on_one(pair, [VIP])
    owner, [other] = await owner_and_others(pair)
    async with pair.meter([VIP]) as meter:
        await owner.power_cut()
        await on_node(pair, other, [VIP])
        await asyncio.sleep(0.1)
    assert meter.result().longest_ms <= 1000.0


async def test_ipfoctl_shows_and_orders_policies(pair: Lab) -> None:
    await run_all(pair, vips=TWO_VIPS)
    node = pair.nodes[0]
    done = await node.ipfoctl("preemption")
    assert done.stdout.split() == [
        "NAME",
        "PREEMPTION",
        "ORIGIN",
        "web",
        *["preempt_delay", "300", "configuration"],
    ]
    async with pair.meter(TWO_VIPS) as meter:
        for policy in (["nopreempt"], ["preempt_delay", "5"], ["preempt_delay 6"]):
            done = await node.ipfoctl("preemption", "web", *policy)
            assert (done.returncode, " ".join(policy) in done.stdout) == (0, True), done.stderr
        done = await node.ipfoctl("preemption", TWO_VIPS[1], "nopreempt")
        assert done.stdout.splitlines()[1].split() == ["web_VIP_2", "nopreempt", "runtime"]
    assert meter.result().longest_ms <= UNNOTICED_MS
    shown = json.loads((await node.ipfoctl("preemption", "--json")).stdout)
    assert [(each["name"], each["preemption"]) for each in shown["preemption"]] == [
        ("web", "preempt_delay 6"),
        ("web_VIP_1", "preempt_delay 6"),
        ("web_VIP_2", "nopreempt"),
    ]
    assert "preempt_delay 6 (set at runtime)" in (await node.ipfoctl("status")).stdout
    done = await node.ipfoctl("preemption", "web", "soon")
    assert (done.returncode, no_traceback(done.stderr)) == (1, True)
    assert "'soon' is not a preemption policy" in done.stderr
    done = await node.ipfoctl("preemption", "web", "reset")
    assert done.stdout.split()[3:] == ["web", "preempt_delay", "300", "configuration"]
    assert (await node.ipfoctl("preemption", "else", "reset")).returncode == 1


async def test_a_watcher_hears_of_the_new_policy(single: Lab) -> None:
    [node] = single.nodes
    await run_all(single)
    watcher = await node.spawn(["gdbus", "monitor", "--system", "--dest", "org.ipfod.Ipfod1"])
    await until(lambda: says(watcher.output, "is owned by"), what="the monitor listens")
    assert (await on_group(node, "SetPreemption", "nopreempt")).error == ""
    await until(lambda: says(watcher.output, "'Preemption': <'nopreempt'>"), what="the signal comes")
    assert "'PreemptionOrigin': <'runtime'>" in watcher.output()


async def says(output: object, text: str) -> bool:
    assert callable(output)
    return text in output()
