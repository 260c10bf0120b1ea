"""What the kernel's packet filter holds, as far as ipfod has to know it: chains, and rules in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

# One statement of a rule as libnftables-json(5) writes it, e.g. {"accept": None}.
Expression = Mapping[str, Any]

_IP_VERSIONS = {"ip": (4,), "ip6": (6,), "inet": (4, 6)}
_OUTPUT_HOOKS = ("output", "postrouting")


class Direction(StrEnum):
    """Which way packets pass through a chain, seen from this node."""

    INPUT = "input"
    OUTPUT = "output"


@dataclass(frozen=True, slots=True, order=True)
class Chain:
    """A chain, told from others by family, table and name; `hook` and `kind` are "" for a regular chain."""

    family: str
    table: str
    name: str
    hook: str = field(default="", compare=False)
    kind: str = field(default="", compare=False)  # "filter", "nat" or "route"
    priority: int = field(default=0, compare=False)  # among the chains of a hook, lowest first
    policy: str = field(default="", compare=False)  # of a base chain: "accept" or "drop"
    device: str = field(default="", compare=False)  # of a chain on the ingress hook of one interface

    @property
    def ip_versions(self) -> tuple[int, ...]:
        """The IP versions whose packets come through; () for families that ipfod leaves alone."""
        return _IP_VERSIONS.get(self.family, ())

    @property
    def direction(self) -> Direction:
        """A regular chain is taken for one that the input hook jumps to: that is where adverts are dropped."""
        return Direction.OUTPUT if self.hook in _OUTPUT_HOOKS else Direction.INPUT

    def __str__(self) -> str:
        return f"{self.family} {self.table} {self.name}"


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule found in a chain. The handle is good for the next transaction only: any reload gives new ones."""

    chain: Chain
    handle: int
    comment: str
    expressions: tuple[Expression, ...]
