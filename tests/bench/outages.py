"""Runs the scenarios and makes rows of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from bench.configs import Size
from bench.model import IPFOD, PLAIN, SYSTEMS, Row, Series
from bench.scenarios import Act, Scenario
from bench.stage import USUAL, Sample, Scene, Stage, staged
from bench.systems import KINDS

SPACING_LARGE_MS = 5.0  # of the echo requests to several virtual IPs
LASTS_LARGE_S = 1.0  # longer, where thousands of addresses move

Say = Callable[[str], None]
Samples = dict[tuple[str, str], list[Sample]]  # by scenario and system


async def measure(
    scenarios: Sequence[Scenario], size: Size, runs: int, say: Say, scene: Scene = USUAL
) -> list[Row]:
    """One row for each scenario. Raises Failed when something does not come about at all."""
    samples: Samples = defaultdict(list)
    theory: dict[str, float] = {}
    for name in SYSTEMS:
        wanted = [scenario for scenario in scenarios if name in scenario.acts]
        if not wanted:
            continue
        async with staged(KINDS[name], size, scene) as stage:
            for scenario in wanted:
                for number in range(runs):
                    sample = await run(stage, scenario, scenario.acts[name], (number + 0.5) / runs)
                    samples[scenario.name, name].append(sample)
                told = ", ".join(f"{one.ms:.3g}" for one in samples[scenario.name, name])
                say(f"{scene.size(size)}, {name}, {scenario.title}: {told} ms")
                if name == IPFOD and scenario.theory is not None and not stage.large:
                    theory[scenario.name] = scenario.theory(stage.system.timers, stage.peer_priority)
    return [row(scenario, size, samples, theory.get(scenario.name), scene) for scenario in scenarios]


async def run(stage: Stage, scenario: Scenario, act: Act, share: float) -> Sample:
    """Let it happen once, and bring everything back."""
    spacing_ms = SPACING_LARGE_MS if stage.large else scenario.spacing_ms
    after_s = act.lasts_s + (LASTS_LARGE_S if stage.large else 0.0)
    async with stage.measured(spacing_ms=spacing_ms, after_s=after_s) as found:
        if scenario.phased:
            await stage.phase(share)
        await act.do(stage)
    await act.undo(stage)
    await stage.settle()
    return found[0]


def row(scenario: Scenario, size: Size, samples: Samples, theory: float | None, scene: Scene = USUAL) -> Row:
    """What the runs of all systems add up to."""
    measured = [(name, samples[scenario.name, name]) for name in SYSTEMS if samples.get((scenario.name, name))]
    limit = scenario.limit if size.groups == 1 else scenario.large
    assert limit is not None
    return Row(
        name=scenario.name,
        title=scenario.title,
        size=scene.size(size),
        unit="ms",
        series=tuple(Series(name, tuple(one.ms for one in found)) for name, found in measured),
        limit=limit,
        theory=theory,
        notes=tuple(_notes(scenario, measured)),
        faults=tuple(fault for name, found in measured if name == IPFOD for fault in faults(found)),
        outage=True,
    )


def _notes(scenario: Scenario, measured: Iterable[tuple[str, list[Sample]]]) -> list[str]:
    act = scenario.acts.get(PLAIN)
    told = [act.note] if act is not None and act.note else []
    return told + [f"{name}: {fault}" for name, found in measured if name != IPFOD for fault in faults(found)]


def faults(found: Sequence[Sample]) -> list[str]:
    """What must not be: addresses on two nodes at once, or on none at the end."""
    doubled = [one.doubled_ms for one in found if one.doubled_ms > 0]
    lost = [one.lost_for_good for one in found if one.lost_for_good > 0]
    told = []
    if doubled:
        told.append(
            f"the VIP was on both nodes for {max(doubled):.0f} ms in {len(doubled)} of {len(found)} runs"
        )
    if lost:
        told.append(f"up to {max(lost)} VIPs did not answer at the end in {len(lost)} of {len(found)} runs")
    return told
