"""What other settings than the defaults bring and cost: `--tuning`, the figures of docs/tuning.md."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import outages
from bench.configs import LARGE, SMALL, Size
from bench.figures import cpu_s
from bench.load import changes_under_load
from bench.model import IPFOD, PLAIN, Row, Series
from bench.scenarios import SCENARIOS, Act, lose_node
from bench.stage import Stage, staged
from bench.systems import KINDS, Ipfod
from ipfod.lab.lab import Lab
from ipfod.lab.theory import Timers

IDLE_S = 5.0
LOAD_S = 10.0
DEAF_S = 1.0
DEAF = "add table arp deaf; add chain arp deaf in { type filter hook input priority 0; policy drop; }"
PATIENT_S = 6.0  # keepalived's default is to announce a second time after five
BURNERS = 8  # busy processes for each processor
LOST = next(scenario for scenario in SCENARIOS if scenario.name == "node-lost")


@dataclass(frozen=True, slots=True)
class Setting:
    """A VRRP version and an advertisement interval."""

    version: int
    interval_s: float
    size: Size = SMALL

    @property
    def options(self) -> str:
        """As in ipfod's file."""
        return f"vrrp_version = {self.version}\nadvert_interval = {self.interval_s:g}\n"

    def system(self, lab: Lab, size: Size) -> Ipfod:
        """ipfod with this setting."""
        made = Ipfod(lab, size, self.options)
        made.timers = Timers(self.version, self.interval_s)
        return made

    def __str__(self) -> str:
        return f"version {self.version}, {self.interval_s:g} s"


SETTINGS = (
    *(Setting(3, interval_s) for interval_s in (0.01, 0.02, 0.05, 0.1, 0.3, 1.0)),
    Setting(2, 1.0),
    *(Setting(3, interval_s, LARGE) for interval_s in (0.1, 0.3, 1.0)),
)


async def measure(runs: int, say: Callable[[str], None]) -> list[Row]:
    """The rows of all settings."""
    rows: list[Row] = []
    for setting in SETTINGS:
        async with staged(setting.system, setting.size) as stage:
            found = await _setting(stage, setting, runs)
        for row in found:
            say(f"{row.title}: {', '.join(f'{value:.3g}' for value in row.samples(IPFOD))} {row.unit}")
        rows += found
    rows.append(await _deaf(runs))
    return rows


async def _deaf(runs: int) -> Row:
    """A node is lost, and the first announcements of the next master do not get to the client."""
    samples: dict[str, list[float]] = {}
    for name in (PLAIN, IPFOD):
        act = LOST.acts[name]
        patient = Act(_lose_node_unheard, act.undo, PATIENT_S)
        async with staged(KINDS[name], SMALL) as stage:
            found = [await outages.run(stage, LOST, patient, (number + 0.5) / runs) for number in range(runs)]
        samples[name] = [one.ms for one in found]
    return Row(
        name="tuning",
        title=f"node lost, no announcement heard for {DEAF_S:g} s",
        size=str(SMALL),
        unit="ms",
        series=tuple(Series(name, tuple(found)) for name, found in samples.items()),
    )


async def _lose_node_unheard(stage: Stage) -> None:
    client = stage.lab.client
    await client.run(["nft", DEAF], check=True)
    try:
        await lose_node(stage)
        await asyncio.sleep(DEAF_S)
    finally:
        await client.run(["nft", "delete table arp deaf"], check=True)


async def _setting(stage: Stage, setting: Setting, runs: int) -> list[Row]:
    """One setting's rows: what a processor has to do, and for one group outages and steadiness."""
    rows = []
    if setting.size == SMALL:
        assert LOST.theory is not None
        worst_ms = LOST.theory(stage.system.timers, stage.peer_priority)
        act = LOST.acts[IPFOD]
        patient = Act(act.do, act.undo, worst_ms / 1000)
        found = [await outages.run(stage, LOST, patient, (number + 0.5) / runs) for number in range(runs)]
        rows.append(_row(f"node lost: {setting}", setting, "ms", [one.ms for one in found], worst_ms))
        rows.append(_row(f"changes under load: {setting}", setting, "", [await _under_load(stage)]))
    rows.append(_row(f"idle, with keepalived: {setting}", setting, "% CPU", [await _idle(stage)]))
    return rows


def _row(title: str, setting: Setting, unit: str, samples: Sequence[float], theory: float | None = None) -> Row:
    return Row(
        name="tuning",
        title=title,
        size=str(setting.size),
        unit=unit,
        series=(Series(IPFOD, tuple(samples)),),
        theory=theory,
    )


async def _idle(stage: Stage) -> float:
    """Processor time of the daemon and keepalived on the node that is master, in percent of one processor."""
    assert stage.victim.ipfod is not None
    inside = stage.victim.inside("/proc")
    processes = [
        Path(f"/proc/{await stage.victim.ipfod.pid()}/stat"),
        *(inside / str(pid) / "stat" for pid in stage.victim.processes("keepalived")),
    ]
    begin, before = time.monotonic(), sum(map(cpu_s, processes))
    await asyncio.sleep(IDLE_S)
    return (sum(map(cpu_s, processes)) - before) / (time.monotonic() - begin) * 100


async def _under_load(stage: Stage) -> float:
    found = await changes_under_load(stage.lab, each=BURNERS, seconds=LOAD_S)
    await stage.settle()
    return found
