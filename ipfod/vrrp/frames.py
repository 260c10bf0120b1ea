"""Ethernet frames of ARP and neighbour discovery: telling where an address is, and asking who has one."""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv4Address, IPv6Address

from ipfod.addresses import Address
from ipfod.vrrp.packet import checksum

ETH_P_ARP, ETH_P_IPV6 = 0x0806, 0x86DD  # linux/if_ether.h
ETHERNET = 1  # linux/if_arp.h, ARPHRD_ETHER
ARP = struct.Struct("!HHBBH6s4s6s4s")  # RFC 826
ARP_ETHERNET_IPV4 = (1, 0x0800, 6, 4)  # kinds and lengths of the addresses
_ARP_REQUEST = 1
_BROADCAST = b"\xff" * 6
_NOBODY = bytes(6)
# RFC 4861 4.3 and 4.4: solicitation and advertisement; 4.6.1: options with a link-layer address, 8 bytes long
_SOLICITATION, ADVERTISEMENT = 135, 136
_SOURCE_LINK_ADDRESS, _TARGET_LINK_ADDRESS = 1, 2
_OVERRIDE = 0x20000000  # RFC 4861 7.2.6
_ALL_NODES = socket.inet_pton(socket.AF_INET6, "ff02::1")
# RFC 4291 2.7.1: the group of all who have an address with the same last three bytes
_SOLICITED_NODE = bytes.fromhex("ff0200000000000000000001ff")
ICMPV6 = 58
HOP_LIMIT = 255  # RFC 4861 7.1.1: others are discarded


def open_sender(interface: str) -> tuple[socket.socket, bytes | None]:
    """A socket that sends frames on an interface, in the thread's network namespace, and its hardware address.

    None if it is no Ethernet. The caller closes the socket. Raises OSError.
    """
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
    try:
        link.bind((interface, 0))
        _, _, _, kind, mac = link.getsockname()
    except BaseException:
        link.close()
        raise
    return link, mac if kind == ETHERNET and len(mac) == len(_BROADCAST) else None


def announcement(address: Address, mac: bytes) -> bytes:
    """Tells everybody where an address is: gratuitous ARP (RFC 5227 3), an unsolicited advertisement."""
    if isinstance(address, IPv4Address):
        return _arp(mac, address.packed, address)
    message = struct.pack("!BBHI", ADVERTISEMENT, 0, 0, _OVERRIDE) + address.packed
    return _icmpv6(mac, address.packed, _ALL_NODES, message + bytes((_TARGET_LINK_ADDRESS, 1)) + mac)


def probe(address: IPv4Address, mac: bytes) -> bytes:
    """Asks who has an IPv4 address, and names no sender, which pollutes no cache: RFC 5227 2.1.1."""
    return _arp(mac, bytes(4), address)


def solicitation(address: IPv6Address, source: IPv6Address, mac: bytes) -> bytes:
    """Asks who has an IPv6 address: RFC 4861 4.3."""
    message = struct.pack("!BBHI", _SOLICITATION, 0, 0, 0) + address.packed
    group = _SOLICITED_NODE + address.packed[-3:]
    return _icmpv6(mac, source.packed, group, message + bytes((_SOURCE_LINK_ADDRESS, 1)) + mac)


def _arp(mac: bytes, sender_address: bytes, target: IPv4Address) -> bytes:
    body = ARP.pack(*ARP_ETHERNET_IPV4, _ARP_REQUEST, mac, sender_address, _NOBODY, target.packed)
    return _BROADCAST + mac + struct.pack("!H", ETH_P_ARP) + body


def _icmpv6(mac: bytes, source: bytes, group: bytes, message: bytes) -> bytes:
    pseudo = source + group + struct.pack("!II", len(message), ICMPV6)
    message = message[:2] + struct.pack("!H", checksum(pseudo + message)) + message[4:]
    header = struct.pack("!IHBB", 6 << 28, len(message), ICMPV6, HOP_LIMIT) + source + group
    # RFC 2464 section 7: the frames of a multicast address
    return b"\x33\x33" + group[-4:] + mac + struct.pack("!H", ETH_P_IPV6) + header + message
