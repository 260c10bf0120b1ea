"""The TCP check against real sockets on the loopback interface."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from ipaddress import IPv4Address

import pytest

from ipfod.checks.tcp import CONCURRENCY, tcp_check, tcp_check_all

HERE = IPv4Address("127.0.0.1")


@contextmanager
def listener(
    address: str = "127.0.0.1", port: int = 0, backlog: int = 128
) -> Iterator[tuple[socket.socket, int]]:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((address, port))
        server.listen(backlog)
        yield server, server.getsockname()[1]


@asynccontextmanager
async def service(on_connection: Callable[[asyncio.StreamWriter], None]) -> AsyncIterator[int]:
    """A server that does something with each connection; yields its port."""

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        on_connection(writer)

    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        for writer in writers:
            writer.close()


@pytest.fixture(autouse=True)
async def leaks_nothing() -> AsyncIterator[None]:
    before = len(os.listdir("/proc/self/fd"))
    yield
    await asyncio.sleep(0.01)
    assert len(os.listdir("/proc/self/fd")) == before


async def test_port_that_accepts_passes() -> None:
    with listener() as (_, port):
        verdict = await tcp_check(HERE, port, 5)
    assert verdict.passing
    assert verdict.text == f"port {port} on 127.0.0.1 accepts"
    assert not verdict.broken
    assert not verdict.doubtful
    assert 0 < verdict.duration_s < 2


async def test_port_without_a_listener_is_refused() -> None:
    with listener() as (_, port):
        pass
    verdict = await tcp_check(HERE, port, 5)
    assert not verdict.passing
    assert verdict.text == f"port {port} on 127.0.0.1 refused"
    assert not verdict.broken


async def test_service_that_hangs_gives_no_answer_in_time() -> None:
    with listener(backlog=0) as (_, port), socket.create_connection(("127.0.0.1", port)):
        began = time.monotonic()
        verdict = await tcp_check(HERE, port, 0.2)
    assert not verdict.passing
    assert verdict.text == f"port {port} on 127.0.0.1: no answer within 0.2 s"
    assert 0.15 < time.monotonic() - began < 2


async def test_connection_is_closed_in_order_and_not_reset() -> None:
    with listener() as (server, port):
        await tcp_check(HERE, port, 5)
        connection, _ = server.accept()
        with connection:
            connection.settimeout(5)
            assert connection.recv(1) == b""


async def test_greeting_of_a_service_does_not_make_the_check_reset_it() -> None:
    with listener() as (server, port):
        check = asyncio.create_task(tcp_check(HERE, port, 5, settle_s=2))
        connection, _ = await asyncio.to_thread(server.accept)
        with connection:
            connection.sendall(b"220 ready\r\n")
            verdict = await check
            connection.settimeout(5)
            assert connection.recv(1) == b""
    assert verdict.passing
    assert not verdict.doubtful


async def test_port_that_accepts_and_closes_passes_with_a_doubt() -> None:
    async with service(lambda writer: writer.close()) as port:
        verdict = await tcp_check(HERE, port, 5, settle_s=2)
        assert verdict.passing
        assert verdict.doubtful
        assert verdict.text == f"port {port} on 127.0.0.1 accepts, but closes at once"
        assert verdict.duration_s < 1


async def test_port_that_accepts_and_resets_passes_with_a_doubt() -> None:
    async with service(lambda writer: writer.transport.abort()) as port:
        assert (await tcp_check(HERE, port, 5, settle_s=2)).doubtful


async def test_server_that_waits_for_a_request_raises_no_doubt() -> None:
    async with service(lambda _writer: None) as port:
        verdict = await tcp_check(HERE, port, 5, settle_s=0.05)
    assert verdict.passing
    assert not verdict.doubtful
    assert verdict.duration_s < 0.05  # the time of the answer, not the time spent looking


async def test_check_that_cannot_be_made_is_told_apart() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with listener() as (_, port):
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            verdict = await tcp_check(HERE, port, 5)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert not verdict.passing
    assert verdict.broken
    assert verdict.text == f"port {port} on 127.0.0.1 cannot be asked: Too many open files"


async def test_all_addresses_must_accept_and_the_failing_one_is_named() -> None:
    with listener() as (_, port), listener("127.0.0.3", port):
        good, bad, also_good = HERE, IPv4Address("127.0.0.2"), IPv4Address("127.0.0.3")
        verdict, failed = await tcp_check_all((good, also_good), port, 5)
        assert (verdict.passing, verdict.text, failed) == (True, f"port {port} on 2 addresses accepts", None)
        verdict, failed = await tcp_check_all((good, bad, also_good), port, 5)
        assert (verdict.passing, verdict.text, failed) == (False, f"port {port} on 127.0.0.2 refused", bad)


async def test_one_refused_address_does_not_wait_for_another_that_hangs() -> None:
    with listener(backlog=0) as (_, port), socket.create_connection(("127.0.0.1", port)):
        began = time.monotonic()
        verdict, failed = await tcp_check_all((HERE, IPv4Address("127.0.0.2")), port, 30)
    assert time.monotonic() - began < 5
    assert failed == IPv4Address("127.0.0.2")
    assert not verdict.passing


async def test_thousands_of_addresses_are_asked_a_few_at_once() -> None:
    addresses = tuple(IPv4Address("127.1.0.0") + n for n in range(2000))
    most = 0

    async def count() -> None:
        nonlocal most
        while True:
            most = max(most, len(os.listdir("/proc/self/fd")))
            await asyncio.sleep(0)

    with listener("0.0.0.0", backlog=4096) as (_, port):
        before = len(os.listdir("/proc/self/fd"))
        counting = asyncio.create_task(count())
        verdict, _ = await tcp_check_all(addresses, port, 10)
        counting.cancel()
    assert verdict.passing
    assert most - before <= CONCURRENCY + 2


async def test_without_an_address_the_check_cannot_be_made() -> None:
    verdict, failed = await tcp_check_all((), 80, 5)
    assert not verdict.passing
    assert verdict.broken
    assert failed is None
    assert verdict.text == "port 80 cannot be asked: this node has no address to ask"


async def test_cancelling_leaves_no_connection() -> None:
    with listener(backlog=0) as (_, port), socket.create_connection(("127.0.0.1", port)):
        check = asyncio.create_task(tcp_check_all((HERE,) * 10, port, 30))
        await asyncio.sleep(0.05)
        check.cancel()
        with pytest.raises(asyncio.CancelledError):
            await check
