"""A move every few seconds for an hour: nothing grows, and no event is lost.

The short form is a part of `make test`; `make soak` runs the hour (`MINUTES=10` less of it).
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from orders import owner_and_others, run_all
from scenario import PORT, each_on_one, group, no_traceback, until, well
from test_faults import VIPS

from ipfod.lab.lab import Lab
from ipfod.lab.node import Node
from ipfod.lab.program import Program

HISTORY_MAX = 1000  # what a daemon keeps
LONG_EVERY_S, SHORT_EVERY_S = 10.0, 3.0  # a group comes home within 2 s after what had made it go
HOLD_S = 1
CRASH_EVERY = 8  # one that crashes again within a minute is not started again at once
SHORT_MOVES, WARM_MOVES = 9, 5
# The allocator takes 2 to 3 MiB in the first 220 moves or so and then no more (measured, beside tracemalloc).
# A leak of 6 KiB a move is 1 MiB in the second half of an hour.
GROWTH_KIB = 1024


@dataclass(frozen=True)
class Taken:
    """What a daemon has taken from the system."""

    resident_kib: int
    descriptors: int
    threads: int


async def taken(node: Node) -> Taken:
    assert node.ipfod is not None
    process = Path(f"/proc/{await node.ipfod.pid()}")
    fields = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    return Taken(
        int(fields["VmRSS"].split()[0]), len(os.listdir(process / "fd")), int(fields["Threads"].split()[0])
    )


async def is_told(lab: Lab) -> bool:
    holders = await lab.holders(VIPS[0])
    return len(holders) == 1 and (await group(holders[0], "web_VIP_1"))["state"] == "master"


async def step_down(owner: Node) -> None:
    done = await owner.ipfoctl("step-down", VIPS[0], "--hold", f"{HOLD_S}s")
    assert done.returncode == 0, done.stderr
    await asyncio.sleep(HOLD_S + 0.5)  # it comes back where it is preferred


async def take_over(owner: Node, other: Node) -> None:
    done = await other.ipfoctl("take-over", VIPS[0])
    assert done.returncode == 0, done.stderr


async def service_dies(owner: Node) -> None:
    await owner.stop_service(PORT)
    await asyncio.sleep(0.5)
    await owner.start_service(PORT)


async def keepalived_dies(owner: Node) -> None:
    await owner.kill("keepalived", signal.SIGKILL)


async def maintain(owner: Node) -> None:
    for word in ("on", "off"):
        done = await owner.ipfoctl("maintenance", word)
        assert done.returncode == 0, done.stderr


async def move(lab: Lab, dice: random.Random, number: int) -> None:
    await until(lambda: is_told(lab), what="who holds a virtual IP says that it is master")
    owner, (other, *_) = await owner_and_others(lab)
    moves: list[Callable[[], Awaitable[None]]] = [
        lambda: step_down(owner),
        lambda: take_over(owner, other),
        lambda: service_dies(owner),
        lambda: maintain(owner),
    ]
    if number % CRASH_EVERY == CRASH_EVERY - 1:
        await keepalived_dies(owner)
    else:
        await dice.choice(moves)()
    try:
        await each_on_one(lab, VIPS)
        await until(lambda: well(lab), what="all is right after a move")
    except AssertionError as error:
        told = [str(error)]
        for node in lab.nodes:
            told += [node.name, (await node.ipfoctl("status")).stdout, node.log()[-3000:]]
        raise AssertionError("\n".join(told)) from None


def transitions(text: str) -> list[tuple[int, str, str]]:
    """What a client was told, in the order in which it was."""
    seen: list[dict[str, Any]] = [json.loads(line) for line in text.splitlines()]
    return [(each["usec"], each["name"], each["new"]) for each in seen if each["event"] == "Transition"]


async def is_complete(node: Node, client: Program) -> bool:
    """Whether the history of a node is what a client of it was told."""
    done = await node.ipfoctl("history", "--limit", "0", "--json")
    history = json.loads(done.stdout)["history"]
    kept = {(each["usec"], each["name"], each["new"]) for each in history}
    told = transitions(client.output())
    if not told or len(history) > HISTORY_MAX:
        return False
    oldest = min(kept) if len(history) == HISTORY_MAX else told[0]  # either side may reach further back
    return {each for each in told if each >= oldest} == {each for each in kept if each >= told[0]}


async def endure(lab: Lab, dice: random.Random, moves: int, every_s: float) -> list[tuple[Taken, Taken]]:
    """Move, and answer what each daemon had taken when it was warm, and at the end."""
    for node in lab.nodes:
        await node.start_service(PORT)
    await run_all(lab, f'monitor_port = {PORT}\npreemption = "preempt"\n', vips=VIPS)
    clients = [await node.spawn([sys.executable, "-m", "ipfod.ctl", "events", "--json"]) for node in lab.nodes]
    await asyncio.sleep(1.0)
    before: list[Taken] = []
    for number in range(moves):
        began = time.monotonic()
        await move(lab, dice, number)
        await asyncio.sleep(max(0.0, every_s - (time.monotonic() - began)))
        if number + 1 == max(WARM_MOVES, moves // 2):
            before = [await taken(node) for node in lab.nodes]
    for node, client in zip(lab.nodes, clients, strict=True):
        await until(
            partial(is_complete, node, client), what=f"{node.name}: its history is what its client was told"
        )
        assert no_traceback(node.log())
    return list(zip(before, [await taken(node) for node in lab.nodes], strict=True))


def nothing_has_grown(found: list[tuple[Taken, Taken]]) -> None:
    for before, after in found:
        assert after.resident_kib <= before.resident_kib + GROWTH_KIB, (before, after)
        assert after.descriptors <= before.descriptors, (before, after)
        # A pool starts its threads when it needs them.
        assert after.threads <= before.threads + 1, (before, after)


async def test_nothing_grows_and_no_event_is_lost(pair: Lab) -> None:
    nothing_has_grown(await endure(pair, random.Random(1), SHORT_MOVES, SHORT_EVERY_S))


@pytest.mark.soak
@pytest.mark.timeout(2 * 3600)
async def test_nothing_grows_in_an_hour(pair: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    seed = int(os.environ.get("SEED", "0")) or random.randrange(1, 10**6)
    minutes = float(os.environ.get("MINUTES", "60"))
    moves = int(minutes * 60 / LONG_EVERY_S)
    found = await endure(pair, random.Random(seed), moves, LONG_EVERY_S)
    with capsys.disabled():
        print(f"\nseed {seed}, {moves} moves, one every {LONG_EVERY_S:g} s; each node: {found}")
    nothing_has_grown(found)
