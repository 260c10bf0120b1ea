"""Groups that move by order: `StepDown` and `TakeOver`, between nodes of any preemption policies."""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections.abc import Sequence

import pytest
from orders import (
    POLICIES,
    UNNOTICED_MS,
    VIP,
    on_failover,
    on_group,
    on_manager,
    owner_and_others,
    run_all,
)
from scenario import PORT, each_on_one, group, no_traceback, on_node, problems, until

from ipfod.lab.lab import Lab
from ipfod.lab.node import Node
from ipfod.lab.watch import AddressWatch
from ipfod.plan.placement import CLAIM_HOLDING

THREE_VIPS = ("192.168.3.10", "192.168.3.11", "192.168.3.12")


async def move_both_ways(lab: Lab, what: str) -> None:
    """The owner steps down, a third node or the owner itself takes over; the client must not notice."""
    owner, others = await owner_and_others(lab)
    async with lab.meter([VIP]) as meter, AddressWatch(lab.nodes) as watch:
        await asyncio.sleep(0.1)
        stepped = await on_group(owner, "StepDown", "60")
        assert stepped.error == "", f"{what}: {stepped.text}"
        after, _ = await owner_and_others(lab)
        assert after in others, what
        takes = next(node for node in [*others, owner] if node is not after)
        taken = await on_group(takes, "TakeOver")
        assert taken.error == "", f"{what}: {taken.text}"
        assert (await group(takes, "web_VIP_1"))["state"] == "master"
        await on_node(lab, takes, [VIP])
        await asyncio.sleep(0.1)
    assert meter.result().longest_ms <= UNNOTICED_MS, what
    assert not watch.doubles(since=0.0, longer_than_s=0.1), what


async def set_policies(lab: Lab, policies: Sequence[str]) -> None:
    pairs = zip(lab.nodes, policies, strict=True)
    answers = await asyncio.gather(*(on_group(node, "SetPreemption", policy) for node, policy in pairs))
    assert not any(answer.error for answer in answers)


async def test_two_nodes_of_any_policies_move_a_group_unnoticed(pair: Lab) -> None:
    await run_all(pair)
    for policies in itertools.product(POLICIES, repeat=2):
        await set_policies(pair, policies)
        await move_both_ways(pair, ", ".join(policies))


async def test_three_nodes_of_any_policies_move_a_group_unnoticed(lab: Lab) -> None:
    await run_all(lab)
    for policies in itertools.product(POLICIES, repeat=3):
        await set_policies(lab, policies)
        await move_both_ways(lab, ", ".join(policies))


@pytest.mark.parametrize("policy", POLICIES)
async def test_a_node_that_is_alone_keeps_what_nobody_takes(single: Lab, policy: str) -> None:
    lab, [node] = single, single.nodes
    await run_all(lab, f'preemption = "{policy}"\n')
    async with lab.meter([VIP]) as meter:
        answer = await on_group(node, "StepDown", "60")
        await asyncio.sleep(0.2)
    assert answer.error == "NoSuccessor"
    assert "web_VIP_1: no other node took over; this one keeps it" in answer.text
    assert meter.result().lost == 0
    found = await group(node, "web_VIP_1")
    assert (found["state"], found["priority"]) == ("master", 252)
    assert (await on_group(node, "TakeOver")).error == ""  # it has it already


async def test_a_group_that_is_being_moved_is_busy(single: Lab) -> None:
    [node] = single.nodes
    await run_all(single)
    answers = await asyncio.gather(*(on_group(node, "StepDown", "60") for _ in range(2)))
    assert {answer.error for answer in answers} == {"NoSuccessor", "Busy"}


async def test_a_node_keeps_off_for_as_long_as_it_was_told(pair: Lab) -> None:
    await run_all(pair, 'preemption = "preempt"\n')
    owner, [other] = await owner_and_others(pair)
    await on_node(pair, pair.nodes[0], [VIP])
    began = asyncio.get_running_loop().time()
    async with pair.meter([VIP]) as meter:
        assert (await on_group(owner, "StepDown", "2")).error == ""
        await on_node(pair, other, [VIP])
        await owner.kill_ipfod(signal.SIGKILL)  # a restart does not forget it
        await owner.start_ipfod()
        await on_node(pair, other, [VIP])
        await on_node(pair, owner, [VIP])
    assert asyncio.get_running_loop().time() - began >= 2.0
    assert meter.result().longest_ms <= UNNOTICED_MS


