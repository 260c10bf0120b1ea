"""Who else advertises this node's groups: `split-brain` and `vrid-collision`, from what the wire brings.

At a hand-over two nodes advertise a group for a moment: the old master may send one more advert. So two count
as a split only when both were heard for some intervals: without a gap, unless they refuse each other's adverts.
A router that advertises none of a group's VIPs counts at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from itertools import combinations

from ipfod.node.events import Event, ProblemsSeen, Withheld
from ipfod.node.model import GroupStatus, Problem, ProblemCode, State, Transition
from ipfod.node.reasons import COLLIDING, LISTENING
from ipfod.plan.model import Group, GroupKey
from ipfod.supervise.soon import Soon
from ipfod.vrrp.voices import Voice, differences

SCOPE = "rivals"
SPLIT_INTERVALS = 1.7  # so long together: both were heard three times at least
SPLIT_MIN_S = 0.3  # an order to move a group may be followed by another at once; less is no split to report
LOOK_AFTER_S = 0.1  # many are judged at once; and again as long as there is something to be over
# A group that is to be started. keepalived's default is an advert a second, and so is RFC 9568's.
LISTEN_S = 1.05
# A group that was started a moment ago serves nobody yet.
CAUTION_S = 1.5
POLL_S = 0.02
# Which option makes a field of an advert.
OPTIONS = {
    "version": "vrrp_version",
    "auth_pass": "auth_pass",
    "interval_cs": "advert_interval",
    "addresses": "virtual_ips",
}

Speaking = Callable[[GroupKey], tuple[Voice, ...]]


class RivalWatch:
    """Raises the problems and clears them, and says which groups must not be started because of a collision."""

    def __init__(
        self,
        groups: Mapping[GroupKey, GroupStatus],
        emit: Callable[[Event], None],
        steer: Callable[[GroupKey], None],
    ) -> None:
        self._groups = groups
        self._emit = emit
        self._steer = steer
        self._speaking: Speaking = lambda _: ()
        self._begin_anew: Callable[[GroupKey], None] = lambda _: None
        self._open: dict[GroupKey, tuple[Problem, ...]] = {}
        self._cautious_until_s: dict[GroupKey, float] = {}
        self._listening_until_s: dict[GroupKey, float] = {}
        self._held: dict[GroupKey, str] = {}  # with what keeps it
        self._pending: set[GroupKey] = set()
        self._soon = Soon(self._look)

    def listen_to(self, speaking: Speaking, begin_anew: Callable[[GroupKey], None]) -> None:
        """Where the adverts come from, and how to forget them."""
        self._speaking = speaking
        self._begin_anew = begin_anew

    # ------------------------------------------------------------ groups that are started

    def starting(self, groups: Iterable[GroupKey], *, listen: bool) -> None:
        """keepalived gets these groups: a collision keeps them from serving for now.

        With `listen` nobody is served before it is known that there is none.
        """
        now = asyncio.get_running_loop().time()
        for key in groups:
            self._cautious_until_s[key] = now + CAUTION_S
            if listen:
                self._listening_until_s[key] = now + LISTEN_S
                self._hold(key, LISTENING)
            self.heard(key)

    async def listened(self, groups: Iterable[GroupKey]) -> None:
        """Wait until it is known who else uses the ids of groups; at most LISTEN_S after `starting`."""
        while self._listening_until_s.keys() & set(groups):
            await asyncio.sleep(POLL_S)

    def is_held(self, key: GroupKey) -> bool:
        """Whether a group must not serve: another router had its id before it was started, or may have it."""
        return key in self._held

    # ------------------------------------------------------------ what is seen

    def heard(self, key: GroupKey) -> None:
        """Somebody new spoke for a group, or one of several: look soon."""
        self._pending.add(key)
        self._arm()

    def follow(self, change: Transition) -> None:
        """This node took a group or gave it up: whoever spoke before may have spoken a last time."""
        if State.MASTER in (change.old, change.new) and change.group not in self._open:
            self._begin_anew(change.group)

    def close(self) -> None:
        self._soon.cancel()

    def _arm(self) -> None:
        if self._pending or self._open or self._listening_until_s:
            self._soon.within(LOOK_AFTER_S)

    def _look(self) -> None:
        keys = self._pending | self._open.keys() | self._listening_until_s.keys()
        self._pending = set()
        before = dict(self._open)
        for key in keys:
            self._open.pop(key, None)
            if found := self._judge(key, lasting=_is_split(before.get(key, ()))):
                self._open[key] = found
        if self._open != before:
            self._emit(ProblemsSeen(SCOPE, tuple(each for some in self._open.values() for each in some)))
        self._arm()

    def _judge(self, key: GroupKey, *, lasting: bool) -> tuple[Problem, ...]:
        """The problems of one group now. `lasting`: it was split a moment ago."""
        if (status := self._groups.get(key)) is None:
            for known in (self._held, self._cautious_until_s, self._listening_until_s):
                known.pop(key, None)
            return ()
        group, voices = status.group, self._speaking(key)
        foreigners = tuple(voice for voice in voices if is_foreign(voice, group))
        peers = any(v.advert.source != group.source for v in voices if v not in foreigners)
        self._hold(key, self._what_holds(key, colliding=bool(foreigners), peers=peers))
        split = split_brain(group, voices, lasting=lasting)
        return (*split, *collision(group, foreigners, held=self._held.get(key) == COLLIDING))

    def _what_holds(self, key: GroupKey, *, colliding: bool, peers: bool) -> str:
        now = asyncio.get_running_loop().time()
        if peers or colliding or now >= self._listening_until_s.get(key, now):
            self._listening_until_s.pop(key, None)
        if key in self._listening_until_s:
            return LISTENING
        # Where a peer serves the group already, one more that could is no harm.
        cautious = now < self._cautious_until_s.get(key, 0.0) and not peers
        return COLLIDING if colliding and (cautious or self._held.get(key) == COLLIDING) else ""

    def _hold(self, key: GroupKey, text: str) -> None:
        if text == self._held.get(key, ""):
            return
        if text:
            self._held[key] = text
        else:
            del self._held[key]
        self._emit(Withheld(key, text))
        self._steer(key)


def _is_split(problems: tuple[Problem, ...]) -> bool:
    return any(each.code is ProblemCode.SPLIT_BRAIN for each in problems)


def is_foreign(voice: Voice, group: Group) -> bool:
    """Whether an advert has VIPs, and none of the group. Pure."""
    addresses = voice.advert.addresses
    return bool(addresses) and not any(address in group.virtual_ips for address in addresses)


def split_brain(group: Group, voices: tuple[Voice, ...], *, lasting: bool) -> tuple[Problem, ...]:
    """The problem if two nodes advertise the group. `lasting`: they did a moment ago. Pure."""
    own = [voice for voice in voices if not is_foreign(voice, group)]
    split = [pair for pair in combinations(own, 2) if lasting or _lasts(*pair)]
    speakers = sorted({voice.advert.source for pair in split for voice in pair}, key=int)
    if not speakers:
        return ()
    text = f"{group.name}: {' and '.join(map(str, speakers))} both advertise it, and both hold its virtual IPs"
    return (Problem(ProblemCode.SPLIT_BRAIN, group.name, text, _reconciling(split)),)


def _reconciling(split: Iterable[tuple[Voice, Voice]]) -> str:
    """What to do about nodes that both advertise a group."""
    found = dict.fromkeys(name for one, other in split for name in differences(one.advert, other.advert))
    if options := " and ".join(OPTIONS[name] for name in found):
        return f"their adverts differ in {options}, so each refuses the other's: make that the same on both"
    return (
        "they do not hear each other, or refuse what they hear: compare firewall, vrrp_version, auth_pass and "
        "virtual_ips of the two; ipfoctl status on each shows what is wrong there"
    )


def _lasts(one: Voice, other: Voice) -> bool:
    interval_s = max(one.interval_s, other.interval_s)
    if differences(one.advert, other.advert):
        together_s = min(one.last_s, other.last_s) - max(one.first_s, other.first_s)
    else:
        together_s = min(one.last_s, other.last_s) - max(one.since_s, other.since_s)
    return together_s >= max(SPLIT_INTERVALS * interval_s, SPLIT_MIN_S)


def collision(group: Group, foreigners: tuple[Voice, ...], *, held: bool) -> tuple[Problem, ...]:
    """The problem if routers with other VIPs use the group's id. Pure."""
    if not foreigners:
        return ()
    who = ", ".join(f"{voice.advert.source} (for {voice.advert.addresses[0]})" for voice in foreigners)
    then = "; this node does not start the group" if held else ""
    text = f"{group.name}: another router uses virtual router ID {group.virtual_router_id}: {who}{then}"
    hint = "give one of the two another id: vrrp_id_offset or excluded_vrrp_ids on all nodes of this failover"
    return (Problem(ProblemCode.VRID_COLLISION, group.name, text, hint),)
