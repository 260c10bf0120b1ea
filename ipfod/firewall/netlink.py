"""What libnftables cannot tell: where a comment stands at all, what iptables wrote into one, who changes rules.

Message and attribute numbers: linux/netlink.h, linux/netfilter/nfnetlink.h, nf_tables.h, nf_tables_compat.h.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

log = logging.getLogger(__name__)

_NETLINK_NETFILTER = 12
_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP = 270, 1
_NFNLGRP_NFTABLES = 7
_NLM_F_REQUEST, _NLM_F_DUMP_INTR, _NLM_F_DUMP = 0x1, 0x10, 0x300
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_NFNL_SUBSYS_NFTABLES = 10 << 8
_GETRULE, _NEWGEN, _GETGEN = (_NFNL_SUBSYS_NFTABLES | kind for kind in (7, 15, 16))
_NFPROTO_UNSPEC = 0
_FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}  # NFPROTO_*, linux/netfilter.h
_NFPROTO = {name: number for number, name in _FAMILIES.items()}
_NLA_TYPE_MASK = 0x3FFF
_RULE_TABLE, _RULE_CHAIN, _RULE_HANDLE, _RULE_EXPRESSIONS = 1, 2, 3, 4
_EXPR_NAME, _EXPR_DATA = 1, 2
_MATCH_NAME, _MATCH_INFO = 1, 3
_GEN_PROC_NAME = 3

_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_HEAD_BYTES = 4  # struct nfgenmsg: family, version, resource; or the number in struct nlmsgerr
_ATTRIBUTE = struct.Struct("=HH")  # length, type
_RECEIVE_BYTES = 1 << 16
_REPLY_TIMEOUT_S = 1.0  # the kernel answers within the send; this only keeps a fault from hanging the thread
_DUMP_ATTEMPTS = 5  # the kernel says when the ruleset changed under a dump
_RECEIVES_PER_WAKE = 64  # a ruleset of 100000 rules arrives in many messages; let other work in between


def check_available() -> None:
    """Ask the kernel for its ruleset's generation. Raises OSError; EPERM: no CAP_NET_ADMIN.

    To be called before each libnftables context: when that cannot open its socket it ends the whole process.
    """
    for _ in _request(_GETGEN, _NFPROTO_UNSPEC, b""):
        pass


def chains_holding(text: str) -> frozenset[tuple[str, str, str]]:
    """Family, table and name of each chain with a rule that has these bytes in it, be it where it may.

    Searches the whole ruleset without taking it apart: 5000 rules in some ms. Raises OSError.
    """
    wanted = text.encode()
    for _ in range(_DUMP_ATTEMPTS):
        found = set()
        interrupted = False
        for message in _request(_GETRULE, _NFPROTO_UNSPEC, b"", dump=True):
            interrupted = interrupted or bool(message.flags & _NLM_F_DUMP_INTR)
            if wanted in message.attributes:
                table, chain = (_text(message.attributes, kind) for kind in (_RULE_TABLE, _RULE_CHAIN))
                found.add((_FAMILIES.get(message.family, ""), table, chain))
        if not interrupted:
            return frozenset(found)
    raise OSError(errno.EINTR, "the ruleset changes faster than it can be read")


def iptables_comment(family: str, table: str, chain: str, handle: int) -> str:
    """The comment of one rule that iptables-nft wrote, "" if it has none; libnftables keeps this one to itself.

    Raises OSError (ENOENT: the rule is gone).
    """
    where = _attribute(_RULE_TABLE, table.encode() + b"\0") + _attribute(_RULE_CHAIN, chain.encode() + b"\0")
    which = where + _attribute(_RULE_HANDLE, struct.pack("!Q", handle))
    for answer in _request(_GETRULE, _NFPROTO[family], which):
        for _, element in _attributes(_value(answer.attributes, _RULE_EXPRESSIONS)):
            data = _value(element, _EXPR_DATA)
            if _text(element, _EXPR_NAME) == "match" and _text(data, _MATCH_NAME) == "comment":
                return _text(data, _MATCH_INFO)  # struct xt_comment_info: char comment[256]
    return ""


class RulesetEvents:
    """Calls `changed()` after each transaction on the ruleset of this network namespace that was not our own.

    Our own is known by the name of the thread that made it, `own_thread`. The process id beside it in the
    message is of no use: it is the thread's, in the initial PID namespace, and a daemon may run in another.
    Lost messages (ENOBUFS) count as a change. Must be made inside a running loop; raises OSError.
    """

    def __init__(self, own_thread: str, changed: Callable[[], None]) -> None:
        self.other = ""  # who changed it last, if not we
        self._own_thread = own_thread
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._socket = _open_socket()
        try:
            self._socket.setblocking(False)
            self._socket.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, _NFNLGRP_NFTABLES)
        except BaseException:
            self._socket.close()
            raise
        self._loop.add_reader(self._socket.fileno(), self._readable)

    def close(self) -> None:
        """Stop listening. May be called twice."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()

    def _readable(self) -> None:
        changed = False
        for _ in range(_RECEIVES_PER_WAKE):
            try:
                data = self._socket.recv(_RECEIVE_BYTES)
            except BlockingIOError:
                break
            except OSError as error:
                changed = True
                if error.errno != errno.ENOBUFS:
                    log.error("ruleset: changes can no longer be watched: %s", os.strerror(error.errno or 0))
                    self.close()
                    break
            else:
                others = [author for author in transaction_authors(data) if author != self._own_thread]
                self.other = others[-1] if others else self.other
                changed = changed or bool(others)
        if changed:
            self._changed()


