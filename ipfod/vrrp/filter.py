"""The kernel's packet filters: classic BPF, so that nothing wakes the daemon but what it waits for.

They look at the packet from the network header on, as a packet socket of type SOCK_DGRAM hands it over.
Instructions, ancillary offsets and packet types: linux/bpf_common.h, linux/filter.h, linux/if_packet.h.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Sequence

from ipfod.vrrp.frames import ADVERTISEMENT, HOP_LIMIT, ICMPV6
from ipfod.vrrp.packet import PROTOCOL, TTL

_SO_ATTACH_FILTER = 26  # asm-generic/socket.h; Python's socket module does not name it

_LOAD_WORD, _LOAD_HALF, _LOAD_BYTE = 0x20, 0x28, 0x30  # BPF_LD | BPF_W / BPF_H / BPF_B | BPF_ABS
_AND = 0x54  # BPF_ALU | BPF_AND | BPF_K
# BPF_JMP | BPF_JEQ / BPF_JSET / BPF_JGE / BPF_JGT | BPF_K
_IF_EQUAL, _IF_SET, _IF_AT_LEAST, _IF_ABOVE = 0x15, 0x45, 0x35, 0x25
_RETURN = 0x06  # BPF_RET | BPF_K

_ANCILLARY = 0xFFFFF000  # SKF_AD_OFF, -0x1000
_ETHERTYPE, _PACKET_TYPE, _VLAN_TAG, _VLAN_TAGGED = (_ANCILLARY + each for each in (0, 4, 44, 48))
_ETHERTYPE_IPV4, _ETHERTYPE_IPV6 = 0x0800, 0x86DD  # linux/if_ether.h
_PACKET_OTHERHOST = 3

_ACCEPT, _DROP = "accept", "drop"
_Step = tuple[str, int, int, str, str]  # label, instruction, operand, label if true, label if false; "" = next

_VRRP: tuple[_Step, ...] = (
    # Most packets are neither, and leave after four instructions.
    ("", _LOAD_HALF, _ETHERTYPE, "", ""),
    ("", _IF_EQUAL, _ETHERTYPE_IPV6, "ipv6", ""),
    ("", _IF_EQUAL, _ETHERTYPE_IPV4, "", _DROP),
    ("", _LOAD_BYTE, 9, "", ""),
    ("", _IF_EQUAL, PROTOCOL, "", _DROP),
    ("", _LOAD_BYTE, 0, "", ""),
    ("", _IF_EQUAL, 0x45, "", _DROP),  # no options
    ("", _LOAD_HALF, 6, "", ""),
    ("", _IF_SET, 0x3FFF, _DROP, ""),  # no fragment
    ("", _LOAD_BYTE, 8, "", ""),
    ("", _IF_EQUAL, TTL, "link", _DROP),
    ("ipv6", _LOAD_BYTE, 6, "", ""),
    ("", _IF_EQUAL, PROTOCOL, "", _DROP),  # any hop limit: see packet.py
    # Unicast between two other nodes, flooded by the switch, is not for this one.
    ("link", _LOAD_WORD, _PACKET_TYPE, "", ""),
    ("", _IF_EQUAL, _PACKET_OTHERHOST, _DROP, ""),
    # A VLAN's packets pass the interface below it too. Its adverts have ids of their own. VLAN 0 is no VLAN
    # (IEEE 802.1Q).
    ("", _LOAD_WORD, _VLAN_TAGGED, "", ""),
    ("", _IF_EQUAL, 0, _ACCEPT, ""),
    ("", _LOAD_WORD, _VLAN_TAG, "", ""),
    ("", _AND, 0x0FFF, "", ""),
    ("", _IF_EQUAL, 0, _ACCEPT, _DROP),
)

_NEIGHBOUR_ADVERTISEMENTS: tuple[_Step, ...] = (
    ("", _LOAD_BYTE, 6, "", ""),
    ("", _IF_EQUAL, ICMPV6, "", _DROP),  # no extension header
    ("", _LOAD_BYTE, 7, "", ""),
    ("", _IF_EQUAL, HOP_LIMIT, "", _DROP),  # from this link: RFC 4861 7.1.2
    ("", _LOAD_BYTE, 40, "", ""),
    ("", _IF_EQUAL, ADVERTISEMENT, _ACCEPT, _DROP),
)
_ARP_ETHERNET_IPV4 = 0x0001_0800
RANGES_MAX = 100  # a jump is at most 255 instructions long


def attach(packet_socket: socket.socket, *, length: int) -> None:
    """Let only VRRP adverts into a packet socket of type SOCK_DGRAM, cut off after `length` bytes.

    Passed are IPv4 of TTL 255 without options or fragments and IPv6 without extension headers, protocol 112,
    sent by this node or meant for it, outside any VLAN that has an interface of its own. Attach before binding,
    or packets from before stay in the queue. Raises OSError.
    """
    _attach(packet_socket, _VRRP, length)


def attach_arp(packet_socket: socket.socket, ranges: Sequence[tuple[int, int]], *, length: int) -> None:
    """Let only ARP packets into a packet socket that is bound to ARP, whose sender says it has an IPv4 address
    from the first to the last of one of the ranges, at most RANGES_MAX. Raises OSError.
    """
    steps: list[_Step] = [
        ("", _LOAD_WORD, 0, "", ""),
        ("", _IF_EQUAL, _ARP_ETHERNET_IPV4, "", _DROP),
        ("", _LOAD_WORD, 14, "", ""),  # the sender's protocol address: RFC 826
    ]
    for place, (first, last) in enumerate(ranges):
        steps.append((f"range {place}", _IF_AT_LEAST, first, "", f"range {place + 1}"))
        steps.append(("", _IF_ABOVE, last, f"range {place + 1}", _ACCEPT))
    steps.append((f"range {len(ranges)}", _RETURN, 0, "", ""))
    _attach(packet_socket, steps, length)


def attach_advertisements(packet_socket: socket.socket, *, length: int) -> None:
    """Let only neighbour advertisements (RFC 4861) into a socket that is bound to IPv6. Raises OSError."""
    _attach(packet_socket, _NEIGHBOUR_ADVERTISEMENTS, length)


def _attach(packet_socket: socket.socket, steps: Sequence[_Step], length: int) -> None:
    program = _assemble(steps, length)
    code = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: the number of instructions, and a pointer that need not outlive the call
    packet_socket.setsockopt(
        socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", len(program) // 8, ctypes.addressof(code))
    )


def _assemble(program: Sequence[_Step], length: int) -> bytes:
    """Turn labels into distances: `struct sock_filter` for each step, then the two returns."""
    labels = {label: at for at, (label, *_) in enumerate(program) if label}
    labels |= {_ACCEPT: len(program), _DROP: len(program) + 1}
    steps = []
    for at, (_, instruction, operand, if_true, if_false) in enumerate(program):
        jumps = (labels[each] - at - 1 if each else 0 for each in (if_true, if_false))
        steps.append(struct.pack("HBBI", instruction, *jumps, operand))
    steps += [struct.pack("HBBI", _RETURN, 0, 0, value) for value in (length, 0)]
    return b"".join(steps)
