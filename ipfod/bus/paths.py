"""Object paths: from a failover, a group or a virtual IP to its path and back. Pure."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import ip_address

from ipfod.addresses import Address
from ipfod.node.events import FailoverRef, Ref, VirtualIPRef
from ipfod.plan.model import GroupKey

ROOT = "/org/ipfod/Ipfod1"
FAILOVERS = f"{ROOT}/failover"
VIRTUAL_IPS = f"{ROOT}/vip"

_ESCAPED = re.compile(rb"_([0-9a-f]{2})|([A-Za-z0-9])")
_TO_ESCAPE = re.compile(rb"^[0-9]|[^A-Za-z0-9]")
_CACHED_MAX = 8192  # 255 groups of 16 virtual IPs, twice


@lru_cache(_CACHED_MAX)
def encode(text: str) -> str:
    """One path element for any text, as sd_bus_path_encode(3): other bytes than letters and digits, and a digit
    at the start, become `_` and two hexadecimal digits; "" becomes `_`."""
    if not text:
        return "_"
    return _TO_ESCAPE.sub(lambda match: b"_%02x" % ord(match[0]), text.encode()).decode()


def decode(element: str) -> str:
    """The text that `encode` made the element of. Raises ValueError if it never makes it of any text."""
    if element == "_":
        return ""
    data, at = bytearray(), 0
    raw = element.encode()
    while at < len(raw):
        if (match := _ESCAPED.match(raw, at)) is None:
            raise ValueError(f"{element!r} is not an escaped path element")
        data += bytes.fromhex(match[1].decode()) if match[1] else match[2]
        at = match.end()
    text = data.decode()
    if encode(text) != element:
        raise ValueError(f"{element!r} is escaped where it need not be")
    return text


def failover_path(name: str) -> str:
    return f"{FAILOVERS}/{encode(name)}"


def group_path(key: GroupKey) -> str:
    return f"{failover_path(key.failover)}/group/{encode(str(key.index))}"


def virtual_ip_path(address: Address) -> str:
    return f"{VIRTUAL_IPS}/{encode(str(address))}"


def path_of(ref: Ref) -> str:
    """The path of the object that stands for `ref`."""
    match ref:
        case FailoverRef():
            return failover_path(ref.name)
        case GroupKey():
            return group_path(ref)
        case VirtualIPRef():
            return virtual_ip_path(ref.address)


def parse(path: str) -> Ref | None:
    """What an object path stands for, None if it has not the form of any. The object need not exist."""
    if not path.startswith(f"{ROOT}/"):
        return None
    try:
        match path.removeprefix(f"{ROOT}/").split("/"):
            case ["failover", name]:
                return FailoverRef(decode(name))
            case ["failover", name, "group", index] if (text := decode(index)).isascii() and text.isdigit():
                return GroupKey(decode(name), int(text)) if text == str(int(text)) else None
            case ["vip", element]:
                address = ip_address(text := decode(element))
                return VirtualIPRef(address) if text == str(address) else None
    except ValueError:
        return None
    return None
