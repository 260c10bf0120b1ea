"""What the tests of ipfoctl stand on: ipfod's service on the private bus, and the command run against it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address

from bus_harness import Daemon, becoming, failover, node_with

from ipfod.bus.service import Service
from ipfod.node.events import AddressesSeen, Event, InstanceReported, KeepalivedChanged
from ipfod.node.model import KeepalivedState, State
from ipfod.node.node import Node

IPFOCTL = (sys.executable, "-m", "ipfod.ctl")
TIMEOUT_S = 20
USEC = 1_700_000_000_000_000


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


@dataclass
class Stand:
    """The service on the bus and the node behind it."""

    node: Node
    daemon: Daemon
    service: Service

    def sees(self, event: Event) -> None:
        self.service.publish(self.node.apply(event, USEC))

    def group_becomes(self, state: State, index: int = 1) -> None:
        self.sees(InstanceReported("web", f"web_VIP_{index}", state, 254))


@asynccontextmanager
async def standing() -> AsyncIterator[Stand]:
    """The service on the bus that is there, with one of its three groups held."""
    node, daemon = node_with(failover()), Daemon()
    service = Service(node, daemon)
    await service.start()
    stand = Stand(node, daemon, service)
    stand.sees(KeepalivedChanged("web", KeepalivedState.RUNNING, 4711, "started"))
    stand.sees(AddressesSeen({"eth0": frozenset({ip_address("192.168.3.10")})}))
    stand.group_becomes(State.MASTER)
    try:
        yield stand
    finally:
        await service.stop()


def environment(**more: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "DBUS_SYSTEM_BUS_ADDRESS") if name in os.environ}
    return {**kept, "LC_ALL": "C.UTF-8", **more}


@asynccontextmanager
async def running(*arguments: str, user: int | None = None) -> AsyncIterator[asyncio.subprocess.Process]:
    """A command that runs until it is ended."""
    process = await asyncio.create_subprocess_exec(
        *becoming(user),
        *IPFOCTL,
        *arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def ended(process: asyncio.subprocess.Process) -> Ended:
    async with asyncio.timeout(TIMEOUT_S):
        out, err = await process.communicate()
    assert "Traceback" not in err.decode()
    return Ended(process.returncode or 0, out.decode(), err.decode())


async def ipfoctl(*arguments: str, user: int | None = None) -> Ended:
    async with running(*arguments, user=user) as process:
        return await ended(process)
