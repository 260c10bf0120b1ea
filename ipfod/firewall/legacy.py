"""Rules that nftables does not show: tables of the old iptables, still in the kernel beside it.

They are only read: whether VRRP ends in one. Nothing tells of their changes. Layouts and numbers:
linux/netfilter_ipv4/ip_tables.h, linux/netfilter_ipv6/ip6_tables.h, linux/netfilter/x_tables.h.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

VRRP_PROTOCOL = 112  # IANA protocol numbers; RFC 5798, 5.1.1.4
_GET_INFO, _GET_ENTRIES = 64, 65  # IPT_SO_GET_INFO, IPT_SO_GET_ENTRIES; the same for IP6T
# struct ipt_getinfo: name, hooks, by hook where its entries and its policy are, number and size of the entries
_INFO = struct.Struct("=32sI5I5III")
_ENTRIES_HEAD = struct.Struct("@32sI4x")  # struct ipt_get_entries: name and size; entries are aligned to 8
_HOOKS = (0, 1)  # NF_INET_PRE_ROUTING, NF_INET_LOCAL_IN
_NAT = "nat"  # sees only the first packet of a flow, and is no place to drop in
_TARGET = struct.Struct("=H29sB")  # struct xt_entry_target
_VERDICT_BYTES = 4
_INTERFACE_BYTES = 16  # IFNAMSIZ, linux/if.h
_DROP, _ACCEPT, _RETURN = -1, -2, -5  # -NF_DROP - 1, -NF_ACCEPT - 1, XT_RETURN
_INVERTED_INTERFACE, _INVERTED_PROTOCOL = 0x01, 0x40  # IPT_INV_VIA_IN, IPT_INV_PROTO
_DEPTH_MAX = 16
_SIZE_MAX = 64 << 20


@dataclass(frozen=True, slots=True)
class _Layout:
    """One of the two programs: where its kernel part keeps what."""

    program: str
    names: Path  # one table name a line, of this network namespace; absent without the module
    family: int
    level: int
    addresses: int  # bytes of source, destination and their masks
    interface: int  # where the interface's name begins
    protocol: int
    inverted: int
    offsets: int  # where the offsets of target and next entry are
    size: int


_LAYOUTS = (
    _Layout("iptables", Path("/proc/net/ip_tables_names"), socket.AF_INET, 0, 16, 16, 80, 83, 88, 112),
    _Layout("ip6tables", Path("/proc/net/ip6_tables_names"), socket.AF_INET6, 41, 64, 64, 128, 132, 140, 168),
)


def legacy_tables() -> tuple[str, ...]:
    """The tables that may drop adverts on their way in, e.g. ("iptables filter",), and those not to be read."""
    found = []
    for layout in _LAYOUTS:
        try:
            names = layout.names.read_text(encoding="ascii", errors="replace").split()
        except OSError:
            continue
        found += [f"{layout.program} {name}" for name in names if name != _NAT and _may_drop(layout, name)]
    return tuple(found)


def _may_drop(layout: _Layout, table: str) -> bool:
    try:
        entries, starts = _read(layout, table)
        return any(_Walk(layout, entries).drops(start, 0) is True for start in starts)
    except (OSError, struct.error, IndexError):
        return True


def _read(layout: _Layout, table: str) -> tuple[bytes, list[int]]:
    """A table's entries, and where the chains that adverts come through begin. Raises OSError."""
    with socket.socket(layout.family, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_RAW) as opened:
        info = _ask(opened, layout.level, _GET_INFO, struct.pack("32s", table.encode()), _INFO.size)
        _, hooks, *numbers, _, size = _INFO.unpack(info)
        if size > _SIZE_MAX:
            raise OSError("a table that is too large")
        head = _ENTRIES_HEAD.pack(table.encode(), size)
        answer = _ask(opened, layout.level, _GET_ENTRIES, head, len(head) + size)
    return answer[len(head) :], [numbers[hook] for hook in _HOOKS if hooks & 1 << hook]


def _ask(opened: socket.socket, level: int, option: int, request: bytes, size: int) -> bytes:
    """getsockopt(2) with a request in the buffer, which Python's own cannot."""
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(request, size)
    length = ctypes.c_uint32(size)
    if libc.getsockopt(opened.fileno(), level, option, buffer, ctypes.byref(length)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return buffer.raw


@dataclass(frozen=True, slots=True)
class _Walk:
    """A table as an advert comes through it. A match that is not understood does not stop it from a drop."""

    layout: _Layout
    entries: bytes

    def drops(self, start: int, depth: int) -> bool | None:
        """True: a rule or a policy may drop it. False: it is accepted before. None: the chain returns."""
        for at, after, verdict in self._passed(start):
            if verdict in ("REJECT", _DROP):
                return True
            if verdict == _ACCEPT and self._surely_vrrp(at):
                return False
            if verdict == _RETURN and self._surely_vrrp(at):
                return None
            if isinstance(verdict, int) and verdict >= 0 and verdict != after and depth < _DEPTH_MAX:
                inner = self.drops(verdict, depth + 1)
                if inner is not None and (inner or self._surely_vrrp(at)):
                    return inner
        return None

    def _passed(self, at: int) -> Iterator[tuple[int, int, int | str]]:
        """The rules that may match, from one on to the end of its chain: place, that of the next, verdict."""
        while True:
            target, step = struct.unpack_from("=HH", self.entries, at + self.layout.offsets)
            _, name, _ = _TARGET.unpack_from(self.entries, at + target)
            word = name.partition(b"\0")[0].decode(errors="replace")
            if word == "ERROR" or step <= 0:
                return  # the head of the next chain, or the end of the table
            if self._may_match(at):
                verdict = at + target + _TARGET.size
                number = self.entries[verdict : verdict + _VERDICT_BYTES]
                yield at, at + step, word or int.from_bytes(number, sys.byteorder, signed=True)
            at += step

    def _may_match(self, at: int) -> bool:
        name = at + self.layout.interface
        interface = self.entries[name : name + _INTERFACE_BYTES].partition(b"\0")[0]
        inverted = self.entries[at + self.layout.inverted]
        if interface == b"lo" and not inverted & _INVERTED_INTERFACE:
            return False
        protocol = self._protocol(at)
        return (protocol in (0, VRRP_PROTOCOL)) is not bool(inverted & _INVERTED_PROTOCOL) or not protocol

    def _protocol(self, at: int) -> int:
        return int(struct.unpack_from("=H", self.entries, at + self.layout.protocol)[0])

    def _surely_vrrp(self, at: int) -> bool:
        """Whether a rule was written for VRRP, or takes everything."""
        inverted = self.entries[at + self.layout.inverted]
        return (self._protocol(at) == VRRP_PROTOCOL and not inverted) or self._plain(at)

    def _plain(self, at: int) -> bool:
        """Whether a rule has no condition at all."""
        target = struct.unpack_from("=H", self.entries, at + self.layout.offsets)[0]
        conditions = self.entries[at : at + self.layout.inverted + 1]
        return target == self.layout.size and not any(conditions)