async def test_what_was_taken_by_order_is_kept_until_it_is_lost(pair: Lab) -> None:
    await run_all(pair, 'preemption = "preempt"\n')
    preferred, [other] = await owner_and_others(pair)
    await until(lambda: is_in(other, "backup"), what="the other node has heard of the group")
    assert (await on_group(other, "TakeOver")).error == ""
    await other.kill_ipfod(signal.SIGKILL)
    await other.start_ipfod()
    await asyncio.sleep(1.0)
    await on_node(pair, other, [VIP])

    async def claims_enough() -> bool:
        return int((await group(other, "web_VIP_1"))["priority"]) == CLAIM_HOLDING

    await until(claims_enough, what="it claims what it takes to hold the group")
    for node in (preferred, other, preferred):  # who asks last has it
        assert (await on_group(node, "TakeOver")).error == ""
        await on_node(pair, node, [VIP])
    assert (await on_group(preferred, "StepDown", "0")).error == ""
    await on_node(pair, preferred, [VIP])  # it does not keep off, and is preferred
    await until(lambda: has_priority(preferred, 252), what="the claim is over")


async def has_priority(node: Node, priority: int) -> bool:
    return bool((await group(node, "web_VIP_1"))["priority"] == priority)


async def test_what_cannot_be_moved_says_why(pair: Lab) -> None:
    for node in pair.nodes:
        await node.start_service(PORT)
    await run_all(pair, f"monitor_port = {PORT}\ncheck_interval = 0.5\n")
    owner, [other] = await owner_and_others(pair)
    answer = await on_group(other, "StepDown", "60")
    assert answer.error == "Failed"
    assert f"web_VIP_1: this node is not its master, {owner.own_addresses[0]} is" in answer.text
    await other.stop_service(PORT)
    await until(lambda: is_in(other, "fault"), what="the check fails")
    answer = await on_group(other, "TakeOver")
    assert answer.error == "Failed"
    assert "cannot take it, it is fault: check failed: port 8080" in answer.text
    answer = await on_group(other, "StepDown", "60", index=7)
    assert answer.error == "UnknownObject"
    answer = await on_group(owner, "StepDown", "60")
    assert answer.error == "NoSuccessor"  # the other one is there, and not fit
    await on_node(pair, owner, [VIP])


async def is_in(node: Node, state: str) -> bool:
    return bool((await group(node, "web_VIP_1"))["state"] == state)


async def test_nothing_is_above_a_fixed_priority_of_254(pair: Lab) -> None:
    await run_all(pair, "priority = 254\n")
    _, [other] = await owner_and_others(pair)
    await until(lambda: is_in(other, "backup"), what="the other node has heard of the group")
    answer = await on_group(other, "TakeOver")
    assert answer.error == "Failed"
    assert "has priority 254, and none is above that" in answer.text


async def test_a_take_over_that_does_not_come_about_says_who_is_master(pair: Lab) -> None:
    await run_all(pair)
    owner, [other] = await owner_and_others(pair)
    await until(lambda: is_in(other, "backup"), what="the other node has heard of the group")
    await other.run(["pkill", "-STOP", "-x", "keepalived"])
    answer = await on_group(other, "TakeOver")
    await other.run(["pkill", "-CONT", "-x", "keepalived"])
    assert answer.error == "Failed"
    address = owner.own_addresses[0]
    assert f"web_VIP_1: this node has not become its master, {address} is (step it down there: " in answer.text
    await on_node(pair, owner, [VIP])


async def holds_any(lab: Lab, node: Node) -> bool:
    return any([await lab.holders(vip) == [node] for vip in THREE_VIPS])


