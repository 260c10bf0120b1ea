"""Everybody who advertises a virtual router now, on one interface. Pure: the caller brings the time.

`masters.py` says who counts; this says who else speaks: two masters, or another cluster on the same id.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ipfod.addresses import Address
from ipfod.vrrp.heard import LATE_S, Heard
from ipfod.vrrp.packet import PRIORITY_LEAVING, Advert

_SILENT_INTERVALS = 2.5  # whoever is silent longer has stopped
_VOICES_MAX = 8  # for one virtual router; bounds what forged adverts can take

_Key = tuple[int, int]  # IP version, virtual router ID


@dataclass(slots=True)
class Voice:
    """One node's adverts for one virtual router, without a gap since `since_s`."""

    said: Heard  # the last one
    since_s: float

    @property
    def advert(self) -> Advert:
        return self.said.advert

    @property
    def last_s(self) -> float:
        return self.said.last_s

    @property
    def interval_s(self) -> float:
        return self.said.interval_s

    def is_silent(self, now: float) -> bool:
        return now > self.last_s + _SILENT_INTERVALS * self.interval_s + LATE_S

    def is_unbroken(self, now: float) -> bool:
        return now <= self.last_s + self.said.unbroken_s


@dataclass(slots=True)
class _Router:
    last: Voice  # who spoke last; mostly the only one
    voices: dict[Address, Voice] = field(default_factory=dict)


class Voices:
    """Who speaks for each virtual router. Times are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._routers: dict[_Key, _Router] = {}

    def heard(self, heard: Heard) -> bool:
        """Take an advert into account; whether it is news: of somebody new, or one of several."""
        advert, now = heard.advert, heard.last_s
        key = (advert.ip_version, advert.virtual_router_id)
        router = self._routers.get(key)
        if router is not None and router.last.said is heard and len(router.voices) == 1:
            return False
        if advert.priority == PRIORITY_LEAVING:
            self._forget(key, advert.source)
            return True
        voice = Voice(heard, now)
        if router is None:
            router = self._routers[key] = _Router(voice)
        for source in [each for each, known in router.voices.items() if known.is_silent(now)]:
            del router.voices[source]
        if (known := router.voices.get(advert.source)) is not None and known.is_unbroken(now):
            voice.since_s = known.since_s
        elif known is None and len(router.voices) >= _VOICES_MAX:
            oldest = min(router.voices, key=lambda each: router.voices[each].last_s)
            del router.voices[oldest]
        router.voices[advert.source] = router.last = voice
        return True

    def _forget(self, key: _Key, source: Address) -> None:
        if (router := self._routers.get(key)) is not None:
            router.voices.pop(source, None)
            if not router.voices:
                del self._routers[key]

    def begin_anew(self, ip_version: int, virtual_router_id: int) -> None:
        """Forget who spoke: the master has changed, and the old one may have spoken a last time."""
        self._routers.pop((ip_version, virtual_router_id), None)

    def speaking(self, ip_version: int, virtual_router_id: int, now: float) -> tuple[Voice, ...]:
        """Those who advertise a virtual router now, by address."""
        router = self._routers.get((ip_version, virtual_router_id))
        if router is None:
            return ()
        voices = (voice for voice in router.voices.values() if not voice.is_silent(now))
        return tuple(sorted(voices, key=lambda voice: int(voice.advert.source)))
