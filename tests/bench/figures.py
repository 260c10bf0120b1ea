"""What the daemon itself takes: time to start, to answer and to tell, memory, processor. No outage is in it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from bench import configs
from bench.configs import FILE, INTERFACE, NO_ANCHORS, SMALL, Size
from bench.load import changes_under_load
from bench.model import IPFOD, PLAIN, Limit, Row, Series
from bench.stage import USUAL, Scene, Stage, staged
from bench.systems import Ipfod, ctl
from ipfod.errors import Failed
from ipfod.keepalived.files import KeepalivedFiles
from ipfod.keepalived.render import render
from ipfod.lab.node import Node
from ipfod.plan.model import Here
from ipfod.plan.planning import plan_failover

WITNESS = Path(__file__).with_name("witness.py")
FLUSH = Path(__file__).with_name("flush.py")
RUN_DIRECTORY = "/run/ipfod/web"
UNFIT, FIT = "-254", "0\n"  # what keepalived reads from a track file
IDLE_S = 10.0
LOAD_S = 60.0
BURNERS = 2  # processes that never rest, for each processor
# Long enough for ipfod to have put everything away that a start or a change leaves to do, and not to think that
# somebody fights it.
REST_S = 2.5
# What is told of 16,320 virtual IPs after they came takes 6 s (measured).
TOLD_S = 8.0
MANAGED = ("org.ipfod.Ipfod1", "/org/ipfod/Ipfod1", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
RELOAD = ("org.ipfod.Ipfod1", "/org/ipfod/Ipfod1", "org.ipfod.Ipfod1.Manager", "Reload")
FILTER = (
    "table inet filter { chain input { type filter hook input priority 0; policy drop; iif lo accept; "
    "ct state established,related accept; meta l4proto { icmp, ipv6-icmp } accept; "
    f"tcp dport {configs.PORT} accept; }}; }}"
)
HARM = {
    "rule-flushed": "flush chain inet filter input; add rule inet filter input meta l4proto icmp accept",
    "ruleset-replaced": f"flush ruleset; {FILTER}",
}

Samples = list[float]
Measure = Callable[[Stage], Awaitable[dict[str, Samples]]]


@dataclass(frozen=True, slots=True)
class Figure:
    """One row: a measurement that gives samples by system, once a run, and what it may be at each size."""

    name: str
    title: str
    unit: str
    measure: Measure
    small: Limit | None  # None: not measured at that size
    large: Limit | None
    note: str = ""
    once: bool = False  # measured once, however many runs there are: it takes a minute


async def measure(
    figures: Sequence[Figure], size: Size, runs: int, say: Callable[[str], None], scene: Scene = USUAL
) -> list[Row]:
    """One row for each figure, all of one pair of nodes."""
    rows = []
    async with staged(Ipfod, size, scene) as stage:
        for figure in figures:
            samples: dict[str, Samples] = {}
            for _ in range(1 if figure.once else runs):
                for system, found in (await figure.measure(stage)).items():
                    samples.setdefault(system, []).extend(found)
            rows.append(_row(figure, size, samples, scene))
            told = ", ".join(f"{value:.3g}" for value in samples[IPFOD])
            say(f"{scene.size(size)}, {figure.title}: {told} {figure.unit}")
    return rows


def _row(figure: Figure, size: Size, samples: dict[str, Samples], scene: Scene) -> Row:
    limit = figure.small if size == SMALL else figure.large
    return Row(
        name=figure.name,
        title=figure.title,
        size=scene.size(size),
        unit=figure.unit,
        series=tuple(Series(system, tuple(found)) for system, found in samples.items()),
        limit=limit if limit is not None else Limit(),
        notes=(figure.note,) if figure.note else (),
    )


# ---------------------------------------------------------------- starting and answering


async def start(stage: Stage) -> dict[str, Samples]:
    """Stopped and started again."""
    await stage.system.stop(stage.victim)
    await asyncio.sleep(1.0)
    took_s = await _until_ready(stage.victim)
    await stage.settle()
    return {IPFOD: [took_s]}


async def start_again(stage: Stage) -> dict[str, Samples]:
    """Killed and started again, while keepalived runs on."""
    await stage.victim.kill_ipfod(signal.SIGKILL)
    await asyncio.sleep(0.5)
    took_s = await _until_ready(stage.victim)
    await asyncio.sleep(REST_S)
    return {IPFOD: [took_s]}


async def _until_ready(node: Node) -> float:
    """Seconds from the start of the interpreter to READY."""
    begin = time.monotonic()
    await node.start_ipfod()
    return time.monotonic() - begin


async def status(stage: Stage) -> dict[str, Samples]:
    """`ipfoctl status`, from the start of the interpreter to its end."""
    begin = time.monotonic()
    await ctl(stage.victim, "status")
    return {IPFOD: [time.monotonic() - begin]}


async def managed_objects(stage: Stage) -> dict[str, Samples]:
    """Everything in one answer, received by busctl."""
    return {IPFOD: [await _call(stage.victim, MANAGED)]}


async def reload(stage: Stage) -> dict[str, Samples]:
    """One virtual IP more by a call of `Reload`; it is taken away again, which does not count."""
    found = []
    nodes = [node.own_addresses[0] for node in stage.lab.nodes]
    for extra in (1, 0):
        size = Size(stage.size.groups, stage.size.each, extra)
        stage.victim.write(FILE, configs.ipfod(size, nodes))
        found.append(await _call(stage.victim, RELOAD))
        await asyncio.sleep(REST_S)
    return {IPFOD: found[:1]}


async def _call(node: Node, target: Sequence[str]) -> float:
    """Seconds that a call by busctl takes. Raises Failed with what it says."""
    begin = time.monotonic()
    done = await node.bus("--timeout=60", "call", *target)
    took_s = time.monotonic() - begin
    if done.returncode != 0:
        raise Failed(f"{node.name}: {target[-1]}: {done.stderr.strip()}")
    return took_s


# ---------------------------------------------------------------- telling


async def one_event(stage: Stage) -> dict[str, Samples]:
    """One group fails: from what keepalived writes to the signal."""
    return {IPFOD: [(await _fail(stage, 1))[0]]}


async def all_events(stage: Stage) -> dict[str, Samples]:
    """All groups fail at once: to the last signal, and to the last word of keepalived."""
    last, written = await _fail(stage, stage.size.groups)
    return {IPFOD: [last], PLAIN: [written]}


async def _fail(stage: Stage, count: int) -> tuple[float, float]:
    """Have some groups of the victim fail, and bring them back."""
    groups = [f"web_VIP_{index + 1}" for index in range(count)]
    found = await _witness(stage.victim, UNFIT, "fault", groups)
    for group in groups:  # ipfod does it too, when it next looks
        stage.victim.write(f"{RUN_DIRECTORY}/track/{group}", FIT)
    await stage.settle()
    return found


async def _witness(node: Node, value: str, state: str, groups: Sequence[str]) -> tuple[float, float]:
    """Milliseconds from the first word of keepalived: to the last signal, and to its last word."""
    argv = [sys.executable, str(WITNESS), RUN_DIRECTORY, value, state, *groups]
    done = await node.run(argv, check=True)
    document = json.loads(done.stdout)
    return max(document["signals"]), document["written"]


# ---------------------------------------------------------------- memory, processor, rules, planning


async def memory(stage: Stage) -> dict[str, Samples]:
    """What the daemon has resident, in MiB."""
    status_text = Path(f"/proc/{await _pid(stage.victim)}/status").read_text()
    fields = dict(line.split(":", 1) for line in status_text.splitlines())
    return {IPFOD: [int(fields["VmRSS"].split()[0]) / 1024]}


async def idle(stage: Stage) -> dict[str, Samples]:
    """Share of one processor that the daemon takes while nothing happens but adverts, in percent."""
    await asyncio.sleep(TOLD_S)
    stat = Path(f"/proc/{await _pid(stage.victim)}/stat")
    before, begin = cpu_s(stat), time.monotonic()
    await asyncio.sleep(IDLE_S)
    return {IPFOD: [(cpu_s(stat) - before) / (time.monotonic() - begin) * 100]}


def cpu_s(stat: Path) -> float:
    """Processor time of all threads, user and system, without children (proc(5), stat fields 14 and 15)."""
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _pid(node: Node) -> int:
    if node.ipfod is None:
        raise Failed(f"{node.name}: ipfod does not run")
    return await node.ipfod.pid()


async def steadiness(stage: Stage) -> dict[str, Samples]:
    """Changes of state, of any group on any node, in a minute of load. One would be a false failover."""
    found = await changes_under_load(stage.lab, each=BURNERS, seconds=LOAD_S)
    await stage.settle()
    return {IPFOD: [found]}


async def rule_flushed(stage: Stage) -> dict[str, Samples]:
    return await _flush(stage, HARM["rule-flushed"])


async def ruleset_replaced(stage: Stage) -> dict[str, Samples]:
    return await _flush(stage, HARM["ruleset-replaced"])


async def _flush(stage: Stage, harm: str) -> dict[str, Samples]:
    """On the node that is backup: milliseconds until ipfod's rule stands again."""
    done = await stage.peer.run([sys.executable, str(FLUSH), "1"], stdin=harm, check=True)
    await asyncio.sleep(REST_S)
    return {IPFOD: [float(done.stdout)]}


