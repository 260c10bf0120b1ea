"""One failover while ipfod runs: its keepalived, FIFO, track files and checks.

keepalived outlives ipfod: `close` lets go of it, `stop` ends it. Its death is seen here first, and its VIPs are
off the interface before anything is restarted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from ipfod.checks.watch import CheckReport, FailoverChecks
from ipfod.config.model import Failover
from ipfod.errors import Failed
from ipfod.host.netlink import Netlink
from ipfod.host.processes import ProcessWatch, children
from ipfod.host.run import Run
from ipfod.keepalived.dump import request_dump
from ipfod.keepalived.fifo import Notification, NotificationFifo
from ipfod.keepalived.files import KeepalivedFiles, write_atomically
from ipfod.keepalived.launcher import Launcher, test_configuration
from ipfod.keepalived.render import render
from ipfod.keepalived.reread import release_commands
from ipfod.keepalived.track import FAULT, FIT, TrackFiles
from ipfod.node.events import CheckReported, Event, InstanceReported, KeepalivedChanged, PriorityReported
from ipfod.node.model import CheckState, KeepalivedState, ProblemCode, State
from ipfod.plan.model import FailoverPlan, Group
from ipfod.supervise.checkplan import check_plan
from ipfod.supervise.farewell import Farewell, virtual_ip_addresses
from ipfod.supervise.management import LoadModule
from ipfod.supervise.problems import ProblemBook

log = logging.getLogger(__name__)

# keepalived's words for events, keepalived.conf(5) "vrrp_notify_fifo"; the others carry no state.
STATES = {
    "MASTER": State.MASTER,
    "BACKUP": State.BACKUP,
    "FAULT": State.FAULT,
    "STOP": State.STOPPED,
}
PRIORITY_WORDS = frozenset({"MASTER_PRIORITY", "BACKUP_PRIORITY"})
# A SIGHUP restarts a backup's master-down and preempt_delay timers: one a second would keep it from ever
# taking over.
RELOAD_SPACING_S = 1.0
RESYNC_TRIES = 5
RESTART_DELAYS_S = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
STEADY_S = 60.0  # a keepalived that lived so long is restarted at once again
RESPAWN_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every supervisor shares."""

    netlink: Netlink
    emit: Callable[[Event], None]
    masters: Callable[[str], tuple[Group, ...]]  # groups of a failover that this node is master of
    launcher: Callable[[str, KeepalivedFiles], Launcher]  # by the failover's name
    run_script: Run
    load_module: LoadModule | None
    catch_up: Callable[[], None]  # hear the adverts that have come in: why keepalived does what it does
    dump_signal: int


