"""Who is master of each virtual router, from the adverts of one interface. Pure: the caller brings the time."""

from __future__ import annotations

from dataclasses import dataclass, field

from ipfod.vrrp.heard import Heard
from ipfod.vrrp.packet import PRIORITY_LEAVING

_DOWN_INTERVALS = 3  # RFC 5798 section 6.1, Master_Down_Interval
_LATE_INTERVALS = 2.5  # as when a backup takes over, after 3, the listener may have heard the old master late
_SKEW_MAX = 255 / 256  # of the slowest backup, priority 1: RFC 5798 section 6.1, Skew_Time
_SPEAKERS_MAX = 8  # nodes that are remembered for one virtual router; bounds what forged adverts can take

_Key = tuple[int, int]  # IP version, virtual router ID: IPv4 and IPv6 count apart, RFC 5798 section 5.2.3


@dataclass(frozen=True, slots=True)
class MasterChange:
    """The master of a virtual router now, and the priority that it advertises. "" and 0: nobody."""

    ip_version: int
    virtual_router_id: int
    address: str
    priority: int


@dataclass(slots=True)
class _Speaker:
    """A node that advertises a virtual router, and what it said last."""

    said: Heard
    late_s: float  # after so long a silence another speaker counts, whatever its priority
    gone_s: float  # after so long a silence every backup would have taken over

    def is_late(self, now: float) -> bool:
        return now >= self.said.last_s + self.late_s

    def gone_at_s(self) -> float:
        return self.said.last_s + self.gone_s


@dataclass(slots=True)
class _Router:
    """A virtual router: what was told of it, who speaks for it (by the address's number), and who counts."""

    told: MasterChange
    speakers: dict[int, _Speaker] = field(default_factory=dict)
    master: _Speaker | None = None


class Masters:
    """The masters of all virtual routers of one interface, from what is heard there.

    Invariant: the master is, of those nodes that were heard within 2.5 intervals, the one with the highest
    priority, then the highest address, as RFC 5798 section 6.4.3 decides between two masters. If there is
    none, the last one stays master until its master-down time is over: 3 intervals and the skew time of the
    slowest backup. So a take-over is one change, not two, and "nobody" is only said when no backup can still
    be about to take over, or at once when the master says that it leaves.

    Times are seconds of one monotonic clock.
    """

    def __init__(self) -> None:
        self._routers: dict[_Key, _Router] = {}

    def heard(self, heard: Heard) -> tuple[MasterChange, ...]:
        """Take an advert into account, at the time that it has; returns the change that it makes, if any."""
        advert = heard.advert
        key = (advert.ip_version, advert.virtual_router_id)
        router = self._routers.get(key)
        if router is None:
            router = self._routers[key] = _Router(_nobody(key))
        if router.master is not None and router.master.said is heard:
            return ()
        number = int(advert.source)
        if advert.priority == PRIORITY_LEAVING:
            router.speakers.pop(number, None)
        else:
            if number not in router.speakers and len(router.speakers) >= _SPEAKERS_MAX:
                _forget_one(router)
            router.speakers[number] = _speaker(heard)
        return self._judge(key, router, heard.last_s)

    def rests_on(self, heard: Heard) -> bool:
        """Whether it is the master's advert, so that nothing follows from the next one like it."""
        router = self._routers.get((heard.advert.ip_version, heard.advert.virtual_router_id))
        return router is not None and router.master is not None and router.master.said is heard

    def expire(self, now: float) -> tuple[MasterChange, ...]:
        """Give up the masters that were silent for their master-down time; returns the changes.

        What the network brought until `now` must have been handed to `heard` before.
        """
        changes: list[MasterChange] = []
        for key, router in list(self._routers.items()):
            if router.master and now >= router.master.gone_at_s():
                changes += self._judge(key, router, now)
        return tuple(changes)

    def next_deadline(self) -> float | None:
        """When to call `expire` next, None if nobody is master of anything. Every advert may put it off."""
        return min(
            (each.master.gone_at_s() for each in self._routers.values() if each.master),
            default=None,
        )

    def current(self, ip_version: int, virtual_router_id: int) -> MasterChange:
        """Who is master of a virtual router now."""
        router = self._routers.get((ip_version, virtual_router_id))
        return router.told if router else _nobody((ip_version, virtual_router_id))

    def _judge(self, key: _Key, router: _Router, now: float) -> tuple[MasterChange, ...]:
        """Choose the master anew; returns the change if there is something new to tell."""
        for number, each in list(router.speakers.items()):
            if now >= each.gone_at_s():
                del router.speakers[number]
        router.master = max(
            router.speakers.values(),
            key=lambda each: (not each.is_late(now), each.said.advert.priority, int(each.said.advert.source)),
            default=None,
        )
        if not router.speakers:
            del self._routers[key]
        before = router.told
        router.told = _nobody(key)
        if router.master:
            said = router.master.said.advert
            router.told = MasterChange(*key, address=str(said.source), priority=said.priority)
        return () if router.told == before else (router.told,)


def _speaker(heard: Heard) -> _Speaker:
    interval_s = heard.interval_s
    # Version 2 counts the skew in seconds, whatever the interval: RFC 3768 section 6.1.
    skew_s = _SKEW_MAX * (1 if heard.advert.version == 2 else interval_s)
    return _Speaker(
        said=heard, late_s=_LATE_INTERVALS * interval_s, gone_s=_DOWN_INTERVALS * interval_s + skew_s
    )


def _forget_one(router: _Router) -> None:
    """Make room for one more node by forgetting the one that counts least."""
    others = [number for number, each in router.speakers.items() if each is not router.master]
    del router.speakers[min(others, key=lambda number: router.speakers[number].said.advert.priority)]


def _nobody(key: _Key) -> MasterChange:
    return MasterChange(*key, address="", priority=0)
