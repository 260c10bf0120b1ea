"""Two nodes on a switch, in network namespaces of their own, with real keepalived on them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from types import TracebackType
from typing import Self

from pyroute2 import netns

from ipfod.config.model import Address
from ipfod.vrrp.heard import Heard
from ipfod.vrrp.listener import Listener

PATIENCE_S = 15.0  # for anything that must happen; far more than any of it takes


@dataclass(frozen=True, slots=True)
class Node:
    """A node's network namespace and its addresses on eth0."""

    namespace: str
    ipv4: IPv4Address
    ipv6: IPv6Address  # link-local: where adverts come from
    global_ipv6: IPv6Address

    def ip(self, *arguments: str) -> str:
        return run("ip", "-n", self.namespace, *arguments)

    def nft(self, ruleset: str) -> None:
        run("ip", "netns", "exec", self.namespace, "nft", "-f", "-", stdin=ruleset)

    def holds(self, address: Address) -> bool:
        return f" {address}/{address.max_prefixlen} " in self.ip("addr", "show", "dev", "eth0")

    @contextmanager
    def inside(self) -> Iterator[None]:
        """What is opened in this block belongs to the node; its sockets may be used anywhere."""
        netns.pushns(self.namespace)
        try:
            yield
        finally:
            netns.popns()


