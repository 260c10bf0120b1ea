"""The kernel's word that a listening TCP socket is gone: the destroy groups of sock_diag(7)."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import socket
import struct
from collections.abc import Callable

NETLINK_SOCK_DIAG = 4  # linux/netlink.h
SKNLGRP_INET_TCP_DESTROY = 1  # linux/sock_diag.h
SKNLGRP_INET6_TCP_DESTROY = 3
SOL_NETLINK = 270  # linux/socket.h
NETLINK_ADD_MEMBERSHIP = 1  # linux/netlink.h
SO_ATTACH_FILTER = 26  # asm-generic/socket.h
SOCK_DIAG_BY_FAMILY = 20  # linux/sock_diag.h

# struct nlmsghdr: length, type, flags, sequence, port id. Then struct inet_diag_msg up to the destination:
# family, state, timer, retransmits, source port, destination port (both big-endian), source, destination.
_HEADER = struct.Struct("=IHHII")
_DIAG = struct.Struct("!BBBBHH16s16s")
_DESTINATION_PORT = _HEADER.size + 6
_DESTINATION = _HEADER.size + 24
_MESSAGES_A_WAKE = 64  # then the rest of the daemon has its turn

# Classic BPF, linux/filter.h: load half word, load word, jump if equal, return.
_LDH, _LDW, _JEQ, _RET = 0x28, 0x20, 0x15, 0x06

Closed = Callable[[int, int], None]


def _filter_program() -> bytes:
    """Let only sockets without a peer through: destination port and address all zero.

    The kernel announces every socket that goes, all in state 7 (CLOSE) whatever they were. One that listened
    has no peer; an unaccepted or refused connection has no destination port either, but an address. What else
    comes through is a socket that was bound and never used.
    """
    loads = [(_LDH, _DESTINATION_PORT), *((_LDW, _DESTINATION + 4 * word) for word in range(4))]
    program = b""
    for index, (load, offset) in enumerate(loads):
        to_drop = 2 * (len(loads) - index) - 1
        program += struct.pack("=HBBI", load, 0, 0, offset) + struct.pack("=HBBI", _JEQ, 0, to_drop, 0)
    accept, drop = 0xFFFFFFFF, 0
    return program + struct.pack("=HBBI", _RET, 0, 0, accept) + struct.pack("=HBBI", _RET, 0, 0, drop)


class ListenerEvents:
    """Calls back when a listening TCP socket of this network namespace is closed.

    `closed(port, ip_version)` is called from the running loop, within a millisecond of the last close. A
    listener on [::] is announced once, as version 6, even if it served IPv4 too. Port 0, version 0 means that
    messages were lost: anything may have closed. The port may still be served by another socket: look, do
    not believe. shutdown() of a listener is not announced, nor is a port that opens.
    """

    def __init__(self, closed: Closed) -> None:
        """Start listening. Raises OSError where the kernel cannot tell (no sock_diag, no netlink allowed)."""
        self._closed = closed
        self._loop = asyncio.get_running_loop()
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, NETLINK_SOCK_DIAG
        )
        try:
            _attach_filter(self._socket)
            self._socket.bind((0, 0))
            for group in (SKNLGRP_INET_TCP_DESTROY, SKNLGRP_INET6_TCP_DESTROY):
                self._socket.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)
        except BaseException:
            self._socket.close()
            raise
        self._loop.add_reader(self._socket, self._on_messages)

    def close(self) -> None:
        """Stop; may be called twice."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()

    def _on_messages(self) -> None:
        gone: set[tuple[int, int]] = set()
        with contextlib.suppress(BlockingIOError):
            for _ in range(_MESSAGES_A_WAKE):
                gone.add(self._receive())
        gone.discard(_NOTHING)
        for port, ip_version in sorted(gone):
            self._closed(port, ip_version)

    def _receive(self) -> tuple[int, int]:
        """Read one message: port and IP version. Raises BlockingIOError if there is none."""
        try:
            message, (sender, _groups) = self._socket.recvfrom(4096)
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            return _LOST
        return parse(message) if sender == 0 else _NOTHING  # 0: the kernel


_LOST = (0, 0)
_NOTHING = (-1, -1)


def parse(message: bytes) -> tuple[int, int]:
    """Read a destroy message: port and IP version, or (-1, -1) if it is none of a listener."""
    if len(message) < _HEADER.size + _DIAG.size:
        return _NOTHING
    _, kind, _, _, _ = _HEADER.unpack_from(message)
    family, _, _, _, port, peer_port, _, peer = _DIAG.unpack_from(message, _HEADER.size)
    if kind != SOCK_DIAG_BY_FAMILY or port == 0 or peer_port != 0 or any(peer):
        return _NOTHING
    match family:
        case socket.AF_INET:
            return port, 4
        case socket.AF_INET6:
            return port, 6
    return _NOTHING


def _attach_filter(netlink: socket.socket) -> None:
    program = _filter_program()
    buffer = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: number of instructions, pointer to them; the kernel copies them
    netlink.setsockopt(
        socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer))
    )