def transaction_authors(data: bytes) -> tuple[str, ...]:
    """The name of the thread behind each transaction that ends in this datagram of NFNLGRP_NFTABLES."""
    return tuple(
        _text(message.attributes, _GEN_PROC_NAME) for message in _messages(data) if message.kind == _NEWGEN
    )


class _Message(NamedTuple):
    """A netlink message; `head` is the four bytes after the header: struct nfgenmsg, or an error number."""

    kind: int
    flags: int
    head: bytes
    attributes: bytes

    @property
    def family(self) -> int:
        return self.head[0]


def _open_socket() -> socket.socket:
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
    try:
        opened.bind((0, 0))
    except BaseException:
        opened.close()
        raise
    return opened


def _request(kind: int, family: int, attributes: bytes, *, dump: bool = False) -> Iterator[_Message]:
    """Send one request and give each message of the answer. Raises OSError."""
    length = _HEADER.size + _HEAD_BYTES + len(attributes)
    flags = _NLM_F_REQUEST | (_NLM_F_DUMP if dump else 0)
    request = _HEADER.pack(length, kind, flags, 1, 0) + struct.pack("=BBH", family, 0, 0) + attributes
    with _open_socket() as opened:
        opened.settimeout(_REPLY_TIMEOUT_S)
        opened.send(request)
        while True:
            for message in _messages(opened.recv(_RECEIVE_BYTES)):
                if message.kind == _NLMSG_ERROR:
                    number = -int.from_bytes(message.head, sys.byteorder, signed=True)
                    raise OSError(number, os.strerror(number))
                if message.kind == _NLMSG_DONE:
                    return
                yield message
            if not dump:
                return


def _messages(data: bytes) -> Iterator[_Message]:
    """The messages in a datagram, as far as they are whole."""
    at = 0
    while at + _HEADER.size + _HEAD_BYTES <= len(data):
        length, kind, flags = _HEADER.unpack_from(data, at)[:3]
        if length < _HEADER.size + _HEAD_BYTES:
            return
        body = data[at + _HEADER.size : at + length]
        yield _Message(kind, flags, body[:_HEAD_BYTES], body[_HEAD_BYTES:])
        at += _aligned(length)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and value of each attribute."""
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            return
        yield kind & _NLA_TYPE_MASK, data[at + _ATTRIBUTE.size : at + length]
        at += _aligned(length)


def _value(data: bytes, wanted: int) -> bytes:
    """The first attribute of a type, b"" if there is none."""
    return next((value for kind, value in _attributes(data) if kind == wanted), b"")


def _text(data: bytes, wanted: int) -> str:
    """The first attribute of a type as the C string that it is."""
    return _value(data, wanted).partition(b"\0")[0].decode(errors="replace")


def _attribute(kind: int, value: bytes) -> bytes:
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + bytes(_aligned(length) - length)


def _aligned(length: int) -> int:
    return (length + 3) & ~3  # NLMSG_ALIGNTO and NLA_ALIGNTO are both 4
