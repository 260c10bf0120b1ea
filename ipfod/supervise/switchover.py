"""Moving a group by order: this node gives it up without a pause, or takes it within about a millisecond.

To give a group up, its priority is lowered to the lowest first. Then a parting advert leaves in keepalived's
name, while keepalived goes on as master: a peer takes over after its skew time, whatever its preemption policy,
and keepalived gives way to the peer's first advert, which is of a higher priority. So the new master is there
before the old one goes, and if nobody comes nothing has happened. keepalived sends its first advert before it
adds the addresses (vrrp_state_master_tx), hence the millisecond, for which `Overlap` has this node answer. A
peer that does not preempt waits again if it hears one of keepalived's regular adverts first; hence the parting
advert is repeated.

To take a group, its priority is raised above all that plans give, and keepalived is told to preempt until it
has it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from ipfod.errors import Busy, Failed, IpfodError, NoSuccessor, NotFound
from ipfod.node.events import Event, Intended
from ipfod.node.model import GroupStatus, State
from ipfod.node.orders import Stance, StanceKind
from ipfod.plan.model import Group, GroupKey
from ipfod.plan.placement import CLAIM_HOLDING, CLAIM_TAKING
from ipfod.supervise.failover import Supervisor
from ipfod.supervise.overlap import Overlap
from ipfod.supervise.stances import HOLDING, TAKING, Stances, boot_time_s

log = logging.getLogger(__name__)

LOWEST = 1  # RFC 9568 5.2.4: priorities of backups are 1..254
# Contract: a group that nobody takes within 3 adverts and this much is kept.
GRACE_S = 1.0
# keepalived follows its track file in about 1 ms (measured, 2.2.7).
LOWERED_S = 1.0
# A little more than an interval apart: so they do not meet the regular adverts at the same phase each time.
REPEAT_INTERVALS = 1.15
# A backup with the higher priority takes over after 3 intervals and its skew time, at most 4 in all; a reload
# before that waits for its turn, see RELOAD_SPACING_S.
TAKING_INTERVALS = 4
TAKING_GRACE_S = 3.0
# The old master's last advert comes an interval after the one before it, at most.
SETTLING_INTERVALS = 2


class Switchover:
    """Moves groups, each one at a time. `supervisor` finds a failover's; KeyError if it does not run."""

    def __init__(
        self,
        groups: Mapping[GroupKey, GroupStatus],
        supervisor: Callable[[str], Supervisor],
        stances: Stances,
        overlap: Overlap,
        emit: Callable[[Event], None],
    ) -> None:
        self._groups = groups
        self._supervisor = supervisor
        self._stances = stances
        self._overlap = overlap
        self._emit = emit
        self._moving: dict[GroupKey, asyncio.Lock] = {}
        self._vacated: dict[GroupKey, Stance | None] = {}  # with the stances that they had before
        self._seen = asyncio.Event()
        self._settling: set[asyncio.Task[None]] = set()

    def seen(self) -> None:
        """Something about groups changed: look again."""
        self._seen.set()

    async def step_down(self, key: GroupKey, hold_s: float, who: str) -> None:
        """Have another node take a group, which this one then does not want back for `hold_s`.

        Raises NotFound, Busy, NoSuccessor if this node has kept it, Failed if it is not master of it.
        """
        async with self._alone(key):
            status = self._status(key)
            if status.state is not State.MASTER:
                text = f"{status.group.name}: this node is not its master, {_holder(status)}"
                raise Failed(text, hint="step down on the node that is")
            if not await self._hand_over(key, f"step-down by {who}"):
                text = f"{status.group.name}: no other node took over; this one keeps it"
                raise NoSuccessor(text, hint="ipfoctl status on the other nodes says what keeps them from it")
            until_s = boot_time_s() + hold_s
            self._stances.set(key, Stance(StanceKind.YIELD, LOWEST, until_s) if hold_s else None)

    async def vacate_all(self, intent: str, *, grace_s: float = GRACE_S) -> list[GroupKey]:
        """Have other nodes take every group that this one is master of; answers those that nobody has taken.

        One by one, because 255 groups at once cost single VIPs 0.35 s (measured, keepalived 2.2.7). This node
        keeps off what it gave for as long as all these moves may take, or until `let_go`.
        """
        kept: list[GroupKey] = []
        ahead = [key for key, status in self._groups.items() if status.state is State.MASTER]
        while ahead and not kept:
            if not await self._vacate(ahead[0], intent, grace_s, moves=len(ahead)):
                kept.append(ahead[0])
            del ahead[0]
        # Where nobody takes one group nobody may take any: the others need not wait for each other.
        moved = await asyncio.gather(*(self._vacate(key, intent, grace_s) for key in ahead))
        return kept + [key for key, has_moved in zip(ahead, moved, strict=True) if not has_moved]

    def let_go(self) -> None:
        """What was vacated is given up now in another way: this node need not keep off it any more."""
        vacated, self._vacated = self._vacated, {}
        self._stances.set_all(vacated)

    async def _vacate(self, key: GroupKey, intent: str, grace_s: float, *, moves: int = 1) -> bool:
        try:
            async with self._alone(key, wait=True):
                if self._status(key).state is not State.MASTER:
                    return True
                before = self._stances.get(key)
                moved = await self._hand_over(key, intent, grace_s, moves=moves)
                if moved:
                    holds_off = before is not None and before.kind is StanceKind.YIELD
                    self._vacated[key] = before if holds_off else None
                return moved
        except NotFound:
            return True
        except IpfodError as error:
            log.warning("%s", error)
            return False

    async def take_over(self, key: GroupKey, who: str) -> None:
        """Make this node master of a group, and keep it so until it loses the group.

        Raises NotFound, Busy, and Failed if it cannot be or the other master does not give way.
        """
        async with self._alone(key):
            status = self._status(key)
            if status.state is State.MASTER:
                return
            if status.state is not State.BACKUP:
                text = f"{status.group.name}: this node cannot take it, it is {status.state}: {status.reason}"
                raise Failed(text, hint="ipfoctl status says what is wrong here")
            await self._until_beatable(status)
            await self._take(status, f"take-over by {who}")

    async def close(self) -> None:
        """End; what is still to be put back the next ipfod puts back when it starts."""
        for task in self._settling:
            task.cancel()
        await asyncio.gather(*self._settling, return_exceptions=True)

    # ------------------------------------------------------------ giving

    async def _hand_over(self, key: GroupKey, intent: str, grace_s: float = GRACE_S, *, moves: int = 1) -> bool:
        """Whether another node has taken the group.

        This node keeps off it then for as long as this and the `moves` that follow may take.
        """
        before = self._stances.get(key)
        interval_s = self._supervisor_of(key).plan.failover.advert_interval_s
        patience_s = 3 * interval_s + grace_s
        self._emit(Intended(key, intent))
        moved = False
        virtual_ips = self._status(key).group.virtual_ips
        try:
            await self._overlap.begin(virtual_ips)  # a peer that preempts comes at the first lower advert
            until_s = boot_time_s() + moves * (LOWERED_S + 2 * patience_s)
            self._stances.set(key, Stance(StanceKind.YIELD, LOWEST, until_s))
            moved = await self._part(key, interval_s, patience_s)
        finally:
            if not moved:
                self._stances.set(key, before)
            self._emit(Intended(key, ""))
            await self._overlap.end(virtual_ips, linger=moved)
        return moved

    async def _part(self, key: GroupKey, interval_s: float, patience_s: float) -> bool:
        if not await self._until(lambda: self._has_lowered(key), LOWERED_S):
            text = f"{self._status(key).group.name}: keepalived does not lower its priority"
            raise Failed(text, hint="it hangs, or is busy: ipfoctl status and journalctl -u ipfod say more")
        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience_s
        while (left_s := deadline - loop.time()) > 0:
            if self._status(key).state is State.MASTER:
                self._supervisor_of(key).part(key)
            if await self._until(lambda: self._is_elsewhere(key), min(left_s, REPEAT_INTERVALS * interval_s)):
                return True
        return False

    def _has_lowered(self, key: GroupKey) -> bool:
        status = self._status(key)
        return status.priority <= LOWEST or status.state is not State.MASTER

    def _is_elsewhere(self, key: GroupKey) -> bool:
        status = self._status(key)
        return status.state is not State.MASTER and status.master not in ("", str(status.group.source))

    # ------------------------------------------------------------ taking

    async def _until_beatable(self, status: GroupStatus) -> None:
        """Wait for a master that has just taken the group by order itself: it claims less a moment later."""
        key = status.group.key
        interval_s = self._supervisor_of(key).plan.failover.advert_interval_s
        patience_s = 2 * SETTLING_INTERVALS * interval_s + LOWERED_S
        if not await self._until(lambda: self._status(key).master_priority < CLAIM_TAKING, patience_s):
            status = self._status(key)
            text = f"{status.group.name}: {status.master} has priority {status.master_priority}"
            hint = f"step it down there, or set priority to {CLAIM_HOLDING} at most"
            raise Failed(f"{text}, and none is above that", hint=hint)

    async def _take(self, status: GroupStatus, intent: str) -> None:
        key = status.group.key
        supervisor = self._supervisor_of(key)
        interval_s = supervisor.plan.failover.advert_interval_s
        before = self._stances.get(key)
        self._emit(Intended(key, intent))
        taken = False
        try:
            self._stances.set(key, TAKING)
            await supervisor.let_preempt(key, True)
            patience_s = TAKING_INTERVALS * interval_s + TAKING_GRACE_S
            taken = await self._until(lambda: self._status(key).state is State.MASTER, patience_s)
        finally:
            if not taken:
                self._stances.set(key, before)
            self._emit(Intended(key, ""))
            self._settle(supervisor, status.group)
        if not taken:
            after = self._status(key)
            text = f"{after.group.name}: this node has not become its master, {_holder(after)}"
            there = f"step it down there: ipfoctl step-down {after.group.name}"
            raise Failed(text, hint=there if after.master else "see: journalctl -u ipfod")

    def _settle(self, supervisor: Supervisor, group: Group) -> None:
        """Put the group's own preemption policy back, and claim no more than it takes; nobody waits for it."""

        async def settle() -> None:
            try:
                # An advert of the old master may be under way still: at equal priority it would win.
                await asyncio.sleep(SETTLING_INTERVALS * supervisor.plan.failover.advert_interval_s)
                if self._stances.get(group.key) == TAKING:
                    self._stances.set(group.key, HOLDING)
                await supervisor.let_preempt(group.key, False)
            except (IpfodError, OSError) as error:
                log.warning("%s: its preemption policy is not back in force yet: %s", group.name, error)

        task = asyncio.create_task(settle(), name=f"settling of {group.name}")
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    # ------------------------------------------------------------

    @asynccontextmanager
    async def _alone(self, key: GroupKey, *, wait: bool = False) -> AsyncIterator[None]:
        """Raises NotFound, and Busy if the group is being moved, unless the caller would rather wait."""
        name = self._status(key).group.name
        lock = self._moving.setdefault(key, asyncio.Lock())
        if lock.locked() and not wait:
            raise Busy(f"{name}: it is being moved just now", hint="try again in a moment")
        async with lock:
            yield

    def _status(self, key: GroupKey) -> GroupStatus:
        if (status := self._groups.get(key)) is None:
            raise NotFound(f"{key.failover}: there is no group {key.index}")
        return status

    def _supervisor_of(self, key: GroupKey) -> Supervisor:
        try:
            return self._supervisor(key.failover)
        except KeyError:
            raise Failed(f"{key.failover}: it does not run", hint="ipfoctl status says why") from None

    async def _until(self, condition: Callable[[], bool], within_s: float) -> bool:
        """Wait for what the node sees to fulfil a condition; whether it does."""
        try:
            async with asyncio.timeout(within_s):
                while not condition():
                    self._seen.clear()
                    await self._seen.wait()
        except TimeoutError:
            return condition()
        return True


def _holder(status: GroupStatus) -> str:
    return f"{status.master} is" if status.master else "nobody is"
