"""What the tests of the bus stand on: a private dbus-daemon, a node with a plan, and clients."""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

import pytest_asyncio

from ipfod.bus.service import Service
from ipfod.config.model import Address, Failover, Source
from ipfod.node.events import Event, PlanApplied
from ipfod.node.model import Problem, ProblemCode, State, Transition
from ipfod.node.node import Node
from ipfod.plan.model import GroupKey, Here, Plan
from ipfod.plan.planning import plan_failover

REPOSITORY = Path(__file__).parents[2]
NAME = "org.ipfod.Ipfod1"
ROOT = "/org/ipfod/Ipfod1"
NOBODY = 65534
START_TIMEOUT_S = 10

GROUP_1 = f"{ROOT}/failover/web/group/_31"
VIP_10 = f"{ROOT}/vip/_3192_2e168_2e3_2e10"
OBJECTS = {"Manager": ROOT, "Failover": f"{ROOT}/failover/web", "Group": GROUP_1, "VirtualIP": VIP_10}
MISSING_CHAIN = Problem(
    ProblemCode.FIREWALL_CHAIN_MISSING, "web", "web: no chain INPUT", "create it, or set firewall_chain"
)

# What the system bus of a distribution says before it reads the policies of the services.
BUS_CONFIGURATION = """<busconfig>
  <type>system</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Peer"/>
  </policy>
  <policy user="root">
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Monitoring"/>
    <allow own="org.freedesktop.PolicyKit1"/>
    <allow send_destination="org.freedesktop.PolicyKit1"/>
  </policy>
  <include>{policy}</include>
</busconfig>
"""


@contextmanager
def private_bus() -> Iterator[subprocess.Popen[str]]:
    """A dbus-daemon of system type with ipfod's policy; `DBUS_SYSTEM_BUS_ADDRESS` names it meanwhile."""
    with tempfile.TemporaryDirectory(prefix=f"ipfod-bus-{os.getpid()}-") as made:
        directory = Path(made)
        directory.chmod(0o755)  # nobody is a client, too
        configuration = directory / "bus.conf"
        policy = REPOSITORY / "dbus" / f"{NAME}.conf"
        configuration.write_text(BUS_CONFIGURATION.format(socket=directory / "socket", policy=policy))
        argv = ["dbus-daemon", f"--config-file={configuration}", "--nofork", "--nopidfile", "--print-address"]
        before = os.environ.get("DBUS_SYSTEM_BUS_ADDRESS")
        with (
            (directory / "log").open("w") as log,
            subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True
            ) as daemon,
        ):
            assert daemon.stdout is not None
            try:
                os.environ["DBUS_SYSTEM_BUS_ADDRESS"] = daemon.stdout.readline().strip()
                yield daemon
            finally:
                daemon.kill()
                os.environ.pop("DBUS_SYSTEM_BUS_ADDRESS")
                if before is not None:
                    os.environ["DBUS_SYSTEM_BUS_ADDRESS"] = before


@dataclass
class Daemon:
    """What calls that change something reach: notes them and fails as told."""

    orders: list[tuple[object, ...]] = field(default_factory=list)
    warnings: tuple[str, ...] = ()  # what entering maintenance answers
    error: Exception | None = None
    refused: dict[GroupKey, Exception] = field(default_factory=dict)  # what fails for one group alone
    hold: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.hold.set()

    @property
    def reloads(self) -> int:
        return self.orders.count(("reload",))

    async def _note(self, *order: object) -> None:
        self.orders.append(order)
        await self.hold.wait()
        for key, refusal in self.refused.items():
            if key in order:
                raise refusal
        if self.error is not None:
            raise self.error

    async def reload(self) -> None:
        await self._note("reload")

    async def set_preemption(self, failover: str, index: int, text: str) -> None:
        await self._note("set_preemption", failover, index, text)

    async def reset_preemption(self, failover: str, index: int) -> None:
        await self._note("reset_preemption", failover, index)

    async def step_down(self, key: GroupKey, hold_s: int, who: str) -> None:
        await self._note("step_down", key, hold_s, who)

    async def take_over(self, key: GroupKey, who: str) -> None:
        await self._note("take_over", key, who)

    async def send_gratuitous_arp(self, key: GroupKey) -> None:
        await self._note("send_gratuitous_arp", key)

    async def enter_maintenance(self, reason: str, until_usec: int) -> tuple[str, ...]:
        await self._note("enter_maintenance", reason, until_usec)
        return self.warnings

    async def leave_maintenance(self) -> None:
        await self._note("leave_maintenance")