async def plan(stage: Stage) -> dict[str, Samples]:
    """Plan and keepalived.conf from a configuration that is read, in this process; milliseconds."""
    nodes = [node.own_addresses[0] for node in stage.lab.nodes]
    failover = configs.failover(configs.ipfod(stage.size, nodes))
    here = Here(INTERFACE, (ip_address("192.168.3.101"),))
    begin = time.perf_counter()
    text = render(plan_failover(failover, here, NO_ANCHORS), KeepalivedFiles(Path(RUN_DIRECTORY)))
    took_ms = (time.perf_counter() - begin) * 1000
    assert text.count("vrrp_instance") == stage.size.groups
    return {IPFOD: [took_ms]}


NO_LIMIT = Limit()
WRITTEN = "under plain: when keepalived has written its last word; zero is its first"
BACK = Limit(at_most=50.0)
FIGURES = (
    Figure("memory", "memory of the daemon", "MiB", memory, NO_LIMIT, Limit(at_most=64.0)),
    Figure("idle", "idle, adverts at 0.1 s", "% CPU", idle, NO_LIMIT, Limit(at_most=2.0)),
    Figure(
        "steadiness",
        "changes in 60 s of load",
        "",
        steadiness,
        Limit(at_most=0.0),
        Limit(at_most=0.0),
        once=True,
    ),
    Figure("status", "ipfoctl status", "s", status, Limit(at_most=0.3), Limit(at_most=0.3)),
    Figure("managed-objects", "GetManagedObjects", "s", managed_objects, NO_LIMIT, NO_LIMIT),
    Figure("reload-call", "Reload, one VIP more", "s", reload, NO_LIMIT, NO_LIMIT),
    Figure(
        "event", "change to D-Bus signal", "ms", one_event, Limit(5.0, typical=True), Limit(5.0, typical=True)
    ),
    Figure("events", "all groups change, last signal", "ms", all_events, None, Limit(at_most=300.0), WRITTEN),
    Figure("rule-flushed", "chain flushed, rule back", "ms", rule_flushed, BACK, None),
    Figure("ruleset-replaced", "ruleset replaced, rule back", "ms", ruleset_replaced, BACK, None),
    Figure("plan", "plan and render", "ms", plan, None, Limit(at_most=50.0)),
    Figure("start", "start to READY", "s", start, Limit(at_most=0.5), Limit(at_most=2.0)),
    Figure("start-again", "start to READY, keepalived runs", "s", start_again, NO_LIMIT, NO_LIMIT),
)


def wanted(size: Size, names: Sequence[str]) -> list[Figure]:
    """Those that are measured at a size, and are asked for (() for all)."""
    return [
        figure
        for figure in FIGURES
        if (figure.small if size == SMALL else figure.large) is not None and (not names or figure.name in names)
    ]