class Lab:
    """Nodes `a` and `b`: 10.77.0.1 and .2, fd77::1 and ::2, fe80::77:1 and ::77:2."""

    def __init__(self) -> None:
        prefix = f"ipfod-vrrp-{os.getpid()}"
        self.switch = f"{prefix}-switch"
        self.a, self.b = (
            Node(
                f"{prefix}-{name}",
                IPv4Address(f"10.77.0.{number}"),
                IPv6Address(f"fe80::77:{number}"),
                IPv6Address(f"fd77::{number}"),
            )
            for number, name in enumerate("ab", start=1)
        )

    def __enter__(self) -> Self:
        try:
            self._make()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def _make(self) -> None:
        run("ip", "netns", "add", self.switch)
        run("ip", "-n", self.switch, "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
        run("ip", "-n", self.switch, "link", "set", "br0", "up")
        for port, node in enumerate((self.a, self.b)):
            run("ip", "netns", "add", node.namespace)
            link = ("link", "add", f"port{port}", "type", "veth", "peer", "name", "eth0")
            run("ip", "-n", self.switch, *link, "netns", node.namespace)
            run("ip", "-n", self.switch, "link", "set", f"port{port}", "master", "br0", "up")
            node.ip("link", "set", "lo", "up")
            node.ip("link", "set", "eth0", "addrgenmode", "none")
            node.ip("link", "set", "eth0", "up")
            node.ip("addr", "add", f"{node.ipv4}/24", "dev", "eth0")
            for address in (node.ipv6, node.global_ipv6):
                node.ip("addr", "add", f"{address}/64", "dev", "eth0", "nodad")

    def _remove(self) -> None:
        for namespace in (self.a.namespace, self.b.namespace, self.switch):
            subprocess.run(["ip", "netns", "del", namespace], check=False, capture_output=True)


@dataclass(frozen=True, slots=True)
class Instance:
    """A VRRP instance as it is written into keepalived.conf."""

    virtual_router_id: int
    priority: int
    addresses: tuple[Address, ...]
    version: int = 3
    interval_s: str = "0.1"
    peers: tuple[Address, ...] = ()
    source: Address | None = None
    auth_pass: str | None = None

    @property
    def ip_version(self) -> int:
        return self.addresses[0].version

    def __str__(self) -> str:
        auth = f"authentication {{\nauth_type PASS\nauth_pass {self.auth_pass}\n}}" if self.auth_pass else ""
        peers = "\n".join(["unicast_peer {", *map(str, self.peers), "}"]) if self.peers else ""
        return "\n".join(
            (
                f"vrrp_instance v{self.virtual_router_id}_{self.ip_version} {{",
                f"state BACKUP\ninterface eth0\nversion {self.version}\npriority {self.priority}",
                f"virtual_router_id {self.virtual_router_id}\nadvert_int {self.interval_s}",
                f"unicast_src_ip {self.source}" if self.source else "",
                *(auth, peers),
                "virtual_ipaddress {",
                *(f"{each}/{each.max_prefixlen} dev eth0" for each in self.addresses),
                "}\n}",
            )
        )


@dataclass(slots=True)
class Keepalived:
    """keepalived on a node, until the end of the `with` block."""

    node: Node
    directory: Path
    instances: tuple[Instance, ...]
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def __enter__(self) -> Self:
        self.directory.mkdir()
        start = "global_defs {\nrouter_id ipfod\nvrrp_garp_master_repeat 1\n}\n"
        self._path("conf").write_text(start + "\n".join(map(str, self.instances)) + "\n")
        files = ("-f", self._path("conf"), "-p", self._path("pid"), "-r", self._path("vrrp.pid"))
        with self._path("log").open("wb") as log:
            self.process = subprocess.Popen(
                [
                    "ip",
                    "netns",
                    "exec",
                    self.node.namespace,
                    "keepalived",
                    "-n",
                    "-l",
                    "-D",
                    "-P",
                    "-G",
                    *files,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": os.environ["PATH"], "TMPDIR": str(self.directory)},
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process and self.process.poll() is None:
            self.kill()
        self.remove_virtual_ips()

    def stop(self) -> None:
        """In order: with a goodbye for every group."""
        assert self.process
        self.process.terminate()
        self.process.wait(PATIENCE_S)

    def kill(self) -> None:
        """Both processes, as a crash would: no goodbye, and the virtual IPs stay."""
        assert self.process
        self.process.send_signal(signal.SIGSTOP)  # so that it does not start another child
        with suppress(FileNotFoundError):
            os.kill(int(self._path("vrrp.pid").read_text()), signal.SIGKILL)
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def remove_virtual_ips(self) -> None:
        for address in {each for instance in self.instances for each in instance.addresses}:
            if self.node.holds(address):
                self.node.ip("addr", "del", f"{address}/{address.max_prefixlen}", "dev", "eth0")

    def log(self) -> str:
        return self._path("log").read_text()

    def _path(self, name: str) -> Path:
        return self.directory / name


class Ears:
    """A listener on a node's interface that keeps what it heard, with the time of each advert."""

    def __init__(self, node: Node, *, interface: str = "eth0") -> None:
        self.heard: list[tuple[float, Heard]] = []
        self.lost: list[OSError] = []
        self.listener = Listener(
            interface, lambda heard: self.heard.append((time.monotonic(), heard)), lost=self.lost.append
        )
        self._node = node

    def __enter__(self) -> Self:
        with self._node.inside():
            self.listener.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.listener.close()

    def forget(self) -> None:
        self.heard.clear()

    async def hear(self, wanted: Callable[[Heard], bool]) -> tuple[float, Heard]:
        """The first advert of that kind since the last `forget`, and when it was heard."""
        await until(lambda: any(wanted(heard) for _, heard in self.heard))
        return next((when, heard) for when, heard in self.heard if wanted(heard))


def says(
    ip_version: int, virtual_router_id: int, *, priority: int | None = None, outgoing: bool | None = None
) -> Callable[[Heard], bool]:
    """Tells adverts of one virtual router, of this priority and direction if given."""
    return lambda heard: (
        (heard.advert.ip_version, heard.advert.virtual_router_id) == (ip_version, virtual_router_id)
        and priority in (None, heard.advert.priority)
        and outgoing in (None, heard.outgoing)
    )


async def until(happened: Callable[[], bool]) -> None:
    """Wait for something that must happen."""
    async with asyncio.timeout(PATIENCE_S):
        while not happened():
            await asyncio.sleep(0.005)


def run(*arguments: str, stdin: str = "") -> str:
    done = subprocess.run(
        arguments, check=True, capture_output=True, text=True, input=stdin, timeout=PATIENCE_S
    )
    return done.stdout
