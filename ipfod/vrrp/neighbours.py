"""Who else on a link says that it has an address: hears ARP and neighbour advertisements, and asks for them.

The questions disturb nobody: an ARP probe names no sender (RFC 5227 2.1.1), and a neighbour solicitation comes
from this node's own address (RFC 4861 4.3).
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from itertools import pairwise

from ipfod.addresses import Address
from ipfod.errors import Failed
from ipfod.vrrp import filter as kernel_filter
from ipfod.vrrp.frames import (
    ARP,
    ARP_ETHERNET_IPV4,
    ETH_P_ARP,
    ETH_P_IPV6,
    ETHERNET,
    open_sender,
    probe,
    solicitation,
)

_SIOCGIFHWADDR = 0x8927  # asm-generic/sockios.h
_IFREQ = struct.Struct("16sH6s16x")  # linux/if.h: name, family and first bytes of the address

_PACKET_BYTES = 128  # an ARP packet has 28, an advertisement with its option 72
_TURN_PACKETS = 64  # a flood costs this much,
_REST_S = 0.05  # so often


@dataclass(frozen=True, slots=True)
class Claim:
    """A station says that it has an address. `hardware` is its Ethernet address, six bytes."""

    address: Address
    hardware: bytes


class Neighbours:
    """Calls `claimed` for what others on an interface say of the addresses of interest.

    An interface that is gone is not heard any more: `is_open` says so.
    """

    def __init__(self, interface: str, claimed: Callable[[Claim], None]) -> None:
        self._interface = interface
        self._claimed = claimed
        self._of_interest: frozenset[Address] = frozenset()
        self._sockets: dict[int, socket.socket] = {}  # by Ethernet protocol
        self._rests: dict[int, asyncio.TimerHandle] = {}
        self._sender: tuple[socket.socket, bytes | None] | None = None

    @property
    def is_open(self) -> bool:
        return bool(self._sockets)

    def listen(self, addresses: Iterable[Address]) -> None:
        """Hear of these addresses, in the running loop and the thread's network namespace. Raises Failed."""
        wanted = frozenset(addresses)
        if wanted == self._of_interest and self.is_open:
            return
        self._of_interest = wanted
        ipv4 = sorted(int(each) for each in wanted if each.version == 4)
        try:
            if ipv4:
                self._open(ETH_P_ARP, lambda link: _hear_arp(link, ipv4))
            if any(each.version == 6 for each in wanted):
                self._open(ETH_P_IPV6, _hear_advertisements)
        except OSError as error:
            self.close()
            text = f"{self._interface}: other hosts with a virtual IP cannot be heard: {error.strerror}"
            raise Failed(text, hint="the interface must exist, and the service needs CAP_NET_RAW") from error

    def ask(self, addresses: Iterable[Address], source: IPv6Address | None) -> None:
        """Ask who has these addresses; of IPv6 only with a `source`, an address of this node. Raises Failed."""
        try:
            # Kept open: to close a packet socket takes the kernel some milliseconds (measured, 2 to 6).
            self._sender = self._sender or open_sender(self._interface)
            link, mac = self._sender
            link.setblocking(False)  # an adapter that does not send must not hold the event loop up
            if mac is None:
                return  # there is no such question on other links
            for address in addresses:
                if isinstance(address, IPv4Address):
                    link.send(probe(address, mac))
                elif source is not None:
                    link.send(solicitation(address, source, mac))
        except OSError as error:
            self._close_sender()
            raise Failed(f"{self._interface}: cannot ask for addresses: {error.strerror}") from error

    def _close_sender(self) -> None:
        if self._sender is not None:
            self._sender[0].close()
            self._sender = None

    def close(self) -> None:
        """Stop listening; may be called again."""
        self._close_sender()
        loop = asyncio.get_running_loop()
        for rest in self._rests.values():
            rest.cancel()
        for link in self._sockets.values():
            loop.remove_reader(link)
            link.close()
        self._rests.clear()
        self._sockets.clear()
        self._of_interest = frozenset()

    def _open(self, protocol: int, restrict: Callable[[socket.socket], None]) -> None:
        """Hear one protocol; a socket that is open gets its new filter in one step."""
        if (link := self._sockets.get(protocol)) is not None:
            restrict(link)
            return
        # Protocol 0: nothing arrives before bind(), when the filter is in place.
        link = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 0)
        self._sockets[protocol] = link
        restrict(link)
        link.bind((self._interface, protocol))
        asyncio.get_running_loop().add_reader(link, self._turn, protocol)

    def _turn(self, protocol: int) -> None:
        """Hear what waits; rest a little after much."""
        self._rests.pop(protocol, None)
        link = self._sockets[protocol]
        loop = asyncio.get_running_loop()
        for _ in range(_TURN_PACKETS):
            try:
                packet, place = link.recvfrom(_PACKET_BYTES)
            except BlockingIOError:
                loop.add_reader(link, self._turn, protocol)
                return
            except OSError:  # the interface is down or gone
                self.close()
                return
            claim = parse_arp(packet) if protocol == ETH_P_ARP else parse_advertisement(packet, place[4])
            if claim is not None and claim.address in self._of_interest and place[2] != socket.PACKET_OUTGOING:
                self._claimed(claim)
        loop.remove_reader(link)
        self._rests[protocol] = loop.call_later(_REST_S, self._turn, protocol)


def own_hardware() -> frozenset[bytes]:
    """This node's Ethernet addresses: with several interfaces on one link each answers for all addresses."""
    found = set()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(any_socket, _SIOCGIFHWADDR, _IFREQ.pack(name.encode(), 0, b""))
            except OSError:
                continue  # it has just gone
            _, kind, hardware = _IFREQ.unpack(answer)
            if kind == ETHERNET:
                found.add(hardware)
    return frozenset(found)


def _hear_arp(link: socket.socket, addresses: list[int]) -> None:
    kernel_filter.attach_arp(link, in_ranges(addresses, kernel_filter.RANGES_MAX), length=_PACKET_BYTES)


def _hear_advertisements(link: socket.socket) -> None:
    kernel_filter.attach_advertisements(link, length=_PACKET_BYTES)


# ---------------------------------------------------------------- pure


def in_ranges(ordered: Sequence[int], most: int) -> list[tuple[int, int]]:
    """Ranges, at most so many, that have all of these numbers and as few others as possible."""
    gaps = sorted((later - earlier, place) for place, (earlier, later) in enumerate(pairwise(ordered)))
    widest = gaps[max(0, len(gaps) - most + 1) :]
    cuts = [-1, *sorted(place for gap, place in widest if gap > 1), len(ordered) - 1]
    return [(ordered[before + 1], ordered[cut]) for before, cut in pairwise(cuts)]


def parse_arp(packet: bytes) -> Claim | None:
    """What an ARP packet's sender says of itself; None for one that says nothing. For any bytes."""
    if len(packet) < ARP.size:
        return None
    *kinds, _, hardware, address, _, _ = ARP.unpack_from(packet)
    if tuple(kinds) != ARP_ETHERNET_IPV4:
        return None
    return Claim(IPv4Address(address), hardware)


def parse_advertisement(packet: bytes, hardware: bytes) -> Claim | None:
    """What a neighbour advertisement from a station says; the kernel's filter has seen that it is one."""
    if len(packet) < 64 or len(hardware) != 6:
        return None
    return Claim(IPv6Address(packet[48:64]), hardware)
