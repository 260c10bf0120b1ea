"""Failovers that cannot live side by side on one node. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from ipfod.config.model import Complaint
from ipfod.plan.model import FailoverPlan


def conflicts(planned: Iterable[FailoverPlan]) -> dict[str, tuple[Complaint, ...]]:
    """Complaints by the name of the failover that has to yield; each names both files.

    Earlier ones win: give first what runs already, so that a new file never stops an old one. A failover that
    has to yield claims nothing.
    """
    accepted: list[FailoverPlan] = []
    refused: dict[str, tuple[Complaint, ...]] = {}
    for plan in planned:
        found = tuple(complaint for other in accepted for complaint in _between(plan, other))
        if found:
            refused[plan.name] = found
        else:
            accepted.append(plan)
    return refused


def _between(plan: FailoverPlan, other: FailoverPlan) -> Iterable[Complaint]:
    shared = set(plan.failover.virtual_ips) & set(other.failover.virtual_ips)
    if shared:
        yield _complaint(
            plan,
            other,
            "virtual_ips",
            f"{_some([str(address) for address in sorted(shared, key=int)])} already served",
            "each virtual IP in one failover only",
        )
    if plan.interface == other.interface:
        theirs = {group.virtual_router_id for group in other.groups}
        taken = sorted({group.virtual_router_id for group in plan.groups} & theirs)
        ids = _some([str(number) for number in taken])
        if taken:
            yield _complaint(
                plan,
                other,
                "vrrp_id_offset",
                f"virtual router ID {ids} already used on {plan.interface}",
                "offsets so far apart that no ID is used twice on an interface",
            )


def _complaint(plan: FailoverPlan, other: FailoverPlan, key: str, what: str, accepted: str) -> Complaint:
    source = plan.failover.source
    by = f"{what} by {other.name} ({other.failover.source.at(key)})"
    return Complaint(source.file, source.lines.get(key, 1), key, by, accepted)


def _some(items: list[str], most: int = 4) -> str:
    shown = ", ".join(items[:most])
    return f"{shown} and {len(items) - most} more" if len(items) > most else shown
