"""What an operator has ordered while ipfod runs: preemption policies, who keeps off or holds on, maintenance.

Orders are part of the state file. Maintenance outlives a reboot, everything else only restarts of ipfod: it is
noted with the boot that it was given in.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from ipfod.config.model import Preemption
from ipfod.plan.model import GroupKey
from ipfod.plan.planning import WHOLE_FAILOVER, Overrides

END_MAX_S = 2.0**53  # as far as a float counts seconds exactly
REASON_MAX = 256  # characters of a maintenance reason: it stands in properties, problems and log lines


class StanceKind(StrEnum):
    """Why a group has another priority than its own."""

    CLAIM = "claim"  # taken over by order: held until it is lost
    YIELD = "yield"  # stepped down: not wanted back for a while
    WAIT = "wait"  # a new preemption policy is to move nothing by itself


@dataclass(frozen=True, slots=True)
class Stance:
    """The effective VRRP priority that a group has by order, and until when (s of CLOCK_BOOTTIME)."""

    kind: StanceKind
    priority: int
    until_s: float = math.inf


@dataclass(frozen=True, slots=True)
class Maintenance:
    """This node is to hold nothing. Times are microseconds since the epoch; `until_usec` 0 is no end."""

    reason: str
    until_usec: int
    since_usec: int

    def is_over(self, now_usec: int) -> bool:
        return self.until_usec != 0 and now_usec >= self.until_usec


@dataclass(frozen=True, slots=True)
class Orders:
    """Everything that was ordered. Failovers and groups need not exist (any more)."""

    preemption: Mapping[str, Overrides] = field(default_factory=dict)  # by failover
    stances: Mapping[GroupKey, Stance] = field(default_factory=dict)
    maintenance: Maintenance | None = None

    def with_preemption(self, failover: str, index: int, preemption: Preemption | None) -> Orders:
        """A policy ordered, or taken back with None. A failover's replaces those of its groups."""
        policies = {} if index == WHOLE_FAILOVER else dict(self.preemption.get(failover, {}))
        policies.pop(index, None)
        if preemption is not None:
            policies[index] = preemption
        others = {name: each for name, each in self.preemption.items() if name != failover}
        return replace(self, preemption={**others, failover: policies} if policies else others)

    def with_stance(self, key: GroupKey, stance: Stance | None) -> Orders:
        """One group's stance set, or dropped with None."""
        others = {each: known for each, known in self.stances.items() if each != key}
        return replace(self, stances=others if stance is None else {**others, key: stance})

    def without(self, failovers: set[str]) -> Orders:
        """All but what was ordered for failovers that are no longer configured."""
        return replace(
            self,
            preemption={name: each for name, each in self.preemption.items() if name not in failovers},
            stances={key: each for key, each in self.stances.items() if key.failover not in failovers},
        )


# ---------------------------------------------------------------- in the state file


def to_document(orders: Orders, boot: str) -> dict[str, Any]:
    """What `json.dumps` takes; `boot` is the id of this boot."""
    document: dict[str, Any] = {
        "boot": boot,
        "preemption": {
            name: {str(index): str(policy) for index, policy in policies.items()}
            for name, policies in orders.preemption.items()
        },
        "stances": [
            [key.failover, key.index, stance.kind.value, stance.priority, _finite(stance.until_s)]
            for key, stance in orders.stances.items()
        ],
    }
    if (maintenance := orders.maintenance) is not None:
        times = {"until_usec": maintenance.until_usec, "since_usec": maintenance.since_usec}
        document["maintenance"] = {"reason": maintenance.reason, **times}
    return document


def from_document(document: dict[str, Any], boot: str) -> Orders:
    """Read it back. Raises ValueError, KeyError, TypeError or AttributeError for what is none."""
    maintenance = _maintenance(document["maintenance"]) if "maintenance" in document else None
    if not boot or document["boot"] != boot:
        return Orders(maintenance=maintenance)
    return Orders(
        preemption={
            _text(name): {_index(index): Preemption.parse(policy) for index, policy in policies.items()}
            for name, policies in document["preemption"].items()
        },
        stances=dict(_stance(*fields) for fields in document["stances"]),
        maintenance=maintenance,
    )


def _stance(failover: Any, index: Any, kind: Any, priority: Any, until_s: Any) -> tuple[GroupKey, Stance]:
    if type(index) is not int or type(priority) is not int or not 1 <= priority <= 254:
        raise ValueError("a stance is not [failover, group, kind, priority, end]")
    return GroupKey(_text(failover), index), Stance(StanceKind(kind), priority, _end(until_s))


def _end(until_s: Any) -> float:
    """Seconds that a timer can be set to: JSON as Python reads it has NaN and numbers of any size too."""
    if until_s is None:
        return math.inf
    if type(until_s) not in (int, float) or not 0 <= until_s < END_MAX_S:
        raise ValueError("the end of a stance is no time")
    return float(until_s)


def _index(text: str) -> int:
    """Of a group, 0 for the whole failover; spelled in one way, so that none is named twice."""
    if not re.fullmatch(r"0|[1-9][0-9]{0,2}", text, re.ASCII):
        raise ValueError("a preemption policy is for no group")
    return int(text)


def _maintenance(entry: dict[str, Any]) -> Maintenance:
    until, since = entry["until_usec"], entry["since_usec"]
    if type(until) is not int or type(since) is not int or not (0 <= until < 2**64 and 0 <= since < 2**64):
        raise ValueError("the times of the maintenance are no times")
    return Maintenance(_text(entry["reason"])[:REASON_MAX], until, since)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a name is not text")
    return value


def _finite(until_s: float) -> float | None:
    return None if math.isinf(until_s) else until_s
