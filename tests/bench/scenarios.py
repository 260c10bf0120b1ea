"""Everything that happens to the victim, in each of the systems, and how it is made undone."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from bench.configs import CHECK_INTERVAL_S, PORT, Size
from bench.model import PLAIN, Limit
from bench.stage import Stage, by_hand
from bench.systems import ctl, power_on
from ipfod.lab.theory import Timers

Step = Callable[[Stage], Awaitable[None]]
HOLD_S = 3  # for how long what steps down keeps off: longer than is measured
ADDED = 1  # virtual IPs that a reload adds


@dataclass(frozen=True, slots=True)
class Act:
    """What one system does in a scenario, how it is made undone, and how long its effects last at most."""

    do: Step
    undo: Step
    lasts_s: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A row at each size. The limits are the contract's, section 8."""

    name: str
    title: str
    acts: Mapping[str, Act]
    limit: Limit
    large: Limit | None = None  # None: not measured at that size
    theory: Callable[[Timers, int], float] | None = None
    spacing_ms: float = 2.0  # of the echo requests; the contract counts those lost at 5 ms
    phased: bool = False  # whether it depends on when the last advert was sent


async def nothing(_: Stage) -> None:
    """What needs no undoing."""


# ---------------------------------------------------------------- what fails


async def lose_node(stage: Stage) -> None:
    # The cable first: a kernel that goes down takes a moment, in which it would still answer the client.
    await stage.victim.unplug()
    await stage.victim.power_cut()


async def find_node(stage: Stage) -> None:
    await power_on(stage.victim, stage.system)


async def kill_keepalived(stage: Stage) -> None:
    await stage.victim.kill("keepalived", signal.SIGKILL)


async def start(stage: Stage) -> None:
    await stage.system.start(stage.victim)


async def stop(stage: Stage) -> None:
    await stage.system.stop(stage.victim)


async def kill_service(stage: Stage) -> None:
    # At a time that has nothing to do with that of the checks.
    await asyncio.sleep(stage.chance.uniform(0, CHECK_INTERVAL_S))
    stage.moment = time.time()
    await stage.victim.stop_service(PORT)


async def start_service(stage: Stage) -> None:
    await stage.victim.start_service(PORT)


# ---------------------------------------------------------------- orders to ipfod


async def step_down(stage: Stage) -> None:
    await ctl(stage.victim, "step-down", str(stage.sample[0]), "--hold", f"{HOLD_S}s")


async def forbid_preemption_and_step_down(stage: Stage) -> None:
    for node in stage.lab.nodes:
        await ctl(node, "preemption", "web", "nopreempt")
    await step_down(stage)


async def allow_preemption(stage: Stage) -> None:
    for node in stage.lab.nodes:
        await ctl(node, "preemption", "web", "reset")
    await ctl(stage.victim, "take-over", str(stage.sample[0]))


async def take_over(stage: Stage) -> None:
    await ctl(stage.peer, "take-over", str(stage.sample[0]))


async def give_back(stage: Stage) -> None:
    await ctl(stage.peer, "step-down", str(stage.sample[0]), "--hold", "0s")


async def enter_maintenance(stage: Stage) -> None:
    await ctl(stage.victim, "maintenance", "on")


async def leave_maintenance(stage: Stage) -> None:
    await ctl(stage.victim, "maintenance", "off")


async def kill_ipfod(stage: Stage) -> None:
    await stage.victim.kill_ipfod(signal.SIGKILL)
    await asyncio.sleep(0.3)
    await stage.victim.start_ipfod()


# ---------------------------------------------------------------- reloads


async def add_address(stage: Stage) -> None:
    await stage.system.reload(Size(stage.size.groups, stage.size.each, ADDED))


async def remove_address(stage: Stage) -> None:
    await stage.system.reload(stage.size)


async def hang_up(stage: Stage) -> None:
    await by_hand(stage).hang_up(stage.victim)


# ---------------------------------------------------------------- all of them

