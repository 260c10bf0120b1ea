"""Lists of values: written as a list, or as one text with commas where the OpenShift variables do so."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

from ipfod.config.addresses import node_address
from ipfod.config.values import Kind, Refused, quoted, text, whole_number

FAULTS_MAX = 50  # faults of one list that are reported; the rest is counted
NODES_MAX = 252  # a node needs a priority of its own, and the plan has 1 to 252 (plan/placement.py)
MODULE_NAME_MAX = 55  # MODULE_NAME_LEN, 64 - sizeof(unsigned long), with the closing NUL (linux/moduleparam.h)
CHAIN_NAME_MAX = 127  # below NFT_NAME_MAXLEN, 256 (linux/netfilter/nf_tables.h), above every name in the field

_BLANKS = " \t"
_MODULE = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9_-]{{0,{MODULE_NAME_MAX - 1}}}")  # a leading - would be an option
_CHAIN_NAME = rf"[A-Za-z_][A-Za-z0-9_./-]{{0,{CHAIN_NAME_MAX - 1}}}"  # identifiers of nft(8)
_CHAIN = re.compile(rf"(?:(?:ip|ip6|inet) {_CHAIN_NAME} )?{_CHAIN_NAME}")

T = TypeVar("T")
H = TypeVar("H", bound=Hashable)


def entries(value: object) -> list[object]:
    """The entries of a list, or of a text with commas, without blanks around them. Raises Refused."""
    if isinstance(value, str):
        return [part.strip(_BLANKS) for part in value.split(",")] if value.strip(_BLANKS) else []
    if isinstance(value, list):
        return [part.strip(_BLANKS) if isinstance(part, str) else part for part in value]
    raise Refused(f"{quoted(value)} is neither text nor a list")


def every(items: Sequence[object], read: Callable[[object], T]) -> tuple[T, ...]:
    """Read all entries. Raises Refused with what is wrong with each bad one, for the first `FAULTS_MAX`."""
    good: list[T] = []
    faults: list[str] = []
    for number, item in enumerate(items, 1):
        try:
            if item == "":
                raise Refused(f"entry {number} is empty")
            good.append(read(item))
        except Refused as refused:
            faults += refused.faults
        if len(faults) >= FAULTS_MAX and number < len(items):
            faults.append(f"the {len(items) - number} entries after that were not looked at")
            break
    if faults:
        raise Refused(*faults)
    return tuple(good)


def once(read: Callable[[object], H]) -> Callable[[object], H]:
    """The same reader, refusing what it has returned before."""
    seen: set[Hashable] = set()

    def read_once(value: object) -> H:
        found = read(value)
        if found in seen:
            raise Refused(f"{quoted(value)} is listed twice")
        seen.add(found)
        return found

    return read_once


def node_addresses() -> Kind:
    """Addresses of nodes, IPv4 and IPv6 as they come."""

    def read(value: object) -> object:
        found = every(entries(value), once(node_address))
        if len(found) > NODES_MAX:
            raise Refused(f"has {len(found)} addresses")
        return found

    accepted = f"addresses of nodes, as a list or as text with commas, at most {NODES_MAX}, none twice"
    return Kind(accepted, read)


def virtual_router_ids() -> Kind:
    """Virtual router IDs; a variable separates them with spaces."""
    number = whole_number(1, 255)

    def read_one(value: object) -> int:
        found = number.read(value)
        assert isinstance(found, int)
        return found

    def read(value: object) -> object:
        if not isinstance(value, list):
            raise Refused(f"{quoted(value)} is not a list")
        return every(value, once(read_one))

    def from_text(value: str) -> object:
        return [number.from_text(part) for part in re.split(r"[ \t]+", value.strip(_BLANKS))]

    accepted = "a list of whole numbers from 1 to 255, none twice (a variable: with spaces between them)"
    return Kind(accepted, read, from_text)


def _chain(value: object) -> str:
    chain = " ".join(text(value).split())
    if not _CHAIN.fullmatch(chain):
        raise Refused(f"{quoted(value)} is not a chain")
    return chain


def firewall_chains() -> Kind:
    """Firewall chains, each a name, or family, table and name; "" is none."""

    def read(value: object) -> object:
        if isinstance(value, str):
            value = [value] if value.strip(_BLANKS) else []
        return every(entries(value), once(_chain))

    accepted = (
        'a chain ("INPUT"), "FAMILY TABLE CHAIN" with family ip, ip6 or inet, a list of these, or "" for none'
    )
    return Kind(accepted, read)


def _module(value: object) -> str:
    if not _MODULE.fullmatch(text(value)):
        raise Refused(f"{quoted(value)} is not the name of a module")
    return str(value)


def kernel_modules() -> Kind:
    """Names of kernel modules."""

    def read(value: object) -> object:
        if not isinstance(value, list):
            raise Refused(f"{quoted(value)} is not a list")
        return every(value, once(_module))

    accepted = (
        f"a list of names of A-Z a-z 0-9 _ -, none with a leading -, at most {MODULE_NAME_MAX} characters each"
    )
    return Kind(accepted, read)
