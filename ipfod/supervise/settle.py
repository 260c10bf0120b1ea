"""From configurations and the kernel's addresses to the plan to be put in force, and what stands in its way.

Fail static: whatever is wrong with a new version, the one in force stays in force. Pure.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from ipfod.addresses import InterfaceAddress
from ipfod.config.model import Complaint, Failover
from ipfod.host.netlink import Host
from ipfod.plan.conflicts import conflicts
from ipfod.plan.layout import PlanError
from ipfod.plan.model import FailoverPlan, Here, Plan
from ipfod.plan.planning import NO_OVERRIDES, Anchors, Overrides, plan_failover

DEFAULT_INTERFACE = "eth0"  # the documentation's default


@dataclass(frozen=True, slots=True)
class Settlement:
    """The plan; failovers that must wait for their interface, and why; complaints about the rest."""

    plan: Plan
    waiting: Mapping[str, str]
    complaints: tuple[Complaint, ...]
    refused: frozenset[str]  # failovers whose new version is not in the plan


@dataclass(slots=True)
class _Draft:
    plans: dict[str, FailoverPlan] = field(default_factory=dict)
    waiting: dict[str, str] = field(default_factory=dict)
    complaints: list[Complaint] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)


def settle(
    failovers: Iterable[Failover],
    host: Host,
    *,
    in_force: Mapping[str, FailoverPlan],
    ledger: Iterable[InterfaceAddress],
    anchors: Mapping[str, Anchors],
    before: Container[str] = frozenset(),
    overrides: Mapping[str, Overrides] = MappingProxyType({}),
) -> Settlement:
    """Plan every failover for this host. `in_force` is what runs now, `ledger` what ipfod put on interfaces.

    `before` names failovers that ran under an earlier ipfod, and may run still. `overrides` are the preemption
    policies ordered at run time.
    """
    wanted = {failover.name: failover for failover in failovers}
    ours = _our_addresses(wanted.values(), host, ledger)
    draft = _Draft()
    for failover in wanted.values():
        old, kept = in_force.get(failover.name), anchors.get(failover.name, {})
        _plan_one(draft, failover, host, ours, old, kept, overrides.get(failover.name, NO_OVERRIDES))
    _drop_conflicts(draft, in_force, before)
    return Settlement(Plan(draft.plans), draft.waiting, tuple(draft.complaints), frozenset(draft.refused))


def _plan_one(
    draft: _Draft,
    failover: Failover,
    host: Host,
    ours: set[InterfaceAddress],
    old: FailoverPlan | None,
    anchors: Anchors,
    overrides: Overrides,
) -> None:
    interface = failover.interface or (
        DEFAULT_INTERFACE if DEFAULT_INTERFACE in host.interfaces else host.default_interface
    )
    here = Here(
        interface or DEFAULT_INTERFACE,
        tuple(entry.address for entry in host.on(interface or "") if entry not in ours),
    )
    why = _why_wait(failover, host, interface, here)
    if why:
        draft.waiting[failover.name] = why
        if old is not None:
            draft.plans[failover.name] = (
                old  # it cannot take up what has no interface, and need not stop for it
            )
            return
    try:
        draft.plans[failover.name] = plan_failover(failover, here, anchors, overrides)
    except PlanError as error:
        draft.complaints.append(error.complaint)
        draft.refused.add(failover.name)
        if old is not None:
            draft.plans[failover.name] = old


def _why_wait(failover: Failover, host: Host, interface: str | None, here: Here) -> str:
    if interface is None:
        return f"{failover.name}: there is no interface {DEFAULT_INTERFACE} and no default route"
    if interface not in host.interfaces:
        return f"{failover.name}: interface {interface} is missing"
    for version in sorted({address.version for address in failover.virtual_ips}):
        if all(address.version != version for address in here.addresses):
            return f"{failover.name}: interface {interface} has no IPv{version} address"
    return ""


def _our_addresses(
    failovers: Iterable[Failover], host: Host, ledger: Iterable[InterfaceAddress]
) -> set[InterfaceAddress]:
    """Addresses on interfaces that are VIPs held now, not the node's own.

    A VIP with another prefix length than the configuration's was not put there by ipfod's keepalived.
    """
    lengths = {
        (address, failover.prefix_length_of(address))
        for failover in failovers
        for address in failover.virtual_ips
    }
    held = {entry for entry in host.addresses if (entry.address, entry.prefix_length) in lengths}
    return held | set(ledger)


def _drop_conflicts(draft: _Draft, in_force: Mapping[str, FailoverPlan], before: Container[str]) -> None:
    """Refuse what conflicts. A version that is refused makes way for the one in force, which may refuse others.

    What did not change goes first, so that a new or changed file never stops another one. Those in force do not
    conflict with each other, so this ends.
    """
    complaints: dict[str, tuple[Complaint, ...]] = {}

    def changed(plan: FailoverPlan) -> tuple[bool, bool, str]:
        return in_force.get(plan.name) != plan, plan.name not in before, plan.failover.source.file

    while True:
        found = conflicts(sorted(draft.plans.values(), key=changed))
        back = [name for name in found if name in in_force and draft.plans[name] != in_force[name]]
        if not back:
            break
        for name in back:
            complaints[name] = found[name]
            draft.plans[name] = in_force[name]
    for name in found:
        complaints[name] = found[name]
        del draft.plans[name]
    for name, reasons in complaints.items():
        draft.complaints += reasons
        draft.refused.add(name)
        draft.waiting.pop(name, None)
