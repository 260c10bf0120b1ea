"""What others do to the ruleset is noticed, what we do is not mistaken for theirs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time

import pytest
from firewall_lab import PATIENCE_S, SILENCE_S, drop_all, keeper, lab, listing, nft, ours, run_script, wish

from ipfod.firewall.keeper import FirewallKeeper

pytestmark = [pytest.mark.netns, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]
__all__ = ["keeper", "lab"]  # fixtures


@pytest.fixture
async def woken(keeper: FirewallKeeper) -> asyncio.Event:
    """Set whenever the keeper says that somebody changed the ruleset."""
    event = asyncio.Event()
    keeper.watch(event.set)
    return event


async def stays_asleep(woken: asyncio.Event) -> bool:
    await asyncio.sleep(SILENCE_S)
    return not woken.is_set()


@pytest.mark.parametrize(
    "harm",
    [
        "flush chain inet filter input",
        "flush ruleset; table inet filter { chain input { type filter hook input priority 0; policy drop; }; }",
        "delete table inet filter; table inet filter { chain input { type filter hook input priority 0; }; }",
    ],
)
async def test_rules_that_somebody_flushed_are_back_within_a_second(
    keeper: FirewallKeeper, woken: asyncio.Event, harm: str
) -> None:
    drop_all("inet", "filter", "input")
    await keeper.apply([wish()])
    before = ours("inet filter input")
    await asyncio.sleep(SILENCE_S)
    woken.clear()
    nft(harm)
    start = time.monotonic()
    assert ours("inet filter input") == []
    async with asyncio.timeout(PATIENCE_S):
        await woken.wait()
    report = await keeper.apply([wish()])
    assert time.monotonic() - start < 1
    assert len(report.inserted) == 2
    assert ours("inet filter input") == before


async def test_a_chain_that_appears_later_is_noticed_and_filled(
    keeper: FirewallKeeper, woken: asyncio.Event
) -> None:
    assert (await keeper.apply([wish()])).missing
    drop_all("inet", "filter", "input")
    async with asyncio.timeout(PATIENCE_S):
        await woken.wait()
    assert not (await keeper.apply([wish()])).missing
    assert len(ours("inet filter input")) == 2


async def test_our_own_changes_do_not_wake_us(keeper: FirewallKeeper, woken: asyncio.Event) -> None:
    drop_all("inet", "filter", "input")
    await asyncio.sleep(SILENCE_S)
    woken.clear()
    await keeper.apply([wish()])
    await keeper.apply([wish(interface="eth1")])
    await keeper.remove_all()
    assert await stays_asleep(woken)


@pytest.mark.usefixtures("lab")
def test_our_own_changes_do_not_wake_us_in_a_pid_namespace_either() -> None:
    drop_all("inet", "filter", "input")
    script = """
import asyncio, contextlib
from ipfod.firewall.keeper import FirewallKeeper
from ipfod.firewall.rule import FirewallWish

async def main():
    woken = asyncio.Event()
    with contextlib.closing(FirewallKeeper()) as keeper:
        keeper.watch(woken.set)
        report = await keeper.apply([FirewallWish("web", "eth0", (4,))])
        await asyncio.sleep(0.3)
        print(len(report.inserted), woken.is_set())

asyncio.run(main())
"""
    assert run_script(script, "unshare", "--pid", "--fork", "--mount-proc") == "1 False\n"


async def test_another_keeper_counts_as_somebody_else(keeper: FirewallKeeper, woken: asyncio.Event) -> None:
    drop_all("inet", "filter", "input")
    await keeper.apply([wish()])
    await asyncio.sleep(SILENCE_S)
    woken.clear()
    with contextlib.closing(FirewallKeeper()) as other:
        await other.remove_all()
    async with asyncio.timeout(PATIENCE_S):
        await woken.wait()


async def test_more_changes_than_the_socket_holds_still_wake_us(
    keeper: FirewallKeeper, woken: asyncio.Event
) -> None:
    drop_all("inet", "filter", "input")
    await keeper.apply([wish()])
    await asyncio.sleep(SILENCE_S)
    woken.clear()
    # All of it comes while this loop does not run.
    nft("".join(f"add rule inet filter input tcp dport {port} accept\n" for port in range(1, 10001)))
    nft("flush chain inet filter input")
    async with asyncio.timeout(PATIENCE_S):
        await woken.wait()
    await keeper.apply([wish()])
    assert listing("inet filter input") == ours("inet filter input") != []
    await asyncio.sleep(SILENCE_S)
    woken.clear()
    nft("flush chain inet filter input")
    async with asyncio.timeout(PATIENCE_S):
        await woken.wait()


async def test_after_close_nobody_is_called(keeper: FirewallKeeper, woken: asyncio.Event) -> None:
    keeper.close()
    drop_all("inet", "filter", "input")
    assert await stays_asleep(woken)
    keeper.close()
