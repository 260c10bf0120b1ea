"""Says goodbye for a keepalived that died: adverts with priority 0, so that a backup takes over at once."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

from ipfod.addresses import Address
from ipfod.errors import Failed
from ipfod.vrrp.packet import (
    MULTICAST_IPV4,
    MULTICAST_IPV6,
    PRIORITY_LEAVING,
    Advert,
    PacketError,
    build_packet,
)

_PASSWORD_BYTES = 8  # keepalived.conf(5), auth_pass: "only the first eight (8) characters are used"
_SO_SNDBUFFORCE = 32  # asm-generic/socket.h
_QUEUE_BYTES = 4 << 20  # 255 groups with three peers each leave at once

_SocketAddress = tuple[str, int] | tuple[str, int, int, int]


@dataclass(frozen=True, slots=True)
class PartingGroup:
    """A group's adverts as its keepalived sends them; backups refuse one that differs.

    `addresses` are those that the adverts carry: the anchor, or with version 2 all. `source` is where they
    come from. Without `peers` they go to the multicast group.
    """

    version: int  # 2 or 3
    virtual_router_id: int
    addresses: tuple[Address, ...]
    interval_cs: int
    source: Address
    peers: tuple[Address, ...] = ()
    # version 2 over IPv4; keepalived and so this uses the first 8 bytes; "" is none
    auth_pass: str | None = field(default=None, repr=False)

    @property
    def key(self) -> tuple[int, int]:
        """IP version and virtual router ID: unique on an interface."""
        return self.source.version, self.virtual_router_id


class Parting:
    """Parting adverts for the groups of one interface, all made ready before they are needed.

    The sockets are of protocol IPPROTO_RAW: they take the whole packet, IP header included, and receive
    nothing. A socket of protocol 112 would be handed a copy of every advert for as long as it is open.
    """

    def __init__(self, interface: str, groups: Iterable[PartingGroup]) -> None:
        """Raises Failed for a group whose advert cannot be built."""
        self.interface = interface
        self._packets = {group.key: _packets(group) for group in groups}
        self._ready: dict[tuple[int, int], list[tuple[bytes, _SocketAddress]]] = {}
        self._sockets: dict[int, socket.socket] = {}

    def open(self) -> None:
        """Make the sockets, in the thread's network namespace. Raises Failed."""
        self.close()
        try:
            index = socket.if_nametoindex(self.interface)
            for ip_version in {ip_version for ip_version, _ in self._packets}:
                self._sockets[ip_version] = _raw_socket(ip_version, self.interface, index)
        except OSError as error:
            self.close()
            raise Failed(
                f"{self.interface}: parting adverts cannot be prepared: {error.strerror}",
                hint="the interface must exist, and the service needs CAP_NET_RAW and CAP_NET_ADMIN",
            ) from error
        for key, packets in self._packets.items():
            self._ready[key] = [(packet, _socket_address(to, index)) for packet, to in packets]

    def send(self, keys: Iterable[tuple[int, int]]) -> tuple[OSError, ...]:
        """Send the parting adverts of groups, given by IP version and virtual router ID.

        Sends what can be sent and returns what went wrong. Must be open. A group that it was not made with has
        none: a plan may have changed since somebody saw the group.
        """
        errors: list[OSError] = []
        for key in keys:
            for packet, destination in self._ready.get(key, ()):
                try:
                    self._sockets[key[0]].sendto(packet, destination)
                except OSError as error:
                    errors.append(error)
        return tuple(errors)

    def close(self) -> None:
        """Close the sockets; may be called again."""
        for each in self._sockets.values():
            each.close()
        self._sockets.clear()
        self._ready.clear()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _packets(group: PartingGroup) -> list[tuple[bytes, Address]]:
    """Each packet of a group's parting advert with its destination."""
    multicast = MULTICAST_IPV4 if group.source.version == 4 else MULTICAST_IPV6
    password = (group.auth_pass or "").encode("utf-8", "surrogateescape")[:_PASSWORD_BYTES]
    auth_pass = password.decode("utf-8", "surrogateescape") if password else None
    packets: list[tuple[bytes, Address]] = []
    for destination in group.peers or (multicast,):
        advert = Advert(
            version=group.version,
            ip_version=group.source.version,
            source=group.source,
            destination=destination,
            virtual_router_id=group.virtual_router_id,
            priority=PRIORITY_LEAVING,
            interval_cs=group.interval_cs,
            addresses=group.addresses,
            auth_pass=auth_pass,
        )
        try:
            packets.append((build_packet(advert), destination))
        except PacketError as error:
            raise Failed(
                f"virtual router {group.virtual_router_id}: no parting advert can be made: {error}",
                hint="check the group's addresses, version and interval",
            ) from error
    return packets


def _socket_address(destination: Address, index: int) -> _SocketAddress:
    if destination.version == 4:
        return str(destination), 0
    return str(destination), 0, 0, index  # the interface matters for link-local addresses; others ignore it


def _raw_socket(ip_version: int, interface: str, index: int) -> socket.socket:
    """A socket that sends whole IP packets on an interface and never blocks."""
    family = socket.AF_INET if ip_version == 4 else socket.AF_INET6
    raw_socket = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_RAW)
    try:
        raw_socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode() + b"\0")
        raw_socket.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _QUEUE_BYTES)
        if ip_version == 4:
            # struct ip_mreqn: group, local address, interface index
            raw_socket.setsockopt(
                socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("4s4si", b"", b"", index)
            )
            raw_socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
        else:
            raw_socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            raw_socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
    except BaseException:
        raw_socket.close()
        raise
    return raw_socket
