"""docs/migrating.md, node by node: typed at nodes that run what OpenShift generates, with no outage.

Three nodes run keepalived as the original configures it. The text's commands replace it by ipfod on one node
after the other, move the virtual IPs and go on to VRRP version 3. A client asks each of them every 5 ms.
"""

from __future__ import annotations

import asyncio
import re
import shlex
import signal
import time
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import dataclass

from bench.configs import PORT, Size
from bench.systems import Original
from guide import Step, steps, without_figures
from orders import UNNOTICED_MS
from scenario import TWICE_S, configure, each_on_one, group, on_node, problems, until
from sources import ROOT

from ipfod.lab.lab import Lab
from ipfod.lab.node import Node
from ipfod.lab.watch import AddressWatch

GUIDE = (ROOT / "docs/migrating.md").read_text()
FILE = "ipfailover.toml"
SIZE = Size(3, 1)
VIPS = tuple(str(address) for [address] in SIZE.addresses())
# A pod that ends costs what a backup waits then, a second at most, and what a busy machine adds.
POD_ENDS_MS = 1000.0 + 500.0
# For how long a VIP may be on two nodes: an advertisement interval of the version that is spoken.
DOUBLE_VERSION_2_MS = 1000.0
DOUBLE_VERSION_3_MS = TWICE_S * 1000
# A lost node costs at least this with version 2: two intervals of a second, and the backup's share of one more.
LOST_VERSION_2_MS = 2000.0
AFTERWARDS_S = 0.2
# The reader is slow once the first node speaks version 3: a backup of version 2 that takes part does not
# hear it any more, and takes over within 4 s.
SLOW_READER_S = 4.5
POD = re.compile(r"oc delete pod .*spec\.nodeName=(\w+)")
LABEL = "oc label node "
ENABLE = "systemctl enable --now ipfod"
RELOAD = "ipfoctl check && ipfoctl reload"
NEW_VERSION = "sed -i /vrrp_version/d "
# What changes nothing and asks nobody: not worth half a second of measuring.
ASIDE = (LABEL, "sed ", "ipfoctl status")


@dataclass(frozen=True)
class Cost:
    """What a command cost: the longest outage of a virtual IP, and for how long one was on two nodes."""

    step: Step
    outage_ms: float
    double_ms: float
    took_s: float

    def __str__(self) -> str:
        figures = f"{self.outage_ms:5.0f} ms away, {self.double_ms:4.1f} ms on two, {self.took_s:4.1f} s"
        return f"{figures}  {self.step.where} {self.step.command}"


class Reader:
    """Types the commands of the text at a lab, as its reader would."""

    def __init__(self, lab: Lab, original: Original) -> None:
        self._lab, self._original = lab, original
        self._nodes: Mapping[str, Node] = {node.name: node for node in lab.nodes}

    async def do(self, step: Step) -> None:
        """Type a command, see that it prints what the text says, and wait until all is at rest."""
        if step.where == "cluster":
            if not step.command.startswith(LABEL):
                await self._end_pod(step)
        elif step.command == ENABLE:
            await self._nodes[step.where].start_ipfod()
        else:
            await self._typed(self._nodes[step.where], step)

    async def _end_pod(self, step: Step) -> None:
        found = POD.fullmatch(step.command)
        assert found, step
        await self._original.stop(self._nodes[found[1]])

    async def _typed(self, node: Node, step: Step) -> None:
        seen = ""

        async def as_printed() -> bool:
            nonlocal seen
            seen = await printed(node, step.command.split(" && "))
            return without_figures(seen) == without_figures(step.printed)

        if step.command == "ipfoctl status":
            try:
                await until(as_printed, what=step.command)
            except AssertionError:
                assert seen == step.printed, step
        else:
            await as_printed()
            print(seen)


async def printed(node: Node, commands: Iterable[str]) -> str:
    """What commands print, of which each has to succeed."""
    text = ""
    for command in commands:
        argv = shlex.split(command)
        done = await (node.ipfoctl(*argv[1:], timeout_s=60.0) if argv[0] == "ipfoctl" else node.run(argv))
        text += done.stdout + done.stderr
        assert done.returncode == 0, text
    return text


