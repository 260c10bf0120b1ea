"""`ipfoctl history` and `ipfoctl events`: which group changed its state when and why, then and from now on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ipfod.bus.connection import BUS_HINT
from ipfod.bus.paths import parse as parse_path
from ipfod.ctl import client
from ipfod.ctl.client import MANAGER, Client, Signal
from ipfod.ctl.console import Console
from ipfod.ctl.description import Description, parse, read, read_problem, strange
from ipfod.ctl.failures import CommandFailed, Exit, NotRunning
from ipfod.ctl.status import STATE_STYLES, now_usec
from ipfod.ctl.targets import find, path_of
from ipfod.ctl.text import Cell, Line, Style, clock, count, line, table
from ipfod.plan.model import GroupKey

Entry = Mapping[str, Any]
SIGNATURES = {"Transition": "ossst", "ProblemRaised": "a{sv}", "ProblemCleared": "a{sv}"}  # contract, D-Bus


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which transitions: of a target (None: of all), from a time on, at most `limit` of the last (0: all)."""

    target: str | None
    since_usec: int
    limit: int


def history(wanted: Wanted, console: Console, *, as_json: bool) -> Exit:
    """Show transitions, the newest at the end."""

    async def once(connected: Client) -> Exit:
        few = wanted.target is None and not wanted.since_usec
        entries = ordered(await connected.call("GetHistory", "u", wanted.limit if few else 0))
        entries = [entry for entry in entries if entry["usec"] >= wanted.since_usec]
        if wanted.target is not None:
            entries = of_target(entries, wanted.target, read(parse(await connected.call("Describe"))))
        entries = entries[-wanted.limit :]
        if as_json:
            console.show_json({"history": entries})
        else:
            console.show(rendered_history(entries, all_of_it=few))
        return Exit.DONE

    return client.run(once)


def events(console: Console, *, as_json: bool) -> Exit:
    """Show transitions and problems as they happen until interrupted; NotRunning when the daemon goes."""
    try:
        return client.run(lambda connected: _follow(connected, console, as_json))
    except KeyboardInterrupt:
        return Exit.DONE


async def _follow(connected: Client, console: Console, as_json: bool) -> Exit:
    signals: asyncio.Queue[Signal | None] = asyncio.Queue()
    await connected.subscribe(signals.put_nowait, interface=MANAGER)
    hung_up = asyncio.create_task(connected.wait_lost(), name="watch for the bus")
    hung_up.add_done_callback(lambda _task: signals.put_nowait(None))
    try:
        while (signal := await signals.get()) is not None:
            if signal.member == "NameOwnerChanged":
                if client.gone(signal):
                    raise NotRunning("ipfod has left the bus", hint=client.START_HINT)
                continue
            event = event_of(signal.member, signal.signature, client.plain(signal.body))
            if event is None:
                continue
            if as_json:
                console.show_json(event, one_line=True)
            else:
                console.show([rendered_event(event, now_usec())])
    finally:
        hung_up.cancel()
    raise NotRunning("the system bus hung up", hint=BUS_HINT)


# ---------------------------------------------------------------- pure


def event_of(member: str, signature: str, body: list[Any]) -> dict[str, Any] | None:
    """A signal as one JSON object, its name under "event"; None for one that this command does not show."""
    if SIGNATURES.get(member) != signature:
        return None
    if member == "Transition":
        group, old, new, reason, usec = body
        return {
            "event": member,
            "group": group,
            "name": group_name(group),
            "old": old,
            "new": new,
            "reason": reason,
            "usec": usec,
        }
    return {"event": member, **body[0]}


def ordered(answer: object) -> list[Entry]:
    """The daemon's transitions, the newest at the end. Raises CommandFailed if they are none."""
    entries = answer if isinstance(answer, list) else []
    if not isinstance(answer, list) or not all(_is_transition(entry) for entry in entries):
        raise strange("GetHistory has no list of changes")
    # The daemon sends the newest first; of two within one microsecond the order tells which came first.
    oldest_first = entries[::-1]
    return sorted(oldest_first, key=lambda entry: entry["usec"])


def _is_transition(entry: object) -> bool:
    kinds = {"group": str, "old": str, "new": str, "reason": str, "usec": int}
    return isinstance(entry, dict) and all(isinstance(entry.get(key), kind) for key, kind in kinds.items())


def of_target(entries: Iterable[Entry], name: str, described: Description) -> list[Entry]:
    """Those of a failover, a group or a virtual IP's group, also of one that is not configured any more.

    Raises CommandFailed if nothing ever had that name.
    """
    of_it = [entry for entry in entries if name in (entry.get("name"), _failover(entry["group"]))]
    if of_it:
        return of_it
    target = find(described, name)
    paths = {path_of(target.failover, group) for group in target.groups}
    return [entry for entry in entries if entry["group"] in paths]


def _failover(path: str) -> str | None:
    match parse_path(path):
        case GroupKey() as key:
            return key.failover
    return None


def rendered_history(entries: Iterable[Entry], *, all_of_it: bool = True) -> tuple[Line, ...]:
    """A table of transitions, or a line that says that there are none."""
    rows = [_cells(entry) for entry in entries]
    if not rows:
        return (line("No group has changed its state yet." if all_of_it else "No change of state."),)
    return table(("TIME", "GROUP", "CHANGE", "WHY"), rows)


def rendered_event(event: Entry, now: int) -> Line:
    """One line for what `event_of` made. A problem's end carries no time of its own, so it gets `now`."""
    if event["event"] == "Transition":
        time, group, change, why = _cells(event)
        return line(time, "  ", group, "  ", change, "  ", why)
    try:
        problem = read_problem(dict(event))
    except CommandFailed as error:
        return line(clock(now), "  ", str(event["event"]), "  ", str(error))
    text = _first_line(problem.text)
    if event["event"] == "ProblemCleared":
        solved = Cell(f"solved: {problem.code}", Style.GREEN)
        return line(clock(now), "  ", problem.object, "  ", solved, "  ", text)
    hint = f" -> {problem.hint}" if problem.hint else ""
    raised = Cell(f"problem: {problem.code}", Style.RED)
    return line(clock(problem.since_usec or now), "  ", problem.object, "  ", raised, "  ", text + hint)


def group_name(path: str) -> str:
    """The name of the group at an object path, without asking: contract, "Instance names"."""
    match parse_path(path):
        case GroupKey() as key:
            return f"{key.failover.replace('-', '_')}_VIP_{key.index}"
    return path


def _first_line(text: str) -> str:
    """An event is one line; `status` shows the rest."""
    first, *rest = text.splitlines() or [""]
    return f"{first} (and {count(len(rest), 'line')} more)" if rest else first


def _cells(entry: Entry) -> tuple[Cell, Cell, Cell, Cell]:
    return (
        Cell(clock(entry["usec"])),
        Cell(str(entry.get("name") or group_name(entry["group"]))),
        Cell(f"{entry['old']} -> {entry['new']}", STATE_STYLES.get(entry["new"], Style.YELLOW)),
        Cell(entry["reason"]),
    )
