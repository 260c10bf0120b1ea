"""A host outside VRRP that has one of this node's virtual IPs: `duplicate-vip`.

Asked for a moment after this node has become master, and heard in what others say meanwhile. The node that was
master before may answer once more; so only who goes on to answer counts, and nobody while another node
advertises the group, which is `split-brain`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address
from itertools import islice

from ipfod.addresses import Address
from ipfod.errors import Failed
from ipfod.node.events import Event, ProblemsSeen
from ipfod.node.model import Problem, ProblemCode, State
from ipfod.node.node import Node
from ipfod.plan.model import GroupKey
from ipfod.supervise.rivals import Speaking
from ipfod.supervise.soon import Soon
from ipfod.vrrp.neighbours import Claim, Neighbours, own_hardware

log = logging.getLogger(__name__)

SCOPE = "duplicates"
LOOK_S = 0.15
# So long after a hand-over the old master has taken the addresses off. One group takes 15 to 20 ms, 255 groups
# of 16 addresses take 1.2 s (measured, keepalived 2.2.7).
SETTLED_S, SETTLED_FOR_EACH_S = 0.2, 0.005
LASTING_S = 0.1  # who says so again after this time goes on to
PEER_INTERVALS = 3  # another master, if there is one, is heard within so many
ASK_AGAIN_S = 1.0
FORGOTTEN_S = 3.5  # who has not answered three questions has the address no more
ASKED_AT_ONCE = 128  # frames in one go; 255 groups of 16 may become master together
ASK_PAUSE_S = 0.01
STATIONS_MAX = 4  # that are remembered for one address


@dataclass(slots=True)
class _Station:
    """Somebody who says that it has an address, since when and when last."""

    since_s: float
    last_s: float


@dataclass(frozen=True, slots=True)
class _Mastership:
    """Since when this node is master of a group (wall clock), and when that has settled (the loop's clock)."""

    since_usec: int
    settled_s: float


_NEVER = _Mastership(-1, 0.0)


class DuplicateWatch:
    """Raises the problems and clears them. Listens only where this node is master of something."""

    def __init__(self, node: Node, speaking: Speaking, emit: Callable[[Event], None]) -> None:
        """`speaking` answers who advertises a group now, this node among them."""
        self._node = node
        self._speaking = speaking
        self._emit = emit
        self._neighbours: dict[str, Neighbours] = {}  # by interface
        self._masterships: dict[GroupKey, _Mastership] = {}
        self._served: Mapping[GroupKey, tuple[Address, ...]] = {}
        self._asked: set[GroupKey] = set()
        self._stations: dict[Address, dict[bytes, _Station]] = {}
        self._asked_again_s = float("-inf")
        self._said: tuple[Problem, ...] = ()
        self._soon = Soon(self._look)
        self._asking: set[asyncio.Task[None]] = set()

    def seen(self) -> None:
        """Something changed: look soon."""
        self._soon.within(LOOK_S)

    async def aclose(self) -> None:
        self._soon.cancel()
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)
        for neighbours in self._neighbours.values():
            neighbours.close()
        self._neighbours.clear()

    # ------------------------------------------------------------ looking

    def _look(self) -> None:
        now = asyncio.get_running_loop().time()
        self._follow_masters(now)
        self._listen()
        self._forget(now)
        self._ask(now)
        problems = tuple(self._problems(now))
        if problems != self._said:
            self._said = problems
            self._emit(ProblemsSeen(SCOPE, problems))
        if self._stations or self._asked != self._masterships.keys():
            self.seen()

    def _follow_masters(self, now: float) -> None:
        masters = {key: each for key, each in self._node.groups.items() if each.state is State.MASTER}
        for key in self._masterships.keys() - masters.keys():
            del self._masterships[key]
        fresh = [
            key
            for key, status in masters.items()
            if self._masterships.get(key, _NEVER).since_usec != status.since_usec
        ]
        settled_s = now + SETTLED_S + SETTLED_FOR_EACH_S * len(fresh)
        for key in fresh:
            self._masterships[key] = _Mastership(masters[key].since_usec, settled_s)
            self._asked.discard(key)
        self._asked &= self._masterships.keys()

    def _listen(self) -> None:
        """On each interface for the addresses that this node is master of."""
        served = {key: self._node.groups[key].group.virtual_ips for key in self._masterships}
        if served == self._served and all(each.is_open for each in self._neighbours.values()):
            return
        self._served = served
        wanted: dict[str, set[Address]] = {}
        for key, addresses in served.items():
            wanted.setdefault(self._interface(key), set()).update(addresses)
        for interface in self._neighbours.keys() - wanted.keys():
            self._neighbours.pop(interface).close()
        for interface, found in wanted.items():
            neighbours = self._neighbours.setdefault(interface, Neighbours(interface, self._claimed))
            try:
                neighbours.listen(found)
            except Failed as error:
                log.info("%s", error)

    def _interface(self, key: GroupKey) -> str:
        return self._node.failovers[key.failover].plan.interface

    def _interval_s(self, key: GroupKey) -> float:
        return self._node.failovers[key.failover].plan.failover.advert_interval_s

    def _group_of(self, address: Address) -> GroupKey | None:
        """The group of an address, if this node is its master."""
        status = self._node.virtual_ips.get(address)
        return status.group if status is not None and status.group in self._masterships else None

    # ------------------------------------------------------------ hearing

    def _claimed(self, claim: Claim) -> None:
        now = asyncio.get_running_loop().time()
        stations = self._stations.get(claim.address, {})
        if (station := stations.get(claim.hardware)) is not None:
            station.last_s = now
        elif len(stations) < STATIONS_MAX and not _is_own(claim.hardware):
            self._stations.setdefault(claim.address, {})[claim.hardware] = _Station(now, now)
            self.seen()

    def _forget(self, now: float) -> None:
        for address, stations in list(self._stations.items()):
            for hardware, station in list(stations.items()):
                if now > station.last_s + FORGOTTEN_S:
                    del stations[hardware]
            if not stations or self._group_of(address) is None:
                del self._stations[address]

    # ------------------------------------------------------------ asking

    def _ask(self, now: float) -> None:
        """Once for each group that this node became master of, and again while somebody else answers."""
        due = [
            key
            for key, mastership in self._masterships.items()
            if key not in self._asked and now >= mastership.settled_s
        ]
        self._asked.update(due)
        questions: dict[GroupKey, Sequence[Address]] = {key: self._served[key] for key in due}
        if self._has_new_ones(now) or now >= self._asked_again_s + ASK_AGAIN_S:
            self._asked_again_s = now
            for address in islice(self._stations, ASKED_AT_ONCE):
                key = self._group_of(address)
                if key is not None and key not in due:
                    questions[key] = (*questions.get(key, ()), address)
        if questions:
            task = asyncio.create_task(self._send(questions), name="questions for virtual IPs")
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    def _has_new_ones(self, now: float) -> bool:
        """Whether somebody was heard for the first time a moment ago, and is to be asked again at once."""
        every = (station for stations in self._stations.values() for station in stations.values())
        return any(station.since_s > now - 2 * LOOK_S for station in every)

    async def _send(self, questions: Mapping[GroupKey, Sequence[Address]]) -> None:
        sent = 0
        for key, addresses in questions.items():
            status = self._node.groups.get(key)
            neighbours = self._neighbours.get(self._interface(key)) if status is not None else None
            if status is None or neighbours is None:
                continue  # it was given up meanwhile
            source = status.group.source
            try:
                neighbours.ask(addresses, source if isinstance(source, IPv6Address) else None)
            except Failed as error:
                log.info("%s", error)
                await asyncio.sleep(ASK_AGAIN_S)
                self._asked -= questions.keys()  # all of them again
                self.seen()
                return
            sent += len(addresses)
            if sent >= ASKED_AT_ONCE:
                sent = 0
                await asyncio.sleep(ASK_PAUSE_S)

    # ------------------------------------------------------------ telling

    def _problems(self, now: float) -> Iterable[Problem]:
        for address in sorted(self._stations, key=lambda each: (each.version, int(each))):
            key = self._group_of(address)
            if key is None or self._is_split(key):
                continue
            settled_s = self._masterships[key].settled_s
            if now < settled_s + PEER_INTERVALS * self._interval_s(key):
                continue  # whoever answers may yet turn out to be another master
            lasting = sorted(
                hardware
                for hardware, station in self._stations[address].items()
                if station.last_s >= max(station.since_s, settled_s) + LASTING_S
            )
            if lasting:
                yield duplicate(address, self._interface(key), lasting)

    def _is_split(self, key: GroupKey) -> bool:
        source = self._node.groups[key].group.source
        return any(voice.advert.source != source for voice in self._speaking(key))


def duplicate(address: Address, interface: str, hardware: Iterable[bytes]) -> Problem:
    """The problem of an address that these stations have as well. Pure."""
    who = " and ".join(each.hex(":") for each in hardware)
    text = f"{address}: another host on {interface} has it too, with hardware address {who}"
    hint = (
        "it is no node that advertises the group: find it by that address (the switch knows the port) and take "
        f"{address} off there; until then clients may reach either"
    )
    return Problem(ProblemCode.DUPLICATE_VIP, str(address), text, hint)


def _is_own(hardware: bytes) -> bool:
    try:
        return hardware in own_hardware()
    except OSError:  # no descriptor left: it will speak again
        return True
