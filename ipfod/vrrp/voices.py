"""Everybody who advertises a virtual router now, on one interface. Pure: the caller brings the time.

`masters.py` says who counts; this says who else speaks: two masters, or another cluster on the same id.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ipfod.addresses import Address
from ipfod.vrrp.heard import LATE_S, Heard
from ipfod.vrrp.packet import PRIORITY_LEAVING, Advert

_SILENT_INTERVALS = 2.5  # whoever is silent longer has stopped
# Two that refuse each other's adverts leave some of their own out, three in a row at times: keepalived begins
# its interval anew with each advert that it refuses (measured, 2.2.7).
_REFUSED_INTERVALS = 6.5
_VOICES_MAX = 8  # for one virtual router; bounds what forged adverts can take

_Key = tuple[int, int]  # IP version, virtual router ID


@dataclass(slots=True)
class Voice:
    """One node's adverts for one virtual router."""

    said: Heard  # the last one
    since_s: float  # no gap since then
    first_s: float  # gaps, but it never was silent

    @property
    def advert(self) -> Advert:
        return self.said.advert

    @property
    def last_s(self) -> float:
        return self.said.last_s

    @property
    def interval_s(self) -> float:
        return self.said.interval_s

    def is_silent(self, now: float, others: Iterable[Voice]) -> bool:
        """Whether it has stopped. `others` are those that it may have heard, itself among them or not."""
        silence_s = now - self.last_s - LATE_S
        if silence_s <= _SILENT_INTERVALS * self.interval_s:
            return False
        refused = any(differences(self.advert, other.advert) for other in others)
        return not refused or silence_s > _REFUSED_INTERVALS * self.interval_s

    def is_unbroken(self, now: float) -> bool:
        return now <= self.last_s + self.said.unbroken_s


def differences(one: Advert, other: Advert) -> tuple[str, ...]:
    """Fields in which adverts of one virtual router differ, so that who sends the one refuses the other. Pure.

    RFC 3768 7.1 and RFC 5798 7.1; the password, which RFC 3768 has no more, as RFC 2338 7.1 has it.
    """
    both = ["version", "auth_pass"]
    both += ["interval_cs"] if one.version == other.version == 2 else []
    found = [name for name in both if getattr(one, name) != getattr(other, name)]
    return (*found, "addresses") if set(one.addresses) != set(other.addresses) else tuple(found)


@dataclass(slots=True)
class _Router:
    last: Voice  # who spoke last; mostly the only one
    voices: dict[Address, Voice] = field(default_factory=dict)

    def not_silent(self, now: float) -> list[Voice]:
        return [each for each in self.voices.values() if not each.is_silent(now, self.voices.values())]


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
        voice = Voice(heard, now, now)
        if router is None:
            router = self._routers[key] = _Router(voice)
        router.voices = {each.advert.source: each for each in router.not_silent(now)}
        if (known := router.voices.get(advert.source)) is not None:
            voice.first_s = known.first_s
            voice.since_s = known.since_s if known.is_unbroken(now) else now
        elif len(router.voices) >= _VOICES_MAX:
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
        return tuple(sorted(router.not_silent(now), key=lambda voice: int(voice.advert.source)))
