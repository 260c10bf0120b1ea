"""The kernel's word that a listener is gone, and what takes a namespace to be seen of the TCP check."""

from __future__ import annotations

import asyncio
import ctypes
import os
import shlex
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv6Address

import pytest

from ipfod.checks.tcp import tcp_check
from ipfod.checks.watch import CheckPlan, CheckReport, FailoverChecks
from ipfod.host.listeners import ListenerEvents, parse
from ipfod.node.model import CheckState

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces take root"),
]

CLONE_NEWNET = 0x40000000  # linux/sched.h
V4, V6 = IPv4Address("127.0.0.1"), IPv6Address("::1")


def in_namespace(test: Callable[[], Awaitable[None]], *commands: str) -> None:
    """Run commands, then a coroutine, in a thread with a network namespace of its own, gone with the thread."""
    failure: list[BaseException] = []

    def work() -> None:
        try:
            if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "unshare")
            for command in ("ip link set lo up", *commands):
                subprocess.run(shlex.split(command), stdin=subprocess.DEVNULL, check=True, timeout=10)
            with asyncio.Runner() as runner:
                runner.run(asyncio.wait_for(_finish(test()), 60))
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=work, name="namespace")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]


async def _finish(test: Awaitable[None]) -> None:
    await test


class Gone:
    """Takes events and lets a test wait for one."""

    def __init__(self) -> None:
        self.all: list[tuple[int, int]] = []
        self._new = asyncio.Event()

    def __call__(self, port: int, ip_version: int) -> None:
        self.all.append((port, ip_version))
        self._new.set()

    async def next(self) -> tuple[int, int]:
        async with asyncio.timeout(5):
            while not self.all:
                self._new.clear()
                await self._new.wait()
        return self.all.pop(0)


@asynccontextmanager
async def listening() -> AsyncIterator[Gone]:
    gone = Gone()
    events = ListenerEvents(gone)
    try:
        yield gone
    finally:
        events.close()
        events.close()


def server(address: str, *, dual: bool = False) -> tuple[socket.socket, int]:
    one = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    if ":" in address:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dual)
    one.bind((address, 0))
    one.listen()
    return one, one.getsockname()[1]


@pytest.mark.parametrize(
    ("address", "dual", "version"),
    [("127.0.0.1", False, 4), ("0.0.0.0", False, 4), ("::1", False, 6), ("::", False, 6), ("::", True, 6)],
)
def test_closed_listener_is_announced_with_its_port(address: str, dual: bool, version: int) -> None:
    async def test() -> None:
        async with listening() as gone:
            one, port = server(address, dual=dual)
            one.close()
            assert await gone.next() == (port, version)
            assert gone.all == []

    in_namespace(test)


def test_listener_is_announced_when_the_last_process_that_holds_it_closes_it() -> None:
    async def test() -> None:
        async with listening() as gone:
            one, port = server("127.0.0.1")
            other = socket.socket(fileno=os.dup(one.fileno()))
            one.close()
            await asyncio.sleep(0.1)
            assert gone.all == []
            other.close()
            assert await gone.next() == (port, 4)

    in_namespace(test)


def test_connections_of_every_kind_pass_unmentioned() -> None:
    async def test() -> None:
        async with listening() as gone:
            for address in ("127.0.0.1", "::1"):
                one, port = server(address)
                with one, socket.create_connection((address, port)):
                    accepted, _ = one.accept()
                    accepted.close()
                    socket.create_connection((address, port)).close()  # never accepted
                assert await gone.next() == (port, 6 if ":" in address else 4)
                with pytest.raises(ConnectionRefusedError):
                    socket.create_connection((address, port))
            await asyncio.sleep(0.1)
            assert gone.all == []

    in_namespace(test)


def test_thousands_of_connections_do_not_drown_a_closing_listener() -> None:
    async def test() -> None:
        async with listening() as gone:
            one, port = server("127.0.0.1")
            for _ in range(5000):  # without reading events: unfiltered, they would overrun the socket's buffer
                client = socket.create_connection(("127.0.0.1", port))
                accepted, _ = one.accept()
                client.close()
                accepted.close()
            one.close()
            assert await gone.next() == (port, 4)
            assert gone.all == []

    in_namespace(test)


def test_lost_messages_are_told_as_port_zero() -> None:
    def storm() -> None:
        for _ in range(3000):
            server("127.0.0.1")[0].close()
        time.sleep(0.5)  # the loop stands still, while the kernel's worker fills the socket's buffer

    async def test() -> None:
        async with listening() as gone:
            storm()
            async with asyncio.timeout(5):
                while await gone.next() != (0, 0):
                    pass

    in_namespace(test)


