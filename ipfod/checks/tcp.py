"""Does a TCP port accept connections? The documented check: a connection is opened and closed again."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence

from ipfod.addresses import Address
from ipfod.checks.verdict import Verdict
from ipfod.errors import SCARCE

CONCURRENCY = 64  # connections at once when many virtual IPs are asked
SETTLE_S = 0.02  # how soon a server closes that closes at once: measured under 1 ms, with room for a busy node

# Errors that say something of this node or its firewall and nothing of the service: socket(2), connect(2).
_OURS = {
    errno.EACCES, errno.EADDRNOTAVAIL, errno.EPERM, *SCARCE,
}  # fmt: skip
_RESET = struct.pack("@ii", 1, 0)  # struct linger: on, 0 s: socket(7)


async def tcp_check(
    address: Address, port: int, timeout_s: float, interface: str | None = None, *, settle_s: float = 0.0
) -> Verdict:
    """Connect to a port and close again. Never raises for what the network does.

    `interface` is needed for link-local IPv6 addresses only. With `settle_s` the connection is kept open so
    long to see whether the server closes it at once: that passes, for a connection is what is asked for, but is
    doubtful. It is closed with FIN as every client does; RST would spare a TIME_WAIT but is logged by servers.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    what = f"port {port} on {address}"
    try:
        with _socket(address) as connection:
            target = _target(address, port, interface)
            try:
                async with asyncio.timeout(timeout_s):
                    await loop.sock_connect(connection, target)
            finally:
                duration_s = loop.time() - began
            if connection.getsockname() == connection.getpeername():
                # Nobody listens, and the kernel picked this very port as ours: RFC 9293 3.5, simultaneous open.
                # A TIME_WAIT would keep the service from taking its port.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                return Verdict(False, f"{what} refused", duration_s=duration_s)
            if settle_s and await _closes(connection, settle_s):
                return Verdict(
                    True, f"{what} accepts, but closes at once", doubtful=True, duration_s=duration_s
                )
            return Verdict(True, f"{what} accepts", duration_s=duration_s)
    except TimeoutError:  # ours, or the kernel's ETIMEDOUT
        return Verdict(False, f"{what}: no answer within {timeout_s:g} s", duration_s=loop.time() - began)
    except ConnectionRefusedError:
        return Verdict(False, f"{what} refused", duration_s=loop.time() - began)
    except OSError as error:
        said = os.strerror(error.errno) if error.errno else str(error)
        if error.errno in _OURS:
            unasked = error.errno in SCARCE
            return Verdict(False, f"{what} cannot be asked: {said}", broken=True, unasked=unasked)
        return Verdict(False, f"{what} unreachable: {said}", duration_s=loop.time() - began)


async def tcp_check_all(
    addresses: Sequence[Address], port: int, timeout_s: float, interface: str | None = None
) -> tuple[Verdict, Address | None]:
    """Check that every address accepts, at most 64 at once; the first found to fail decides and is named.

    Returns the verdict and the address that failed. Whether the server closes at once is looked at on the
    first address only: it is one service, and waiting on thousands would take seconds.
    """
    failed: list[tuple[Verdict, Address]] = []
    passed: list[Verdict] = []
    workers: list[asyncio.Task[None]] = []

    async def work(ahead: Iterator[tuple[int, Address]]) -> None:
        for index, address in ahead:
            settle_s = SETTLE_S if index == 0 else 0.0
            verdict = await tcp_check(address, port, timeout_s, interface, settle_s=settle_s)
            if not verdict.passing:
                failed.append((verdict, address))
                for worker in workers:
                    worker.cancel()
                return
            passed.append(verdict)

    ahead = iter(enumerate(addresses))
    async with asyncio.TaskGroup() as group:
        for number in range(min(CONCURRENCY, len(addresses))):
            workers.append(group.create_task(work(ahead), name=f"check of port {port}, {number}"))
    if failed:
        return failed[0]
    if not passed:
        return Verdict(
            False, f"port {port} cannot be asked: this node has no address to ask", broken=True
        ), None
    return _summary(passed, port), None


def _summary(passed: list[Verdict], port: int) -> Verdict:
    if len(passed) == 1:
        return passed[0]
    duration_s = max(verdict.duration_s for verdict in passed)
    for verdict in passed:
        if verdict.doubtful:
            return Verdict(True, verdict.text, doubtful=True, duration_s=duration_s)
    return Verdict(True, f"port {port} on {len(passed)} addresses accepts", duration_s=duration_s)


def _socket(address: Address) -> socket.socket:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    return socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)


def _target(address: Address, port: int, interface: str | None) -> tuple[str, int] | tuple[str, int, int, int]:
    """Raises OSError if the interface is absent."""
    if address.version == 4:
        return str(address), port
    scope = socket.if_nametoindex(interface) if interface and address.is_link_local else 0
    return str(address).partition("%")[0], port, 0, scope


async def _closes(connection: socket.socket, within_s: float) -> bool:
    try:
        async with asyncio.timeout(within_s):
            return not await asyncio.get_running_loop().sock_recv(connection, 4096)
    except TimeoutError:
        return False
    except OSError:
        return True  # reset
