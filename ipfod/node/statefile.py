"""What ipfod took from the host and must give back, and what was ordered: `/var/lib/ipfod/state.json`.

The file is written before anything is taken and replaced in one step, so that a power cut leaves the old one
or the new one. A damaged one is set aside and reported, never fatal: keepalived and the kernel still know the
rest.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from ipfod.addresses import Address, InterfaceAddress
from ipfod.files import open_regular
from ipfod.node.durable import replace_file
from ipfod.node.orders import Orders, from_document, to_document

VERSION = 1
SIZE_MAX_BYTES = 16 << 20  # 65536 VIPs take 4 MiB
FAULT_MAX = 200  # characters of what is wrong; some of it is the file's own
# Names become parts of paths and arguments of programs; a damaged file must not choose them freely.
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # of failovers and modules, as the configuration's options
# A symbolic link; a FIFO, a device; a device or socket that nobody serves.
NO_FILE_OF_OURS = (errno.ELOOP, errno.EINVAL, errno.ENXIO)
_INTERFACE = re.compile(r"[^\s/\0]{1,15}")  # IFNAMSIZ is 16 with the closing NUL (linux/if.h)


@dataclass(frozen=True, slots=True)
class Taken:
    """Everything that is to be given back, and the operator's orders. Keys are names of failovers."""

    # What ipfod's keepalived may have put on interfaces.
    virtual_ips: Mapping[str, tuple[InterfaceAddress, ...]] = field(default_factory=dict)
    # By virtual router ID: the VIP that the group's adverts carry, which must not change while it exists.
    anchors: Mapping[str, Mapping[int, Address]] = field(default_factory=dict)
    modules: tuple[str, ...] = ()  # kernel modules that ipfod loaded
    orders: Orders = field(default_factory=Orders)
    zone_rules: tuple[tuple[str, str], ...] = ()  # zone of firewalld, and the rich rule that ipfod added to it


def damaged(path: Path) -> Path:
    """Where a damaged file is set aside."""
    return path.with_name(path.name + ".damaged")


def load(path: Path, boot: str) -> tuple[Taken, str]:
    """Read the file; the second value says what was wrong with it, "" if nothing was. Never raises.

    A damaged file is renamed to `state.json.damaged`. `boot` names this boot, see `node/boot.py`: orders of an
    earlier one are over.
    """
    try:
        with open(path, "rb", opener=open_regular) as file:
            text = file.read(SIZE_MAX_BYTES + 1)
    except FileNotFoundError:
        return Taken(), ""
    except OSError as error:
        if error.errno in NO_FILE_OF_OURS:
            return Taken(), _set_aside(path, "it is no regular file")
        return Taken(), f"{path} cannot be read: {error.strerror}"
    try:
        return _parse(text, boot), ""
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return Taken(), _set_aside(path, _fault(error))


def _fault(error: Exception) -> str:
    """What is wrong with a file, for people: not what Python says of the code that reads it."""
    match error:
        case UnicodeDecodeError() | json.JSONDecodeError():
            return f"it is not JSON: {error}"
        case KeyError():
            return f"it has no {error}"
        case ValueError():
            return str(error)[:FAULT_MAX]
    return "it is not built as ipfod writes it"


def _set_aside(path: Path, reason: str) -> str:
    aside = damaged(path)
    try:
        os.replace(path, aside)
    except OSError as refused:
        return f"{path} is damaged ({reason}) and cannot be set aside: {refused.strerror}"
    return f"{path} was damaged ({reason}); it is now {aside}"


def save(path: Path, taken: Taken, boot: str) -> None:
    """Replace the file, durably. Raises Failed."""
    document = {
        "version": VERSION,
        "virtual_ips": {
            name: [[entry.interface, str(entry.address), entry.prefix_length] for entry in entries]
            for name, entries in taken.virtual_ips.items()
        },
        "anchors": {
            name: {str(number): str(address) for number, address in anchors.items()}
            for name, anchors in taken.anchors.items()
        },
        "modules": list(taken.modules),
        "orders": to_document(taken.orders, boot),
        "zone_rules": [list(each) for each in taken.zone_rules],
    }
    replace_file(path, json.dumps(document))


def _parse(text: bytes, boot: str) -> Taken:
    if len(text) > SIZE_MAX_BYTES:
        raise ValueError("it is too large")
    document: Any = json.loads(text)
    if document["version"] != VERSION:
        raise ValueError(f"it is of version {document['version']!r}, known is {VERSION}")
    if not isinstance(document["modules"], list):
        raise ValueError("modules are not a list")
    return Taken(
        virtual_ips={
            _name(name): tuple(_entry(*fields) for fields in entries)
            for name, entries in document["virtual_ips"].items()
        },
        anchors={
            _name(name): {int(number): _address(address) for number, address in anchors.items()}
            for name, anchors in document["anchors"].items()
        },
        modules=tuple(_name(module) for module in document["modules"]),
        # Not there in files of earlier versions.
        orders=from_document(document["orders"], boot) if "orders" in document else Orders(),
        zone_rules=tuple(_zone_rule(*fields) for fields in document.get("zone_rules", ())),
    )


def _zone_rule(zone: Any, rule: Any) -> tuple[str, str]:
    if not (isinstance(zone, str) and isinstance(rule, str)):
        raise ValueError("a rule of firewalld is not [zone, rule]")
    return zone, rule


def _name(name: Any) -> str:
    if not (isinstance(name, str) and NAME.fullmatch(name)):
        raise ValueError("a name has characters that no name has")
    return name


def _address(address: Any) -> Address:
    if not isinstance(address, str):
        raise ValueError("an address is not text")
    return ip_address(address)


def _entry(interface: Any, address: Any, prefix_length: Any) -> InterfaceAddress:
    if not (isinstance(interface, str) and _INTERFACE.fullmatch(interface) and isinstance(prefix_length, int)):
        raise ValueError("a virtual IP is not [interface, address, prefix length]")
    found = _address(address)
    if not 0 <= prefix_length <= found.max_prefixlen:
        raise ValueError(f"{found} has no prefix length {prefix_length}")
    return InterfaceAddress(interface, found, prefix_length)
