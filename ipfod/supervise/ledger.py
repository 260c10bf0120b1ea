"""What the state file holds, as it is now: changed in one place, and written before it counts."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from ipfod import paths
from ipfod.errors import Failed
from ipfod.node import statefile
from ipfod.node.events import Event, ProblemsSeen
from ipfod.node.model import Problem, ProblemCode
from ipfod.node.orders import Orders

log = logging.getLogger(__name__)

SCOPE = "state"


class Ledger:
    """The state file's contents. A file that cannot be written is a problem, never the end."""

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self._emit = emit
        self.taken = statefile.Taken()

    @property
    def orders(self) -> Orders:
        return self.taken.orders

    def load(self) -> None:
        """Read the file; a damaged one is set aside and reported."""
        self.taken, damage = statefile.load(paths.STATE_FILE)
        if damage:
            hint = "what keepalived and the kernel know was found again; VIPs of removed failovers may be left"
            self._report(damage, hint)

    def save(self, taken: statefile.Taken) -> None:
        """Replace everything, durably, unless it is the same."""
        if taken == self.taken:
            return
        self.taken = taken
        try:
            statefile.save(paths.STATE_FILE, taken)
        except Failed as error:
            self._report(error.text, "free some space")

    def order(self, orders: Orders) -> None:
        """Replace the orders, durably."""
        self.save(replace(self.taken, orders=orders))

    def _report(self, text: str, hint: str) -> None:
        problem = Problem(ProblemCode.STATE_DAMAGED, str(paths.STATE_FILE), text, hint)
        self._emit(ProblemsSeen(SCOPE, (problem,)))
