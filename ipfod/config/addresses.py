"""Addresses as text: strict reading, and the ones that no node and no virtual IP can have."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network

from ipfod.addresses import Address
from ipfod.config.values import Refused, quoted, text


@dataclass(frozen=True, slots=True)
class _Special:
    """A stretch of addresses with a meaning of its own."""

    network: IPv4Network | IPv6Network
    what: str

    def first_within(self, first: int, last: int) -> int | None:
        """The lowest address from `first` to `last` that lies in this stretch."""
        low, high = int(self.network.network_address), int(self.network.broadcast_address)
        return max(first, low) if first <= high and low <= last else None


# RFC 1122 section 3.2.1.3 and RFC 4291 sections 2.5 and 2.7.
_SPECIAL_IPV4 = (
    _Special(IPv4Network("0.0.0.0/32"), "the unspecified address"),
    _Special(IPv4Network("127.0.0.0/8"), "a loopback address"),
    _Special(IPv4Network("224.0.0.0/4"), "a multicast address"),
    _Special(IPv4Network("255.255.255.255/32"), "the broadcast address"),
)
_SPECIAL_IPV6 = (
    _Special(IPv6Network("::/128"), "the unspecified address"),
    _Special(IPv6Network("::1/128"), "the loopback address"),
    _Special(IPv6Network("::ffff:0:0/96"), "an IPv4 address in IPv6 form"),
    _Special(IPv6Network("ff00::/8"), "a multicast address"),
)


def address(value: object) -> Address:
    """One address, IPv4 without leading zeros, IPv6 in either case and without zone. Raises Refused."""
    written = text(value)
    if "%" in written:
        raise Refused(f"{quoted(written)} has a zone, which the option interface is for")
    try:
        return IPv6Address(written) if ":" in written else IPv4Address(written)
    except AddressValueError:
        octets = written.split(".")
        zeros = any(len(o) > 1 and o.startswith("0") and o.isascii() and o.isdigit() for o in octets)
        fault = "has leading zeros" if len(octets) == 4 and zeros else "is not an address"
        raise Refused(f"{quoted(written)} {fault}") from None


def special(family: type[Address], first: int, last: int) -> str | None:
    """What is unusable among the addresses from `first` to `last`: "127.0.0.0, a loopback address", or None."""
    for stretch in _SPECIAL_IPV4 if family is IPv4Address else _SPECIAL_IPV6:
        found = stretch.first_within(first, last)
        if found is not None:
            return f"{family(found)}, {stretch.what}"
    return None


def node_address(value: object) -> Address:
    """The address of a node: one that unicast packets can go to. Raises Refused."""
    found = address(value)
    unusable = special(type(found), int(found), int(found))
    if unusable:
        raise Refused(f"{quoted(value)} is {unusable.partition(', ')[2]}")
    return found