def addresses(*texts: str) -> tuple[Address, ...]:
    return tuple(ip_address(text) for text in texts)


def failover(name: str = "web", *ranges: tuple[str, ...], **options: object) -> Failover:
    blocks = ranges or (("192.168.3.10", "192.168.3.11"), ("2001:db8::1",))
    given = tuple(addresses(*block) for block in blocks)
    return Failover(name, Source(f"/etc/ipfod/{name}.toml"), given, **options)  # type: ignore[arg-type]  # by name


def planned(*failovers: Failover) -> PlanApplied:
    here = Here("eth0", addresses("192.168.3.1", "fe80::1"))
    return PlanApplied(Plan({each.name: plan_failover(each, here, {}) for each in failovers}))


def big_failover() -> Failover:
    """255 groups of 16 virtual IPs."""
    block = tuple(f"10.1.{group}.{host}" for group in range(255) for host in range(1, 17))
    return failover("big", block, vip_groups=255, vrrp_id_offset=0)


def node_with(*failovers: Failover) -> Node:
    node = Node("node-a")
    node.apply(planned(*failovers), 1_000_000)
    return node


def becoming(user: int | None) -> tuple[str, ...]:
    """What to put before a command line so that it runs as a user, () for None.

    He may read everything: the checkout and its virtual environment may be where only root can.
    """
    if user is None:
        return ()
    reading = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
    return ("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *reading, "--")


async def run(*argv: str, user: int | None = None, ok: bool = True) -> str:
    """Run a client against the private bus; its output, stderr included."""
    process = await asyncio.create_subprocess_exec(
        *becoming(user),
        *argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=_environment(),
    )
    async with asyncio.timeout(START_TIMEOUT_S):
        output, _ = await process.communicate()
    text = output.decode()
    assert (process.returncode == 0) is ok, f"{argv}: {process.returncode}\n{text}"
    return text


class Watcher:
    """A client that prints what it sees, line by line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.seen: list[str] = []

    async def until(self, *texts: str) -> str:
        """Read on until a line contains all `texts`; that line."""
        assert self._process.stdout is not None
        async with asyncio.timeout(START_TIMEOUT_S):
            while line := (await self._process.stdout.readline()).decode():
                self.seen.append(line)
                if all(text in line for text in texts):
                    return line
        raise AssertionError(f"{texts} was not among\n{''.join(self.seen)}")


@asynccontextmanager
async def watching(*argv: str, ready: str) -> AsyncIterator[Watcher]:
    """Run a client that goes on until it is ended; it is ready when it prints `ready`."""
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=_environment()
    )
    watcher = Watcher(process)
    try:
        await watcher.until(ready)
        yield watcher
    finally:
        process.kill()
        await process.communicate()


def _environment() -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "LC_ALL": "C.UTF-8",
        "DBUS_SYSTEM_BUS_ADDRESS": os.environ["DBUS_SYSTEM_BUS_ADDRESS"],
    }


async def busctl(*arguments: str, user: int | None = None, ok: bool = True) -> str:
    return await run("busctl", "--system", "--no-pager", *arguments, user=user, ok=ok)


async def gdbus(*arguments: str, user: int | None = None, ok: bool = True) -> str:
    return await run("gdbus", arguments[0], "--system", *arguments[1:], user=user, ok=ok)


class World:
    """A bus, a node and its service."""

    def __init__(self) -> None:
        self.node: Node = node_with(failover())
        self.daemon = Daemon()
        self.service = Service(self.node, self.daemon)

    def apply(self, *events: Event, usec: int = 2_000_000) -> None:
        self.service.publish(tuple(change for event in events for change in self.node.apply(event, usec)))

    @asynccontextmanager
    async def watched_by_gdbus(self, *options: str) -> AsyncIterator[Watcher]:
        """`gdbus monitor`, which says that it is ready a moment before it is: signals until it sees one."""
        mark = Transition(0, GroupKey("web", 1), "", State.UNKNOWN, State.UNKNOWN, "are you there?")
        command = ("gdbus", "monitor", "--system", "--dest", NAME, *options)
        async with watching(*command, ready="is owned by") as watcher:
            seen = asyncio.create_task(watcher.until(mark.reason))
            while not seen.done():
                self.service.publish((mark,))
                await asyncio.wait([seen], timeout=0.05)
            await seen
            yield watcher


@pytest_asyncio.fixture
async def serving() -> AsyncIterator[World]:
    """A service on a bus of its own. A test module takes it by a name of its own: `world = serving`."""
    with private_bus():
        made = World()
        await made.service.start()
        yield made
        await made.service.stop()
