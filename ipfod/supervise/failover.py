"""One failover while ipfod runs: its keepalived, FIFO, track files and checks.

keepalived outlives ipfod: `close` lets go of it, `stop` ends it. Its death is seen here first, and its VIPs are
off the interface before anything is restarted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable

from ipfod.errors import Failed
from ipfod.host.processes import ProcessWatch, children, is_zombie
from ipfod.keepalived.dump import InstanceDump, request_dump
from ipfod.keepalived.fifo import Notification, NotificationFifo
from ipfod.keepalived.files import KeepalivedFiles
from ipfod.keepalived.notify import KIND
from ipfod.keepalived.render import render
from ipfod.keepalived.track import FAULT, TrackFiles
from ipfod.node.events import InstanceReported, KeepalivedChanged
from ipfod.node.model import KeepalivedState, ProblemCode, State
from ipfod.plan.model import FailoverPlan, GroupKey
from ipfod.supervise.configuration import Configuration
from ipfod.supervise.farewell import Farewell, virtual_ip_addresses
from ipfod.supervise.health import Health
from ipfod.supervise.notifying import NotifyWatch
from ipfod.supervise.preempting import preempting, still
from ipfod.supervise.problems import ProblemBook
from ipfod.supervise.reports import from_dump, from_notification
from ipfod.supervise.steering import track_value
from ipfod.supervise.surroundings import Surroundings

log = logging.getLogger(__name__)

# A SIGHUP restarts a backup's timers: one a second would keep it from ever taking over.
RELOAD_SPACING_S = 1.0
RESYNC_TRIES = 5
RESTART_DELAYS_S = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
STEADY_S = 60.0  # a keepalived that lived so long is restarted at once again
ALONE_S = 0.3
RESPAWN_POLL_S, RESTART_POLL_S = 0.02, 0.1


class Supervisor:
    """Runs one failover. `start`, `update` and `stop` may overlap in time and take turns."""

    def __init__(self, plan: FailoverPlan, files: KeepalivedFiles, surroundings: Surroundings) -> None:
        self.plan = plan
        self._files = files
        self._around = surroundings
        self._launcher = surroundings.launcher(plan.name, files)
        self._configuration = Configuration(files)
        self._track = TrackFiles(files.track)
        self._fifo = NotificationFifo(files.fifo, self._said)
        self._farewell = Farewell(surroundings.netlink)
        self._health = Health(plan.name, surroundings.emit, surroundings.run_script, self.steer)
        self._problems = ProblemBook(f"failover {plan.name}", surroundings.emit)
        self._notify = NotifyWatch(plan.name, surroundings.emit)
        self._turn = asyncio.Lock()
        self._watches: list[ProcessWatch] = []
        self._lost = asyncio.Event()
        self._crashed = False
        self._keeper: asyncio.Task[None] | None = None
        self._lines = 0
        self._catching_up = False
        self._failures = 0
        self._started_at = 0.0
        self._reloaded_at = float("-inf")
        self._eager: set[GroupKey] = set()  # these preempt, whatever their policy

    @property
    def name(self) -> str:
        return self.plan.name

    # ------------------------------------------------------------ from outside

    async def examine(self, plan: FailoverPlan) -> None:
        """Let keepalived judge a plan that is not in force yet. Raises Failed if it refuses it."""
        async with self._turn:
            try:
                await self._configuration.examine(self._text(plan))
            except OSError as error:
                raise self._refused(error) from error

    async def start(self) -> None:
        """Take over a keepalived that runs already, or start one. A failure is reported and tried again."""
        async with self._turn:
            self._farewell.prepare(self.plan)
            begun = await self._try(self._begin())
        self._keeper = asyncio.create_task(self._keep(begun=begun), name=f"keeper of {self.name}")

    async def update(self, plan: FailoverPlan) -> None:
        """Put an examined plan in force. VIPs and groups that did not change notice nothing. Raises Failed."""
        async with self._turn:
            old, self.plan = self.plan, plan
            known = {(group.key, group.virtual_router_id) for group in old.groups}
            new = [each.key for each in plan.groups if (each.key, each.virtual_router_id) not in known]
            self._around.rivals.starting(new, listen=True)
            self._farewell.prepare(plan)
            self._around.ledger.order(still(old, plan, self._around.groups, self._around.ledger.orders))
            await self._health.update(old, plan)
            if old.failover.notify_script != plan.failover.notify_script:
                self._notify.forget()
            self._steer()
            await self._put_in_force()
            self._track.keep_only({group.name for group in plan.groups})

    async def stop(self, text: str) -> None:
        """End keepalived in order, take its VIPs off the interface, remove its files."""
        await self._end_keeper()
        async with self._turn:
            self._unwatch()
            await self._health.stop()
            await self._launcher.stop()
            self._fifo.drain()
            self._fifo.close()
            self._farewell.close()
            await self._around.netlink.remove(virtual_ip_addresses(self.plan, self.plan.groups))
            self._around.emit(KeepalivedChanged(self.name, KeepalivedState.STOPPED, 0, text))
            self._problems.clear()
            self._health.forget()
            self._notify.forget()
            self._files.remove()

    async def close(self) -> None:
        """Let go of keepalived and leave everything as it is."""
        await self._end_keeper()
        async with self._turn:
            self._unwatch()
            await self._health.stop()
            self._fifo.close()
            self._farewell.close()

    async def dump(self) -> tuple[InstanceDump, ...]:
        """What keepalived says of its instances now. Raises Failed."""
        pid = await self._launcher.running()
        return await request_dump(pid, self._around.dump_signal, self._files.dump)

    def trigger_check(self, port: int) -> None:
        """A listener on `port` was closed (0: any may have been): look again now."""
        self._health.trigger(port)

    def part(self, key: GroupKey) -> None:
        """Send the parting advert of a group whose master keepalived stays. Raises Failed."""
        for group in self.plan.groups:
            if group.key == key:
                self._farewell.part(group)

    async def let_preempt(self, key: GroupKey, allowed: bool) -> None:
        """Have keepalived preempt for one group, or follow its own policy again. Raises Failed, OSError."""
        async with self._turn:
            (self._eager.add if allowed else self._eager.discard)(key)
            await self._put_in_force()

    def steer(self, only: GroupKey | None = None) -> None:
        """Write the track files, or one group's, as verdict and orders are now."""
        try:
            self._steer(only)
        except OSError as error:  # a full /run: tried again at the next round
            log.error("%s: %s", self.name, self._refused(error))

    # ------------------------------------------------------------ keepalived

    async def _begin(self) -> None:
        """Adopt a keepalived that runs; see to it that one can be started otherwise. Raises Failed, OSError."""
        self._files.prepare()
        self._fifo.open()
        pid = await self._launcher.running()
        self._lost.clear()
        if pid:
            await self._try(self._adopt(pid))
        else:
            self._fifo.drain()  # the last words of a keepalived that is gone
            self._around.emit(KeepalivedChanged(self.name, KeepalivedState.STARTING, 0, "starting"))
            self._around.rivals.starting((group.key for group in self.plan.groups), listen=True)
            await self._health.start(self.plan, wait=True)

    def _text(self, plan: FailoverPlan) -> str:
        return render(preempting(plan, self._eager), self._files)

    async def _adopt(self, pid: int) -> None:
        self._running(pid, "found running")
        self._catching_up = True  # what waits in the FIFO happened while no ipfod looked
        try:
            self._fifo.drain()
            await self._resync()
        finally:
            self._catching_up = False
        unfit = [group.key for group in self.plan.groups if self._track.read(group.name) == FAULT]
        self._around.rivals.starting(unfit, listen=False)  # a collision may have kept them from serving
        await self._health.start(self.plan, wait=False)
        self._steer()
        await self._put_in_force()

    async def _launch(self, text: str) -> None:
        self._around.emit(KeepalivedChanged(self.name, KeepalivedState.STARTING, 0, "starting"))
        self._files.prepare()  # somebody may have cleaned /run
        self._fifo.open()
        self._steer()
        self._configuration.wrap(self.plan.failover)
        await self._configuration.install(self._text(self.plan))
        self._running(await self._launcher.start(), text)
        self._configuration.was_read()

    def _running(self, pid: int, text: str) -> None:
        self._started_at = asyncio.get_running_loop().time()
        self._watch(pid)
        self._problems.clear(ProblemCode.KEEPALIVED_FAILED)
        self._around.emit(KeepalivedChanged(self.name, KeepalivedState.RUNNING, pid, text))

    async def _put_in_force(self) -> None:
        """Give the running keepalived the plan's configuration, if it is another one."""
        text = self._text(self.plan)
        self._configuration.wrap(self.plan.failover)
        if not await self._launcher.running() or self._configuration.is_in_force(text):
            return
        await self._configuration.examine(text)
        loop = asyncio.get_running_loop()
        # Before the file is written: a later ipfod takes what the file says for what keepalived has read.
        await asyncio.sleep(self._reloaded_at + RELOAD_SPACING_S - loop.time())
        await self._configuration.install(text)
        self._reloaded_at = loop.time()
        await self._launcher.reload()
        self._configuration.was_read()
        await self._resync()

    async def _resync(self) -> None:
        """Ask keepalived for its states; an answer that was overtaken by a notification is asked for again."""
        for _ in range(RESYNC_TRIES):
            before = self._lines
            try:
                instances = await self.dump()
            except Failed as error:
                log.warning("%s: %s", self.name, error)
                return
            self._fifo.drain()
            if self._lines == before:
                break
        for event in from_dump(self.name, instances):
            self._around.emit(event)

    def _said(self, notification: Notification) -> None:
        if notification.kind == KIND:
            self._notify.ended(self.plan.failover, notification.name, notification.number)
            return
        self._lines += 1
        event = from_notification(self.name, notification, resync=self._catching_up)
        if event is not None:
            if isinstance(event, InstanceReported):
                self._around.catch_up()
            self._around.emit(event)

    # ------------------------------------------------------------ deaths

    def _watch(self, pid: int) -> None:
        """Watch the parent and the VRRP child: when only the child dies nobody says so to the peers."""
        self._unwatch()
        self._lost.clear()
        processes = (pid, *children(pid))
        try:
            for process in processes:
                self._watches.append(ProcessWatch(process, self._gone))
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
            # As they run: a plan that keepalived has not got yet may have other ids and VIPs.
            known = self._around.groups
            masters = {key for key, status in known.items() if status.state is State.MASTER}
            # Now, whatever its keeper is waiting for.
            self._farewell.begin(tuple(group for group in self.plan.groups if group.key in masters))
            self._crashed = True
            self._lost.set()

    async def _keep(self, *, begun: bool) -> None:
        """See that a keepalived runs: after each death VIPs off, farewell to the peers, then another one."""
        while not begun:
            await asyncio.sleep(RESTART_DELAYS_S[1])
            async with self._turn:
                begun = await self._try(self._begin())
        await self._launch_first()
        while True:
            await self._lost.wait()
            try:
                await self._part()
                await self._revive()
            except Exception as error:  # the kernel or systemd did not answer; or a fault of ours
                self._failed(error)
                await asyncio.sleep(RESTART_DELAYS_S[1])

    async def _launch_first(self) -> None:
        """Start keepalived if none runs, once it is known whether others use the ids: see `RivalWatch`."""
        await self._around.rivals.listened([group.key for group in self.plan.groups])
        async with self._turn:
            if not self._watches and not self._lost.is_set():
                await self._try(self._launch("started"))

    async def _part(self) -> None:
        # Nothing else at first: to tell of the death of 255 groups takes as long as their good-bye.
        await self._farewell.wait(ALONE_S)
        if self._crashed:
            self._crashed = False
            if asyncio.get_running_loop().time() > self._started_at + STEADY_S:
                self._failures = 0
            self._report_failure(Failed("keepalived was killed or crashed"))
        await self._farewell.end()

    async def _revive(self) -> None:
        if not await self._respawned():
            await self._pause(RESTART_DELAYS_S[min(self._failures, len(RESTART_DELAYS_S) - 1)])
            self._failures += 1
        async with self._turn:
            self._fifo.drain()
            if pid := await self._launcher.running():  # by its parent, or by systemd meanwhile
                self._running(pid, "was started again")
                await self._resync()
                await self._put_in_force()
            else:
                await self._try(self._launch("started again"))

    async def _respawned(self) -> int:
        """Wait for the parent, if it lives, to start its child again; answers its pid, 0 if it is gone."""
        while pid := await self._launcher.running():
            if not all(is_zombie(child) for child in children(pid)):
                return pid
            await asyncio.sleep(RESPAWN_POLL_S)
        return 0

    async def _pause(self, delay_s: float) -> None:
        """Wait, but no longer than until systemd has started it by itself: it is to be watched again."""
        loop = asyncio.get_running_loop()
        until = loop.time() + delay_s
        while (left_s := until - loop.time()) > 0 and not await self._launcher.running():
            await asyncio.sleep(min(left_s, RESTART_POLL_S))

    async def _try(self, step: Awaitable[None]) -> bool:
        """Whether a step succeeded; a failure is reported, and the keeper tries again."""
        try:
            await step
        except Exception as error:
            self._failed(error)
            return False
        return True

    def _failed(self, error: Exception) -> None:
        if isinstance(error, OSError):
            error = self._refused(error)
        elif not isinstance(error, Failed):  # a bug, which must not leave the failover without its keeper
            log.error("%s: internal error", self.name, exc_info=error)
            error = Failed(f"{self.name}: internal error", hint="see: journalctl -u ipfod")
        self._report_failure(error)
        self._lost.set()

    def _refused(self, error: OSError) -> Failed:
        text = f"{error.filename or self._files.directory}: {error.strerror}"
        return Failed(text, hint="only ipfod writes there; remove it, then ipfoctl reload")

    def _report_failure(self, error: Failed) -> None:
        hint = error.hint or self._launcher.log_hint
        self._problems.raise_(ProblemCode.KEEPALIVED_FAILED, self.name, error.text, hint)
        self._around.emit(KeepalivedChanged(self.name, KeepalivedState.FAILED, 0, error.text))

    async def _end_keeper(self) -> None:
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
        await self._farewell.wait()

    def _steer(self, only: GroupKey | None = None) -> None:
        orders = self._around.ledger.orders
        failed: OSError | None = None
        for group in self.plan.groups:
            if only not in (None, group.key):
                continue
            before = self._track.read(group.name)
            value = track_value(
                group,
                self._health.verdict,
                before=before,
                given_up=orders.maintenance is not None or self._around.rivals.is_held(group.key),
                stance=orders.stances.get(group.key),
            )
            if value != before:
                try:
                    self._track.write(group.name, value)
                except OSError as error:  # the other groups can be steered all the same
                    failed = failed or error
        if failed is not None:
            raise failed
