"""Problems of keepalived and of the state file: each caused for real, and each ended."""

from __future__ import annotations

import signal

from orders import VIP, run_all
from problem_watch import cleared, problem, raised, times_raised
from scenario import no_traceback, on_node

from ipfod.lab.lab import Lab

KEEPALIVED = "/usr/sbin/keepalived"


async def test_a_keepalived_that_does_not_start_any_more_is_reported_until_it_does(pair: Lab) -> None:
    node, other = pair.nodes
    await run_all(pair, 'preemption = "preempt"\n')
    owner = node if await pair.holders(VIP) == [node] else other
    [peer] = [each for each in pair.nodes if each is not owner]
    await owner.run(["mount", "--bind", "/bin/false", KEEPALIVED], check=True)
    await owner.kill("keepalived", signal.SIGKILL)
    await on_node(pair, peer, [VIP])
    found = await raised(owner, "keepalived-failed")
    assert found["object"] == "web"
    assert found["hint"]
    await owner.run(["umount", KEEPALIVED], check=True)
    await cleared(owner, "keepalived-failed")
    await on_node(pair, owner, [VIP])
    assert no_traceback(owner.log())


async def test_a_full_disk_is_reported_until_there_is_room(single: Lab) -> None:
    [node] = single.nodes
    await run_all(single)
    await node.run(["mount", "-t", "tmpfs", "-o", "size=4k", "full", "/var/lib/ipfod"], check=True)
    await node.run(["sh", "-c", "yes > /var/lib/ipfod/ballast"])
    assert (await node.ipfoctl("preemption", "web", "nopreempt")).returncode == 0
    found = await raised(node, "state-damaged")
    assert "No space left on device" in found["text"]
    await on_node(single, node, [VIP])
    await node.run(["rm", "/var/lib/ipfod/ballast"], check=True)
    assert (await node.ipfoctl("preemption", "web", "preempt")).returncode == 0
    await cleared(node, "state-damaged")
    assert not await problem(node, "keepalived-failed")
    assert times_raised(node, "state-damaged") >= 1
