"""A keepalived that is stopped in the middle: its virtual IPs are on the peer, and not on both."""

from __future__ import annotations

import asyncio
import signal
import time

import pytest
from orders import VIP, owner_and_others, run_all
from problem_watch import cleared, raised
from scenario import TWICE_S, configure, daemon, each_on_one, group, listed, no_traceback, on_node, start, until

from ipfod.lab.lab import Lab
from ipfod.lab.watch import AddressWatch


@pytest.mark.parametrize("policy", ["preempt", "nopreempt"])
@pytest.mark.parametrize("who", ["child", "parent and child"])
async def test_a_keepalived_that_is_stopped_holds_nothing_while_a_peer_does(
    pair: Lab, who: str, policy: str
) -> None:
    await run_all(pair, f'preemption = "{policy}"\n')
    await asyncio.sleep(0.5)
    owner, [other] = await owner_and_others(pair)
    pids = owner.processes("keepalived")
    doomed = [str(pid) for pid in (pids if who == "parent and child" else pids[1:])]
    began = time.time()
    async with AddressWatch(pair.nodes) as watch:
        await owner.run(["kill", "-STOP", *doomed], check=True)
        await on_node(pair, other, [VIP])
        found = await raised(owner, "keepalived-failed")
        assert f"does not give way to {other.own_addresses[0]}" in found["text"]
        await asyncio.sleep(1.0)
        await on_node(pair, other, [VIP])
        await owner.run(["kill", "-CONT", *doomed], check=True)
        await cleared(owner, "keepalived-failed")
        await each_on_one(pair, [VIP])
        await asyncio.sleep(0.5)
        await each_on_one(pair, [VIP])
        assert watch.doubles(since=began, longer_than_s=TWICE_S) == []
    assert owner.processes("keepalived") == pids
    assert no_traceback(owner.log())


async def test_virtual_ips_that_the_kernel_does_not_take_off_at_once_are_taken_off_later(pair: Lab) -> None:
    await run_all(pair, 'preemption = "preempt"\n')
    await asyncio.sleep(0.5)
    owner, [other] = await owner_and_others(pair)
    doomed = [str(pid) for pid in owner.processes("keepalived")[1:]]
    [pid] = daemon(owner)
    # Its threads are those that ask the kernel; the bus is the main one's.
    threads = [e.name for e in owner.inside(f"/proc/{pid}/task").iterdir() if e.name != str(pid)]
    refusing = ["strace", "--quiet=attach", "-e", "trace=sendto", "-e", "inject=sendto:error=ENOBUFS"]
    strace = await owner.spawn([*refusing, *(f"--attach={thread}" for thread in threads)], lines=True)
    await asyncio.sleep(0.5)
    await owner.run(["kill", "-STOP", *doomed], check=True)

    async def is_refused() -> bool:
        return "not taken off yet" in owner.log()

    await until(is_refused, what="the kernel has refused")
    assert len(await pair.holders(VIP)) == 2
    await strace.close()
    await on_node(pair, other, [VIP])
    await raised(owner, "keepalived-failed")
    await owner.run(["kill", "-CONT", *doomed], check=True)
    await cleared(owner, "keepalived-failed")
    await on_node(pair, owner, [VIP])
    assert no_traceback(owner.log())


async def test_a_keepalived_that_is_stopped_for_a_moment_keeps_its_vips(pair: Lab) -> None:
    await run_all(pair, 'preemption = "preempt"\n')
    await asyncio.sleep(0.5)
    owner, _ = await owner_and_others(pair)
    for _ in range(3):
        await owner.kill("keepalived", signal.SIGSTOP)
        await asyncio.sleep(0.1)
        await owner.kill("keepalived", signal.SIGCONT)
        await asyncio.sleep(0.3)
    await on_node(pair, owner, [VIP])
    assert "taken off, keepalived hangs" not in owner.log()


async def test_a_master_that_was_silent_for_a_moment_is_named_again(pair: Lab) -> None:
    """At 0.01 s it is thought gone after 0.04 s, and goes on with the very advert that was heard before."""
    alone = pair.nodes[0]
    configure([alone], f'virtual_ips = "{VIP}"\n{listed(pair)}\nmonitor_port = 0\nadvert_interval = 0.01\n')
    await start([alone])
    await on_node(pair, alone, [VIP])
    own = str(alone.own_addresses[0])

    async def is_named() -> bool:
        return str((await group(alone, "web_VIP_1"))["master"]) == own

    await until(is_named, what="it is named")
    for _ in range(5):
        await alone.kill("keepalived", signal.SIGSTOP)
        await asyncio.sleep(0.1)
        await alone.kill("keepalived", signal.SIGCONT)
        await until(is_named, what="it is named again")


async def test_adverts_that_are_dropped_on_their_way_out_are_no_hanging(pair: Lab) -> None:
    await run_all(pair, 'preemption = "preempt"\n')
    owner, [other] = await owner_and_others(pair)
    rules = "table inet mute { chain out { type filter hook output priority 0; ip protocol 112 drop; }; }"
    await owner.run(["nft", "-f", "-"], stdin=rules, check=True)
    await raised(owner, "firewall-blocking")
    await asyncio.sleep(1.0)
    assert "taken off, keepalived hangs" not in owner.log()
    await owner.run(["nft", "delete", "table", "inet", "mute"], check=True)
    await each_on_one(pair, [VIP])
    assert no_traceback(other.log())
