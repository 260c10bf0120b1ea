"""`ipfoctl status`: who holds what, since when and why; what is wrong first."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Sequence

from ipfod.bus.connection import BUS_HINT
from ipfod.ctl import client
from ipfod.ctl.addresses import shortened
from ipfod.ctl.client import Client, Signal
from ipfod.ctl.console import Console
from ipfod.ctl.description import Description, Document, Failover, Group, Problem, narrow, parse, read
from ipfod.ctl.failures import Exit, NotRunning
from ipfod.ctl.text import USEC_PER_S, Cell, Line, Style, ago, clock, count, line, table

STATE_STYLES = {
    "master": Style.GREEN,
    "backup": Style.PLAIN,
    "fault": Style.RED,
    "stopped": Style.YELLOW,
    "unknown": Style.YELLOW,
}
HEAD = ("GROUP", "VIRTUAL IPS", "STATE", "MASTER", "SINCE", "WHY")
MANY_HEAD = ("STATE", "MASTER", "GROUPS", "VIRTUAL IPS", "LAST CHANGE")
GROUPS_SHOWN = 30  # of one failover, one by one: about a screen
PROBLEMS_SHOWN = 10
ENTRIES_SHOWN = 2  # of a group's virtual IPs, neighbours joined; naming the group shows them all
SETTLE_S = 0.05  # signals of one event come together: 255 groups within 0.3 s (contract, speeds)
AGES_S = 1.0  # how often a watched screen is drawn anew for the ages on it; the daemon is not asked
REFUSED = "configuration-invalid"
NONE_RUNS = "No failover runs: correct what is refused, then: ipfoctl reload"
NONE_CONFIGURED = "No failover is configured: put a file into /etc/ipfod, then: ipfoctl reload"
MORE = "... {left} more lines: name failovers, groups or virtual IPs to see fewer"
WAITING = "ipfod is not running; waiting for it (Ctrl-C ends this)"


def run(names: Sequence[str], console: Console, *, as_json: bool, watch: bool, every: bool) -> Exit:
    """Show the daemon's state once, or again on each change until interrupted. FAILED if there are problems."""
    if watch:
        try:
            return client.run(lambda connected: _Watch(connected, names, console, as_json, every).run())
        except KeyboardInterrupt:
            return Exit.DONE

    async def once(connected: Client) -> Exit:
        document = narrow(parse(await connected.call("Describe")), names)
        described = read(document)
        if as_json:
            console.show_json(document)
        else:
            console.show(rendered(described, now_usec(), narrowed=bool(names), every=every))
        return Exit.FAILED if described.problems else Exit.DONE

    return client.run(once)


def now_usec() -> int:
    """Microseconds since the epoch, as the bus counts."""
    return int(time.time() * USEC_PER_S)