async def test_ipfoctl_moves_a_group_a_vip_or_all(pair: Lab) -> None:
    await run_all(pair, 'preemption = "preempt"\n', vips=THREE_VIPS)
    first, second = pair.nodes
    await until(lambda: holds_any(pair, second), what="the second node has its share")
    done = await first.ipfoctl("take-over", "web")
    assert done.returncode == 0, done.stderr
    assert "moved here from 192.168.3.102 in " in done.stdout
    await on_node(pair, first, THREE_VIPS)
    done = await first.ipfoctl("step-down", "192.168.3.11", "--hold", "1m")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("192.168.3.11 moved to 192.168.3.102 in ")
    assert "step-down by uid 0" in (await first.ipfoctl("history")).stdout
    await on_node(pair, second, ["192.168.3.11"])
    async with pair.meter(THREE_VIPS) as meter:
        done = await first.ipfoctl("step-down", "web")
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 2)
    await on_node(pair, second, THREE_VIPS)
    assert meter.result().longest_ms <= UNNOTICED_MS
    for arguments, code, text in (
        (("step-down", "web"), 1, "web: this node is master of none of its groups"),
        (("step-down", "web_VIP_1"), 1, "web_VIP_1: this node is not its master, 192.168.3.102 is"),
        (("step-down", "nothing"), 1, "nothing: no failover, group or virtual IP of that name on node1"),
        (("step-down", "web", "--hold", "soon"), 2, "'soon' is not a number of seconds"),
        (("take-over",), 2, "TARGET"),
    ):
        done = await first.ipfoctl(*arguments)
        assert (done.returncode, text in done.stderr) == (code, True), done.stderr
        assert no_traceback(done.stderr)
    done = await second.ipfoctl("take-over", "web")
    assert (done.returncode, done.stdout) == (0, "web: node2 is its master already\n")


@pytest.mark.parametrize(
    ("more", "vips"),
    [
        ("vrrp_version = 2\nadvert_interval = 1\n", (VIP,)),
        ('use_unicast = true\nunicast_peers = ["192.168.3.101", "192.168.3.102"]\n', (VIP,)),
        ("", ("fd00:9::10",)),
        ("vip_groups = 1\nadvert_interval = 0.02\n", THREE_VIPS),
    ],
    ids=["version 2", "unicast", "IPv6", "fast"],
)
async def test_every_kind_of_vrrp_moves_by_order(more: str, vips: tuple[str, ...]) -> None:
    async with Lab(nodes=2, virtual_ips=vips) as lab:
        await run_all(lab, more, vips=vips)
        owner, [other] = await owner_and_others(lab, vips[0])
        async with lab.meter(vips) as meter:
            await asyncio.sleep(0.1)
            assert (await on_group(owner, "StepDown", "60")).error == ""
            await on_node(lab, other, vips)
            assert (await on_group(owner, "TakeOver")).error == ""
            await on_node(lab, owner, vips)
            await asyncio.sleep(0.1)
        assert meter.result().longest_ms <= UNNOTICED_MS


async def test_a_stop_hands_over_what_others_take(pair: Lab) -> None:
    await run_all(pair, vips=THREE_VIPS)
    async with pair.meter(THREE_VIPS) as meter:
        await asyncio.sleep(0.1)
        await pair.nodes[0].kill_ipfod(signal.SIGTERM)
        await on_node(pair, pair.nodes[1], THREE_VIPS)
        await asyncio.sleep(0.1)
    assert meter.result().longest_ms <= UNNOTICED_MS
    await pair.nodes[0].start_ipfod()
    await each_on_one(pair, THREE_VIPS)
    assert not await problems(pair.nodes[0])


async def test_gratuitous_arp_mends_a_neighbour_that_missed_the_move() -> None:
    vips = (VIP, "fd00:9::10")
    async with Lab(nodes=1, virtual_ips=vips) as lab:
        await run_all(lab, vips=vips)
        [node] = lab.nodes
        for index, vip in enumerate(vips, start=1):
            wrong = ["neigh", "replace", vip, "lladdr", "02:00:00:00:00:99", "dev", "eth0", "nud", "stale"]
            await lab.client.run(["ip", *wrong], check=True)
            assert (await on_group(node, "SendGratuitousARP", index=index)).error == ""
            known = await lab.client.run(["ip", "neigh", "show", vip], check=True)
            assert "02:00:00:00:00:99" not in known.stdout, known.stdout
            assert "lladdr" in known.stdout
        assert (await on_manager(node, "EnterMaintenance", "", "0")).error == ""
        answer = await on_group(node, "SendGratuitousARP")
        assert (answer.error, "this node is not its master" in answer.text) == ("Failed", True)
        assert (await on_failover(node, "ResetPreemption")).error == ""
