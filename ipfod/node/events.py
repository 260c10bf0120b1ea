"""What a node can see, and what follows from it. Both are frozen and say nothing of where they came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ipfod.addresses import Address
from ipfod.node.model import CheckState, KeepalivedState, Problem, State, Transition
from ipfod.node.orders import Maintenance
from ipfod.plan.model import GroupKey, Plan

# ---------------------------------------------------------------- seen


@dataclass(frozen=True, slots=True)
class PlanApplied:
    """A new plan is in force."""

    plan: Plan


@dataclass(frozen=True, slots=True)
class InstanceReported:
    """keepalived said a state for one VRRP instance.

    `usec` is when, 0 for now; `resync` when ipfod asked after a restart of its own.
    """

    failover: str
    instance: str
    state: State
    priority: int
    usec: int = 0
    resync: bool = False


@dataclass(frozen=True, slots=True)
class PriorityReported:
    """keepalived said the effective priority of one VRRP instance."""

    failover: str
    instance: str
    priority: int


@dataclass(frozen=True, slots=True)
class KeepalivedChanged:
    """A failover's keepalived was started, stopped or died. The text says what was seen."""

    failover: str
    state: KeepalivedState
    pid: int
    text: str


@dataclass(frozen=True, slots=True)
class AddressesSeen:
    """The kernel's addresses, by interface name."""

    addresses: Mapping[str, frozenset[Address]]


@dataclass(frozen=True, slots=True)
class MasterHeard:
    """The node that advertises a group, heard on the wire; "" after master-down time without an advert."""

    group: GroupKey
    address: str
    priority: int


@dataclass(frozen=True, slots=True)
class CheckReported:
    """The checks of a failover have a new verdict. The text says what was seen, e.g. "port 80 refused".

    `duration_s` is how long the round took, None if nothing was asked; it is for metrics, the node keeps none.
    """

    failover: str
    state: CheckState
    text: str
    duration_s: float | None = None


@dataclass(frozen=True, slots=True)
class ProblemsSeen:
    """All problems that one part of the daemon (`scope`) sees now; those it no longer names are over."""

    scope: str
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Intended:
    """Somebody ordered a group to be moved; the text says who ordered what. "": that is over."""

    group: GroupKey
    text: str


@dataclass(frozen=True, slots=True)
class Withheld:
    """A group is kept from being served, and why. "": it no longer is."""

    group: GroupKey
    text: str


@dataclass(frozen=True, slots=True)
class MaintenanceOrdered:
    """This node is to hold nothing from now on; None: maintenance is over."""

    maintenance: Maintenance | None


Event = (
    PlanApplied
    | InstanceReported
    | PriorityReported
    | KeepalivedChanged
    | AddressesSeen
    | MasterHeard
    | CheckReported
    | ProblemsSeen
    | Intended
    | Withheld
    | MaintenanceOrdered
)

# ---------------------------------------------------------------- what follows


@dataclass(frozen=True, slots=True)
class FailoverRef:
    name: str


@dataclass(frozen=True, slots=True)
class VirtualIPRef:
    address: Address


Ref = FailoverRef | GroupKey | VirtualIPRef


@dataclass(frozen=True, slots=True)
class Added:
    """An object came into being."""

    ref: Ref


@dataclass(frozen=True, slots=True)
class Removed:
    """An object is gone."""

    ref: Ref


@dataclass(frozen=True, slots=True)
class Changed:
    """Some fields of an object's status changed (names of the status dataclass's fields)."""

    ref: Ref
    fields: frozenset[str]


@dataclass(frozen=True, slots=True)
class NodeChanged:
    """Something about the node as a whole changed (names of `Node`'s properties)."""

    fields: frozenset[str]


@dataclass(frozen=True, slots=True)
class ProblemRaised:
    problem: Problem


@dataclass(frozen=True, slots=True)
class ProblemCleared:
    problem: Problem


Change = Added | Removed | Changed | NodeChanged | Transition | ProblemRaised | ProblemCleared
