"""All failovers of the node: configuration put in force, the ledger of what was taken, the reconciling look."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace

from ipfod import paths
from ipfod.addresses import InterfaceAddress, in_order
from ipfod.config.model import Complaint, Failover, Preemption
from ipfod.errors import Failed, InvalidConfiguration
from ipfod.host.netlink import Host
from ipfod.keepalived.dump import InstanceDump
from ipfod.keepalived.files import KeepalivedFiles
from ipfod.node import statefile
from ipfod.node.events import AddressesSeen, KeepalivedChanged, PlanApplied, ProblemsSeen
from ipfod.node.model import KeepalivedState, Problem, ProblemCode
from ipfod.plan.model import FailoverPlan, GroupKey, Plan
from ipfod.supervise.failover import Supervisor
from ipfod.supervise.farewell import virtual_ip_addresses
from ipfod.supervise.guard import FirewallGuard
from ipfod.supervise.loading import Loading, load, remember
from ipfod.supervise.modules import absent, load_modules
from ipfod.supervise.overlap import lent
from ipfod.supervise.settle import Settlement, settle
from ipfod.supervise.surroundings import Surroundings
from ipfod.supervise.wire import Wire

log = logging.getLogger(__name__)

# A VIP that keepalived still has to remove must be left to it: it would take a missing one for a fault. It
# reloads within 50 ms as a rule.
RELOAD_TAKES_S = 1.0
STOPPING_HINT = "try again when it runs: systemctl status ipfod"


class Fleet:
    """The supervisors of all failovers, and the plan that they run."""

    def __init__(self, around: Surroundings, wire: Wire, guard: FirewallGuard) -> None:
        self._around = around
        self._wire = wire
        self._guard = guard
        self._loading = Loading((), (), frozenset())
        self._plan = Plan({})
        self._unfinished: dict[str, Problem] = {}  # updates that failed half-way, by failover
        self._supervisors: dict[str, Supervisor] = {}
        self._host: Host | None = None
        self._turn = asyncio.Lock()
        self._over = False

    # ------------------------------------------------------------ from outside

    async def start(self) -> None:
        """Put the configuration in force; keepalived processes of an earlier ipfod are taken over."""
        self._guard.remember(self._around.ledger.taken.zone_rules, self._note_zone_rules)
        async with self._turn:
            self._load()
            await self._put_in_force(await self._around.netlink.host(), first=True)

    async def reload(self) -> None:
        """Read the configuration again.

        Raises InvalidConfiguration after the good files are in force, Failed if one could not be put in force.
        """
        async with self._turn:
            if self._over:
                raise Failed("ipfod is stopping", hint=STOPPING_HINT)  # what is started now nobody would stop
            self._load()
            complaints = await self._put_in_force(await self._around.netlink.host())
        errors = [complaint for complaint in complaints if not complaint.warning]
        if errors:
            raise InvalidConfiguration("\n".join(str(complaint) for complaint in errors))
        if self._unfinished:
            hints = dict.fromkeys(problem.hint for problem in self._unfinished.values())
            texts = (problem.text for problem in self._unfinished.values())
            raise Failed("; ".join(texts), hint="; ".join(hints))

    async def order_preemption(self, failover: str, index: int, policy: Preemption | None) -> None:
        """Put a preemption policy in force, or the file's again with None; see `Orders`. Raises Failed."""
        async with self._turn:
            if self._over:
                raise Failed("ipfod is stopping", hint=STOPPING_HINT)
            ledger = self._around.ledger
            before = ledger.orders
            ledger.order(before.with_preemption(failover, index, policy))
            complaints = await self._put_in_force(await self._around.netlink.host())
            if (problem := self._unfinished.get(failover)) is not None:
                raise Failed(problem.text, hint=problem.hint)
            file = next((each.source.file for each in self._loading.failovers if each.name == failover), None)
            refused = [each.what for each in complaints if each.key == "keepalived" and each.file == file]
            if refused:
                ledger.order(replace(ledger.orders, preemption=before.preemption))
                raise Failed(f"{failover}: {'; '.join(refused)}")

    def supervisor(self, failover: str) -> Supervisor:
        """Who runs a failover. Raises KeyError if nobody does."""
        return self._supervisors[failover]

    def steer(self) -> None:
        """Have all track files say what verdicts and orders are now."""
        for supervisor in self._supervisors.values():
            supervisor.steer()

    def steer_group(self, key: GroupKey) -> None:
        if (supervisor := self._supervisors.get(key.failover)) is not None:
            supervisor.steer(key)

    async def look(self) -> None:
        """Links or addresses changed: read them again, and plan anew if this node's own are others now."""
        async with self._turn:
            host = await self._around.netlink.host()
            self._wire.listen()
            if self._is_as_before(host):
                self._see(host)
            else:
                await self._put_in_force(host)

    async def stop(self) -> None:
        """End every keepalived and give back its VIPs."""
        async with self._turn:
            self._over = True
            await self._stop(self._supervisors.keys(), "ipfod was stopped")
            self._write_ledger({})

    async def close(self) -> None:
        """Let go of every keepalived and leave it running."""
        async with self._turn:
            self._over = True
            await asyncio.gather(*(supervisor.close() for supervisor in self._supervisors.values()))
            self._supervisors.clear()

    async def dump(self, failover: str) -> tuple[InstanceDump, ...]:
        """What a failover's keepalived says of its instances now. Raises Failed."""
        if (supervisor := self._supervisors.get(failover)) is None:
            raise Failed(f"{failover}: it does not run", hint="ipfoctl status says why")
        return await supervisor.dump()

    def trigger_checks(self, port: int) -> None:
        """A listener on `port` was closed; 0: any may have been."""
        for supervisor in self._supervisors.values():
            supervisor.trigger_check(port)

    # ------------------------------------------------------------ configuration

    @property
    def _taken(self) -> statefile.Taken:
        return self._around.ledger.taken

    def _load(self) -> None:
        in_force = [supervisor.plan.failover for supervisor in self._supervisors.values()]
        self._loading = load(paths.CONFIGURATION, os.environ, paths.ACCEPTED, in_force)

    def _settle(self, host: Host) -> Settlement:
        return settle(
            self._loading.failovers,
            host,
            in_force={name: supervisor.plan for name, supervisor in self._supervisors.items()},
            ledger=[entry for entries in self._taken.virtual_ips.values() for entry in entries],
            anchors=self._taken.anchors,
            before=self._taken.virtual_ips,
            overrides=self._taken.orders.preemption,
        )

    async def _put_in_force(self, host: Host, *, first: bool = False) -> tuple[Complaint, ...]:
        """Make everything fit the configuration and the host. Answers all complaints."""
        settlement = self._settle(host)
        plans, refused = await self._examined(settlement)
        self._plan = Plan(plans)
        self._around.emit(PlanApplied(self._plan))
        complaints = (*self._loading.complaints, *settlement.complaints, *refused)
        self._report(complaints, settlement.waiting)
        self._wire.follow(self._plan)
        self._see(host)
        runnable = {name: plan for name, plan in plans.items() if self._can_run(name, settlement)}
        self._write_ledger(runnable, keep=self._taken.virtual_ips)
        if first:
            await self._bury_the_past(runnable, complaints)
        gone = self._supervisors.keys() - plans.keys()
        await self._stop(gone, "no longer configured")
        await self._load_modules(plan.failover for plan in runnable.values())
        await self._guard.follow(self._plan)
        await asyncio.gather(*(self._run(plan) for plan in runnable.values()))
        self._unfinished = {name: each for name, each in self._unfinished.items() if name in runnable}
        self._around.emit(ProblemsSeen("updates", tuple(self._unfinished.values())))
        await self._sweep(runnable)
        self._write_ledger(runnable)
        self._forget(plans)
        good = [plan.failover for plan in plans.values() if plan.failover in self._loading.failovers]
        try:
            remember(good, paths.ACCEPTED)
        except OSError as error:  # /run is full: these copies only serve when a file becomes bad later
            log.warning("%s: %s", error.filename or paths.ACCEPTED, error.strerror)
        return complaints

    def _forget(self, plans: Mapping[str, FailoverPlan]) -> None:
        """What was ordered for a failover goes with it."""
        orders = self._taken.orders
        known = orders.preemption.keys() | {key.failover for key in orders.stances}
        if gone := known - plans.keys() - {failover.name for failover in self._loading.failovers}:
            self._around.ledger.order(orders.without(gone))

    async def _sweep(self, runnable: Mapping[str, FailoverPlan]) -> None:
        """Take off VIPs that nobody serves any more: a keepalived that dies in its reload leaves them."""
        noted = {entry for name in runnable for entry in self._taken.virtual_ips.get(name, ())}
        if not (stale := noted - set(_served(runnable))):
            return
        await asyncio.sleep(RELOAD_TAKES_S)
        await self._take_off(stale)

    async def _take_off(self, stale: Iterable[InterfaceAddress]) -> None:
        for entry in await self._around.netlink.remove(stale):
            log.info("%s on %s: left over, taken off", entry.address, entry.interface)

    async def _examined(self, settlement: Settlement) -> tuple[dict[str, FailoverPlan], list[Complaint]]:
        """The plans that keepalived accepts. In place of one that it refuses stays what runs now."""
        plans = dict(settlement.plan.failovers)
        refused: list[Complaint] = []

        async def examine(name: str) -> None:
            supervisor = self._supervisors.get(name) or self._supervisor(plans[name])
            try:
                await supervisor.examine(plans[name])
            except Failed as error:
                source = plans[name].failover.source
                refused.append(Complaint(source.file, 1, "keepalived", error.text, ""))
                if name in self._supervisors:
                    plans[name] = supervisor.plan
                else:
                    del plans[name]

        await asyncio.gather(*(examine(name) for name in list(plans) if self._can_run(name, settlement)))
        return plans, refused

    def _can_run(self, name: str, settlement: Settlement) -> bool:
        return name in self._supervisors or name not in settlement.waiting

    def _supervisor(self, plan: FailoverPlan) -> Supervisor:
        return Supervisor(plan, KeepalivedFiles(paths.RUNTIME / plan.name), self._around)

    async def _run(self, plan: FailoverPlan) -> None:
        if (supervisor := self._supervisors.get(plan.name)) is None:
            self._supervisors[plan.name] = supervisor = self._supervisor(plan)
            await supervisor.start()
            return
        if supervisor.plan != plan or plan.name in self._unfinished:
            try:
                await supervisor.update(plan)
            except (Failed, OSError) as error:
                text = f"{plan.name}: its new configuration is not in force: {error}"
                hint = "correct what the text says, then ipfoctl reload; until then the old one stays in force"
                self._unfinished[plan.name] = Problem(ProblemCode.KEEPALIVED_FAILED, plan.name, text, hint)
            else:
                self._unfinished.pop(plan.name, None)

    async def _stop(self, names: Iterable[str], text: str) -> None:
        stopping = [self._supervisors.pop(name) for name in list(names)]
        stops = (supervisor.stop(text) for supervisor in stopping)
        for result in await asyncio.gather(*stops, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result  # only when the others have been stopped

    async def _bury_the_past(
        self, runnable: Mapping[str, FailoverPlan], complaints: tuple[Complaint, ...]
    ) -> None:
        """End keepalived processes that no configuration wants any more; take VIPs off that nothing serves."""
        stale: set[InterfaceAddress] = set()
        for name in {*self._taken.virtual_ips, *paths.runtime_failovers()}:
            launcher = self._around.launcher(name, KeepalivedFiles(paths.RUNTIME / name))
            running = await launcher.running()
            if name in runnable:
                stale.update(() if running else self._taken.virtual_ips.get(name, ()))
            elif not running or not _is_complained_of(name, complaints):
                await launcher.stop()
                stale.update(self._taken.virtual_ips.get(name, ()))
        await self._take_off(stale - set(_served(runnable)))

    # ------------------------------------------------------------ what is seen and said

    def _see(self, host: Host) -> None:
        self._host = host
        self._around.addresses_seen(host)
        interfaces = {plan.interface for plan in self._plan.failovers.values()}
        self._around.emit(
            AddressesSeen({name: frozenset(entry.address for entry in host.on(name)) for name in interfaces})
        )

    def _is_as_before(self, host: Host) -> bool:
        """Whether planning takes the same from the host as before: a change of anything else moves nothing."""
        served = set(_served(self._plan.failovers))
        virtual_ips = {entry.address for entry in served}

        def is_own(entry: InterfaceAddress) -> bool:
            if entry in served:
                return False
            return entry.address not in virtual_ips or entry != lent(entry.address)

        def taken(host: Host) -> tuple[object, ...]:
            return host.interfaces, host.default_interface, frozenset(filter(is_own, host.addresses))

        return self._host is not None and taken(host) == taken(self._host)

    def _report(self, complaints: Iterable[Complaint], waiting: Mapping[str, str]) -> None:
        by_file: dict[str, list[str]] = {}
        for complaint in complaints:
            if complaint.warning:
                log.warning("%s", complaint)
            else:
                by_file.setdefault(complaint.file, []).append(str(complaint))
        problems = [
            Problem(ProblemCode.CONFIGURATION_INVALID, file, "\n".join(texts), _correction(file))
            for file, texts in by_file.items()
        ]
        for name, why in waiting.items():
            hint = "bring the interface up with an address, or name another in the file; ipfod then goes on"
            problems.append(Problem(ProblemCode.INTERFACE_MISSING, name, why, hint))
            if name not in self._supervisors:
                self._around.emit(KeepalivedChanged(name, KeepalivedState.STOPPED, 0, why))
        self._around.emit(ProblemsSeen("configuration", tuple(problems)))

    # ------------------------------------------------------------ the ledger

    async def _load_modules(self, failovers: Iterable[Failover]) -> None:
        if self._around.load_module is None:
            return
        lacking = absent(module for failover in failovers for module in failover.kernel_modules)
        before = self._taken.modules
        save = self._around.ledger.save
        save(replace(self._taken, modules=(*before, *lacking)))
        loaded, problems = await load_modules(lacking, self._around.load_module)
        save(replace(self._taken, modules=tuple(dict.fromkeys((*before, *loaded)))))
        self._around.emit(ProblemsSeen("kernel modules", problems))

    def _write_ledger(
        self,
        plans: Mapping[str, FailoverPlan],
        *,
        keep: Mapping[str, tuple[InterfaceAddress, ...]] | None = None,
    ) -> None:
        """Note what keepalived may put on interfaces, before it does; `keep` is what may still be there."""
        ledger = {name: set(entries) for name, entries in (keep or {}).items()}
        for name, plan in plans.items():
            ledger.setdefault(name, set()).update(virtual_ip_addresses(plan, plan.groups))
        anchors = {
            name: {group.virtual_router_id: group.anchor for group in plan.groups}
            for name, plan in self._plan.failovers.items()
        }
        taken = replace(
            self._taken,
            virtual_ips={name: tuple(sorted(entries, key=in_order)) for name, entries in ledger.items()},
            anchors=anchors,
        )
        self._around.ledger.save(taken)

    def _note_zone_rules(self, rules: tuple[tuple[str, str], ...]) -> None:
        self._around.ledger.save(replace(self._around.ledger.taken, zone_rules=rules))


def _served(plans: Mapping[str, FailoverPlan]) -> Iterable[InterfaceAddress]:
    for plan in plans.values():
        yield from virtual_ip_addresses(plan, plan.groups)


def _is_complained_of(name: str, complaints: Iterable[Complaint]) -> bool:
    """Whether a keepalived belongs to a file that is bad now: it runs on until the file is good or gone."""
    files = {os.path.basename(complaint.file).rpartition(".")[0] for complaint in complaints}
    return name in files


def _correction(file: str) -> str:
    """What to do about a bad configuration; the daemon's environment is no file that could be read again."""
    if file == "environment":
        return "correct /etc/sysconfig/ipfod, then systemctl restart ipfod"
    return "correct the file, then ipfoctl reload; what has run since the boot runs on"
