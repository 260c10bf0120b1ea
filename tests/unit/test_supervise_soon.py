"""One look for many reasons: when it is taken, whatever order they come in."""

from __future__ import annotations

import asyncio

import pytest

from ipfod.supervise.soon import Soon

SOON_S, LATE_S = 0.05, 60.0


@pytest.mark.parametrize("delays", [(SOON_S, LATE_S), (LATE_S, SOON_S), (SOON_S, SOON_S)])
async def test_one_look_when_the_first_reason_is_due(delays: tuple[float, float]) -> None:
    looks: list[float] = []
    loop = asyncio.get_running_loop()
    soon = Soon(lambda: looks.append(loop.time()))
    began = loop.time()
    for delay in delays:
        soon.within(delay)
    await asyncio.sleep(4 * SOON_S)
    soon.cancel()
    [look] = looks
    assert look - began >= SOON_S - 0.001  # the clock that timers go by is no finer


async def test_a_look_may_give_the_next_reason() -> None:
    looks = 0

    def look() -> None:
        nonlocal looks
        looks += 1
        if looks < 3:
            soon.within(0.0)

    soon = Soon(look)
    soon.within(0.0)
    await asyncio.sleep(SOON_S)
    assert looks == 3


async def test_no_look_after_it_was_cancelled() -> None:
    looks: list[None] = []
    soon = Soon(lambda: looks.append(None))
    soon.within(0.0)
    soon.cancel()
    soon.cancel()
    await asyncio.sleep(SOON_S)
    assert not looks
    soon.within(0.0)
    await asyncio.sleep(SOON_S)
    assert looks
