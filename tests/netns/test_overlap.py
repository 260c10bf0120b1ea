"""VIPs that a node goes on answering for, on its loopback interface, while another node takes them."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from ipaddress import ip_address

import pytest
from alone import alone, held, ip, until
from orders import VIP, on_group, owner_and_others, run_all
from scenario import on_node, problems
from scenario import until as until_async

from ipfod.lab.lab import Lab
from ipfod.lab.node import Node
from ipfod.lab.program import Program
from ipfod.supervise.overlap import LENT_S, RENEWED_S, Overlap

ADDRESSES = (ip_address("10.1.0.1"), ip_address("10.1.0.2"), ip_address("fd00::1:1"))
OF_LOOPBACK = {"127.0.0.1", "::1"}
GONE_S = LENT_S + 3.0  # the kernel looks once a second, on a busy machine later


@pytest.fixture
def namespace() -> Iterator[None]:
    with alone():
        yield


@pytest.fixture
async def overlap(namespace: None) -> AsyncIterator[Overlap]:
    overlap = Overlap()
    overlap.open()
    yield overlap
    await overlap.close()


def lent() -> set[str]:
    return held("lo") - OF_LOOPBACK


# ---------------------------------------------------------------- the loan


async def test_what_is_lent_is_taken_back(overlap: Overlap) -> None:
    await overlap.begin(ADDRESSES)
    assert lent() == {str(address) for address in ADDRESSES}
    await overlap.end(ADDRESSES, linger=False)
    assert not lent()


async def test_it_lingers_for_a_moment_after_a_move(overlap: Overlap) -> None:
    await overlap.begin(ADDRESSES)
    await overlap.end(ADDRESSES, linger=True)
    await until(lambda: not lent(), "the VIPs are taken back")


async def test_who_closes_waits_for_what_lingers(namespace: None) -> None:
    overlap = Overlap()
    overlap.open()
    await overlap.begin(ADDRESSES)
    await overlap.end(ADDRESSES, linger=True)
    await overlap.close()
    assert not lent()


async def test_it_stays_for_as_long_as_the_move_takes(overlap: Overlap) -> None:
    await overlap.begin(ADDRESSES)
    await asyncio.sleep(GONE_S)
    await until(lambda: lent() == {str(address) for address in ADDRESSES}, "the VIPs are there still")


async def test_the_kernel_takes_back_what_is_not_renewed(namespace: None) -> None:
    overlap = Overlap()
    overlap.open()
    await overlap.begin(ADDRESSES)
    await overlap.close()
    assert lent()
    await until(lambda: not lent(), "the VIPs are taken back")


async def test_an_address_that_was_there_is_left_alone(overlap: Overlap) -> None:
    """A real server behind a load balancer has it there for good (direct routing)."""
    ip("address", "add", "10.1.0.1/32", "dev", "lo")
    await overlap.begin(ADDRESSES)
    await asyncio.sleep(2 * RENEWED_S)
    await overlap.end(ADDRESSES, linger=False)
    assert lent() == {"10.1.0.1"}
    assert "valid_lft forever" in ip("address", "show", "dev", "lo", "to", "10.1.0.1")


async def test_routes_that_name_it_go_with_it(overlap: Overlap) -> None:
    ip("address", "add", "10.1.0.1/32", "dev", "eth0")
    ip("route", "add", "10.2.0.0/16", "dev", "eth0", "src", "10.1.0.1")
    await overlap.begin(ADDRESSES)
    ip("address", "del", "10.1.0.1/32", "dev", "eth0")
    await overlap.end(ADDRESSES, linger=False)
    assert "10.2.0.0" not in ip("route", "show")


# ---------------------------------------------------------------- a move


@asynccontextmanager
async def addresses_of(node: Node) -> AsyncIterator[list[str]]:
    """What becomes of the addresses of a node, in order: "lo +10.0.0.1", "eth0 -10.0.0.1"."""
    program: Program = await node.spawn(["ip", "-oneline", "monitor", "address"], lines=True)
    seen: list[str] = []

    async def read() -> None:
        while line := await program.line():
            words = line.split()
            sign = "-" if words[0] == "Deleted" else "+"
            interface, _, address = words[1 + (sign == "-") :][:3]
            seen.append(f"{interface} {sign}{address.split('/')[0]}")

    reader = asyncio.create_task(read())
    try:
        yield seen
    finally:
        reader.cancel()
        await program.close()


async def on_loopback(node: Node) -> bool:
    done = await node.run(["ip", "address", "show", "dev", "lo", "to", VIP], check=True)
    return bool(done.stdout)


async def is_off_loopback(node: Node) -> bool:
    return not await on_loopback(node)


async def test_the_old_master_answers_until_the_new_one_has_come(pair: Lab) -> None:
    await run_all(pair)
    owner, [other] = await owner_and_others(pair)
    async with addresses_of(owner) as seen:
        probe = ["ip", "address", "replace", "127.0.0.9/32", "dev", "lo"]
        await until_async(lambda: announced(owner, probe, seen), what="the monitor listens")
        assert (await on_group(owner, "StepDown", "60")).error == ""
        await on_node(pair, other, [VIP])
        await until_async(lambda: has(seen, f"lo -{VIP}"), what="the VIP is taken back")
    of_vip = [each for each in seen if each.endswith(VIP)]  # the last of the probes may come late
    assert list(dict.fromkeys(of_vip)) == [f"lo +{VIP}", f"eth0 -{VIP}", f"lo -{VIP}"]
    assert not await problems(owner)


async def announced(node: Node, probe: list[str], seen: list[str]) -> bool:
    await node.run(probe, check=True)
    return bool(seen)


async def has(seen: list[str], what: str) -> bool:
    return what in seen


async def test_nothing_is_left_where_nobody_comes(single: Lab) -> None:
    [node] = single.nodes
    await run_all(single)
    call = asyncio.create_task(on_group(node, "StepDown", "60"))
    await until_async(lambda: on_loopback(node), what="the VIP is lent")
    assert (await call).error == "NoSuccessor"
    assert not await on_loopback(node)
    await on_node(single, node, [VIP])


async def test_an_ipfod_that_is_killed_during_a_move_leaves_nothing(single: Lab) -> None:
    [node] = single.nodes
    await run_all(single)
    call = asyncio.create_task(on_group(node, "StepDown", "60"))
    await until_async(lambda: on_loopback(node), what="the VIP is lent")
    await node.kill_ipfod(signal.SIGKILL)
    await call
    await until_async(lambda: is_off_loopback(node), what="the VIP is taken back")
    await on_node(single, node, [VIP])
