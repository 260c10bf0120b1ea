"""Lists of virtual IPs as people write them: neighbours become ranges. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_address

from ipfod.addresses import Address


def normalised(text: str) -> str:
    """An address in its usual spelling (upper-case or long IPv6 becomes short); other text as it is."""
    try:
        return str(ip_address(text))
    except ValueError:
        return text


def shortened(addresses: Sequence[str], *, most: int | None = None) -> str:
    """The addresses with neighbours joined ("192.168.3.10-13"), after `most` entries only how many are left."""
    try:
        runs = list(_runs([ip_address(address) for address in addresses]))
    except ValueError:
        return ", ".join(addresses)
    if most is None or len(runs) <= most:
        return ", ".join(_spelled(*run) for run in runs) or "-"
    left = sum(int(last) - int(first) + 1 for first, last in runs[most:])
    return f"{', '.join(_spelled(*run) for run in runs[:most])} and {left} more"


def _runs(addresses: Iterable[Address]) -> Iterable[tuple[Address, Address]]:
    first: Address | None = None
    last: Address | None = None
    for address in addresses:
        if first is None or last is None:
            first = last = address
        elif address.version == last.version and int(address) == int(last) + 1 and _joinable(first, address):
            last = address
        else:
            yield first, last
            first = last = address
    if first is not None and last is not None:
        yield first, last


def _joinable(first: Address, last: Address) -> bool:
    """IPv4 ranges stay within one last part, so that they can be spelled "a.b.c.d-e"."""
    return first.version == 6 or int(first) >> 8 == int(last) >> 8


def _spelled(first: Address, last: Address) -> str:
    if first == last:
        return str(first)
    if first.version == 4:
        return f"{first}-{str(last).rsplit('.', 1)[1]}"
    return f"{first}-{last}"
