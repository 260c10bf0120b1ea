"""Who is master of each group, heard on the interfaces of all failovers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from ipfod.errors import Failed
from ipfod.node.events import Event, MasterHeard
from ipfod.plan.model import GroupKey, Plan
from ipfod.supervise.rivals import RivalWatch
from ipfod.vrrp.heard import Heard
from ipfod.vrrp.listener import Listener
from ipfod.vrrp.masters import MasterChange, Masters
from ipfod.vrrp.voices import Voice, Voices

log = logging.getLogger(__name__)

LISTEN_AGAIN_S = 0.5


class _Segment:
    """One interface: a listener, the masters heard on it, and everybody who speaks."""

    def __init__(
        self,
        interface: str,
        tell: Callable[[str, MasterChange], None],
        speaks: Callable[[str, int, int], None],
        pass_on: Callable[[Heard], bool],
    ) -> None:
        self._interface = interface
        self._tell = tell
        self._speaks = speaks
        self._pass_on = pass_on
        self._masters = Masters()
        self.voices = Voices()
        self._settled: dict[tuple[int, int], Heard] = {}  # by IP version and virtual router ID
        self._listener: Listener | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._retry: asyncio.TimerHandle | None = None

    def listen(self) -> None:
        """Open the listener unless it is open. A missing interface is tried again when links change."""
        if self._listener is not None:
            return
        listener = Listener(self._interface, self._heard, lost=self._lost)
        try:
            listener.open()
        except Failed as error:
            log.info("%s", error)
            return
        self._listener = listener

    def catch_up(self) -> None:
        if self._listener is not None:
            self._listener.catch_up()

    def missed_within(self, seconds: float) -> bool:
        return self._listener is not None and self._listener.missed_within(seconds)

    def current(self, ip_version: int, virtual_router_id: int) -> MasterChange:
        return self._masters.current(ip_version, virtual_router_id)

    def _heard(self, heard: Heard) -> None:
        key = (heard.advert.ip_version, heard.advert.virtual_router_id)
        self.unsettle(*key)
        self._tell_all(self._masters.heard(heard))
        is_news = self.voices.heard(heard)
        if is_news:
            self._speaks(self._interface, *key)
        each_counts = self._pass_on(heard)
        if self._masters.rests_on(heard) and not is_news and not each_counts:
            heard.settled = True
            self._settled[key] = heard
        self._arm()

    def unsettle(self, ip_version: int, virtual_router_id: int) -> None:
        """Have the next advert of a virtual router told, also if it only repeats the one before."""
        if (before := self._settled.pop((ip_version, virtual_router_id), None)) is not None:
            before.settled = False

    def unsettle_all(self) -> None:
        for key in tuple(self._settled):
            self.unsettle(*key)

    def _arm(self) -> None:
        """Come back when a master may be gone; one look at a time is enough."""
        if self._timer is None and (deadline := self._masters.next_deadline()) is not None:
            self._timer = asyncio.get_running_loop().call_at(deadline, self._expire)

    def _expire(self) -> None:
        self._timer = None
        self.catch_up()
        changes = self._masters.expire(asyncio.get_running_loop().time())
        for change in changes:
            self.unsettle(change.ip_version, change.virtual_router_id)
        self._tell_all(changes)
        self._arm()

    def _tell_all(self, changes: tuple[MasterChange, ...]) -> None:
        for change in changes:
            self._tell(self._interface, change)

    def _lost(self, error: OSError) -> None:
        log.info("%s: no longer heard: %s", self._interface, error.strerror)
        self._listener = None
        # An interface that was made anew at once may have been told of before its loss was noticed.
        self._retry = asyncio.get_running_loop().call_later(LISTEN_AGAIN_S, self.listen)

    def close(self) -> None:
        for timer in (self._timer, self._retry):
            if timer is not None:
                timer.cancel()
        if self._listener is not None:
            self._listener.close()


class Wire:
    """Turns adverts on the interfaces of a plan into events about its groups; passes each one on as well."""

    def __init__(
        self, emit: Callable[[Event], None], rivals: RivalWatch, pass_on: Callable[[Heard], bool]
    ) -> None:
        """`pass_on` answers whether it must hear each repetition of that advert too."""
        self._emit = emit
        self._rivals = rivals
        self._pass_on = pass_on
        rivals.listen_to(self.voices, self._begin_anew)
        self._segments: dict[str, _Segment] = {}
        self._groups: dict[tuple[str, int, int], GroupKey] = {}
        self._places: dict[GroupKey, tuple[str, int, int]] = {}

    def follow(self, plan: Plan) -> None:
        """Listen where the plan's groups are, and nowhere else."""
        self._groups = {
            (planned.interface, group.ip_version, group.virtual_router_id): group.key
            for planned in plan.failovers.values()
            for group in planned.groups
        }
        self._places = {key: place for place, key in self._groups.items()}
        wanted = {planned.interface for planned in plan.failovers.values()}
        for interface in self._segments.keys() - wanted:
            self._segments.pop(interface).close()
        for interface in wanted - self._segments.keys():
            self._segments[interface] = _Segment(interface, self._tell, self._speaks, self._pass_on)
        for segment in self._segments.values():
            segment.unsettle_all()
        self.listen()
        for (interface, ip_version, virtual_router_id), key in self._groups.items():
            now = self._segments[interface].current(ip_version, virtual_router_id)
            self._emit(MasterHeard(key, now.address, now.priority))
            self._rivals.heard(key)

    def listen(self) -> None:
        """Open what could not be opened before; to be called when links changed."""
        for segment in self._segments.values():
            segment.listen()

    def catch_up(self) -> None:
        """Hear now what has come in."""
        for segment in self._segments.values():
            segment.catch_up()

    def _tell(self, interface: str, change: MasterChange) -> None:
        key = self._groups.get((interface, change.ip_version, change.virtual_router_id))
        if key is not None:
            self._emit(MasterHeard(key, change.address, change.priority))

    # ------------------------------------------------------------ who speaks

    def _speaks(self, interface: str, ip_version: int, virtual_router_id: int) -> None:
        if (key := self._groups.get((interface, ip_version, virtual_router_id))) is not None:
            self._rivals.heard(key)

    def voices(self, key: GroupKey) -> tuple[Voice, ...]:
        """Those who advertise a group now, this node among them."""
        if (place := self._places.get(key)) is None:
            return ()
        now = asyncio.get_running_loop().time()
        return self._segments[place[0]].voices.speaking(*place[1:], now)

    def missed_within(self, key: GroupKey, seconds: float) -> bool:
        """Whether adverts of a group may have been missed lately: there were more than could be heard."""
        place = self._places.get(key)
        return place is not None and self._segments[place[0]].missed_within(seconds)

    def tell_again(self, key: GroupKey) -> None:
        """What adverts of a group mean to this node has changed: none is a mere repetition."""
        if (place := self._places.get(key)) is not None:
            self._segments[place[0]].unsettle(*place[1:])

    def _begin_anew(self, key: GroupKey) -> None:
        """Forget who spoke for a group; whoever asks for that has the adverts told again, see `tell_again`."""
        if (place := self._places.get(key)) is not None:
            self._segments[place[0]].voices.begin_anew(*place[1:])

    def close(self) -> None:
        for segment in self._segments.values():
            segment.close()
        self._segments.clear()
