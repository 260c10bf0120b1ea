"""Links and addresses of the kernel: a wake-up when they change, dumps for the truth, and removal.

One worker thread owns a synchronous pyroute2 socket (no target distribution has its asyncio core); a bare
netlink socket only says that something changed, so that a lost message (ENOBUFS) is just another wake-up.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, ParamSpec, TypeVar

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from ipfod.addresses import InterfaceAddress
from ipfod.errors import Failed
from ipfod.host.addressing import AddressRequests

RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR = 0x1, 0x10, 0x100  # linux/rtnetlink.h
IFF_UP, IFF_RUNNING = 0x1, 0x40  # linux/if.h
RT_TABLE_MAIN = 254  # linux/rtnetlink.h
RECEIVE_BYTES = 65536
P = ParamSpec("P")
T = TypeVar("T")
# Thousands of VIPs that come or go take a second; each dump of them takes 0.15 s.
DUMP_TRIES, DUMP_PAUSE_S = 30, 0.05
GONE = (errno.EADDRNOTAVAIL, errno.ENODEV)


@dataclass(frozen=True, slots=True)
class Host:
    """What the kernel says of links and addresses at one moment. Names of all links; those that are up."""

    interfaces: frozenset[str]
    running: frozenset[str]
    addresses: tuple[InterfaceAddress, ...]
    default_interface: str | None

    def on(self, interface: str) -> tuple[InterfaceAddress, ...]:
        return tuple(entry for entry in self.addresses if entry.interface == interface)


class Netlink:
    """Requests to the kernel's routing socket. Every method but `open` and `close` raises Failed."""

    def __init__(self) -> None:
        self._worker = ThreadPoolExecutor(1, "netlink")
        self._route: Any = None
        self._requests: AddressRequests
        self._wake: socket.socket | None = None

    async def open(self, changed: Callable[[], None] | None = None) -> None:
        """Open the socket; `changed` is called on the loop after every change of links or addresses."""
        self._route = await self._call(IPRoute)
        self._requests = await self._call(AddressRequests)
        if changed is not None:
            kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
            self._wake = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
            self._wake.bind((0, RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR))
            asyncio.get_running_loop().add_reader(self._wake.fileno(), self._drain, self._wake, changed)

    def _drain(self, wake: socket.socket, changed: Callable[[], None]) -> None:
        while True:
            try:
                wake.recv(RECEIVE_BYTES)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
        changed()

    async def host(self) -> Host:
        """Dump links, addresses and the default route's interface."""
        for _ in range(DUMP_TRIES):
            try:
                return await self._call(self._host)
            except Failed as error:
                if not _interrupted(error):
                    raise
                await asyncio.sleep(DUMP_PAUSE_S)
        raise Failed(
            "addresses of this node: change too fast to be read", hint="ip monitor shows what changes them"
        )

    def _host(self) -> Host:
        links = {link["index"]: link for link in self._route.get_links()}
        names = {index: link.get_attr("IFLA_IFNAME") for index, link in links.items()}
        wanted = IFF_UP | IFF_RUNNING
        return Host(
            interfaces=frozenset(names.values()),
            running=frozenset(names[i] for i, link in links.items() if link["flags"] & wanted == wanted),
            addresses=tuple(self._addresses(names)),
            default_interface=self._default_interface(names),
        )

    def _addresses(self, names: dict[int, str]) -> Iterable[InterfaceAddress]:
        for message in self._route.get_addr():
            # IFA_LOCAL is this host's end; IFA_ADDRESS is the peer's on point-to-point links, and all IPv6 has.
            text = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
            if text and message["index"] in names:
                yield InterfaceAddress(names[message["index"]], ip_address(text), message["prefixlen"])

    def _default_interface(self, names: dict[int, str]) -> str | None:
        for family in (socket.AF_INET, socket.AF_INET6):
            routes = self._route.get_default_routes(family=family, table=RT_TABLE_MAIN)
            for route in sorted(routes, key=lambda r: r.get_attr("RTA_PRIORITY") or 0):
                if (index := _first_hop(route)) in names:
                    return names[index]
        return None

    async def remove(self, entries: Iterable[InterfaceAddress]) -> tuple[InterfaceAddress, ...]:
        """Take addresses off their interfaces; answers those that were there."""
        wanted = tuple(entries)
        return await self._call(self.remove_now, wanted)

    def remove_now(self, entries: tuple[InterfaceAddress, ...]) -> tuple[InterfaceAddress, ...]:
        """`remove` on the worker thread itself, for a caller that already is there (see `in_worker`)."""
        codes = self._requests.remove(entries)
        for code in codes:
            if code not in (0, *GONE):
                raise OSError(code, os.strerror(code))
        return tuple(entry for entry, code in zip(entries, codes, strict=True) if not code)

    async def in_worker(self, function: Callable[[], T]) -> T:
        """Run a function on the worker thread, between two requests."""
        return await self._call(function)

    def when_idle(self, function: Callable[[], None]) -> None:
        """Run a function on the worker thread when all requests made so far are done; nobody waits for it."""
        self._worker.submit(function)

    async def _call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._worker, lambda: function(*args, **kwargs))
        except (NetlinkError, OSError) as error:
            raise Failed(f"routing socket: the kernel refused a request: {error}") from error

    async def close(self) -> None:
        if self._wake is not None:
            asyncio.get_running_loop().remove_reader(self._wake.fileno())
            self._wake.close()
            self._wake = None
        if self._route is not None:
            await self._call(self._route.close)
            await self._call(self._requests.close)
            self._route = None
        self._worker.shutdown()


def _interrupted(error: Failed) -> bool:
    """Whether a dump was cut short by a change; pyroute2 says so with code -1 (NLM_F_DUMP_INTR)."""
    return isinstance(error.__cause__, NetlinkError) and error.__cause__.code == -1


def _first_hop(route: Any) -> int:
    """Index of the interface that a route leads over, of its first one if there are several; 0 for none."""
    hops = route.get_attr("RTA_MULTIPATH") or [{"oif": 0}]
    return int(route.get_attr("RTA_OIF") or hops[0]["oif"])
