"""Metrics of real nodes, scraped over HTTP while virtual IPs move, and what must not come of metrics."""

from __future__ import annotations

import re
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial

import pytest
from monitoring import FILES, ask_promtool, exported, families, named
from scenario import (
    PORT,
    configure,
    each_on_one,
    keepalived_pids,
    listed,
    no_traceback,
    on_node,
    problems,
    status,
    until,
)

from ipfod.lab.lab import Lab
from ipfod.lab.node import Node
from ipfod.metrics.listen import VARIABLE

VIPS = ("192.168.3.10", "192.168.3.11")
WHERE = "127.0.0.1:9650"
BACKUP, MASTER, FAULT = 1, 2, 3
GET = """
import sys, urllib.request
sys.stdout.write(urllib.request.urlopen(f"http://{sys.argv[1]}/metrics", timeout=10).read().decode())
"""
# Connects and says nothing, and does so again whenever it is cut off, until nobody listens.
SILENT = """
import contextlib, socket
with contextlib.suppress(OSError):
    while True:
        client = socket.create_connection(("127.0.0.1", 9650))
        print("connected", flush=True)
        client.recv(1)
"""


async def scrape(node: Node, where: str = WHERE) -> str:
    done = await node.run([sys.executable, "-I", "-c", GET, where])
    assert done.stdout, done.stderr
    return done.stdout


class Scrape:
    """What one scrape brought."""

    def __init__(self, text: str) -> None:
        self.samples = [sample for family in families(text) for sample in family.samples]

    def each(self, name: str, label: str, **labels: str) -> Mapping[str, float]:
        """The numbers of a metric by one of its labels, of those series that have these other labels."""
        return {
            sample.labels[label]: sample.value
            for sample in self.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        }

    def value(self, name: str, **labels: str) -> float:
        [found] = [
            sample.value for sample in self.samples if sample.name == name and dict(sample.labels) == labels
        ]
        return found

    def states(self) -> Mapping[str, float]:
        return self.each("keepalived_vrrp_state", "ip_address")


async def scrapes(nodes: Iterable[Node]) -> list[Scrape]:
    return [Scrape(await scrape(node)) for node in nodes]


async def until_scraped(node: Node, condition: Callable[[Scrape], bool], *, what: str) -> Scrape:
    """Scrape until something is so; answers what was scraped then."""
    last: list[Scrape] = []

    async def so() -> bool:
        last[:] = [Scrape(await scrape(node))]
        return condition(last[0])

    await until(so, what=what)
    return last[0]


async def start(nodes: Iterable[Node], *, where: str = WHERE, port: int = 0) -> None:
    for node in nodes:
        if port:
            await node.start_service(port)
        await node.start_ipfod(env={VARIABLE: where})
    for node in nodes:
        await until(partial(runs_keepalived, node), what=f"keepalived runs on {node.name}")


async def runs_keepalived(node: Node) -> bool:
    """Which is started when READY was said already."""
    return {each["keepalived_state"] for each in (await status(node))["failovers"]} == {"running"}


async def test_a_failover_is_seen_in_the_metrics_of_both_nodes(pair: Lab) -> None:
    began = time.time()
    configure(
        pair.nodes,
        f'virtual_ips = "192.168.3.10-11"\nvip_groups = 1\nmonitor_port = {PORT}\ncheck_interval = 0.2\n'
        f"vrrp_id_offset = 40\n{listed(pair)}\n",
    )
    await start(pair.nodes, port=PORT)
    await each_on_one(pair, VIPS)
    [owner] = await pair.holders(VIPS[0])
    [other] = [node for node in pair.nodes if node is not owner]
    await until_scraped(owner, lambda seen: set(seen.states().values()) == {MASTER}, what="one is master")
    await until_scraped(other, lambda seen: set(seen.states().values()) == {BACKUP}, what="one is backup")
    mine, others = await scrapes((owner, other))
    assert mine.states() == dict.fromkeys(VIPS, MASTER)
    assert others.states() == dict.fromkeys(VIPS, BACKUP)
    assert mine.each("keepalived_vrrp_state", "vrid", iname="web_VIP_1") == {"41": MASTER}
    assert mine.each("keepalived_vrrp_state", "intf") == {owner.interface: MASTER}
    assert (mine.value("keepalived_up"), others.value("keepalived_up")) == (1, 1)
    rounds = mine.value("ipfod_check_duration_seconds_count", failover="web")

    await owner.stop_service(PORT)
    await on_node(pair, other, VIPS)
    lost = await until_scraped(
        owner, lambda seen: set(seen.states().values()) == {FAULT}, what="the first is in fault"
    )
    won = await until_scraped(
        other, lambda seen: set(seen.states().values()) == {MASTER}, what="the other is master"
    )
    change = {
        state: number - mine.value("ipfod_transitions_total", iname="web_VIP_1", state=state)
        for state, number in lost.each("ipfod_transitions_total", "state").items()
    }
    assert change == {"master": 0, "backup": 0, "fault": 1, "stopped": 0, "unknown": 0}
    assert won.value("ipfod_transitions_total", iname="web_VIP_1", state="master") == 1
    assert began < mine.value("ipfod_group_since_seconds", iname="web_VIP_1")
    assert mine.value("ipfod_group_since_seconds", iname="web_VIP_1") < won.value(
        "ipfod_group_since_seconds", iname="web_VIP_1"
    )
    assert won.value("ipfod_group_since_seconds", iname="web_VIP_1") < time.time()
    assert lost.value("ipfod_problems", code="check-failing") == 1
    assert won.value("ipfod_problems", code="check-failing") == 0
    assert lost.value("ipfod_check_duration_seconds_count", failover="web") > rounds
    assert won.value("ipfod_check_duration_seconds_sum", failover="web") > 0