class Supervisor:
    """Runs one failover. `start`, `update` and `stop` may overlap in time and take turns."""

    def __init__(self, plan: FailoverPlan, files: KeepalivedFiles, surroundings: Surroundings) -> None:
        self.plan = plan
        self._files = files
        self._around = surroundings
        self._launcher = surroundings.launcher(plan.name, files)
        self._track = TrackFiles(files.track)
        self._fifo = NotificationFifo(files.fifo, self._said)
        self._farewell = Farewell(surroundings.netlink)
        self._checks: FailoverChecks | None = None
        self._problems = ProblemBook(f"failover {plan.name}", surroundings.emit)
        self._turn = asyncio.Lock()
        self._watches: list[ProcessWatch] = []
        self._lost = asyncio.Event()
        self._crashed = False
        self._held: tuple[Group, ...] = ()
        self._keeper: asyncio.Task[None] | None = None
        self._lines = 0
        self._catching_up = False
        self._failures = 0
        self._started_at = 0.0
        self._examined = ""  # the text that keepalived accepted last
        self._reloaded_at = float("-inf")
        self._verdict: CheckState | None = None

    @property
    def name(self) -> str:
        return self.plan.name

    # ------------------------------------------------------------ from outside

    async def examine(self, plan: FailoverPlan) -> None:
        """Let keepalived judge a plan that is not in force yet. Raises Failed if it refuses it."""
        async with self._turn:
            await self._examine(render(plan, self._files))

    async def start(self) -> None:
        """Take over a keepalived that runs already, or start one. A failure is reported and tried again."""
        async with self._turn:
            try:
                self._files.prepare()
                self._fifo.open()
            except OSError as error:
                what = f"{error.filename or self._files.directory}: {error.strerror}"
                self._report_failure(Failed(what, hint="only ipfod writes there; remove it and restart ipfod"))
                return
            self._farewell.prepare(self.plan)
            if pid := await self._launcher.running():
                await self._adopt(pid)
            else:
                self._fifo.drain()  # the last words of a keepalived that is gone
                await self._start_checks(wait=True)
                await self._try_launch("started")
        self._keeper = asyncio.create_task(self._keep(), name=f"keeper of {self.name}")

    async def update(self, plan: FailoverPlan) -> None:
        """Put an examined plan in force. VIPs and groups that did not change notice nothing. Raises Failed."""
        async with self._turn:
            old, self.plan = self.plan, plan
            self._farewell.prepare(plan)
            if check_plan(old) != check_plan(plan):
                await self._stop_checks()
                await self._start_checks(wait=False)
            self._steer()
            await self._put_in_force()
            self._track.keep_only({group.name for group in plan.groups})

    async def stop(self, text: str) -> None:
        """End keepalived in order, take its VIPs off the interface, remove its files."""
        await self._end_keeper()
        async with self._turn:
            self._unwatch()
            await self._stop_checks()
            await self._launcher.stop()
            self._fifo.drain()
            self._fifo.close()
            self._farewell.close()
            await self._around.netlink.remove(virtual_ip_addresses(self.plan, self.plan.groups))
            self._around.emit(KeepalivedChanged(self.name, KeepalivedState.STOPPED, 0, text))
            self._problems.clear()
            self._files.remove()

    async def close(self) -> None:
        """Let go of keepalived and leave everything as it is."""
        await self._end_keeper()
        async with self._turn:
            self._unwatch()
            await self._stop_checks()
            self._fifo.close()
            self._farewell.close()

    def trigger_check(self, port: int) -> None:
        """A listener on `port` was closed (0: any may have been): look again now."""
        if self._checks is not None and port in (0, self.plan.failover.monitor_port):
            self._checks.trigger()

    # ------------------------------------------------------------ keepalived

    async def _adopt(self, pid: int) -> None:
        self._running(pid, "found running")
        self._catching_up = True  # what waits in the FIFO happened while no ipfod looked
        self._fifo.drain()
        await self._resync()
        self._catching_up = False
        await self._start_checks(wait=False)
        self._steer()
        await self._put_in_force()

    async def _launch(self, text: str) -> None:
        self._around.emit(KeepalivedChanged(self.name, KeepalivedState.STARTING, 0, "starting"))
        self._steer()
        await self._install(render(self.plan, self._files))
        self._running(await self._launcher.start(), text)

    def _running(self, pid: int, text: str) -> None:
        self._started_at = asyncio.get_running_loop().time()
        self._watch(pid)
        self._problems.clear(ProblemCode.KEEPALIVED_FAILED)
        self._around.emit(KeepalivedChanged(self.name, KeepalivedState.RUNNING, pid, text))

    async def _put_in_force(self) -> None:
        """Give the running keepalived the plan's configuration, if it is another one."""
        text = render(self.plan, self._files)
        pid = await self._launcher.running()
        if text == self._text_in_force() or not pid:
            return
        await self._install(text)
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._reloaded_at + RELOAD_SPACING_S - loop.time())
        self._reloaded_at = loop.time()
        await self._launcher.reload()
        await self._resync()

    async def _examine(self, text: str) -> None:
        if text not in (self._examined, self._text_in_force()):
            self._files.prepare()
            write_atomically(self._files.candidate, text)
            await test_configuration(self._files)
            self._examined = text

    async def _install(self, text: str) -> None:
        """Write the configuration where keepalived reads it, once keepalived has judged it."""
        await self._examine(text)
        write_atomically(self._files.release, release_commands(text))
        if text != self._text_in_force():
            write_atomically(self._files.configuration, text)
        self._files.candidate.unlink(missing_ok=True)

    def _text_in_force(self) -> str:
        try:
            return self._files.configuration.read_text()
        except OSError:
            return ""

    async def _resync(self) -> None:
        """Ask keepalived for its states; an answer that was overtaken by a notification is asked for again."""
        for _ in range(RESYNC_TRIES):
            pid = await self._launcher.running()
            before = self._lines
            try:
                instances = await request_dump(pid, self._around.dump_signal, self._files.dump)
            except Failed as error:
                log.warning("%s: %s", self.name, error)
                return
            self._fifo.drain()
            if self._lines == before:
                break
        for instance in instances:
            if (state := STATES.get(instance.word)) is not None:
                since = instance.since_usec
                self._around.emit(
                    InstanceReported(self.name, instance.name, state, instance.priority, since, resync=True)
                )

    def _said(self, notification: Notification) -> None:
        self._lines += 1
        if notification.kind != "INSTANCE":
            return
        name, priority = notification.name, notification.priority
        if (state := STATES.get(notification.word)) is not None:
            self._around.catch_up()
            self._around.emit(InstanceReported(self.name, name, state, priority, resync=self._catching_up))
        elif notification.word in PRIORITY_WORDS:
            self._around.emit(PriorityReported(self.name, name, priority))

    # ------------------------------------------------------------ deaths

    def _watch(self, pid: int) -> None:
        """Watch the parent and the VRRP child: when only the child dies nobody says so to the peers."""
        self._unwatch()
        self._lost.clear()
        processes = (pid, *children(pid))
        try:
            self._watches = [ProcessWatch(process, self._gone) for process in processes]
        except ProcessLookupError:
            self._gone()
        if len(processes) == 1:
            self._gone()

    def _unwatch(self) -> None:
        for watch in self._watches:
            watch.close()
        self._watches = []

    def _gone(self) -> None:
        if not self._lost.is_set():
            self._held = self._around.masters(self.name)
            self._crashed = True
            self._lost.set()

    async def _keep(self) -> None:
        """See that a keepalived runs: after each death VIPs off, farewell to the peers, then another one."""
        while True:
            await self._lost.wait()
            held, self._held = self._held, ()
            farewell = asyncio.create_task(self._farewell.say(held), name=f"farewell of {self.name}")
            if self._crashed:
                self._crashed = False
                self._report_failure(Failed("keepalived was killed or crashed"))
            await farewell
            await self._revive()

    async def _revive(self) -> None:
        lived_s = asyncio.get_running_loop().time() - self._started_at
        self._failures = 0 if lived_s > STEADY_S else self._failures
        while self._lost.is_set():
            pid = await self._respawned()
            if not pid:
                await asyncio.sleep(RESTART_DELAYS_S[min(self._failures, len(RESTART_DELAYS_S) - 1)])
                self._failures += 1
            async with self._turn:
                self._fifo.drain()
                if pid:
                    self._running(pid, "its VRRP process was started again")
                    await self._resync()
                else:
                    await self._try_launch("started again")

    async def _respawned(self) -> int:
        """Wait for the parent, if it lives, to start its child again; answers its pid, 0 if it is gone."""
        while pid := await self._launcher.running():
            if children(pid):
                return pid
            await asyncio.sleep(RESPAWN_POLL_S)
        return 0

    async def _try_launch(self, text: str) -> None:
        try:
            await self._launch(text)
        except Failed as error:
            self._report_failure(error)
            self._lost.set()

    def _report_failure(self, error: Failed) -> None:
        hint = error.hint or self._launcher.log_hint
        self._problems.raise_(ProblemCode.KEEPALIVED_FAILED, self.name, error.text, hint)
        self._around.emit(KeepalivedChanged(self.name, KeepalivedState.FAILED, 0, error.text))

    async def _end_keeper(self) -> None:
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)

    # ------------------------------------------------------------ checks

    async def _start_checks(self, *, wait: bool) -> None:
        plan = check_plan(self.plan)
        self._verdict = None
        if plan is None:
            self._around.emit(CheckReported(self.name, CheckState.DISABLED, ""))
            self._verdict = CheckState.DISABLED
            return
        self._checks = FailoverChecks(self.name, plan, self._checked, run=self._around.run_script)
        self._checks.start()
        if wait:
            await self._checks.first()

    async def _stop_checks(self) -> None:
        if self._checks is not None:
            await self._checks.stop()
            self._checks = None

    def _checked(self, report: CheckReport) -> None:
        if report.state is not self._verdict:
            self._verdict = report.state
            self._steer()
        self._around.emit(CheckReported(self.name, report.state, report.text))
        self._report_check(report, self.plan.failover)

    def _report_check(self, report: CheckReport, failover: Failover) -> None:
        if report.broken:
            hint = f"correct {failover.check_script}; ipfoctl check shows what is wrong with a file"
            self._problems.raise_(ProblemCode.SCRIPT_FAILING, self.name, report.broken, hint)
        else:
            self._problems.clear(ProblemCode.SCRIPT_FAILING)
        if report.state is CheckState.FAILING:
            hint = "this node holds no VIP of this failover until the check passes"
            self._problems.raise_(ProblemCode.CHECK_FAILING, self.name, report.text, hint)
        else:
            self._problems.clear(ProblemCode.CHECK_FAILING)

    def _steer(self) -> None:
        """Write the track files. Without a verdict a group keeps what it has, and a new one is not fit yet."""
        for group in self.plan.groups:
            if self._verdict is None:
                if self._track.read(group.name) is None:
                    self._track.write(group.name, FAULT)
            else:
                self._track.write(group.name, FAULT if self._verdict is CheckState.FAILING else FIT)
