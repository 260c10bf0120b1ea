"""Many packets with one system call: recvmmsg(2), which Python's socket module lacks.

`socket.recvfrom` on a packet socket is two system calls a packet: it asks the kernel for the interface's name
to make the address. With thousands of packets a second that is most of the work.
"""

from __future__ import annotations

import ctypes
import os
import socket

_libc = ctypes.CDLL(None, use_errno=True)
_ADDRESS_BYTES = 32  # room for a struct sockaddr_ll (linux/if_packet.h), which has 20
_PACKET_TYPE = 10  # offset of sll_pkttype


class _Vector(ctypes.Structure):
    """struct iovec"""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Header(ctypes.Structure):
    """struct msghdr"""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vector", ctypes.POINTER(_Vector)),
        ("vector_length", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):
    """struct mmsghdr"""

    _fields_ = (("header", _Header), ("received", ctypes.c_uint32))


class Datagrams:
    """Room for `count` packets of a packet socket, `size` bytes of each; what is longer is cut off."""

    def __init__(self, count: int, size: int) -> None:
        self._count = count
        self._bytes = bytearray(count * size)
        self._view = memoryview(self._bytes)
        self._addresses = bytearray(count * _ADDRESS_BYTES)
        data = ctypes.addressof(ctypes.c_char.from_buffer(self._bytes))
        addresses = ctypes.addressof(ctypes.c_char.from_buffer(self._addresses))
        self._vectors = (_Vector * count)(*(_Vector(data + at * size, size) for at in range(count)))
        self._messages = (_Message * count)()
        self._starts = range(0, count * size, size)
        step, place = ctypes.sizeof(_Message) // 4, _Message.received.offset // 4
        self._lengths = memoryview(self._messages).cast("B").cast("I")[place::step]
        for at, message in enumerate(self._messages):
            header = message.header
            header.name, header.name_length = addresses + at * _ADDRESS_BYTES, _ADDRESS_BYTES
            header.vector, header.vector_length = ctypes.pointer(self._vectors[at]), 1

    def receive(self, packet_socket: socket.socket) -> list[tuple[bytes, bool]]:
        """Take what waits, at most `count` packets, each with whether this node sent it. Never waits.

        Raises OSError; BlockingIOError: nothing waits.
        """
        found: int = _libc.recvmmsg(
            packet_socket.fileno(), self._messages, self._count, socket.MSG_DONTWAIT, None
        )
        if found < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        view, outgoing = self._view, socket.PACKET_OUTGOING
        kinds = self._addresses[_PACKET_TYPE : found * _ADDRESS_BYTES : _ADDRESS_BYTES]
        return [
            (bytes(view[start : start + length]), kind == outgoing)
            for start, length, kind in zip(self._starts, self._lengths[:found].tolist(), kinds, strict=False)
        ]
