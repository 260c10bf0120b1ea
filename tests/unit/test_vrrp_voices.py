"""Who speaks for a virtual router: new ones, gaps, good-byes, and what forged adverts can take."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

from ipfod.vrrp.heard import Heard
from ipfod.vrrp.packet import Advert
from ipfod.vrrp.voices import Voices, differences

FIRST = Advert(
    version=3,
    ip_version=4,
    source=IPv4Address("10.0.0.1"),
    destination=IPv4Address("224.0.0.18"),
    virtual_router_id=11,
    priority=200,
    interval_cs=10,
    addresses=(IPv4Address("10.0.0.10"),),
)
SECOND = replace(FIRST, source=IPv4Address("10.0.0.2"))


def hear(voices: Voices, said: Advert, now: float) -> bool:
    return voices.heard(Heard(said, "eth0", outgoing=False, last_s=now))


def test_one_that_goes_on_is_news_once() -> None:
    voices = Voices()
    said = Heard(FIRST, "eth0", outgoing=False, last_s=0.0)
    assert voices.heard(said)
    for tenths in range(1, 5):
        said.last_s = tenths / 10
        assert not voices.heard(said)
    [voice] = voices.speaking(4, 11, 0.45)
    assert (voice.since_s, voice.last_s) == (0.0, 0.4)
    assert voices.speaking(6, 11, 0.45) == voices.speaking(4, 12, 0.45) == ()


def test_two_are_news_with_every_advert() -> None:
    voices = Voices()
    said = [hear(voices, each, at / 20) for at, each in enumerate([FIRST, SECOND] * 3)]
    assert all(said)
    assert [voice.advert.source for voice in voices.speaking(4, 11, 0.3)] == [FIRST.source, SECOND.source]


def test_a_gap_begins_anew_and_silence_ends() -> None:
    voices = Voices()
    hear(voices, FIRST, 0.0)
    hear(voices, FIRST, 0.5)
    assert voices.speaking(4, 11, 0.5)[0].since_s == 0.5
    assert voices.speaking(4, 11, 0.9)
    assert not voices.speaking(4, 11, 0.91)


def test_who_leaves_is_silent_at_once() -> None:
    voices = Voices()
    hear(voices, FIRST, 0.0)
    hear(voices, SECOND, 0.0)
    hear(voices, replace(FIRST, priority=0), 0.01)
    assert [voice.advert.source for voice in voices.speaking(4, 11, 0.02)] == [SECOND.source]
    voices.begin_anew(4, 11)
    assert voices.speaking(4, 11, 0.02) == ()


def test_forged_adverts_take_bounded_room() -> None:
    voices = Voices()
    for number in range(1000):
        hear(voices, replace(FIRST, source=IPv4Address(number + 1)), number / 1e6)
    assert len(voices.speaking(4, 11, 0.01)) == 8


def test_who_left_last_and_comes_back_is_heard() -> None:
    """The one that spoke last has left; the other goes on with the same advert."""
    voices = Voices()
    hear(voices, FIRST, 0.0)
    hear(voices, SECOND, 0.01)
    hear(voices, replace(SECOND, priority=0), 0.02)
    hear(voices, FIRST, 0.1)
    hear(voices, SECOND, 0.11)
    assert len(voices.speaking(4, 11, 0.12)) == 2


def test_two_that_refuse_each_other_may_leave_adverts_out() -> None:
    voices = Voices()
    other = replace(SECOND, auth_pass="two", version=2, interval_cs=100)
    one = replace(FIRST, auth_pass="one", version=2, interval_cs=100)
    for said, now in ((one, 0.0), (other, 0.1), (one, 1.0), (one, 2.0), (one, 3.0), (other, 4.1)):
        hear(voices, said, now)
    assert [(each.first_s, each.since_s) for each in voices.speaking(4, 11, 4.2)] == [(0.0, 0.0), (0.1, 4.1)]
    assert len(voices.speaking(4, 11, 9.0)) == 2
    assert [each.advert.source for each in voices.speaking(4, 11, 10.0)] == [SECOND.source]
    assert voices.speaking(4, 11, 10.8) == ()


def test_adverts_differ_in_what_a_node_refuses_by() -> None:
    old = replace(FIRST, version=2, interval_cs=100, auth_pass="one")
    assert differences(FIRST, replace(SECOND, priority=1, interval_cs=30)) == ()
    assert differences(old, replace(old, auth_pass=None)) == ("auth_pass",)
    assert differences(old, replace(old, interval_cs=200)) == ("interval_cs",)
    assert differences(FIRST, replace(FIRST, version=2)) == ("version",)
    assert differences(FIRST, replace(FIRST, addresses=())) == ("addresses",)
