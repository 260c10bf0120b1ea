"""Metrics over HTTP: a real server on this machine, real clients, and what is in the way of either."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from plans import planned

from ipfod.metrics import exporter, server
from ipfod.metrics.exporter import Metrics
from ipfod.node.events import Event, PlanApplied
from ipfod.node.model import Problem
from ipfod.node.node import Node

WEB = 'name = "web"\nvirtual_ips = "10.1.0.1-2"'
SCRAPES = 40


class House:
    """A node and its metrics, put together as the daemon does it."""

    def __init__(self) -> None:
        self.node = Node("node1")
        self.metrics = Metrics(self.node, self.emit)

    def emit(self, event: Event) -> None:
        self.metrics.take(event, self.node.apply(event, 1_000_000))

    @property
    def problem(self) -> Problem:
        [problem] = self.node.problems
        return problem


@asynccontextmanager
async def served(where: str) -> AsyncIterator[House]:
    house = House()
    house.metrics.open(where)
    house.emit(PlanApplied(planned(WEB)))
    try:
        yield house
    finally:
        await house.metrics.close()


def free_port(address: str = "127.0.0.1") -> int:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as taken:
        taken.bind((address, 0))
        port: int = taken.getsockname()[1]
    return port


def get(where: str) -> str:
    with urlopen(f"http://{where}/metrics", timeout=10) as answer:
        text: str = answer.read().decode()
    return text


async def scrape(where: str) -> str:
    return await asyncio.to_thread(get, where)


async def within(what: Callable[[], bool], *, timeout_s: float = 5.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not what():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("address", ["127.0.0.1", "[::1]"])
async def test_the_node_is_told_over_http(address: str) -> None:
    where = f"{address}:{free_port(address.strip('[]'))}"
    async with served(where) as house:
        text = await scrape(where)
        assert house.node.problems == ()
        assert 'iname="web_VIP_1"' in text
        assert "ipfod_maintenance 0.0" in text
        assert "python_info" not in text
        assert "process_" not in text
    with pytest.raises(OSError, match="refused"):
        get(where)


async def test_a_port_can_be_listened_on_again_at_once() -> None:
    where = f"127.0.0.1:{free_port()}"
    for _ in range(3):
        async with served(where) as house:
            await scrape(where)
            assert house.node.problems == ()


async def test_without_a_value_nothing_is_served_nothing_counted_and_nothing_wrong() -> None:
    before = threading.active_count()
    async with served("") as house:
        assert threading.active_count() == before
        assert house.node.problems == ()


def test_the_daemon_does_not_import_the_library_unless_asked() -> None:
    program = "import sys, ipfod.daemon; print('prometheus_client' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


# ---------------------------------------------------------------- what is in the way


async def test_a_bad_value_is_a_problem_and_no_exception() -> None:
    async with served("localhost:9650") as house:
        assert house.problem.code == "metrics-failed"
        assert house.problem.object == "IPFOD_METRICS_LISTEN"
        assert "localhost:9650" in house.problem.text
        assert "127.0.0.1:9650" in house.problem.hint
        assert "systemctl restart ipfod" in house.problem.hint


async def test_a_port_that_is_taken_is_a_problem_and_no_exception() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        where = f"127.0.0.1:{other.getsockname()[1]}"
        async with served(where) as house:
            assert house.problem.text == f"metrics cannot be served on {where}: Address already in use"
            assert "free port" in house.problem.hint


async def test_an_address_of_another_node_is_a_problem_and_no_exception() -> None:
    async with served("192.0.2.1:9650") as house:
        assert "192.0.2.1:9650: Cannot assign requested address" in house.problem.text


async def test_a_missing_library_is_a_problem_and_no_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "ipfod.metrics.collector", raising=False)
    monkeypatch.delitem(sys.modules, "ipfod.metrics.server", raising=False)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.setitem(sys.modules, "prometheus_client.core", None)
    async with served(f"127.0.0.1:{free_port()}") as house:
        assert "prometheus_client" in house.problem.text
        assert "prometheus_client" in house.problem.hint


# ---------------------------------------------------------------- clients that are a nuisance


async def test_a_busy_loop_makes_a_scrape_fail_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(exporter, "SNAPSHOT_TIMEOUT_S", 0.1)
    where = f"127.0.0.1:{free_port()}"
    async with served(where):
        asked = asyncio.get_running_loop().run_in_executor(None, get, where)
        time.sleep(0.5)  # noqa: ASYNC251  what a busy loop is
        with pytest.raises(HTTPError) as caught:
            await asked
        assert caught.value.code == 503
        assert caught.value.read() == b"metrics: ipfod is too busy to tell them (see: journalctl -u ipfod)\n"
        assert "ipfod_maintenance" in await scrape(where)
    assert "Traceback" not in capfd.readouterr().err


async def test_clients_cost_no_thread_each_and_are_served_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(server._Handler, "timeout", 0.2)
    port = free_port()
    async with served(f"127.0.0.1:{port}"):
        threads = threading.active_count()
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        assert threading.active_count() == threads
        assert "ipfod_maintenance" in await scrape(f"127.0.0.1:{port}")
        for _, writer in silent:
            writer.close()
            await writer.wait_closed()
    assert capfd.readouterr().err == ""


async def test_a_client_that_sends_a_byte_now_and_then_keeps_others_waiting_no_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server._Handler, "timeout", 0.3)
    port = free_port()

    async def drip(writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"G")
            await asyncio.sleep(0.05)

    async with served(f"127.0.0.1:{port}"):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        dripping = asyncio.create_task(drip(writer))
        assert "ipfod_maintenance" in await scrape(f"127.0.0.1:{port}")
        dripping.cancel()
        writer.transport.abort()


async def test_a_client_that_never_finishes_does_not_hold_up_the_end() -> None:
    port = free_port()
    async with served(f"127.0.0.1:{port}") as house:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /metr")
        await writer.drain()
        assert house.metrics._server is not None
        http = house.metrics._server._http
        await within(lambda: http._client is not None)
        began = time.monotonic()
        await house.metrics.close()
        assert time.monotonic() - began < 2.0 < server.CLIENT_TIMEOUT_S
        writer.close()


async def test_without_descriptors_it_waits_and_does_not_spin() -> None:
    """Its thread would take the interpreter from the loop, at the worst of times."""
    port = free_port()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with served(f"127.0.0.1:{port}"):
        with socket.socket() as client:
            lowest_free = os.dup(client.fileno())
            os.close(lowest_free)
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
            try:
                client.connect(("127.0.0.1", port))
                before_s = time.process_time()
                time.sleep(0.6)  # noqa: ASYNC251  the thread alone is to run
                used_s = time.process_time() - before_s
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert used_s < 0.2
        assert "ipfod_maintenance" in await scrape(f"127.0.0.1:{port}")


async def test_what_is_no_scrape_is_answered_and_written_nowhere(capfd: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    async with served(f"127.0.0.1:{port}"):
        for request in (b"POST /metrics HTTP/1.1\r\n\r\n", b"\x16\x03\x01\r\n\r\n", b"x" * 70_000 + b"\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            answer = await asyncio.wait_for(reader.read(), timeout=10)
            assert b" 4" in answer.split(b"\n")[0] or b"code: 4" in answer, answer
            writer.close()
        assert "ipfod_maintenance" in await scrape(f"127.0.0.1:{port}")
    assert capfd.readouterr().err == ""


async def test_scrapes_while_the_node_changes_are_each_of_one_moment() -> None:
    where = f"127.0.0.1:{free_port()}"
    large = planned('name = "web"\nvirtual_ips = "10.1.0.1-200"\nvip_groups = "per-vip"')
    small = planned('name = "web"\nvirtual_ips = "10.1.0.1"')
    async with served(where) as house:
        scrapes = asyncio.get_running_loop().run_in_executor(None, lambda: [get(where) for _ in range(SCRAPES)])
        while not scrapes.done():
            for plan in (large, small):
                house.emit(PlanApplied(plan))
                await asyncio.sleep(0.001)
        names = ("keepalived_vrrp_state{", "ipfod_group_since_seconds{", 'state="master"')
        seen = {tuple(text.count(name) for name in names) for text in await scrapes}
    assert seen == {(1, 1, 1), (200, 200, 200)}
