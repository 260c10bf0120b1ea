"""The D-Bus interfaces of ipfod, one row a member, and the standard ones that every object has. Pure.

`dbus/*.xml` says the same in prose; a test holds one against the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import ipfod
from ipfod.bus.paths import failover_path, group_path
from ipfod.bus.schema import Interface, Method, Property, Signal
from ipfod.node.model import FailoverStatus, GroupStatus, Problem, Transition, VirtualIPStatus
from ipfod.node.node import Node

NAME = "org.ipfod.Ipfod1"
Entry = dict[str, tuple[str, object]]  # a{sv}: key -> (signature, value)

# ---------------------------------------------------------------- views: what an interface shows


@dataclass(frozen=True, slots=True)
class VirtualIPView:
    """A virtual IP and the group that it moves with."""

    own: VirtualIPStatus
    group: GroupStatus


def problem_entry(problem: Problem) -> Entry:
    return {
        "code": ("s", str(problem.code)),
        "object": ("s", problem.object),
        "text": ("s", problem.text),
        "hint": ("s", problem.hint),
        "since": ("t", problem.since_usec),
    }


def transition_entry(transition: Transition) -> Entry:
    return {
        "group": ("o", group_path(transition.group)),
        "name": ("s", transition.group_name),
        "old": ("s", str(transition.old)),
        "new": ("s", str(transition.new)),
        "reason": ("s", transition.reason),
        "usec": ("t", transition.usec),
    }


def _of(*fields: str) -> frozenset[str]:
    return frozenset(fields)


# ---------------------------------------------------------------- ours


def _problems(node: Node) -> list[Entry]:
    return [problem_entry(problem) for problem in node.problems]


def _maintenance_reason(node: Node) -> str:
    return node.maintenance.reason if node.maintenance else ""


def _maintenance_until(node: Node) -> int:
    return node.maintenance.until_usec if node.maintenance else 0


MANAGER = Interface(
    f"{NAME}.Manager",
    methods=(
        Method("Reload"),
        Method(
            "EnterMaintenance",
            takes=(("reason", "s"), ("until_usec", "t")),
            gives=(("warnings", "as"),),
        ),
        Method("LeaveMaintenance"),
        Method("FindVirtualIP", takes=(("address", "s"),), gives=(("virtual_ip", "o"),)),
        Method("GetHistory", takes=(("limit", "u"),), gives=(("transitions", "aa{sv}"),)),
        Method("Describe", gives=(("json", "s"),)),
    ),
    signals=(
        Signal("Transition", (("group", "o"), ("old", "s"), ("new", "s"), ("reason", "s"), ("usec", "t"))),
        Signal("ProblemRaised", (("problem", "a{sv}"),)),
        Signal("ProblemCleared", (("problem", "a{sv}"),)),
    ),
    properties=(
        Property("Version", "s", lambda _: ipfod.__version__),
        Property("NodeName", "s", lambda node: node.name),
        Property("Maintenance", "b", lambda node: node.maintenance is not None, _of("maintenance")),
        Property("MaintenanceReason", "s", _maintenance_reason, _of("maintenance")),
        Property("MaintenanceUntil", "t", _maintenance_until, _of("maintenance")),
        Property("Problems", "aa{sv}", _problems, _of("problems")),
    ),
)


def _peers(failover: FailoverStatus) -> list[str]:
    peers = (peer for group in failover.plan.groups for peer in group.peers)
    return [str(peer) for peer in dict.fromkeys(peers)]


_PREEMPTION = (Method("SetPreemption", takes=(("policy", "s"),)), Method("ResetPreemption"))

FAILOVER = Interface(
    f"{NAME}.Failover",
    methods=_PREEMPTION,
    properties=(
        Property("Name", "s", lambda f: f.plan.name),
        Property("Interface", "s", lambda f: f.plan.interface, _of("plan")),
        Property("ConfigurationFile", "s", lambda f: f.plan.failover.source.file, _of("plan")),
        Property("Preemption", "s", lambda f: str(f.plan.preemption.preemption), _of("plan")),
        Property("PreemptionOrigin", "s", lambda f: str(f.plan.preemption.origin), _of("plan")),
        Property("CheckState", "s", lambda f: str(f.check_state), _of("check_state")),
        Property("CheckText", "s", lambda f: f.check_text, _of("check_text")),
        Property("KeepalivedState", "s", lambda f: str(f.keepalived_state), _of("keepalived_state")),
        Property("KeepalivedPID", "u", lambda f: f.keepalived_pid, _of("keepalived_pid")),
        Property("Unicast", "b", lambda f: f.plan.unicast, _of("plan")),
        Property("Peers", "as", _peers, _of("plan")),
        Property("VirtualIPs", "as", lambda f: [str(a) for a in f.plan.failover.virtual_ips], _of("plan")),
        Property("Groups", "ao", lambda f: [group_path(group.key) for group in f.plan.groups], _of("plan")),
    ),
)

GROUP = Interface(
    f"{NAME}.Group",
    methods=(
        Method("StepDown", takes=(("hold_s", "u"),)),
        Method("TakeOver"),
        *_PREEMPTION,
        Method("SendGratuitousARP"),
    ),
    properties=(
        Property("Name", "s", lambda g: g.group.name),
        Property("State", "s", lambda g: str(g.state), _of("state")),
        Property("StateReason", "s", lambda g: g.reason, _of("reason")),
        Property("Master", "s", lambda g: g.master, _of("master")),
        Property("Failover", "o", lambda g: failover_path(g.group.failover)),
        Property("VirtualRouterID", "y", lambda g: g.group.virtual_router_id, _of("group")),
        Property("Priority", "y", lambda g: g.priority, _of("priority")),
        Property("Since", "t", lambda g: g.since_usec, _of("since_usec")),
        Property("VirtualIPs", "as", lambda g: [str(a) for a in g.group.virtual_ips], _of("group")),
        Property("Preemption", "s", lambda g: str(g.group.preemption.preemption), _of("group")),
        Property("PreemptionOrigin", "s", lambda g: str(g.group.preemption.origin), _of("group")),
    ),
)

# A virtual IP that is put into another group shows that group's state from then on: hence "group" everywhere.
VIRTUAL_IP = Interface(
    f"{NAME}.VirtualIP",
    properties=(
        Property("Address", "s", lambda v: str(v.own.address)),
        Property("State", "s", lambda v: str(v.group.state), _of("group", "group.state")),
        Property("Master", "s", lambda v: v.group.master, _of("group", "group.master")),
        Property("Group", "o", lambda v: group_path(v.own.group), _of("group")),
        Property("Held", "b", lambda v: v.own.held, _of("held")),
        Property("Since", "t", lambda v: v.group.since_usec, _of("group", "group.since_usec")),
    ),
)

# ---------------------------------------------------------------- standard
# https://dbus.freedesktop.org/doc/dbus-specification.html#standard-interfaces

INTROSPECTABLE = Interface(
    "org.freedesktop.DBus.Introspectable", methods=(Method("Introspect", gives=(("xml_data", "s"),)),)
)

PEER = Interface(
    "org.freedesktop.DBus.Peer",
    methods=(Method("Ping"), Method("GetMachineId", gives=(("machine_uuid", "s"),))),
)

PROPERTIES = Interface(
    "org.freedesktop.DBus.Properties",
    methods=(
        Method("Get", takes=(("interface_name", "s"), ("property_name", "s")), gives=(("value", "v"),)),
        Method("GetAll", takes=(("interface_name", "s"),), gives=(("properties", "a{sv}"),)),
        Method("Set", takes=(("interface_name", "s"), ("property_name", "s"), ("value", "v"))),
    ),
    signals=(
        Signal(
            "PropertiesChanged",
            (("interface_name", "s"), ("changed_properties", "a{sv}"), ("invalidated_properties", "as")),
        ),
    ),
)

OBJECT_MANAGER = Interface(
    "org.freedesktop.DBus.ObjectManager",
    methods=(Method("GetManagedObjects", gives=(("objects", "a{oa{sa{sv}}}"),)),),
    signals=(
        Signal("InterfacesAdded", (("object_path", "o"), ("interfaces", "a{sa{sv}}"))),
        Signal("InterfacesRemoved", (("object_path", "o"), ("interfaces", "as"))),
    ),
)
