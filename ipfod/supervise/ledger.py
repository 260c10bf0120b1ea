"""What the state file holds, as it is now: changed in one place, and written before it counts."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ipfod import paths
from ipfod.errors import Failed
from ipfod.node import statefile
from ipfod.node.boot import this_boot
from ipfod.node.events import Event, ProblemsSeen
from ipfod.node.model import Problem, ProblemCode
from ipfod.node.orders import Orders

log = logging.getLogger(__name__)

SCOPE = "state"


class Ledger:
    """The state file's contents. A file that cannot be written is a problem, never the end."""

    def __init__(
        self, emit: Callable[[Event], None], file: Path = paths.STATE_FILE, boot: Path = paths.BOOT
    ) -> None:
        self._emit = emit
        self._file = file
        self._boot = boot
        self._damage: tuple[Problem, ...] = ()  # found when it was read: that is not mended by writing
        self._written = True
        self.taken = statefile.Taken()

    @property
    def orders(self) -> Orders:
        return self.taken.orders

    def load(self) -> None:
        """Read the file; a damaged one is set aside and reported."""
        self.taken, damage = statefile.load(self._file, this_boot(self._boot))
        if damage:
            hint = "what keepalived and the kernel know was found again; VIPs of removed failovers may be left"
            self._damage = (self._problem(damage, hint),)
            self._emit(ProblemsSeen(SCOPE, self._damage))

    def save(self, taken: statefile.Taken) -> None:
        """Replace everything, durably, unless the file says the same."""
        if taken == self.taken and self._written:
            return
        self.taken = taken
        try:
            statefile.save(self._file, taken, this_boot(self._boot))
        except Failed as error:
            self._written = False
            hint = "see that the disk has room and can be written; it is tried again"
            self._emit(ProblemsSeen(SCOPE, (self._problem(error.text, hint),)))
            return
        if not self._written:
            self._written = True
            self._emit(ProblemsSeen(SCOPE, self._damage))

    def order(self, orders: Orders) -> None:
        """Replace the orders, durably."""
        self.save(replace(self.taken, orders=orders))

    def _problem(self, text: str, hint: str) -> Problem:
        return Problem(ProblemCode.STATE_DAMAGED, str(self._file), text, hint)
