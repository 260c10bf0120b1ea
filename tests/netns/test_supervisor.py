"""A failover's keepalived is kept: what fails at the start is tried again, what was written is also read."""

from __future__ import annotations

import json
import re
import signal

from orders import VIP, on_group, owner_and_others, run_all
from problem_watch import cleared, raised
from scenario import configure, on_node, start, until

from ipfod.lab.lab import Lab
from ipfod.lab.node import Node

RUN = "/run/ipfod/web"


async def test_what_keeps_a_failover_from_its_start_is_tried_again(pair: Lab) -> None:
    node, _ = pair.nodes
    await node.run(["mkdir", "-p", f"{RUN}/notify.fifo"], check=True)
    configure([node], f'virtual_ips = "{VIP}"\nmonitor_port = 0\n')
    await start([node])
    assert "notify.fifo: Is a directory" in (await raised(node, "keepalived-failed"))["text"]
    await node.run(["rmdir", f"{RUN}/notify.fifo"], check=True)
    await on_node(pair, node, [VIP])
    await cleared(node, "keepalived-failed")


async def policy_that_runs(node: Node) -> bool:
    """Whether keepalived does not preempt, by its own word."""
    number = (await node.run(["keepalived", "--signum=JSON"], check=True)).stdout.strip()
    await node.run(["rm", "-f", f"{RUN}/keepalived.json"], check=True)
    await node.run(["kill", f"-{number}", node.read(f"{RUN}/keepalived.pid").strip()], check=True)
    found: list[dict[str, dict[str, bool]]] = []

    async def written() -> bool:
        try:
            found[:] = json.loads(node.read(f"{RUN}/keepalived.json"))
        except (OSError, ValueError):
            return False
        return True

    await until(written, what="keepalived's dump")
    return bool(found[0]["data"]["nopreempt"])


def policy_on_disk(node: Node) -> bool:
    return re.search(r"^\s*nopreempt$", node.read(f"{RUN}/keepalived.conf"), re.MULTILINE) is not None


async def test_no_policy_is_on_disk_that_keepalived_is_not_about_to_read(pair: Lab) -> None:
    """A take-over preempts for a moment. Whoever ends then leaves the next ipfod a file that is true."""
    await run_all(pair, 'preemption = "nopreempt"\n')
    _, [other] = await owner_and_others(pair)
    assert await policy_that_runs(other)
    assert (await on_group(other, "TakeOver")).error == ""
    assert not policy_on_disk(other)

    async def put_back() -> bool:
        return policy_on_disk(other)

    await until(put_back, what="the policy is in the file again")
    await other.kill_ipfod(signal.SIGKILL)
    await other.start_ipfod()

    async def in_force() -> bool:
        return await policy_that_runs(other)

    await until(in_force, what="and keepalived has read it")
