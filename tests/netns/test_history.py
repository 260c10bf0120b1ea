"""The history: nothing that a client saw is missing in it, whatever becomes of the daemon."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from typing import Any

from scenario import configure, each_on_one, listed, no_traceback, start, until

from ipfod.lab.lab import Lab
from ipfod.lab.node import Node

VIPS = ("192.168.3.10", "192.168.3.11")
WEB = 'virtual_ips = "192.168.3.10-11"\nmonitor_port = 0\npreemption = "nopreempt"\n'
FILE = "/var/lib/ipfod/history"
Move = tuple[int, str, str, str]


async def test_the_history_outlives_crash_and_restart_and_has_all_that_a_client_saw(pair: Lab) -> None:
    configure(pair.nodes, WEB + listed(pair))
    await start(pair.nodes)
    await each_on_one(pair, VIPS)
    node, _ = pair.nodes
    events = await node.spawn([sys.executable, "-m", "ipfod.ctl", "events", "--json"])
    await asyncio.sleep(1.0)  # it listens now
    for _ in range(2):
        for order in ("take-over", "step-down"):
            assert (await node.ipfoctl(order, "web")).returncode == 0
    await asyncio.sleep(0.2)
    seen = [json.loads(line) for line in events.output().splitlines()]
    moves = [moved(event) for event in seen if event["event"] == "Transition"]
    assert len(moves) >= 6  # one of the first may have been no move
    await node.kill_ipfod(signal.SIGKILL)
    await node.start_ipfod()
    assert moves[-1] in await kept(node)
    await node.kill_ipfod(signal.SIGTERM)
    await node.start_ipfod()
    found = await kept(node)
    assert [move for move in found if move in moves] == moves
    assert found[-1][0] > moves[-1][0]  # the stop and the start are there as well
    reasons = await node.ipfoctl("history", "192.168.3.10", "--since", "1m")
    assert "take-over by uid 0" in reasons.stdout
    assert "web_VIP_2" not in reasons.stdout


def moved(entry: dict[str, Any]) -> Move:
    return entry["usec"], entry["group"], entry["old"], entry["new"]


async def kept(node: Node) -> list[Move]:
    done = await node.ipfoctl("history", "--limit", "0", "--json")
    return [moved(entry) for entry in json.loads(done.stdout)["history"]]


async def test_a_history_that_is_rubbish_or_cannot_be_written_stops_nothing(pair: Lab) -> None:
    node, _ = pair.nodes
    configure([node], WEB)
    node.write(FILE, '\0\xff{"usec": 1}\n[]\n')
    await start([node])
    await each_on_one(pair, VIPS)
    assert len(await kept(node)) >= 2
    await node.run(["mount", "-t", "tmpfs", "-o", "size=4k", "full", "/var/lib/ipfod"], check=True)
    await node.run(["sh", "-c", "yes > /var/lib/ipfod/ballast"])
    assert (await node.ipfoctl("maintenance", "on")).returncode in (0, 1)

    async def reported() -> bool:
        return FILE in (await node.ipfoctl("status")).stdout

    await until(reported, what="a history that cannot be written is reported")
    await node.run(["rm", "/var/lib/ipfod/ballast"], check=True)

    async def over() -> bool:
        return not await reported()

    await until(over, what="it is written, and no longer reported")
    assert '"new": "fault"' in node.read(FILE)
    assert no_traceback(node.log())


async def test_cleanup_removes_the_history(pair: Lab) -> None:
    node, _ = pair.nodes
    configure([node], WEB)
    await start([node])
    await each_on_one(pair, VIPS)
    await until(lambda: there(node), what="the history is on disk")
    await node.run([sys.executable, "-m", "ipfod", "cleanup"], check=True)
    assert not await there(node)


async def there(node: Node) -> bool:
    return (await node.run(["test", "-s", FILE])).returncode == 0
