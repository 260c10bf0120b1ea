"""The packet socket that hears VRRP adverts, whatever the firewall does to them.

It sees what comes in before netfilter does, and what goes out after it. Bound to all protocols it comes before
the ingress hook too, and sees what this node itself sends. The price of the latter is that the kernel clones
everything that the interface sends, 0.1 us each as measured with 64 byte datagrams. It is of type SOCK_DGRAM:
the IP header comes first on every kind of link.
"""

from __future__ import annotations

import socket
import struct

from ipfod.host.datagrams import Datagrams
from ipfod.vrrp import filter as kernel_filter

_QUEUE_BYTES = 2 << 20  # some 2700 adverts of 768 bytes, as the kernel counts: 1 s of 255 groups at 0.1 s
_PACKET_BYTES = 40 + 8 + 255 * 16  # the longest advert: IPv6 header, VRRP header, 255 addresses
_BATCH_PACKETS = 32  # with one system call; more gain nothing that could be measured

# Constants which Python 3.11's socket module does not name: linux/if_packet.h, asm-generic/socket.h,
# linux/if_ether.h
_ETH_P_ALL = 0x0003
SOL_PACKET = 263
_PACKET_ADD_MEMBERSHIP, _PACKET_MR_MULTICAST = 1, 0
_SO_RCVBUFFORCE = 33
# The frames of 224.0.0.18 and ff02::12: RFC 1112 section 6.4, RFC 2464 section 7
_GROUP_MACS = (bytes.fromhex("01005e000012"), bytes.fromhex("333300000012"))


def make(interface: str) -> socket.socket:
    """A socket that hears nothing yet and costs nothing, in the thread's network namespace. Raises OSError."""
    index = socket.if_nametoindex(interface)
    # Protocol 0: nothing arrives before it is bound, when the filter is in place.
    packet_socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 0)
    try:
        kernel_filter.attach(packet_socket, length=_PACKET_BYTES)
        packet_socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _QUEUE_BYTES)
        for mac in _GROUP_MACS:
            # The adapter may drop these frames as long as no keepalived has joined the group.
            membership = struct.pack("iHH8s", index, _PACKET_MR_MULTICAST, len(mac), mac)
            packet_socket.setsockopt(SOL_PACKET, _PACKET_ADD_MEMBERSHIP, membership)
    except BaseException:
        packet_socket.close()
        raise
    return packet_socket


def begin(packet_socket: socket.socket, interface: str) -> None:
    """Let it hear from now on. Raises OSError."""
    packet_socket.bind((interface, _ETH_P_ALL))


def listening(interface: str) -> socket.socket:
    """A socket that hears already. Raises OSError."""
    packet_socket = make(interface)
    try:
        begin(packet_socket, interface)
    except BaseException:
        packet_socket.close()
        raise
    return packet_socket


def batch() -> Datagrams:
    """Room for what is taken from it at once."""
    return Datagrams(_BATCH_PACKETS, _PACKET_BYTES)