DOWN_S = 0.3  # what a backup of version 3 waits at most; of version 2 four seconds
DOWN2_S = 4.0
INSTEAD = "plain keepalived has no such order, it is stopped instead"
STOPPED = {PLAIN: Act(stop, start, 0.1, INSTEAD)}
COUNTED_MS = 5.0  # the spacing at which the contract counts lost echoes
NOTHING_LOST = Limit(at_most=0.0)
PLANNED = Limit(at_most=15.0)
QUICK = Limit(at_most=30.0)
QUICK_LARGE = Limit(at_most=30.0, ratio=1.05, relative=True)
PLANNED_LARGE = Limit(at_most=15.0, ratio=1.05, relative=True)
UNCHANGED = "plain keepalived gets SIGHUP with an unchanged configuration"


def _acts(**acts: Act) -> Mapping[str, Act]:
    return MappingProxyType(acts)


SCENARIOS = (
    Scenario(
        "node-lost",
        "node lost",
        _acts(
            plain=Act(lose_node, find_node, DOWN_S),
            original=Act(lose_node, find_node, DOWN2_S),
            ipfod=Act(lose_node, find_node, DOWN_S),
        ),
        Limit(at_most=400.0, ratio=1.05),
        Limit(ratio=1.05),
        Timers.master_down_ms,
        phased=True,
    ),
    Scenario(
        "keepalived-killed",
        "keepalived killed",
        _acts(
            plain=Act(kill_keepalived, start, DOWN_S),
            original=Act(kill_keepalived, start, DOWN2_S),
            ipfod=Act(kill_keepalived, nothing, DOWN_S),
        ),
        QUICK,
        QUICK,
        Timers.detected_ms,
    ),
    Scenario(
        "service-dies",
        "service dies",
        _acts(
            plain=Act(kill_service, start_service, CHECK_INTERVAL_S + DOWN_S),
            original=Act(kill_service, start_service, CHECK_INTERVAL_S + 1.0),
            ipfod=Act(kill_service, start_service, DOWN_S),
        ),
        QUICK,
        QUICK_LARGE,
        Timers.detected_ms,
    ),
    Scenario(
        "step-down",
        "step-down, peer preempts",
        _acts(ipfod=Act(step_down, nothing, 0.0), **STOPPED),
        NOTHING_LOST,
        NOTHING_LOST,
        spacing_ms=COUNTED_MS,
    ),
    Scenario(
        "step-down-nopreempt",
        "step-down, peer does not",
        _acts(ipfod=Act(forbid_preemption_and_step_down, allow_preemption, 0.0), **STOPPED),
        PLANNED,
    ),
    Scenario(
        "take-over",
        "take-over",
        _acts(ipfod=Act(take_over, give_back, 0.0), **STOPPED),
        PLANNED,
        PLANNED,
    ),
    Scenario(
        "maintenance",
        "maintenance on",
        _acts(ipfod=Act(enter_maintenance, leave_maintenance, 0.0), **STOPPED),
        PLANNED,
        PLANNED_LARGE,
    ),
    Scenario(
        "stop",
        "stop (SIGTERM)",
        _acts(plain=Act(stop, start, 0.1), original=Act(stop, start, 1.0), ipfod=Act(stop, start, 0.1)),
        PLANNED,
        PLANNED_LARGE,
        Timers.planned_ms,
    ),
    Scenario(
        "reload",
        "reload, one VIP more",
        _acts(plain=Act(add_address, remove_address, DOWN_S), ipfod=Act(add_address, remove_address, DOWN_S)),
        NOTHING_LOST,
        NOTHING_LOST,
        spacing_ms=COUNTED_MS,
    ),
    Scenario(
        "ipfod-killed",
        "ipfod killed, started again",
        _acts(plain=Act(hang_up, nothing, DOWN_S, UNCHANGED), ipfod=Act(kill_ipfod, nothing, 0.0)),
        NOTHING_LOST,
        NOTHING_LOST,
        spacing_ms=COUNTED_MS,
    ),
)


def wanted(size: Size, names: Sequence[str]) -> list[Scenario]:
    """Those that are measured at a size, and are asked for (() for all)."""
    return [
        scenario
        for scenario in SCENARIOS
        if (size.groups == 1 or scenario.large is not None) and (not names or scenario.name in names)
    ]
