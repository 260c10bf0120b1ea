"""The grammar of `virtual_ips`: addresses, ranges and networks, expanded strictly and within bounds."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from ipfod.addresses import Address
from ipfod.config.addresses import address, special
from ipfod.config.lists import entries, every
from ipfod.config.values import Kind, Refused, quoted, text

ADDRESSES_MAX = 65536  # of one failover: four times 255 groups of 64, and some ten MiB when expanded
ACCEPTED = "an address, FIRST-LAST or a CIDR network"

_OCTET = re.compile(r"0|[1-9][0-9]{0,2}")
_HEXTET = re.compile(r"[0-9A-Fa-f]{1,4}")
_LENGTH = re.compile(r"0|[1-9][0-9]{0,2}")


@dataclass(frozen=True, slots=True)
class Block:
    """What one entry stands for: the addresses of a family from `first` to `last`."""

    entry: str
    family: type[Address]
    first: int
    last: int

    @property
    def size(self) -> int:
        return self.last - self.first + 1

    def expand(self) -> tuple[Address, ...]:
        """Every address, in order."""
        return tuple(map(self.family, range(self.first, self.last + 1)))


@dataclass(slots=True)
class _Claims:
    """The blocks of one failover so far: they may not overlap and not grow beyond `ADDRESSES_MAX` together."""

    size: int = 0
    by_first: dict[type[Address], list[Block]] = field(default_factory=dict)

    def add(self, block: Block) -> None:
        """Raises Refused, and then leaves the block out."""
        if self.size + block.size > ADDRESSES_MAX:
            so_far = f"with the {self.size} before it " if block.size <= ADDRESSES_MAX else ""
            most = f"{so_far}more than the {ADDRESSES_MAX} of a failover"
            raise Refused(f"{quoted(block.entry)} has {block.size} addresses, {most}")
        claimed = self.by_first.setdefault(block.family, [])
        # The claimed blocks do not overlap, so only the nearest on either side can meet the new one.
        place = bisect_right(claimed, block.first, key=lambda other: other.first)
        for other in claimed[max(place - 1, 0) : place + 1]:
            if other.first <= block.last and block.first <= other.last:
                shared = block.family(max(block.first, other.first))
                raise Refused(f"{quoted(block.entry)} repeats {shared} of {quoted(other.entry)}")
        claimed.insert(place, block)
        self.size += block.size


def read_block(value: object) -> Block:
    """One entry: an address, FIRST-LAST, or a network. Raises Refused naming the entry."""
    entry = text(value)
    if "-" in entry:
        block = _range(entry)
    elif "/" in entry:
        block = _network(entry)
    else:
        single = address(entry)
        block = Block(entry, type(single), int(single), int(single))
    unusable = special(block.family, block.first, block.last)
    # A network far too large is refused for its size, which says more than the first special address in it.
    if unusable and block.size <= ADDRESSES_MAX:
        holds = "is" if block.size == 1 else "contains"
        what = unusable.partition(", ")[2] if block.size == 1 else unusable
        raise Refused(f"{quoted(entry)} {holds} {what}")
    return block


def _range(entry: str) -> Block:
    head, _, tail = entry.partition("-")
    try:
        first = address(head)
        last = _last(head, first, tail)
    except Refused as refused:
        raise Refused(f"{quoted(entry)}: {refused.faults[0]}") from None
    if type(first) is not type(last):
        raise Refused(f"{quoted(entry)} mixes IPv4 and IPv6")
    if int(last) < int(first):
        raise Refused(f"{quoted(entry)} is reversed")
    return Block(entry, type(first), int(first), int(last))


def _last(head: str, first: Address, tail: str) -> Address:
    """The end of a range: a whole address, or the last part of one that begins like `first`."""
    if "." in tail or ":" in tail:
        return address(tail)
    if isinstance(first, IPv4Address):
        if not _OCTET.fullmatch(tail) or int(tail) > 255:
            raise Refused(f"{quoted(tail)} is not the last part of an IPv4 address")
        return IPv4Address(int(first) & ~0xFF | int(tail))
    if "." in head:
        raise Refused("after an address that ends like IPv4, give the whole last address")
    if not _HEXTET.fullmatch(tail):
        raise Refused(f"{quoted(tail)} is not the last part of an IPv6 address")
    return type(first)(int(first) & ~0xFFFF | int(tail, 16))


def _network(entry: str) -> Block:
    head, _, length = entry.partition("/")
    try:
        base = address(head)
    except Refused as refused:
        raise Refused(f"{quoted(entry)}: {refused.faults[0]}") from None
    bits = base.max_prefixlen
    if not _LENGTH.fullmatch(length) or int(length) > bits:
        raise Refused(f"{quoted(entry)}: {quoted(length)} is not a prefix length from 0 to {bits}")
    hosts = (1 << (bits - int(length))) - 1
    first, last = int(base) & ~hosts, int(base) | hosts
    if first != int(base):
        raise Refused(f"{quoted(entry)} is no network: {type(base)(first)}/{length} is the one that it lies in")
    if base.version == 4 and int(length) < 31:
        # autoAssignCIDRs are handed out by Kubernetes' ipallocator, which leaves the network and the broadcast
        # address out too (allocator.go: 254 usable out of 256). /31 and /32 have neither (RFC 3021).
        first, last = first + 1, last - 1
    return Block(entry, type(base), first, last)


def read_virtual_ips(value: object) -> tuple[tuple[Address, ...], ...]:
    """All entries expanded, one tuple for each, in order. Raises Refused with the faults of every bad entry."""
    items = entries(value)
    if not items:
        raise Refused("is empty")
    claims = _Claims()

    def read(item: object) -> Block:
        block = read_block(item)
        claims.add(block)
        return block

    return tuple(block.expand() for block in every(items, read))


def virtual_ips() -> Kind:
    """The kind of `virtual_ips`."""
    return Kind(ACCEPTED, read_virtual_ips)
