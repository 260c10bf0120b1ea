"""A keepalived that hangs while it holds virtual IPs: a peer takes over, and the addresses would be on both.

The peer hears nothing any more and becomes master; this node's keepalived, stopped or starved, does not give
way. So ipfod takes the addresses off. When keepalived goes on it hears the peer, and VRRP decides between them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from ipfod.addresses import InterfaceAddress
from ipfod.errors import Failed
from ipfod.host.processes import children, run_state
from ipfod.node.events import Event, ProblemsSeen
from ipfod.node.model import Problem, ProblemCode, State
from ipfod.node.node import Node
from ipfod.plan.model import GroupKey
from ipfod.supervise.farewell import virtual_ip_addresses
from ipfod.supervise.rivals import Speaking, is_foreign
from ipfod.supervise.soon import Soon

log = logging.getLogger(__name__)

SCOPE = "silence"
# keepalived gives way within 2 ms after a peer's advert (measured, 2.2.7); less than the usual interval.
GIVES_WAY_S = 0.05
LOOK_AGAIN_S = 0.25
FLOODED_S = 1.0
# A peer takes over after three; one that hears this node and is preferred does it at once.
SILENT_INTERVALS = 2
# proc_pid_stat(5); a process that is stopped, starved or in a loop has other letters. One that has ended is
# somebody else's business: see `Farewell`.
WAITING, ENDED = {"S", "I"}, {"Z", "X", ""}


class SilenceWatch:
    """Takes addresses off, and reports it as `keepalived-failed` until keepalived speaks again or gives way."""

    def __init__(
        self,
        node: Node,
        speaking: Speaking,
        missed_within: Callable[[GroupKey, float], bool],
        remove: Callable[[Iterable[InterfaceAddress]], Awaitable[tuple[InterfaceAddress, ...]]],
        emit: Callable[[Event], None],
    ) -> None:
        """`speaking` answers who advertises a group now, this node among them; `missed_within`, whether adverts
        of it may have been missed in the last seconds."""
        self._node = node
        self._speaking = speaking
        self._missed_within = missed_within
        self._remove = remove
        self._emit = emit
        self._hung: set[GroupKey] = set()
        self._off: set[GroupKey] = set()  # those of them whose VIPs were taken off, or are being
        self._pending: set[GroupKey] = set()
        self._soon = Soon(self._look)
        self._removing: set[asyncio.Task[None]] = set()

    def seen(self, key: GroupKey) -> None:
        """Another master of a group was heard."""
        self._pending.add(key)
        self._soon.within(GIVES_WAY_S)

    async def aclose(self) -> None:
        self._soon.cancel()
        if self._removing:
            await asyncio.wait(self._removing)

    def _look(self) -> None:
        keys, self._pending = self._pending | self._hung, set()
        before, self._hung = self._hung, {key for key in keys if self._hangs(key)}
        self._off &= self._hung
        if left := self._hung - self._off:
            self._off |= left
            task = asyncio.create_task(self._take_off(left), name="VIPs of a keepalived that hangs")
            self._removing.add(task)
            task.add_done_callback(self._removing.discard)
        if self._hung != before:
            self._emit(ProblemsSeen(SCOPE, tuple(self._problems())))
        if self._hung:
            self._soon.within(LOOK_AGAIN_S)

    def _hangs(self, key: GroupKey) -> bool:
        """Whether this node is master of a group, says nothing, and another one has taken it."""
        status = self._node.groups.get(key)
        if status is None or status.state is not State.MASTER:
            return False
        now = asyncio.get_running_loop().time()
        voices = [voice for voice in self._speaking(key) if not is_foreign(voice, status.group)]
        own = next((voice for voice in voices if voice.advert.source == status.group.source), None)
        silent = own is None or now > own.last_s + SILENT_INTERVALS * own.interval_s
        if not silent or len(voices) == (own is not None):
            return False
        # In a flood of adverts keepalived is as busy as one that is in a loop, and its own are lost among them.
        return self._does_nothing(key) and not self._missed_within(key, FLOODED_S)

    def _does_nothing(self, key: GroupKey) -> bool:
        """Whether no keepalived waits for adverts. One whose own are dropped on their way out does wait."""
        parent = self._node.failovers[key.failover].keepalived_pid
        states = {run_state(each) for each in children(parent)} - ENDED
        return bool(states) and not states & WAITING

    async def _take_off(self, keys: Iterable[GroupKey]) -> None:
        for key in sorted(keys):
            if (failover := self._node.failovers.get(key.failover)) is None:
                continue
            groups = tuple(group for group in failover.plan.groups if group.key == key)
            try:
                for entry in await self._remove(virtual_ip_addresses(failover.plan, groups)):
                    log.warning("%s on %s: taken off, keepalived hangs", entry.address, entry.interface)
            except Failed as error:
                log.warning("virtual IPs of a keepalived that hangs are not taken off yet: %s", error)
                self._off.discard(key)  # the next look tries again

    def _problems(self) -> Iterable[Problem]:
        for name in sorted({key.failover for key in self._hung}):
            first, *more = sorted(key for key in self._hung if key.failover == name)
            status = self._node.groups[first]
            others = f" and {len(more)} more" if more else ""
            text = (
                f"{name}: keepalived advertises {status.group.name}{others} no longer and does not give way to "
                f"{status.master}: its virtual IPs were taken off here"
            )
            hint = "it is stopped, or gets no time: see its processes with ps, and what else is busy here"
            yield Problem(ProblemCode.KEEPALIVED_FAILED, name, text, hint)
