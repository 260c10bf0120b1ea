"""Hears VRRP adverts on one interface and tells of them.

255 groups at 0.1 s are 2550 packets a second, and every one counts: liveness is made of repetition. An advert
that is byte for byte like one before needs no parsing, and mostly no telling (`Heard.settled`). A wake-up of an
idle process costs a hundred times that, so there are only so many a second: few adverts are heard at once, many
in turns.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from collections.abc import Callable, Iterator

from ipfod.errors import Failed
from ipfod.vrrp import capture
from ipfod.vrrp.heard import Heard
from ipfod.vrrp.packet import PacketError, parse

TURN_EVERY_S = 0.05  # on average; so late can an advert be heard where there are more than 20 a second
TURNS_AT_ONCE = 5  # that do not wait for each other after a quiet time
TURN_PACKETS = 1024  # at most in one turn: 2 ms, or 15 ms if each must be parsed

_CATCH_UP_PACKETS = 4096  # more than the queue holds
_KNOWN_ADVERTS = 2048  # bounds the memory that forged adverts can take, together with:
_KNOWN_BYTES = 160

# Where a packet starts to be the same in each advert: past the identification and checksum of IPv4, the flow
# label of IPv6. The kernel's filter has checked what comes before.
_SAME_FROM_IPV4, _SAME_FROM_IPV6 = 12, 7

_PACKET_STATISTICS, _STATISTICS = 6, struct.Struct("II")  # linux/if_packet.h


class Listener:
    """Calls `heard` for every valid advert that comes in or goes out on an interface and is not settled.

    When the interface is gone for good the listener closes itself and calls `lost` once. An interface that is
    merely down is not gone: adverts are heard again when it is up. `refused` counts adverts that were not
    valid.
    """

    def __init__(
        self, interface: str, heard: Callable[[Heard], None], *, lost: Callable[[OSError], None]
    ) -> None:
        self.interface = interface
        self.refused = 0
        self._heard = heard
        self._lost = lost
        self._socket: socket.socket | None = None
        self._rest: asyncio.TimerHandle | None = None
        self._next_turn_s = 0.0
        self._missed_s = float("-inf")
        self._known: tuple[dict[bytes, Heard], dict[bytes, Heard]] = ({}, {})  # came in, went out
        self._batch = capture.batch()
        self._waiting: Iterator[tuple[bytes, bool]] = iter(())  # and whether this node sent it

    def open(self) -> None:
        """Start to listen, in the running event loop and the thread's network namespace. Raises Failed."""
        self.close()
        try:
            self._socket = capture.listening(self.interface)
        except OSError as error:
            raise Failed(
                f"{self.interface}: VRRP adverts cannot be heard: {error.strerror}",
                hint="the interface must exist, and the service needs CAP_NET_RAW and CAP_NET_ADMIN",
            ) from error
        asyncio.get_running_loop().add_reader(self._socket, self._turn)

    def close(self) -> None:
        """Stop listening; may be called at any time, from `heard` too, and again."""
        if self._rest:
            self._rest.cancel()
            self._rest = None
        if self._socket:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None
        self._waiting = iter(())
        for known in self._known:
            known.clear()

    def catch_up(self) -> None:
        """Hear now what already waits: before silence is judged, or when somebody waits for news."""
        self._read(_CATCH_UP_PACKETS)

    def missed_within(self, seconds: float) -> bool:
        """Whether the kernel had to drop adverts lately for want of room: then silence means nothing."""
        if self._socket is None:
            return False
        now = asyncio.get_running_loop().time()
        statistics = self._socket.getsockopt(capture.SOL_PACKET, _PACKET_STATISTICS, _STATISTICS.size)
        _, dropped = _STATISTICS.unpack(statistics)  # since it was asked for last
        if dropped:
            self._missed_s = now
        return now < self._missed_s + seconds

    def _turn(self) -> None:
        """Hear what waits, woken by an advert or by the timer."""
        raised = True  # a callback that raises must not end the listening
        count = 0
        try:
            count = self._read(TURN_PACKETS)
            raised = False
        finally:
            self._schedule(idle=count == 0 and not raised, soon=raised)

    def _schedule(self, *, idle: bool, soon: bool) -> None:
        """Let the next advert wake the listener, or the timer if there were many turns lately.

        `soon`: packets may be left that nothing else would wake for.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        if not idle:
            self._next_turn_s = max(self._next_turn_s, now - TURNS_AT_ONCE * TURN_EVERY_S) + TURN_EVERY_S
        rested, self._rest = self._rest, None
        if self._socket and not idle and (soon or self._next_turn_s > now):
            if rested is None:  # to remove what is not there takes asyncio as long as a turn
                loop.remove_reader(self._socket)
            self._rest = loop.call_at(self._next_turn_s, self._turn)
        elif self._socket and rested:
            loop.add_reader(self._socket, self._turn)

    def _read(self, limit: int) -> int:
        """Hear `limit` packets, or a batch more; returns how many there were."""
        count = 0
        known = self._known
        while count < limit and self._socket is not None:
            now = asyncio.get_running_loop().time()
            # Whoever hears may ask to catch up: that goes on in the middle of this batch, and what is left is
            # none. So nothing is heard out of order.
            for packet, outgoing in self._waiting:
                count += 1
                same = packet[_SAME_FROM_IPV4 if packet[0] == 0x45 else _SAME_FROM_IPV6 :]
                before = known[outgoing].get(same)
                if before is None or now - before.last_s > before.unbroken_s:
                    self._learn(same, packet, outgoing, now)
                else:
                    before.last_s = now
                    if before.settled:
                        continue
                    self._heard(before)
                if self._socket is None:  # whoever hears may close it
                    return count
            try:
                if self._socket is not None:
                    self._waiting = iter(self._batch.receive(self._socket))
            except BlockingIOError:
                break
            except OSError as error:
                self._failed(error)
        return count

    def _learn(self, same: bytes, packet: bytes, outgoing: bool, now: float) -> None:
        """Hear an advert that is not like one before, or after a gap."""
        try:
            advert = parse(packet)
        except PacketError:
            self.refused += 1
            return
        heard = Heard(advert, self.interface, outgoing, now)
        known = self._known[outgoing]
        if len(packet) <= _KNOWN_BYTES:
            if len(known) >= _KNOWN_ADVERTS:
                known.clear()
            known[same] = heard
        self._heard(heard)

    def _failed(self, error: OSError) -> None:
        """Tell an interface that is down, to which the kernel keeps the socket bound, from one that is gone."""
        if self._socket and error.errno == errno.ENETDOWN and self._socket.getsockname()[0] == self.interface:
            return
        self.close()
        self._lost(error)
