"""What each system is configured with: ipfod's file, keepalived's by hand, the original's. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from ipfod.config.load import load_text
from ipfod.config.model import Address, Failover
from ipfod.plan.model import Here
from ipfod.plan.planning import plan_failover

FIRST = IPv4Address("10.20.0.1")
PORT = 8080
INTERFACE = "eth0"
FILE = "/etc/ipfod/web.toml"
CHECK_INTERVAL_S = 2  # the original's, and what a keepalived.conf written by hand has
NO_ANCHORS: dict[int, Address] = {}


@dataclass(frozen=True, slots=True)
class Size:
    """How many groups, and virtual IPs in each; `extra` more in the last one."""

    groups: int
    each: int
    extra: int = 0

    def __str__(self) -> str:
        return f"{self.groups} x {self.each}"

    def addresses(self) -> list[tuple[Address, ...]]:
        """The virtual IPs, group by group."""
        starts = range(0, self.groups * self.each, self.each)
        groups: list[tuple[Address, ...]] = [
            tuple(FIRST + n for n in range(start, start + self.each)) for start in starts
        ]
        groups[-1] += tuple(groups[-1][-1] + n for n in range(1, self.extra + 1))
        return groups


SMALL = Size(1, 1)
LARGE = Size(255, 16)  # as many as there are virtual router IDs


@dataclass(frozen=True, slots=True)
class Instance:
    """A VRRP instance of one node."""

    virtual_router_id: int
    priority: int
    virtual_ips: tuple[Address, ...]
    master: bool = False  # whether it says `state MASTER`, as some of the original's do


def ipfod(size: Size, nodes: Sequence[Address], more: str = "") -> str:
    """ipfod's file: the defaults, but a node takes back what it prefers, so that every run begins alike."""
    ranges = ", ".join(f'"{group[0]}-{group[-1]}"' for group in size.addresses())
    listed = ", ".join(f'"{node}"' for node in nodes)
    return (
        f'virtual_ips = [{ranges}]\nvip_groups = "per-range"\nvrrp_id_offset = 0\ninterface = "{INTERFACE}"\n'
        f"nodes = [{listed}]\nmonitor_port = {PORT}\nkernel_modules = []\n"
        f'preemption = "preempt"\n{more}'
    )


def failover(text: str) -> Failover:
    """What ipfod reads from its file. Raises ValueError with its complaints."""
    found, complaints = load_text(text.encode(), FILE, "web", "toml")
    if found is None:
        raise ValueError("; ".join(map(str, complaints)))
    return found


def planned(size: Size, nodes: Sequence[Address], node: Address) -> list[Instance]:
    """What ipfod plans for a node; plain keepalived gets the same ids and priorities."""
    plan = plan_failover(failover(ipfod(size, nodes)), Here(INTERFACE, (node,)), NO_ANCHORS)
    return [Instance(group.virtual_router_id, group.priority, group.virtual_ips) for group in plan.groups]


def plain(instances: Iterable[Instance], node: Address) -> str:
    """keepalived.conf as one writes it: VRRP version 3 with ipfod's interval, a check every 2 s."""
    parts = [
        "global_defs {\n    router_id web\n    vrrp_version 3\n    enable_script_security\n"
        "    script_user root\n}\n",
        _check("chk_web", node),
    ]
    for one in instances:
        settings = [f"priority {one.priority}", "advert_int 0.1"]
        parts.append(_instance(f"web_{one.virtual_router_id}", one, settings, "chk_web"))
    return "".join(parts)


def original_instances(size: Size, node: Address, replicas: int) -> list[Instance]:
    """The original's formula for priorities; its random part comes from a generator that starts alike."""
    slot = int(node) % 256 % 128
    number = slot % replicas + 1
    chance = random.Random(int(node))
    before = ""
    found = []
    for index, addresses in enumerate(size.addresses(), start=1):
        master = index % number == 0
        if not master:
            priority = slot % 64 + chance.randrange(32)
        elif before == "master":
            priority, before = slot + 1, "flip-flop"
        else:
            priority, before = 255 - slot, "master"
        found.append(Instance(index, priority, addresses, master))
    return found


def original(instances: Iterable[Instance], node: Address) -> str:
    """keepalived.conf as the original generates it: VRRP version 2, an advert a second, bash every 2 s."""
    parts = [
        "global_defs {\n    max_auto_priority 99\n    router_id ipfailover\n}\n",
        _check("chk_ipfailover", node),
    ]
    for one in instances:
        settings = [
            *(["state MASTER"] if one.master else []),
            f"priority {one.priority}",
            "preempt_delay 300",
            "authentication {\n        auth_type PASS\n        auth_pass ipfailov\n    }",
        ]
        parts.append(_instance(f"ipfailover_VIP_{one.virtual_router_id}", one, settings, "chk_ipfailover"))
    return "".join(parts)


def _check(name: str, node: Address) -> str:
    script = f"/bin/bash -c '</dev/tcp/{node}/{PORT}'"
    return f'vrrp_script {name} {{\n    script "{script}"\n    interval {CHECK_INTERVAL_S}\n}}\n'


def _instance(name: str, instance: Instance, settings: Iterable[str], check: str) -> str:
    lines = [
        f"vrrp_instance {name} {{",
        f"    interface {INTERFACE}",
        f"    virtual_router_id {instance.virtual_router_id}",
        *(f"    {setting}" for setting in settings),
        f"    track_script {{\n        {check}\n    }}",
        "    virtual_ipaddress {",
        *(f"        {address} dev {INTERFACE}" for address in instance.virtual_ips),
        "    }",
        "}",
    ]
    return "\n".join(lines) + "\n"
