"""States, problems and transitions, frozen. Times are microseconds since the epoch (D-Bus type t)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ipfod.addresses import Address
from ipfod.plan.model import FailoverPlan, Group, GroupKey


class State(StrEnum):
    """A group's state on this node."""

    MASTER = "master"
    BACKUP = "backup"
    FAULT = "fault"
    STOPPED = "stopped"
    UNKNOWN = "unknown"


class CheckState(StrEnum):
    """What the checks of a failover say of this node."""

    DISABLED = "disabled"
    PENDING = "pending"
    PASSING = "passing"
    FAILING = "failing"


class KeepalivedState(StrEnum):
    """What has become of a failover's keepalived."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    FAILED = "failed"


class ProblemCode(StrEnum):
    """Everything that ipfod reports as wrong; contract of D-Bus, metrics and `ipfoctl`."""

    CONFIGURATION_INVALID = "configuration-invalid"
    INTERFACE_MISSING = "interface-missing"
    KEEPALIVED_FAILED = "keepalived-failed"
    DUPLICATE_VIP = "duplicate-vip"
    SPLIT_BRAIN = "split-brain"
    VRID_COLLISION = "vrid-collision"
    VIP_MISSING = "vip-missing"
    VIP_ORPHANED = "vip-orphaned"
    FIREWALL_BLOCKING = "firewall-blocking"
    FIREWALL_CHAIN_MISSING = "firewall-chain-missing"
    CHECK_FAILING = "check-failing"
    CHECK_DOUBTFUL = "check-doubtful"
    SCRIPT_FAILING = "script-failing"
    STATE_DAMAGED = "state-damaged"
    MODULE_FAILED = "module-failed"
    METRICS_FAILED = "metrics-failed"


ProblemKey = tuple[ProblemCode, str]  # what it is and of what: a problem is there once, whoever sees it


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that an administrator should know: code, the object it is about, a sentence, what to do."""

    code: ProblemCode
    object: str
    text: str
    hint: str
    since_usec: int = 0

    @property
    def key(self) -> ProblemKey:
        return self.code, self.object


@dataclass(frozen=True, slots=True)
class Transition:
    """A group's change of state."""

    usec: int
    group: GroupKey
    group_name: str
    old: State
    new: State
    reason: str


@dataclass(frozen=True, slots=True)
class FailoverStatus:
    """A failover as it runs now."""

    plan: FailoverPlan
    check_state: CheckState = CheckState.PENDING
    check_text: str = ""
    keepalived_state: KeepalivedState = KeepalivedState.STOPPED
    keepalived_pid: int = 0


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """A group as it is now. `master` is the address of the node that advertises it, "" if none was heard."""

    group: Group
    state: State
    reason: str
    since_usec: int
    master: str = ""
    master_priority: int = 0  # as its adverts say it
    priority: int = 0  # effective: base priority and the track file's value


@dataclass(frozen=True, slots=True)
class VirtualIPStatus:
    """A virtual IP as it is now. `held` is what the kernel's address list says."""

    address: Address
    group: GroupKey
    held: bool = False
