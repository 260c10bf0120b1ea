"""Reads back which VIPs a configuration that ipfod wrote puts on which interface. Pure.

For cleaning up when neither the state file nor the failover's own configuration is left.
"""

from __future__ import annotations

import re
from ipaddress import ip_address

from ipfod.addresses import InterfaceAddress

_INTERFACE = re.compile(r"\s+interface (\S{1,15})")
_ADDRESS = re.compile(r"\s+([0-9a-f.:]{2,45})/([0-9]{1,3})( preferred_lft 0)?", re.ASCII)


def virtual_ips_in(text: str) -> tuple[InterfaceAddress, ...]:
    """The VIPs in a rendered keepalived.conf; lines that ipfod did not write are passed over."""
    found = []
    interface = ""
    for line in text.splitlines():
        if match := _INTERFACE.fullmatch(line):
            interface = match[1]
        elif (match := _ADDRESS.fullmatch(line)) and interface:
            try:
                address = ip_address(match[1])
            except ValueError:
                continue
            if int(match[2]) <= address.max_prefixlen:
                found.append(InterfaceAddress(interface, address, int(match[2])))
    return tuple(found)


def release_commands(text: str) -> str:
    """Commands for `ip -batch` that take off the VIPs of a rendered keepalived.conf."""
    return "".join(
        f"address del {entry.address}/{entry.prefix_length} dev {entry.interface}\n"
        for entry in virtual_ips_in(text)
    )
