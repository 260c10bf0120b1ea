"""Tells everybody on a link where addresses are: gratuitous ARP, and unsolicited neighbour advertisements."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable

from ipfod.addresses import Address
from ipfod.errors import Failed
from ipfod.vrrp.packet import checksum

# linux/if_ether.h, RFC 826, RFC 5227 3 (announcement: sender and target are the same address)
_ETH_P_ARP, _ETH_P_IPV6 = 0x0806, 0x86DD
_BROADCAST = b"\xff" * 6
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_ARP_ETHERNET, _ARP_REQUEST = 1, 1
# RFC 4861 4.4 and 7.2.6: to all nodes, flag "override", with the target's link-layer address
_ALL_NODES = socket.inet_pton(socket.AF_INET6, "ff02::1")
_ALL_NODES_MAC = bytes.fromhex("333300000001")
_OVERRIDE = 0x20000000
_NEIGHBOUR_ADVERTISEMENT, _TARGET_LINK_ADDRESS = 136, 2
_ICMPV6 = 58
_HOP_LIMIT = 255  # RFC 4861 7.1.2: others are discarded
_ETHERNET = 1  # linux/if_arp.h, ARPHRD_ETHER


def announce(interface: str, addresses: Iterable[Address]) -> None:
    """Send one announcement for each address, in the thread's network namespace. Raises Failed."""
    try:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0) as link:
            link.bind((interface, 0))
            _, _, _, kind, mac = link.getsockname()
            if kind != _ETHERNET or len(mac) != len(_BROADCAST):
                raise Failed(f"{interface}: is no Ethernet link, nothing is to be announced there")
            for address in addresses:
                link.send(_frame(address, mac))
    except OSError as error:
        raise Failed(f"{interface}: addresses cannot be announced: {error.strerror}") from error


def _frame(address: Address, mac: bytes) -> bytes:
    if address.version == 4:
        body = _ARP.pack(
            _ARP_ETHERNET, 0x0800, 6, 4, _ARP_REQUEST, mac, address.packed, bytes(6), address.packed
        )
        return _BROADCAST + mac + struct.pack("!H", _ETH_P_ARP) + body
    message = struct.pack("!BBHI", _NEIGHBOUR_ADVERTISEMENT, 0, 0, _OVERRIDE) + address.packed
    message += bytes((_TARGET_LINK_ADDRESS, 1)) + mac
    pseudo = address.packed + _ALL_NODES + struct.pack("!II", len(message), _ICMPV6)
    message = message[:2] + struct.pack("!H", checksum(pseudo + message)) + message[4:]
    header = struct.pack("!IHBB", 6 << 28, len(message), _ICMPV6, _HOP_LIMIT) + address.packed + _ALL_NODES
    return _ALL_NODES_MAC + mac + struct.pack("!H", _ETH_P_IPV6) + header + message
