"""The plan, frozen: which groups this node takes part in, with which id and priority."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from ipfod.config.model import Address, Failover, Preemption


@dataclass(frozen=True, slots=True, order=True)
class GroupKey:
    """A group's identity on this node."""

    failover: str
    index: int  # 1-based


class Origin(StrEnum):
    """Where a value comes from: the file, or an order given while ipfod runs."""

    CONFIGURATION = "configuration"
    RUNTIME = "runtime"


@dataclass(frozen=True, slots=True)
class Setting:
    """A preemption policy in force and where it comes from."""

    preemption: Preemption
    origin: Origin = Origin.CONFIGURATION


@dataclass(frozen=True, slots=True)
class Here:
    """What planning must know of this node for one failover."""

    interface: str
    addresses: tuple[Address, ...]  # the node's own addresses on that interface, virtual IPs excluded


@dataclass(frozen=True, slots=True)
class Group:
    """A VRRP instance: virtual IPs of one family that move together."""

    failover: str
    index: int  # 1-based, counted over both families
    name: str  # the VRRP instance's name, e.g. "web_VIP_1"
    virtual_router_id: int
    virtual_ips: tuple[Address, ...]
    anchor: Address  # the one that adverts carry (version 3); stays the same as long as it exists
    priority: int  # this node's base priority, 1..254
    source: Address | None  # the address that this node's adverts come from, None if it has none
    preemption: Setting
    peers: tuple[Address, ...] = ()  # unicast peers of the group's family, () for multicast

    @property
    def key(self) -> GroupKey:
        return GroupKey(self.failover, self.index)

    @property
    def ip_version(self) -> int:
        """4 or 6."""
        return self.anchor.version


@dataclass(frozen=True, slots=True)
class FailoverPlan:
    """One failover as this node will run it."""

    failover: Failover
    interface: str
    addresses: tuple[Address, ...]  # the node's own on that interface
    groups: tuple[Group, ...]
    preemption: Setting  # the failover's; each group has its own

    @property
    def name(self) -> str:
        return self.failover.name

    @property
    def unicast(self) -> bool:
        return any(group.peers for group in self.groups)


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that this node runs, by failover name."""

    failovers: Mapping[str, FailoverPlan]

    @property
    def groups(self) -> tuple[Group, ...]:
        return tuple(group for planned in self.failovers.values() for group in planned.groups)
