"""IP addresses, alone and on an interface."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class InterfaceAddress:
    """An address on an interface, with its prefix length."""

    interface: str
    address: Address
    prefix_length: int


def in_order(entry: InterfaceAddress) -> tuple[int, int]:
    """Sorts IPv4 before IPv6, each by number."""
    return entry.address.version, int(entry.address)
