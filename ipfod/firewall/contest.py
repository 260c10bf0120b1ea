"""Rules that somebody else keeps removing: how often, and how long to wait before they are put back. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field

# Restarts and reloads of a firewall remove a rule once or twice each, and come one by one.
FREE_TIMES = 5
FREE_WITHIN_S = 10.0
FIRST_PAUSE_S = 0.25
PAUSE_MAX_S = 8.0  # VRRP is shut out meanwhile: no longer than it takes to see that it matters
CALM_S = 30.0  # without a removal: the fight is over


@dataclass(slots=True)
class _Fight:
    times_s: list[float] = field(default_factory=list)  # when the rules were put back, the last few
    pause_s: float = 0.0  # 0: no fight

    def put_back(self, now: float) -> None:
        self.times_s = [*(each for each in self.times_s if now - each < FREE_WITHIN_S), now]
        if self.pause_s:
            self.pause_s = min(self.pause_s * 2, PAUSE_MAX_S)
        elif len(self.times_s) > FREE_TIMES:
            self.pause_s = FIRST_PAUSE_S

    @property
    def ready_s(self) -> float:
        return self.times_s[-1] + self.pause_s

    @property
    def over_s(self) -> float:
        return self.times_s[-1] + CALM_S


class Contest:
    """Places (chains, zones) where rules had to be put back. Times are seconds of one monotonic clock.

    The first few times within ten seconds are free; then each pause is twice the last one, up to eight seconds.
    """

    def __init__(self) -> None:
        self._fights: dict[Hashable, _Fight] = {}

    def put_back(self, places: Iterable[Hashable], now: float) -> None:
        """Rules had to be put back in these places."""
        for place in set(places):
            self._fights.setdefault(place, _Fight()).put_back(now)

    def resting(self, now: float) -> frozenset[Hashable]:
        """The places where nothing is to be put back yet."""
        return frozenset(
            place for place, fight in self._fights.items() if now < fight.ready_s and fight.pause_s
        )

    def fought(self, now: float) -> frozenset[Hashable]:
        """The places where rules are removed again and again."""
        self._fights = {place: fight for place, fight in self._fights.items() if now < fight.over_s}
        return frozenset(place for place, fight in self._fights.items() if fight.pause_s)

    def next_s(self, now: float) -> float | None:
        """When `resting` or `fought` changes next by itself, None if it does not."""
        fights = [fight for fight in self._fights.values() if fight.pause_s]
        times = [time for fight in fights for time in (fight.ready_s, fight.over_s) if time > now]
        return min(times, default=None)
