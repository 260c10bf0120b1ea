"""The daemon: who is started, in which order, and how it all ends. Reads top-down like a table of contents."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from contextlib import AsyncExitStack

from ipfod import __version__, paths
from ipfod.bus.remote import Remote
from ipfod.bus.service import Service
from ipfod.errors import Failed, IpfodError
from ipfod.host.listeners import ListenerEvents
from ipfod.host.netlink import Netlink
from ipfod.host.notify import Notifier, watchdog_interval_s
from ipfod.journal import tell
from ipfod.keepalived.dump import InstanceDump
from ipfod.keepalived.launcher import dump_signal
from ipfod.lock import DaemonLock
from ipfod.metrics.exporter import Metrics
from ipfod.metrics.listen import VARIABLE as METRICS_LISTEN
from ipfod.node.events import Change, Changed, Event
from ipfod.node.model import State, Transition
from ipfod.node.node import Node
from ipfod.plan.model import GroupKey
from ipfod.supervise.blocking import BlockingWatch
from ipfod.supervise.chronicle import Chronicle
from ipfod.supervise.duplicates import DuplicateWatch
from ipfod.supervise.fleet import Fleet
from ipfod.supervise.guard import FirewallGuard
from ipfod.supervise.ledger import Ledger
from ipfod.supervise.maintenance import MaintenanceMode
from ipfod.supervise.management import Alone, Management, UnderSystemd, is_unit
from ipfod.supervise.operator import Operator
from ipfod.supervise.overlap import Overlap
from ipfod.supervise.rivals import RivalWatch
from ipfod.supervise.silence import SilenceWatch
from ipfod.supervise.soon import Soon
from ipfod.supervise.stances import Stances
from ipfod.supervise.strays import StrayWatch
from ipfod.supervise.surroundings import Surroundings
from ipfod.supervise.switchover import Switchover
from ipfod.supervise.unserved import UnservedWatch
from ipfod.supervise.wire import Wire

log = logging.getLogger(__name__)

# Addresses come in bursts, one message each; a dump after the burst tells the same as one after each. A dump of
# thousands takes 0.15 s of a processor, which keepalived needs just then.
ADDRESSES_SETTLE_S, BURST_MAX_S = 0.02, 0.3
LOOK_AGAIN_S = 1.0
# At a stop: a peer that is alive takes a group within milliseconds. TimeoutStopSec= is 20 s.
HAND_OVER_S = 10.0
HAND_OVER_GRACE_S = 0.1


class Daemon:
    """Owns everything that runs. `run` ends when a signal or the loss of the bus says so."""

    def __init__(self) -> None:
        self._node = Node(socket.gethostname())
        self._notifier = Notifier()
        self._status = Soon(lambda: self._notifier.status(self._summary()))
        self._netlink = Netlink()
        self._ledger = Ledger(self._emit)
        self._chronicle = Chronicle(self._node, self._emit)
        self._stances = Stances(self._ledger, lambda key: self._fleet.steer_group(key))
        self._overlap = Overlap()
        self._switchover = Switchover(
            self._node.groups,
            lambda name: self._fleet.supervisor(name),
            self._stances,
            self._overlap,
            self._emit,
        )
        self._maintenance = MaintenanceMode(
            self._node, self._ledger, self._switchover, self._emit, lambda: self._fleet.steer()
        )
        self._unserved = UnservedWatch(self._node, self._emit)
        self._strays = StrayWatch(self._node, self._ledger, self._netlink.remove, self._emit)
        self._guard = FirewallGuard(self._emit)
        self._blocking = BlockingWatch(self._dump, self._catch_up, self._guard.blocked)
        self._rivals = RivalWatch(self._node.groups, self._emit, lambda key: self._fleet.steer_group(key))
        self._wire = Wire(self._emit, self._rivals, self._blocking.heard)
        self._duplicates = DuplicateWatch(self._node, self._wire.voices, self._emit)
        self._silence = SilenceWatch(
            self._node, self._wire.voices, self._wire.missed_within, self._netlink.remove, self._emit
        )
        self._metrics = Metrics(self._node, self._emit)
        self._addresses_changed = asyncio.Event()
        self._ending = asyncio.Event()
        self._fleet: Fleet
        self._service: Service
        self._management: Management = Alone()

    async def run(self) -> None:
        """Serve until SIGTERM, then stop keepalived and give back what was taken. Raises Failed.

        Raises it also when the bus is lost: keepalived is left alone then, and systemd starts ipfod again.
        """
        async with AsyncExitStack() as stack:
            lock = stack.enter_context(DaemonLock(paths.LOCK))
            lock.take()
            number = await dump_signal()
            await self._netlink.open(self._addresses_changed.set)
            stack.push_async_callback(self._netlink.close)
            remote = Remote()
            await remote.open()
            stack.push_async_callback(remote.aclose)
            self._management = UnderSystemd(remote) if is_unit() else Alone()
            around = Surroundings(
                netlink=self._netlink,
                emit=self._emit,
                groups=self._node.groups,
                ledger=self._ledger,
                launcher=self._management.launcher,
                run_script=self._management.run_script,
                load_module=self._management.load_module,
                catch_up=self._wire.catch_up,
                rivals=self._rivals,
                addresses_seen=self._strays.see,
                dump_signal=number,
            )
            self._fleet = Fleet(around, self._wire, self._guard)
            operator = Operator(self._node, self._fleet, self._switchover, self._maintenance, self.reload)
            self._service = Service(self._node, operator)
            await self._service.start()  # who calls finds a fleet
            stack.push_async_callback(self._service.stop)
            await self._guard.open(remote)
            stack.callback(self._guard.close)
            stack.callback(self._wire.close)
            stack.callback(self._rivals.close)
            self._watch_listeners(stack)
            self._take_signals(stack)
            self._recall(stack)
            self._metrics.open(os.environ.get(METRICS_LISTEN, ""))
            stack.push_async_callback(self._metrics.close)
            await self._fleet.start()
            stack.push_async_callback(self._fleet.close)
            self._notifier.ready()
            log.info("ipfod %s serves %s", __version__, _counted(len(self._node.failovers), "failover"))
            await self._serve()
            await self._end()

    def _recall(self, stack: AsyncExitStack) -> None:
        """What an earlier ipfod had taken and was ordered."""
        self._ledger.load()
        self._chronicle.load()
        stack.push_async_callback(self._chronicle.aclose)
        self._maintenance.restore()
        self._stances.recall()
        stack.callback(self._stances.close)
        stack.callback(self._unserved.close)
        stack.push_async_callback(self._strays.aclose)
        stack.push_async_callback(self._duplicates.aclose)
        stack.push_async_callback(self._silence.aclose)
        self._overlap.open()
        stack.push_async_callback(self._overlap.close)
        stack.push_async_callback(self._switchover.close)

    async def _end(self) -> None:
        self._notifier.stopping()
        await self._give_back()
        self._status.cancel()
        self._notifier.status("stopped")

    async def _give_back(self) -> None:
        """Give everything back, unless ipfod is only being restarted."""
        if await self._management.is_restarting():
            log.info("ipfod restarts; keepalived runs on")
            return
        with contextlib.suppress(TimeoutError):  # what is left goes with keepalived's good-bye
            async with asyncio.timeout(HAND_OVER_S):
                await self._switchover.vacate_all("ipfod is being stopped", grace_s=HAND_OVER_GRACE_S)
        await self._fleet.stop()
        self._switchover.let_go()
        await self._guard.remove()

    async def reload(self) -> None:
        """Read the configuration again (D-Bus `Reload`, SIGHUP). Raises InvalidConfiguration, Failed."""
        self._notifier.reloading()
        try:
            await self._fleet.reload()
        finally:
            self._notifier.ready()

    # ------------------------------------------------------------ loops

    async def _serve(self) -> None:
        loops = {
            asyncio.create_task(self._watch_addresses(), name="addresses"),
            asyncio.create_task(self._guard.watch(), name="firewall guard"),
            asyncio.create_task(self._maintenance.watch(), name="end of maintenance"),
            asyncio.create_task(self._guard.watch_zones(), name="firewalld guard"),
            asyncio.create_task(self._guard.watch_legacy(), name="legacy iptables"),
            asyncio.create_task(self._blocking.watch(), name="proof that adverts get through"),
            asyncio.create_task(self._chronicle.watch(), name="history"),
            asyncio.create_task(self._watch_bus(), name="bus"),
            asyncio.create_task(self._answer_watchdog(), name="watchdog"),
        }
        end = asyncio.create_task(self._ending.wait(), name="end")
        try:
            done, _ = await asyncio.wait(loops | {end}, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {end}:
                task.result()  # a loop ends only by its exception
        finally:
            for task in loops | {end}:
                task.cancel()
            await asyncio.gather(*loops, end, return_exceptions=True)

    async def _watch_addresses(self) -> None:
        while True:
            await self._addresses_changed.wait()
            await self._addresses_settled()
            try:
                await self._fleet.look()
            except Failed as error:
                log.warning("%s", error)
                self._addresses_changed.set()  # the truth is still to be read
                await asyncio.sleep(LOOK_AGAIN_S)

    async def _addresses_settled(self) -> None:
        """Return when no more addresses change for now, and in the middle of a burst that is long."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + BURST_MAX_S
        while self._addresses_changed.is_set() and loop.time() < until_s:
            self._addresses_changed.clear()
            await asyncio.sleep(ADDRESSES_SETTLE_S)

    async def _watch_bus(self) -> None:
        await self._service.wait_lost()
        raise Failed("the system bus is gone", hint="keepalived goes on; ipfod starts again with the bus")

    async def _answer_watchdog(self) -> None:
        """Answer only when the loop turns and the worker that takes VIPs off does its work."""
        if (interval_s := watchdog_interval_s()) is None:
            await self._ending.wait()
            return
        while True:
            await self._netlink.in_worker(lambda: None)
            self._notifier.alive()
            await asyncio.sleep(interval_s)

    def _watch_listeners(self, stack: AsyncExitStack) -> None:
        try:
            events = ListenerEvents(lambda port, _: self._fleet.trigger_checks(port))
        except OSError as error:
            log.warning("closed listeners are seen at the next check only: %s", error.strerror)
        else:
            stack.callback(events.close)

    # ------------------------------------------------------------ signals

    def _take_signals(self, stack: AsyncExitStack) -> None:
        loop = asyncio.get_running_loop()
        reloads: set[asyncio.Task[None]] = set()

        def hang_up() -> None:
            task = loop.create_task(self._reload_by_signal(), name="reload")
            reloads.add(task)
            task.add_done_callback(reloads.discard)

        for number, action in (
            (signal.SIGTERM, self._ending.set),
            (signal.SIGINT, self._ending.set),
            (signal.SIGHUP, hang_up),
        ):
            loop.add_signal_handler(number, action)
            stack.callback(loop.remove_signal_handler, number)

    async def _reload_by_signal(self) -> None:
        try:
            await self.reload()
        except IpfodError as error:
            log.error("reload: %s", error)

    # ------------------------------------------------------------ events

    def _emit(self, event: Event) -> None:
        changes = self._node.apply(event, time.time_ns() // 1000)
        self._blocking.take(event, changes)
        self._metrics.take(event, changes)
        if changes:
            self._service.publish(changes)
            self._follow(changes)
            told = [change for change in changes if tell(change, self._node)]
            if told:
                self._status.within(0.0)  # once for the many that come at once

    def _follow(self, changes: tuple[Change, ...]) -> None:
        """Those who wait for what the node sees."""
        for change in changes:
            if isinstance(change, Transition):
                self._chronicle.follow(change)
                self._stances.follow(change)
                self._rivals.follow(change)
                self._wire.tell_again(change.group)
            elif isinstance(change, Changed) and isinstance(change.ref, GroupKey) and "master" in change.fields:
                self._silence.seen(change.ref)
        self._switchover.seen()
        self._unserved.seen()
        self._strays.seen()
        self._duplicates.seen()

    async def _dump(self, failover: str) -> tuple[InstanceDump, ...]:
        return await self._fleet.dump(failover)

    def _catch_up(self) -> None:
        self._wire.catch_up()

    def _summary(self) -> str:
        groups = self._node.groups.values()
        master = sum(status.state is State.MASTER for status in groups)
        problems = _counted(len(self._node.problems), "problem")
        return f"master of {master} of {_counted(len(groups), 'group')}, {problems}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