async def measured(
    lab: Lab, watch: AddressWatch, step: Step, done: Awaitable[None], *, more_s: float = 0.0
) -> Cost:
    began = time.time()
    async with lab.meter(VIPS) as meter:
        await asyncio.sleep(0.1)
        await done
        await asyncio.sleep(more_s)
        await each_on_one(lab, VIPS)
        await asyncio.sleep(AFTERWARDS_S)
    doubled_s = (seconds for *_, seconds in watch.doubles(since=began, longer_than_s=0.0))
    cost = Cost(step, meter.result().longest_ms, max(doubled_s, default=0.0) * 1000, time.time() - began)
    print(cost)
    return cost


async def pods_everywhere(lab: Lab) -> Original:
    """A fleet of OpenShift's, each node with one virtual IP, and the text's file laid down for ipfod."""
    original = Original(lab, SIZE)
    for node in lab.nodes:
        await node.start_service(PORT)
        await original.start(node)

    async def spread() -> bool:
        return [len(await node.addresses()) for node in lab.nodes] == [1, 1, 1]

    await until(spread, what="a virtual IP on each pod")
    configure(lab.nodes, documented(), name=FILE)
    return original


def documented() -> str:
    """The text's file for ipfod; the lab's nodes have no kernel of their own to load modules into."""
    [text] = re.findall(f"```toml\n# /etc/ipfod/{FILE}\n(.*?)```", GUIDE, re.DOTALL)
    return f"{text}kernel_modules = []\n"


async def test_pods_make_way_for_ipfod_node_by_node_and_version_3_comes_after() -> None:
    async with Lab(nodes=3, virtual_ips=VIPS) as lab:
        original = await pods_everywhere(lab)
        reader = Reader(lab, original)
        version = 2
        async with AddressWatch(lab.nodes) as watch:
            for step in steps(GUIDE):
                version = 3 if step.command.startswith(NEW_VERSION) else version
                if step.command.startswith(ASIDE):
                    await reader.do(step)
                    continue
                slow_s = SLOW_READER_S if step.command == RELOAD and step.where == "node1" else 0.0
                cost = await measured(lab, watch, step, reader.do(step), more_s=slow_s)
                assert cost.outage_ms <= (POD_ENDS_MS if POD.fullmatch(step.command) else UNNOTICED_MS), cost
                assert cost.double_ms <= (DOUBLE_VERSION_2_MS if version == 2 else DOUBLE_VERSION_3_MS), cost
            for node in lab.nodes:
                assert len(await node.addresses()) == 1
                assert not await problems(node)
            lost = lab.nodes[2]
            cost = await measured(lab, watch, Step(lost.name, "(its cable is pulled)"), pulled(lab, lost))
        assert UNNOTICED_MS < cost.outage_ms < LOST_VERSION_2_MS


async def pulled(lab: Lab, lost: Node) -> None:
    """Pull a node's cable; its virtual IP is elsewhere then."""
    [address] = await lost.addresses()
    await lost.unplug()

    async def moved() -> bool:
        holders = await lab.holders(address)
        return bool(holders) and lost not in holders

    await until(moved, what=f"{address} away from {lost.name}")


async def test_ipfod_that_is_stopped_gives_back_to_the_pods_what_it_took() -> None:
    vip = VIPS[0]
    async with Lab(nodes=2, virtual_ips=[vip]) as lab:
        original = Original(lab, Size(1, 1))
        for node in lab.nodes:
            await node.start_service(PORT)
            await original.start(node)
        pod, node = sorted(lab.nodes, key=lambda each: -original.instances(each)[0].priority)
        await on_node(lab, pod, [vip])
        await original.stop(node)
        configure([node], documented().replace(f"{VIPS[0]}-3", vip), name=FILE)
        await node.start_ipfod()

        async def backup() -> bool:
            return bool((await group(node, "ipfailover_VIP_1"))["state"] == "backup")

        await until(backup, what=f"{node.name} is a backup of the pod")
        await printed(node, ["ipfoctl take-over ipfailover"])
        await on_node(lab, node, [vip])
        async with lab.meter([vip]) as meter:
            await node.kill_ipfod(signal.SIGTERM)
            await on_node(lab, pod, [vip])
            await asyncio.sleep(AFTERWARDS_S)
        print(f"{meter.result().longest_ms:.0f} ms away, ipfod is stopped")
        assert meter.result().longest_ms <= UNNOTICED_MS
