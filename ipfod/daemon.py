"""The daemon: who is started, in which order, and how it all ends. Reads top-down like a table of contents."""

from __future__ import annotations

import asyncio
import logging
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
from ipfod.keepalived.dump import InstanceDump
from ipfod.keepalived.launcher import dump_signal
from ipfod.lock import DaemonLock
from ipfod.node.events import Change, Event, ProblemCleared, ProblemRaised
from ipfod.node.model import State, Transition
from ipfod.node.node import Node
from ipfod.plan.model import Group
from ipfod.supervise.blocking import BlockingWatch
from ipfod.supervise.fleet import Fleet
from ipfod.supervise.guard import FirewallGuard
from ipfod.supervise.management import Alone, Management, UnderSystemd, is_unit
from ipfod.supervise.surroundings import Surroundings
from ipfod.supervise.wire import Wire

log = logging.getLogger(__name__)

# Addresses come in bursts, one message each; a dump after the burst tells the same as one after each.
ADDRESSES_SETTLE_S = 0.02
LOOK_AGAIN_S = 1.0


class Daemon:
    """Owns everything that runs. `run` ends when a signal or the loss of the bus says so."""

    def __init__(self) -> None:
        self._node = Node(socket.gethostname())
        self._notifier = Notifier()
        self._netlink = Netlink()
        self._service = Service(self._node, self)
        self._guard = FirewallGuard(self._emit)
        self._blocking = BlockingWatch(self._dump, self._catch_up, self._guard.blocked)
        self._wire = Wire(self._emit, self._blocking.heard)
        self._addresses_changed = asyncio.Event()
        self._ending = asyncio.Event()
        self._fleet: Fleet
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
                masters=self._masters,
                launcher=self._management.launcher,
                run_script=self._management.run_script,
                load_module=self._management.load_module,
                catch_up=self._wire.catch_up,
                dump_signal=number,
            )
            self._fleet = Fleet(around, self._wire, self._guard)
            await self._service.start()  # who calls finds a fleet
            stack.push_async_callback(self._service.stop)
            await self._guard.open(remote)
            stack.callback(self._guard.close)
            stack.callback(self._wire.close)
            self._watch_listeners(stack)
            self._take_signals(stack)
            await self._fleet.start()
            stack.push_async_callback(self._fleet.close)
            self._notifier.ready()
            log.info("ipfod %s serves %s", __version__, _counted(len(self._node.failovers), "failover"))
            await self._serve()
            self._notifier.stopping()
            await self._end()
            self._notifier.status("stopped")

    async def _end(self) -> None:
        """Give everything back, unless ipfod is only being restarted."""
        if await self._management.is_restarting():
            log.info("ipfod restarts; keepalived runs on")
            return
        await self._fleet.stop()
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
            asyncio.create_task(self._guard.watch_zones(), name="firewalld guard"),
            asyncio.create_task(self._guard.watch_legacy(), name="legacy iptables"),
            asyncio.create_task(self._blocking.watch(), name="proof that adverts get through"),
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
            await asyncio.sleep(ADDRESSES_SETTLE_S)
            self._addresses_changed.clear()
            try:
                await self._fleet.look()
            except Failed as error:
                log.warning("%s", error)
                self._addresses_changed.set()  # the truth is still to be read
                await asyncio.sleep(LOOK_AGAIN_S)

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
        if changes:
            self._service.publish(changes)
            told = [change for change in changes if _log(change)]
            if told:
                self._notifier.status(self._summary())

    async def _dump(self, failover: str) -> tuple[InstanceDump, ...]:
        return await self._fleet.dump(failover)

    def _catch_up(self) -> None:
        self._wire.catch_up()

    def _masters(self, failover: str) -> tuple[Group, ...]:
        groups = self._node.groups.values()
        return tuple(
            status.group
            for status in groups
            if status.state is State.MASTER and status.group.failover == failover
        )

    def _summary(self) -> str:
        groups = self._node.groups.values()
        master = sum(status.state is State.MASTER for status in groups)
        problems = _counted(len(self._node.problems), "problem")
        return f"master of {master} of {_counted(len(groups), 'group')}, {problems}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _log(change: Change) -> bool:
    """Write what an administrator wants to read later; False if it is nothing of that kind."""
    match change:
        case Transition():
            log.info("%s: %s -> %s: %s", change.group_name, change.old, change.new, change.reason)
        case ProblemRaised(problem):
            log.warning("%s: %s (%s)", problem.code, problem.text, problem.hint)
        case ProblemCleared(problem):
            log.info("%s is over: %s", problem.code, problem.object)
        case _:
            return False
    return True