async def test_all_that_the_documentation_names_is_exported_by_a_daemon(single: Lab) -> None:
    [node] = single.nodes
    configure([node], f'virtual_ips = "192.168.3.10"\nmonitor_port = {PORT}\n')
    await start([node], port=PORT)
    text = await scrape(node)
    for path in FILES:
        assert named(path) <= exported(text), path
    assert not re.search(r"^(python|process)_", text, re.MULTILINE)
    ask_promtool("check", "metrics", stdin=text)


async def test_maintenance_and_the_end_of_a_keepalived_are_seen(single: Lab) -> None:
    [node] = single.nodes
    configure([node], 'virtual_ips = "192.168.3.10"\nmonitor_port = 0\n')
    await start([node], where="[::1]:9650")
    seen = Scrape(await scrape(node, "[::1]:9650"))
    assert (seen.value("ipfod_maintenance"), seen.value("keepalived_up")) == (0, 1)
    assert seen.each("ipfod_check_duration_seconds_count", "failover") == {}  # nothing is checked
    done = await node.ipfoctl("maintenance", "on")
    assert done.stdout, done.stderr
    seen = Scrape(await scrape(node, "[::1]:9650"))
    assert seen.value("ipfod_maintenance") == 1
    await node.ipfoctl("maintenance", "off")
    # It cannot start again.
    keepalived = (await node.run(["which", "keepalived"], check=True)).stdout.strip()
    await node.run(["mount", "--bind", "/dev/null", keepalived], check=True)
    for pid in await keepalived_pids(node):
        await node.run(["kill", "-KILL", str(pid)])

    async def down() -> bool:
        seen = Scrape(await scrape(node, "[::1]:9650"))
        return seen.value("keepalived_up") == 0 and seen.states() == {"192.168.3.10": 0}

    await until(down, what="keepalived is down")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("localhost:9650", 'IPFOD_METRICS_LISTEN: "localhost:9650" is no address with a port'),
        (f"127.0.0.1:{PORT}", f"metrics cannot be served on 127.0.0.1:{PORT}: Address already in use"),
        ("192.0.2.1:9650", "metrics cannot be served on 192.0.2.1:9650: Cannot assign requested address"),
    ],
)
async def test_virtual_ips_are_served_whatever_is_wrong_with_metrics(
    single: Lab, value: str, said: str
) -> None:
    [node] = single.nodes
    configure([node], f'virtual_ips = "192.168.3.10"\nmonitor_port = {PORT}\n')
    await start([node], where=value, port=PORT)
    await on_node(single, node, ["192.168.3.10"])
    assert (await problems(node))["metrics-failed"] == said
    assert said in node.log()
    assert "systemctl restart ipfod" in node.log()
    assert no_traceback(node.log())


async def test_a_silent_client_holds_up_neither_a_scrape_nor_the_end(single: Lab) -> None:
    [node] = single.nodes
    configure([node], 'virtual_ips = "192.168.3.10"\nmonitor_port = 0\n')
    await start([node])
    silent = await node.spawn([sys.executable, "-I", "-c", SILENT], name="silent client")

    async def connected() -> bool:
        return "connected" in silent.output()

    await until(connected, what="the client is connected")
    assert Scrape(await scrape(node)).value("keepalived_up") == 1
    began = time.monotonic()
    assert await node.kill_ipfod(signal.SIGTERM) == 0
    assert time.monotonic() - began < 5.0
    assert no_traceback(node.log())
    await silent.wait()
    await start([node])  # the port is free again
    assert "metrics-failed" not in await problems(node)
    assert Scrape(await scrape(node)).value("keepalived_up") == 1


async def test_a_plain_start_serves_no_metrics(single: Lab) -> None:
    [node] = single.nodes
    configure([node], 'virtual_ips = "192.168.3.10"\nmonitor_port = 0\n')
    await node.start_ipfod()
    listening = (await node.run(["ss", "-Hltn"], check=True)).stdout
    assert listening == ""
