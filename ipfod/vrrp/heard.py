"""An advert as it was heard, and the repetitions of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from ipfod.vrrp.packet import Advert

# An advert is heard late by a turn of the listener at most (`listener.TURN_EVERY_S`), and by what the daemon
# does meanwhile.
LATE_S = 0.15
UNBROKEN_INTERVALS = 1.5  # whoever is silent longer starts anew


@dataclass(slots=True, eq=False)
class Heard:
    """An advert, where it was heard, and whether this node sent it.

    The same bytes again, without a gap, are the same object: the listener moves `last_s`, and tells it again
    unless it is `settled`. That is set by whoever knows that nothing follows from one more repetition, and
    taken back when something else is heard of the virtual router.
    """

    advert: Advert
    interface: str
    outgoing: bool
    last_s: float  # when it was heard last, by the event loop's clock
    settled: bool = False
    interval_s: float = field(init=False)
    unbroken_s: float = field(init=False)  # what follows after a longer silence is no repetition any more

    def __post_init__(self) -> None:
        self.interval_s = self.advert.interval_cs / 100
        self.unbroken_s = UNBROKEN_INTERVALS * self.interval_s + LATE_S
