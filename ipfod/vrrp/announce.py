"""Tells everybody on a link where addresses are: gratuitous ARP, and unsolicited neighbour advertisements."""

from __future__ import annotations

from collections.abc import Iterable

from ipfod.addresses import Address
from ipfod.errors import Failed
from ipfod.vrrp.frames import announcement, open_sender


def announce(interface: str, addresses: Iterable[Address]) -> None:
    """Send one announcement for each address, in the thread's network namespace. Raises Failed."""
    try:
        link, mac = open_sender(interface)
        with link:
            if mac is None:
                raise Failed(f"{interface}: is no Ethernet link, nothing is to be announced there")
            for address in addresses:
                link.send(announcement(address, mac))
    except OSError as error:
        raise Failed(f"{interface}: addresses cannot be announced: {error.strerror}") from error
