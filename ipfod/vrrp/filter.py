"""The kernel's packet filter for VRRP: classic BPF, so that nothing but adverts wakes the daemon.

It looks at the packet from the network header on, as a packet socket of type SOCK_DGRAM hands it over.
Instructions, ancillary offsets and packet types: linux/bpf_common.h, linux/filter.h, linux/if_packet.h.
"""

from __future__ import annotations

import ctypes
import socket
import struct

from ipfod.vrrp.packet import PROTOCOL, TTL

_SO_ATTACH_FILTER = 26  # asm-generic/socket.h; Python's socket module does not name it

_LOAD_WORD, _LOAD_HALF, _LOAD_BYTE = 0x20, 0x28, 0x30  # BPF_LD | BPF_W / BPF_H / BPF_B | BPF_ABS
_AND = 0x54  # BPF_ALU | BPF_AND | BPF_K
_IF_EQUAL, _IF_SET = 0x15, 0x45  # BPF_JMP | BPF_JEQ / BPF_JSET | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K

_ANCILLARY = 0xFFFFF000  # SKF_AD_OFF, -0x1000
_ETHERTYPE, _PACKET_TYPE, _VLAN_TAG, _VLAN_TAGGED = (_ANCILLARY + each for each in (0, 4, 44, 48))
_ETHERTYPE_IPV4, _ETHERTYPE_IPV6 = 0x0800, 0x86DD  # linux/if_ether.h
_PACKET_OTHERHOST = 3

_ACCEPT, _DROP = "accept", "drop"
_Step = tuple[str, int, int, str, str]  # label, instruction, operand, label if true, label if false; "" = next

_PROGRAM: tuple[_Step, ...] = (
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


def attach(packet_socket: socket.socket, *, length: int) -> None:
    """Let only VRRP adverts into a packet socket of type SOCK_DGRAM, cut off after `length` bytes.

    Passed are IPv4 of TTL 255 without options or fragments and IPv6 without extension headers, protocol 112,
    sent by this node or meant for it, outside any VLAN that has an interface of its own. Attach before binding,
    or packets from before stay in the queue. Raises OSError.
    """
    program = _assemble(length)
    code = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: the number of instructions, and a pointer that need not outlive the call
    packet_socket.setsockopt(
        socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", len(program) // 8, ctypes.addressof(code))
    )


def _assemble(length: int) -> bytes:
    """Turn labels into distances: `struct sock_filter` for each step, then the two returns."""
    labels = {label: at for at, (label, *_) in enumerate(_PROGRAM) if label}
    labels |= {_ACCEPT: len(_PROGRAM), _DROP: len(_PROGRAM) + 1}
    steps = []
    for at, (_, instruction, operand, if_true, if_false) in enumerate(_PROGRAM):
        jumps = (labels[each] - at - 1 if each else 0 for each in (if_true, if_false))
        steps.append(struct.pack("HBBI", instruction, *jumps, operand))
    steps += [struct.pack("HBBI", _RETURN, 0, 0, value) for value in (length, 0)]
    return b"".join(steps)