def test_other_namespaces_are_not_heard() -> None:
    async def test() -> None:
        async with listening() as gone:
            await asyncio.to_thread(in_namespace, elsewhere)
            await asyncio.sleep(0.1)
            assert gone.all == []

    async def elsewhere() -> None:
        server("127.0.0.1")[0].close()

    in_namespace(test)


def test_closing_leaves_no_socket() -> None:
    async def test() -> None:
        before = len(os.listdir("/proc/self/fd"))
        async with listening():
            assert len(os.listdir("/proc/self/fd")) == before + 1
        assert len(os.listdir("/proc/self/fd")) == before

    in_namespace(test)


def test_message_that_is_none_of_a_listener_is_nothing() -> None:
    nothing = (-1, -1)
    assert parse(b"") == nothing
    assert parse(b"\0" * 71) == nothing
    assert parse(b"\xff" * 380) == nothing


SERVICE = """
import socket, sys, time
servers = [socket.create_server(("127.0.0.1", 0))]
port = servers[0].getsockname()[1]
servers.append(socket.create_server(("::1", port), family=socket.AF_INET6))
print(port, flush=True)
while True:
    servers[0].accept()[0].close() if len(sys.argv) > 1 else time.sleep(60)
"""


@asynccontextmanager
async def service() -> AsyncIterator[tuple[subprocess.Popen[bytes], int]]:
    with subprocess.Popen(
        [sys.executable, "-c", SERVICE], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        try:
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


def test_death_of_a_service_is_known_in_milliseconds(capsys: pytest.CaptureFixture[str]) -> None:
    took_s: list[float] = []

    async def die() -> None:
        reports: list[CheckReport] = []
        failing = asyncio.Event()

        def report(one: CheckReport) -> None:
            reports.append(one)
            if one.state is CheckState.FAILING:
                failing.set()

        async with service() as (process, port):
            plan = CheckPlan(port, (V4, V6), None, "root", interval_s=60, timeout_s=5, rise=1, fall=1)
            checks = FailoverChecks("web", plan, report)
            events = ListenerEvents(lambda closed, _: checks.trigger() if closed in (0, port) else None)
            checks.start()
            await asyncio.wait_for(checks.first(), 10)
            assert reports[0].state is CheckState.PASSING
            await asyncio.sleep(0.05)
            began = time.monotonic()
            process.send_signal(signal.SIGKILL)
            await asyncio.wait_for(failing.wait(), 10)
            took_s.append(time.monotonic() - began)
            assert reports[-1].text.endswith("refused")
            await checks.stop()
            events.close()

    async def test() -> None:
        for _ in range(10):
            await die()

    in_namespace(test)
    with capsys.disabled():
        median, worst = statistics.median(took_s) * 1000, max(took_s) * 1000
        print(f" [SIGKILL of the service to FAILING: median {median:.1f} ms, worst {worst:.1f} ms] ", end="")
    assert max(took_s) < 1.0


def test_port_is_checked_over_ipv6_too() -> None:
    async def test() -> None:
        one, port = server("::1")
        with one:
            verdict = await tcp_check(V6, port, 5)
            assert verdict.passing
            assert verdict.text == f"port {port} on ::1 accepts"
        assert (await tcp_check(V6, port, 5)).text == f"port {port} on ::1 refused"

    in_namespace(test)


def test_link_local_address_is_reached_through_its_interface() -> None:
    async def test() -> None:
        one, port = server("::")
        with one:
            assert (await tcp_check(IPv6Address("fe80::a"), port, 5, "veth0")).passing
            assert not (await tcp_check(IPv6Address("fe80::a"), port, 5)).passing
            assert not (await tcp_check(IPv6Address("fe80::a"), port, 5, "absent")).passing

    in_namespace(
        test,
        "ip link add name veth0 type veth peer name veth1",
        "ip link set veth0 up",
        "ip link set veth1 up",
        "ip addr add fe80::a/64 dev veth0 nodad",
    )


def test_address_without_a_route_is_unreachable() -> None:
    async def test() -> None:
        verdict = await tcp_check(IPv4Address("192.0.2.1"), 80, 5)
        assert not verdict.passing
        assert not verdict.broken
        assert verdict.text == "port 80 on 192.0.2.1 unreachable: Network is unreachable"

    in_namespace(test)


def test_check_does_not_take_itself_for_the_service() -> None:
    """A monitored port may be one that the kernel also hands out; connecting from it to itself succeeds."""

    async def test() -> None:
        for _ in range(5):
            verdict = await tcp_check(V4, 40001, 5)
            assert not verdict.passing
            assert verdict.text == "port 40001 on 127.0.0.1 refused"

    in_namespace(test, "sh -c 'echo 40001 40001 >/proc/sys/net/ipv4/ip_local_port_range'")
