"""keepalived.conf for one failover. Pure.

Every instance starts as BACKUP: `state MASTER` would silently cancel preempt_delay. Each has a track file with
weight 1, by which ipfod steers it without a reload.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv6Address

from ipfod.config.model import Address, Failover, Preemption, PreemptionMode
from ipfod.keepalived.files import KeepalivedFiles
from ipfod.keepalived.notify import command
from ipfod.plan.model import FailoverPlan, Group

# What fits into one advert at an MTU of 1500 (measured, keepalived 2.2.7): IPv4's count is an 8-bit field.
ADVERT_MAX = 255

# Two gratuitous ARPs at the change and two a second later; one every 30 s heals caches that missed them. A
# master that hears a lesser one says so again, otherwise clients keep the wrong MAC after a healed partition.
GLOBAL = """\
    max_auto_priority -1
    dynamic_interfaces
    enable_script_security
    script_user root
    reload_check_config
    vrrp_garp_master_delay 1
    vrrp_garp_master_repeat 2
    vrrp_garp_master_refresh 30
    vrrp_garp_master_refresh_repeat 1
    vrrp_garp_lower_prio_delay 1
    vrrp_garp_lower_prio_repeat 2
    vrrp_higher_prio_send_advert true
    vrrp_notify_priority_changes yes
"""


def render(plan: FailoverPlan, files: KeepalivedFiles) -> str:
    """The whole configuration file. Values are the option table's, which lets nothing through that could
    end a word here."""
    failover = plan.failover
    parts = [
        "# Written by ipfod; changes are overwritten.\n",
        "global_defs {\n",
        f"    router_id {failover.name}\n",
        f"    vrrp_version {failover.vrrp_version}\n",
        GLOBAL,
        f"    vrrp_notify_fifo {files.fifo}\n",
        "}\n",
    ]
    parts += [_instance(failover, plan.interface, group, files) for group in plan.groups]
    return "".join(parts)


def advertised(failover: Failover, group: Group) -> tuple[Address, ...]:
    """The virtual IPs that the group's adverts carry.

    Version 3 carries the anchor alone, so that VIPs can be added on one node after the other. Version 2 carries
    what fits, as the original does, whose nodes would refuse anything else.
    """
    if instance_version(failover, group) == 3:
        return (group.anchor,)
    return group.virtual_ips[:ADVERT_MAX]


def instance_version(failover: Failover, group: Group) -> int:
    """VRRP version of a group: IPv6 has no version 2 (RFC 9568)."""
    return 3 if group.ip_version == 6 else failover.vrrp_version


def _instance(failover: Failover, interface: str, group: Group, files: KeepalivedFiles) -> str:
    in_advert = advertised(failover, group)
    excluded = [address for address in group.virtual_ips if address not in set(in_advert)]
    version = instance_version(failover, group)
    lines = [
        f"track_file {group.name} {{",
        f'    file "{files.track / group.name}"',
        "    weight 1",
        "}",
        f"vrrp_instance {group.name} {{",
        "    state BACKUP",
        f"    interface {interface}",
        f"    version {version}",
        f"    virtual_router_id {group.virtual_router_id}",
        f"    priority {group.priority}",
        f"    advert_int {failover.advert_interval_s:g}",
        "    notify_deleted",
        *_preemption(group.preemption.preemption),
        *_authentication(failover, version),
        *_unicast(group),
        *([f'    notify "{command(files)}"'] if failover.notify_script else []),
        *_addresses("virtual_ipaddress", failover, in_advert),
        *_addresses("virtual_ipaddress_excluded", failover, excluded),
        "    track_file {",
        f"        {group.name}",
        "    }",
        "}",
    ]
    return "\n".join(lines) + "\n"


def _preemption(preemption: Preemption) -> list[str]:
    match preemption.mode:
        case PreemptionMode.NOPREEMPT:
            return ["    nopreempt"]
        case PreemptionMode.PREEMPT_DELAY:
            return [f"    preempt_delay {preemption.delay_s}"]
        case PreemptionMode.PREEMPT:
            return []


def _authentication(failover: Failover, version: int) -> list[str]:
    if version == 3 or not failover.auth_pass:
        return []
    return [
        "    authentication {",
        "        auth_type PASS",
        f"        auth_pass {failover.auth_pass}",
        "    }",
    ]


def _unicast(group: Group) -> list[str]:
    if not group.peers:
        return []
    peers = [f"        {peer}" for peer in group.peers]
    return [f"    unicast_src_ip {group.source}", "    unicast_peer {", *peers, "    }"]


def _addresses(keyword: str, failover: Failover, addresses: Iterable[Address]) -> list[str]:
    lines = [
        f"        {address}/{failover.prefix_length_of(address)}{_flags(address)}" for address in addresses
    ]
    return [f"    {keyword} {{", *lines, "    }"] if lines else []


def _flags(address: Address) -> str:
    """An IPv6 VIP is marked deprecated, so that the node does not choose it as a source of its own."""
    return " preferred_lft 0" if isinstance(address, IPv6Address) else ""
