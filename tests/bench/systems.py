"""The three systems that are measured: how each is started on a node, and how it is made to act."""

from __future__ import annotations

import asyncio
import signal
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Protocol

from bench import configs
from bench.configs import PORT, Instance, Size
from bench.model import IPFOD, ORIGINAL, PLAIN
from ipfod.config.model import Address
from ipfod.errors import Failed
from ipfod.lab.lab import Lab
from ipfod.lab.node import Node
from ipfod.lab.theory import Timers

CONFIGURATION = "/run/bench/keepalived.conf"
PID_FILES = ("/run/bench/keepalived.pid", "/run/bench/vrrp.pid")
KEEPALIVED = ("keepalived", "-n", "-l", "-D", "-P", "-G", "-f", CONFIGURATION)
# What an administrator adds for keepalived; ipfod does it by itself.
LET_VRRP_IN = ("nft", "insert", "rule", "inet", "filter", "input", "meta", "l4proto", "vrrp", "accept")
# Between the nodes of a reload by hand: longer than a backup waits for the master.
BETWEEN_NODES_S = 0.5


class System(Protocol):
    """One of the three, at one size, on the nodes of a lab."""

    name: str
    timers: Timers

    def instances(self, node: Node) -> list[Instance]:
        """What a node runs."""

    async def start(self, node: Node) -> None:
        """Start it on a node on which it does not run."""

    async def stop(self, node: Node) -> None:
        """Stop it in order."""

    async def reload(self, size: Size) -> None:
        """Give all nodes, one after the other, a configuration of another size."""


class Ipfod:
    """ipfod with its defaults."""

    name = IPFOD
    timers = Timers(3, 0.1)

    def __init__(self, lab: Lab, size: Size, more: str = "") -> None:
        self._lab, self._size, self._more = lab, size, more
        self._nodes = addresses(lab)

    def instances(self, node: Node) -> list[Instance]:
        return configs.planned(self._size, self._nodes, own(node))

    async def start(self, node: Node) -> None:
        self.configure(node, self._size)
        await node.start_ipfod()

    def configure(self, node: Node, size: Size) -> None:
        """Write the file that the next start or reload reads."""
        node.write(configs.FILE, configs.ipfod(size, self._nodes, self._more))

    async def stop(self, node: Node) -> None:
        await node.kill_ipfod(signal.SIGTERM)

    async def reload(self, size: Size) -> None:
        for node in self._lab.nodes:
            self.configure(node, size)
            await ctl(node, "reload")
            await asyncio.sleep(BETWEEN_NODES_S)


class _ByHand(ABC):
    """keepalived alone, with a configuration that is made for each node."""

    def __init__(self, lab: Lab, size: Size) -> None:
        self._lab, self._size = lab, size
        self._nodes = addresses(lab)

    @abstractmethod
    def _made(self, node: Node, size: Size) -> list[Instance]:
        """What a node runs at a size."""

    @abstractmethod
    def _text(self, instances: Sequence[Instance], node: Node) -> str:
        """keepalived.conf of a node."""

    def instances(self, node: Node) -> list[Instance]:
        return self._made(node, self._size)

    async def start(self, node: Node) -> None:
        self._configure(node, self._size)
        for file in PID_FILES:  # keepalived that was killed leaves them
            node.inside(file).unlink(missing_ok=True)
        if "l4proto 112" not in (await node.run(["nft", "list", "ruleset"], check=True)).stdout:
            await node.run(LET_VRRP_IN, check=True)
        await node.spawn([*KEEPALIVED, "-p", PID_FILES[0], "-r", PID_FILES[1]])

    def _configure(self, node: Node, size: Size) -> None:
        node.write(CONFIGURATION, self._text(self._made(node, size), node))

    async def stop(self, node: Node) -> None:
        await self._signal(node, signal.SIGTERM)
        while node.processes("keepalived"):
            await asyncio.sleep(0.005)

    async def reload(self, size: Size) -> None:
        for node in self._lab.nodes:
            self._configure(node, size)
            await self.hang_up(node)
            await asyncio.sleep(BETWEEN_NODES_S)

    async def hang_up(self, node: Node) -> None:
        """Have keepalived read its configuration again."""
        await self._signal(node, signal.SIGHUP)

    async def _signal(self, node: Node, number: signal.Signals) -> None:
        parent = node.read(PID_FILES[0]).strip()
        await node.run(["kill", f"-{number.value}", parent], check=True)


class Plain(_ByHand):
    """keepalived with ipfod's version, interval, ids and priorities, and a vrrp_script as check."""

    name = PLAIN
    timers = Timers(3, 0.1)

    def _made(self, node: Node, size: Size) -> list[Instance]:
        return configs.planned(size, self._nodes, own(node))

    def _text(self, instances: Sequence[Instance], node: Node) -> str:
        return configs.plain(instances, own(node))


class Original(_ByHand):
    """keepalived with what OpenShift's IP failover generates."""

    name = ORIGINAL
    timers = Timers(2, 1.0)

    def _made(self, node: Node, size: Size) -> list[Instance]:
        return configs.original_instances(size, own(node), len(self._nodes))

    def _text(self, instances: Sequence[Instance], node: Node) -> str:
        return configs.original(instances, own(node))


KINDS: Mapping[str, type[Ipfod | Plain | Original]] = {IPFOD: Ipfod, PLAIN: Plain, ORIGINAL: Original}


def own(node: Node) -> Address:
    """The address that a node's configuration is about."""
    return next(address for address in node.own_addresses if address.version == 4)


def addresses(lab: Lab) -> list[Address]:
    return [own(node) for node in lab.nodes]


async def power_on(node: Node, system: System) -> None:
    """Bring a node back after a power cut."""
    await node.start()
    await node.start_service(PORT)
    await system.start(node)


async def ctl(node: Node, *arguments: str) -> str:
    """Run ipfoctl; raises Failed with what it says when it does not succeed."""
    done = await node.ipfoctl(*arguments, timeout_s=180.0)
    if done.returncode != 0:
        raise Failed(f"{node.name}: ipfoctl {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout
