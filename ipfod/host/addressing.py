"""Many addresses on or off interfaces with few system calls: rtnetlink messages made by hand.

pyroute2 takes 0.13 ms for each address and several times that on a busy machine, nearly all of it in Python
(measured). Of the thousands of a keepalived that died the last would be here when peers have them already: they
wait three advertisement intervals. Sixteen with one system call take 0.5 ms.
"""

from __future__ import annotations

import fcntl
import socket
import struct
from collections.abc import Iterator, Sequence

from ipfod.addresses import InterfaceAddress

# linux/netlink.h, linux/rtnetlink.h, linux/if_addr.h
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_ERROR = struct.Struct("=i")
_ADDRESS = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, interface index
_ATTRIBUTE = struct.Struct("=HH")  # length, type
_CACHEINFO = struct.Struct("=IIII")  # preferred and valid for so many seconds, created, changed
_NLMSG_ERROR, _RTM_NEWADDR, _RTM_DELADDR = 2, 20, 21
_NLM_F_REQUEST, _NLM_F_ACK, _NLM_F_REPLACE, _NLM_F_EXCL, _NLM_F_CREATE = 0x1, 0x4, 0x100, 0x200, 0x400
_RT_SCOPE_UNIVERSE, _RT_SCOPE_HOST = 0, 254
# Without IFA_ADDRESS the kernel does not compare the prefix length of an IPv4 address.
_IFA_ADDRESS, _IFA_LOCAL, _IFA_CACHEINFO = 1, 2, 6
_SIOCGIFINDEX = 0x8933  # linux/sockios.h
_IFREQ = struct.Struct("=16si20x")  # linux/if.h
_TOGETHER = 64  # requests in one call: their answers must fit into the socket's buffer, 0.8 KiB each
_RECEIVE_BYTES = 65536
_PATIENCE_S = 5.0  # answers are there when the request has been sent


class AddressRequests:
    """Owns the socket: without a free descriptor none could be made. For one thread."""

    def __init__(self) -> None:
        """Raises OSError."""
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        self._route = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
        self._route.settimeout(_PATIENCE_S)
        self._route.connect((0, 0))  # from the kernel alone
        self._number = 0  # of the last request: answers to others are late ones

    def remove(self, wanted: Sequence[InterfaceAddress]) -> tuple[int, ...]:
        """Take addresses off; answers an errno for each, 0 if it was taken off. Raises OSError.

        EADDRNOTAVAIL: it was not there; ENODEV: its interface is not. Blocks, for less than 0.1 ms an address.
        """
        return self._ask(wanted, _RTM_DELADDR, 0, _RT_SCOPE_UNIVERSE)

    def lend(self, wanted: Sequence[InterfaceAddress], lifetime_s: int, *, again: bool) -> tuple[int, ...]:
        """Put addresses on for so long, by the kernel's clock; answers an errno for each. Raises OSError.

        They are never chosen as a source (scope host). `again` prolongs the life of those that are there;
        without it one that is there is left alone, its errno is EEXIST. ENODEV: its interface is not there.
        Blocks like `remove`.
        """
        flags = _NLM_F_CREATE | (_NLM_F_REPLACE if again else _NLM_F_EXCL)
        lifetime = _attribute(_IFA_CACHEINFO, _CACHEINFO.pack(0, lifetime_s, 0, 0))
        return self._ask(wanted, _RTM_NEWADDR, flags, _RT_SCOPE_HOST, lifetime)

    def _ask(
        self, wanted: Sequence[InterfaceAddress], kind: int, flags: int, scope: int, more: bytes = b""
    ) -> tuple[int, ...]:
        indices = {interface: self._index(interface) for interface in {entry.interface for entry in wanted}}
        bodies = [_body(indices[entry.interface], entry, scope) + more for entry in wanted]
        codes: list[int] = []
        for start in range(0, len(bodies), _TOGETHER):
            codes += self._send(bodies[start : start + _TOGETHER], kind, flags)
        return tuple(codes)

    def _send(self, bodies: Sequence[bytes], kind: int, flags: int) -> list[int]:
        numbers = range(self._number + 1, self._number + 1 + len(bodies))
        self._number = numbers[-1]
        flags |= _NLM_F_REQUEST | _NLM_F_ACK
        requests = [
            _HEADER.pack(_HEADER.size + len(body), kind, flags, number, 0) + body
            for number, body in zip(numbers, bodies, strict=True)
        ]
        self._route.send(b"".join(requests))
        answers: dict[int, int] = {}
        while not answers.keys() >= set(numbers):
            answers.update(_answers(self._route.recv(_RECEIVE_BYTES)))
        return [answers[number] for number in numbers]

    def _index(self, interface: str) -> int:
        """0 for an interface that is not there: the kernel has none of that index.

        if_nametoindex(3) would make a socket.
        """
        try:
            found = fcntl.ioctl(self._route, _SIOCGIFINDEX, _IFREQ.pack(interface.encode(), 0))
        except OSError:
            return 0
        return int(_IFREQ.unpack(found)[1])

    def close(self) -> None:
        self._route.close()


def _body(index: int, entry: InterfaceAddress, scope: int) -> bytes:
    family = socket.AF_INET if entry.address.version == 4 else socket.AF_INET6
    body = _ADDRESS.pack(family, entry.prefix_length, 0, scope, index)
    return body + b"".join(_attribute(kind, entry.address.packed) for kind in (_IFA_LOCAL, _IFA_ADDRESS))


def _attribute(kind: int, value: bytes) -> bytes:
    """Values are of a length that needs no padding."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value


def _answers(data: bytes) -> Iterator[tuple[int, int]]:
    """Number and errno of each request that is answered in what was received."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, _, number, _ = _HEADER.unpack_from(data, offset)
        if kind == _NLMSG_ERROR:
            yield number, -_ERROR.unpack_from(data, offset + _HEADER.size)[0]
        offset += max(_HEADER.size, length + -length % 4)