class _Watch:
    """Draws the status again when the daemon says that something changed."""

    def __init__(
        self, connected: Client, names: Sequence[str], console: Console, as_json: bool, every: bool
    ) -> None:
        self._client = connected
        self._names = names
        self._console = console
        self._as_json = as_json
        self._every = every
        self._changed = asyncio.Event()
        self._running = True
        self._document: Document | None = None

    async def run(self) -> Exit:
        await self._client.subscribe(self._on_signal)
        hung_up = asyncio.create_task(self._client.wait_lost(), name="watch for the bus")
        try:
            while not hung_up.done():
                self._changed.clear()
                await self._ask()
                self._draw()
                await self._next_change(hung_up)
        finally:
            hung_up.cancel()
        raise NotRunning("the system bus hung up", hint=BUS_HINT)

    def _on_signal(self, signal: Signal) -> None:
        if signal.member == "NameOwnerChanged":
            self._running = not client.gone(signal)
        self._changed.set()

    async def _ask(self) -> None:
        self._document = None
        if self._running:
            try:
                self._document = narrow(parse(await self._client.call("Describe")), self._names)
            except NotRunning:
                self._running = False  # it left while it was asked

    async def _next_change(self, hung_up: asyncio.Task[None]) -> None:
        changed = asyncio.create_task(self._changed.wait(), name="watch for signals")
        try:
            while not changed.done() and not hung_up.done():
                await asyncio.wait(
                    {changed, hung_up},
                    timeout=AGES_S if self._console.terminal and not self._as_json else None,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if not changed.done() and not hung_up.done():
                    self._draw()
        finally:
            changed.cancel()
        await asyncio.sleep(SETTLE_S)

    def _draw(self) -> None:
        if self._as_json:
            if self._document is not None:
                self._console.show_json(self._document, one_line=True)
            return
        lines = [line(WAITING)]
        if self._document is not None:
            described, narrowed = read(self._document), bool(self._names)
            lines = list(rendered(described, now_usec(), narrowed=narrowed, every=self._every))
        if self._console.terminal:
            self._console.show_screen(lines, more=MORE)
        else:
            self._console.show((*lines, line()))


# ---------------------------------------------------------------- what it looks like


def rendered(
    described: Description, now: int, *, narrowed: bool = False, every: bool = False
) -> Iterable[Line]:
    """The lines of the status, problems first. When `narrowed` by names, groups show every virtual IP.

    Of a failover with many groups only their numbers and those that stand out are shown, or `every` one.
    """
    yield _summary(described, narrowed)
    if described.maintenance:
        yield line(Cell(_maintenance(described), Style.YELLOW))
    if described.problems:
        yield line()
        yield line(Cell(f"{count(len(described.problems), 'problem')}:", Style.RED))
        shown = len(described.problems) if every else PROBLEMS_SHOWN
        for problem in described.problems[:shown]:
            yield from problem_lines(problem, now)
        if len(described.problems) > shown:
            yield line(f"  {count(len(described.problems) - shown, 'more problem')}: say --all to see each")
    if not described.failovers:
        yield line()
        yield line(NONE_RUNS if any(each.code == REFUSED for each in described.problems) else NONE_CONFIGURED)
    for failover in described.failovers:
        yield line()
        yield from _head(failover)
        if every or narrowed or len(failover.groups) <= GROUPS_SHOWN:
            yield from _group_table(failover, failover.groups, now, narrowed)
        else:
            yield from _many(failover, now)


def _group_table(failover: Failover, groups: Iterable[Group], now: int, narrowed: bool) -> Iterable[Line]:
    return table(HEAD, [_row(group, failover.interface, now, narrowed) for group in groups], indent=2)


def _many(failover: Failover, now: int) -> Iterable[Line]:
    """Groups counted by state and master; then those that are not as they should be."""
    alike: dict[tuple[str, str], list[Group]] = {}
    for group in failover.groups:
        alike.setdefault((group.state, group.master), []).append(group)
    rows = []
    for (state, master), groups in sorted(alike.items(), key=lambda each: (_rank(each[0][0]), each[0][1])):
        newest = max(group.since_usec for group in groups)
        rows.append(
            (
                Cell(state, STATE_STYLES.get(state, Style.YELLOW)),
                Cell(master or "-"),
                Cell(str(len(groups))),
                Cell(str(sum(len(group.virtual_ips) for group in groups))),
                Cell(ago(newest, now)),
            )
        )
    yield from table(MANY_HEAD, rows, indent=2)
    odd = [group for group in failover.groups if _stands_out(group, failover.interface)]
    if odd:
        yield line()
        yield from _group_table(failover, odd[:GROUPS_SHOWN], now, narrowed=False)
    hidden = len(failover.groups) - len(odd[:GROUPS_SHOWN])
    which = "more groups" if odd else "groups"
    yield line(Cell(f"  {hidden} {which}: name some, or virtual IPs, or say --all to see each", Style.DIM))


def _rank(state: str) -> tuple[int, str]:
    """Where a state is named among others; those of another version come last."""
    order = [*STATE_STYLES]
    return order.index(state) if state in order else len(order), state


def _stands_out(group: Group, interface: str) -> bool:
    served = group.state == "master" or (group.state == "backup" and bool(group.master))
    return not served or bool(_contradiction(group, interface))


def _summary(described: Description, narrowed: bool) -> Line:
    groups = described.groups
    states = Counter(group.state for group in groups)
    counted = ", ".join(f"{states[state]} {state}" for state in sorted(states, key=_rank))
    addresses = sum(len(group.virtual_ips) for group in groups)
    held = sum(len(group.held) for group in groups)
    parts = [count(len(described.failovers), "failover")]
    if groups:
        parts.append(f"{count(len(groups), 'group')} ({counted})")
        parts.append(f"{count(addresses, 'virtual IP')}, {held} held here")
    shown = "shown: " if narrowed else ""
    return line(
        Cell(described.node_name, Style.BOLD), f": ipfod {described.version}; {shown}{', '.join(parts)}"
    )


def _maintenance(described: Description) -> str:
    until = described.maintenance_until
    end = f"until {clock(until)[:16]}" if until else "until it is left (ipfoctl maintenance off)"
    why = f": {described.maintenance_reason}" if described.maintenance_reason else ""
    return f"in maintenance {end}{why}"


def problem_lines(problem: Problem, now: int) -> Iterable[Line]:
    """A problem: code, object and age, then the sentence, then what to do."""
    age = f" for {ago(problem.since_usec, now)}" if problem.since_usec else ""
    yield line("  ", Cell(problem.code, Style.RED), f"  {problem.object}{age}")
    for text in problem.text.splitlines():
        yield line(f"    {text}")
    if problem.hint:
        yield line(f"    -> {problem.hint}")


def _head(failover: Failover) -> Iterable[Line]:
    pid = f" (pid {failover.keepalived_pid})" if failover.keepalived_pid else ""
    keepalived = Cell(
        f"keepalived {failover.keepalived_state}{pid}",
        Style.PLAIN if failover.keepalived_state == "running" else Style.RED,
    )
    said = f" ({failover.check_text})" if failover.check_text else ""
    check = Cell(
        f"check {failover.check_state}{said}",
        Style.RED if failover.check_state == "failing" else Style.PLAIN,
    )
    yield line(Cell(failover.name, Style.BOLD), f" on {failover.interface}, ", keepalived, ", ", check)
    runtime = "" if failover.preemption_origin == "configuration" else f" (set at {failover.preemption_origin})"
    traffic = "unicast" if failover.unicast else "multicast"
    yield line(Cell(f"  {failover.preemption}{runtime}, {traffic}, {failover.configuration_file}", Style.DIM))


def _row(group: Group, interface: str, now: int, narrowed: bool) -> tuple[Cell, ...]:
    return (
        Cell(group.name),
        Cell(shortened(group.virtual_ips, most=None if narrowed else ENTRIES_SHOWN)),
        Cell(group.state, STATE_STYLES.get(group.state, Style.YELLOW)),
        Cell(group.master or "-"),
        Cell(ago(group.since_usec, now)),
        Cell(group.reason + _contradiction(group, interface)),
    )


def _contradiction(group: Group, interface: str) -> str:
    """Where the kernel's address list says something else than keepalived."""
    if group.state == "master":
        missing = [address for address in group.virtual_ips if address not in group.held]
        return f" (not on {interface}: {shortened(missing, most=ENTRIES_SHOWN)})" if missing else ""
    held = [address for address in group.virtual_ips if address in group.held]
    return f" (still on {interface}: {shortened(held, most=ENTRIES_SHOWN)})" if held else ""
