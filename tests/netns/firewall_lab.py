"""A node with a firewall and its peer, in network namespaces joined by two cables; VRRP from raw sockets."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from types import TracebackType
from typing import Self

import pytest
from pyroute2 import netns

from ipfod.firewall.keeper import FirewallKeeper
from ipfod.firewall.rule import FirewallWish

PATIENCE_S = 10.0  # for anything that must happen
SILENCE_S = 0.3  # for what must not: a cable between namespaces takes microseconds
VRRP = 112
INTERFACES = ("eth0", "eth1")
NODE_ADDRESSES = {
    "eth0": ("10.78.0.1/24", "fd78::1/64", "fe80::78:1/64"),
    "eth1": ("10.79.0.1/24", "fe80::79:1/64"),
}
PEER_ADDRESSES = {
    "eth0": ("10.78.0.2/24", "10.78.0.3/24", "fd78::2/64", "fe80::78:2/64"),
    "eth1": ("10.79.0.2/24", "fe80::79:2/64"),
}

# Input is dropped but for what a node cannot live without; neighbour discovery is part of that.
DROP_ALL = "type filter hook input priority 0; policy drop; iif lo accept; meta l4proto ipv6-icmp accept"


def run(*arguments: str, stdin: str = "") -> str:
    """Run a program in the namespace that the test is in."""
    done = subprocess.run(
        arguments, capture_output=True, text=True, input=stdin, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, f"{' '.join(arguments)}: {done.stderr}"
    return done.stdout


def works(*arguments: str) -> bool:
    """Run a program that may refuse."""
    return not subprocess.run(arguments, capture_output=True, timeout=PATIENCE_S, check=False).returncode


def nft(ruleset: str) -> None:
    run("nft", "-f", "-", stdin=ruleset)


def drop_all(family: str, table: str, chain: str) -> None:
    """Make a base chain that drops all input."""
    nft(f"table {family} {table} {{ chain {chain} {{ {DROP_ALL}; }}; }}")


def listing(chain: str) -> list[str]:
    """The rules of a chain, as `nft` prints them, e.g. of "inet filter input"."""
    lines = [line.strip() for line in run("nft", "-s", "list", "chain", *chain.split()).splitlines()]
    return [line for line in lines if line.endswith(("accept", '"', "drop"))]


def ours(chain: str) -> list[str]:
    return [line for line in listing(chain) if '"ipfod:' in line]


def wish(
    failover: str = "web", *peers: str, interface: str = "eth0", chains: tuple[str, ...] = ("INPUT",)
) -> FirewallWish:
    """A wish for both families."""
    return FirewallWish(failover, interface, (4, 6), tuple(ip_address(peer) for peer in peers), chains)


@dataclass(frozen=True, slots=True)
class Advert:
    """A packet of VRRP's protocol that a raw socket on the peer sends; ipfod's rules do not look further in."""

    destination: str
    source: str = ""
    interface: str = "eth0"
    ttl: int = 255
    protocol: int = VRRP


class Lab:
    """The namespaces `node` and `peer`, cable by cable: eth0 and eth1 of one lead to those of the other."""

    def __init__(self) -> None:
        suffix = f"{os.getpid()}-{secrets.token_hex(2)}"
        self.node, self.peer = f"ipfod-fw-node-{suffix}", f"ipfod-fw-peer-{suffix}"

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

    @contextlib.contextmanager
    def inside(self, namespace: str) -> Iterator[None]:
        """What this thread opens and starts in the block, threads and programs too, belongs to a namespace."""
        netns.pushns(namespace)
        try:
            yield
        finally:
            netns.popns()

    def arrives(self, advert: Advert, *, within_s: float = PATIENCE_S) -> bool:
        """Whether a packet sent by the peer gets through the node's firewall to a socket there."""
        payload = secrets.token_bytes(16)
        with self.inside(self.node):
            receiver = _receiver(advert)
        with receiver, self._sender(self.peer, advert) as sender:
            sender.sendto(payload, _target(advert))
            receiver.settimeout(within_s)
            try:
                while payload not in receiver.recv(2048):
                    pass
            except TimeoutError:
                return False
            return True

    def arrives_not(self, advert: Advert) -> bool:
        return not self.arrives(advert, within_s=SILENCE_S)

    def leaves(self, advert: Advert) -> bool:
        """Whether the node's own firewall lets a packet out."""
        with self._sender(self.node, advert) as sender:
            try:
                sender.sendto(b"advert", _target(advert))
            except PermissionError:
                return False
            return True

    def _sender(self, namespace: str, advert: Advert) -> socket.socket:
        with self.inside(namespace):
            sender = _raw(advert)
        if isinstance(ip_address(advert.destination), IPv4Address):
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, advert.ttl)
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, advert.ttl)
        else:
            sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, advert.ttl)
            sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, advert.ttl)
        if advert.source:
            sender.bind((advert.source, 0))
        return sender

    def _make(self) -> None:
        for namespace in (self.node, self.peer):
            run("ip", "netns", "add", namespace)
            run("ip", "-n", namespace, "link", "set", "lo", "up")
        for interface in INTERFACES:
            cable = ("type", "veth", "peer", "name", interface, "netns", self.peer)
            run("ip", "-n", self.node, "link", "add", interface, *cable)
        for namespace, addresses in ((self.node, NODE_ADDRESSES), (self.peer, PEER_ADDRESSES)):
            for interface in INTERFACES:
                run("ip", "-n", namespace, "link", "set", interface, "addrgenmode", "none", "up")
                for address in addresses[interface]:
                    nodad = ("nodad",) if ":" in address else ()
                    run("ip", "-n", namespace, "addr", "add", address, "dev", interface, *nodad)

    def _remove(self) -> None:
        for namespace in (self.node, self.peer):
            subprocess.run(["ip", "netns", "del", namespace], check=False, capture_output=True)


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Two joined namespaces; the test itself runs in the node's."""
    with Lab() as made, made.inside(made.node):
        yield made


@pytest.fixture
async def keeper(lab: Lab) -> AsyncIterator[FirewallKeeper]:
    """A keeper of the node's firewall."""
    with contextlib.closing(FirewallKeeper()) as made:
        yield made


def run_script(script: str, *prefix: str) -> str:
    """Run Python code as a program of its own in the test's namespace and return what it prints."""
    return run(*prefix, sys.executable, "-W", "error", "-c", script)


def _raw(advert: Advert) -> socket.socket:
    family = socket.AF_INET if isinstance(ip_address(advert.destination), IPv4Address) else socket.AF_INET6
    opened = socket.socket(family, socket.SOCK_RAW, advert.protocol)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, advert.interface.encode() + b"\0")
    return opened


def _receiver(advert: Advert) -> socket.socket:
    opened = _raw(advert)
    index = socket.if_nametoindex(advert.interface)
    group = ip_address(advert.destination)
    if group.is_multicast and isinstance(group, IPv4Address):
        request = struct.pack("=4s4si", group.packed, bytes(4), index)  # struct ip_mreqn, ip(7)
        opened.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
    elif group.is_multicast:
        request = struct.pack("=16si", group.packed, index)  # struct ipv6_mreq, ipv6(7)
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
    return opened


def _target(advert: Advert) -> tuple[str, int] | tuple[str, int, int, int]:
    if isinstance(ip_address(advert.destination), IPv6Address):
        return advert.destination, 0, 0, 0
    return advert.destination, 0
