"""What to check for a failover on this node. Pure."""

from __future__ import annotations

from ipfod.addresses import Address
from ipfod.checks.watch import CheckPlan
from ipfod.config.model import MonitorAddress
from ipfod.plan.model import FailoverPlan


def check_plan(plan: FailoverPlan) -> CheckPlan | None:
    """The checks of a failover, None if it has none."""
    failover = plan.failover
    if not failover.monitored:
        return None
    return CheckPlan(
        port=failover.monitor_port,
        addresses=_addresses(plan) if failover.monitor_port else (),
        script=failover.check_script,
        script_user=failover.script_user,
        interval_s=failover.check_interval_s,
        timeout_s=failover.check_timeout_s,
        rise=failover.check_rise,
        fall=failover.check_fall,
        interface=plan.interface,
    )


def _addresses(plan: FailoverPlan) -> tuple[Address, ...]:
    """The VIPs, or the node's own address of each family that has VIPs: a backup cannot ask a VIP it lacks."""
    if plan.failover.monitor_address is MonitorAddress.VIP:
        return plan.failover.virtual_ips
    # A service is more likely to be bound to a routable address than to a link-local one.
    own = sorted(plan.addresses, key=lambda address: address.is_link_local)
    versions = sorted({group.ip_version for group in plan.groups})
    mine = (next((address for address in own if address.version == version), None) for version in versions)
    return tuple(address for address in mine if address is not None)
