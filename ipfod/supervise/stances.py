"""Who keeps off and who holds on: the stances of all groups, kept in the ledger, dropped when they are over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from ipfod.node.model import Transition
from ipfod.node.orders import Stance, StanceKind
from ipfod.plan.model import GroupKey
from ipfod.plan.placement import CLAIM_HOLDING, CLAIM_TAKING
from ipfod.supervise.ledger import Ledger
from ipfod.supervise.steering import outlives

TAKING = Stance(StanceKind.CLAIM, CLAIM_TAKING)
HOLDING = Stance(StanceKind.CLAIM, CLAIM_HOLDING)


def boot_time_s() -> float:
    """Seconds since the boot. Stances end by it: nobody sets this clock, and it outlives a restart of ipfod."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Stances:
    """`steer` has a group's track file written anew."""

    def __init__(self, ledger: Ledger, steer: Callable[[GroupKey], None]) -> None:
        self._ledger = ledger
        self._steer = steer
        self._timer: asyncio.TimerHandle | None = None

    def get(self, key: GroupKey) -> Stance | None:
        return self._ledger.orders.stances.get(key)

    def set(self, key: GroupKey, stance: Stance | None) -> None:
        """Put a stance in force, None for none; it is durable before it counts."""
        if stance != self.get(key):
            self._ledger.order(self._ledger.orders.with_stance(key, stance))
            self._steer(key)
        self.expire()

    def set_all(self, wanted: Mapping[GroupKey, Stance | None]) -> None:
        """Put several in force, with the state file written once."""
        orders = self._ledger.orders
        for key, stance in wanted.items():
            orders = orders.with_stance(key, stance)
        self._ledger.order(orders)
        for key in wanted:
            self._steer(key)
        self.expire()

    def follow(self, change: Transition) -> None:
        """Drop what does not outlive a group's change of state."""
        stance = self.get(change.group)
        if stance is not None and not outlives(stance, change):
            self.set(change.group, None)

    def recall(self) -> None:
        """Take up the stances of an earlier ipfod, which may have ended in the middle of a take-over."""
        for key, stance in self._ledger.orders.stances.items():
            if stance == TAKING:
                self.set(key, HOLDING)
        self.expire()

    def expire(self) -> None:
        """Drop what is over, and come back for the next one."""
        self.close()
        now = boot_time_s()
        stances = self._ledger.orders.stances
        for key in [key for key, stance in stances.items() if stance.until_s <= now]:
            self._ledger.order(self._ledger.orders.with_stance(key, None))
            self._steer(key)
        next_s = min((stance.until_s for stance in self._ledger.orders.stances.values()), default=float("inf"))
        if next_s != float("inf"):
            self._timer = asyncio.get_running_loop().call_later(next_s - now, self.expire)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
