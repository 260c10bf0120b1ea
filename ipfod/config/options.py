"""The table of options: everything that reads, checks or documents the configuration derives from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum

from ipfod.config import lists, ranges, values
from ipfod.config.model import MonitorAddress
from ipfod.config.values import Kind

VARIABLE_PREFIX = "OPENSHIFT_HA_"
EXCLUDED_IDS_VARIABLE = "HA_EXCLUDED_VRRP_IDS"  # the original gives this one no prefix

CHECK_INTERVAL_MIN_S, CHECK_INTERVAL_MAX_S = 0.1, 3600
ADVERT_INTERVAL_MIN_S, ADVERT_INTERVAL_MAX_S = 0.01, 40  # VRRPv3's field ends at 40.95 s (RFC 5798, 5.2.7)


@dataclass(frozen=True, slots=True)
class Option:
    """One row: the key in TOML files, the variable in environment files, what it takes and what it is for.

    `default` is a value as a TOML file would spell it, or, where none could be written, words in parentheses.
    `field` is the field of `Failover` that the value goes to. `empty_counts`: an empty variable is a value.
    """

    key: str
    variable: str | None
    kind: Kind
    default: str
    help: str
    field: str
    empty_counts: bool = False

    @property
    def accepted(self) -> str:
        """What the option takes, in words."""
        return self.kind.accepted


def _option(
    key: str,
    variable: str | None,
    kind: Kind,
    default: str,
    help: str,
    *,
    field: str = "",
    empty_counts: bool = False,
) -> Option:
    if variable is not None and variable != EXCLUDED_IDS_VARIABLE:
        variable = VARIABLE_PREFIX + variable
    return Option(key, variable, kind, default, help, field or key, empty_counts)


OPTIONS: tuple[Option, ...] = (
    _option(
        "name",
        "CONFIG_NAME",
        values.name(),
        "(the file's name without its suffix; in the daemon's environment: ipfailover)",
        "The failover's name. VRRP instances are called NAME_VIP_1, NAME_VIP_2 and so on, with every "
        "- of the name turned into _.",
    ),
    _option(
        "virtual_ips",
        "VIRTUAL_IPS",
        ranges.virtual_ips(),
        "(required)",
        "The virtual IPs. Addresses, ranges and networks, as one text with commas or as a list. See "
        "the grammar.",
        field="ranges",
    ),
    _option(
        "vip_groups",
        "VIP_GROUPS",
        values.vip_groups(),
        '"per-vip"',
        "How the virtual IPs are grouped. A group moves between nodes as one. A number spreads them "
        "over that many groups, the first ones getting one more when it does not come out even; "
        '"per-vip" gives each a group of its own; "per-range" makes one group of each entry of '
        "virtual_ips. IPv4 and IPv6 never share a group.",
    ),
    _option(
        "interface",
        "NETWORK_INTERFACE",
        values.interface(),
        "(eth0 if there is one, else the default route's)",
        "The interface that carries the virtual IPs and the VRRP advertisements. On OVN-Kubernetes "
        "nodes set br-ex.",
    ),
    _option(
        "vrrp_id_offset",
        "VRRP_ID_OFFSET",
        values.whole_number(0, 255),
        "10",
        "Group i gets the virtual router ID offset + i. Failovers on the same interface need offsets "
        "far enough apart that their IDs do not meet.",
    ),
    _option(
        "excluded_vrrp_ids",
        EXCLUDED_IDS_VARIABLE,
        lists.virtual_router_ids(),
        "[]",
        "Virtual router IDs that others use on this network. They are skipped; the groups after them move up.",
    ),
    _option(
        "monitor_port",
        "MONITOR_PORT",
        values.whole_number(0, 65535),
        "80",
        "The TCP port of the service. A node that cannot connect to it gives its virtual IPs up. 0 "
        "turns this check off.",
    ),
    _option(
        "monitor_address",
        None,
        values.choice(MonitorAddress),
        '"node"',
        "Where monitor_port is connected to: the node's own address, one of each family that the virtual "
        "IPs have, or the virtual IP. A backup does not hold the virtual IP; choose "
        '"vip" only where its port answers on every node.',
    ),
    _option(
        "check_script",
        "CHECK_SCRIPT",
        values.script(),
        "(none)",
        "A script that is run at every check. Exit status 0 passes. With monitor_port also set, both "
        "must pass.",
    ),
    _option(
        "check_interval",
        "CHECK_INTERVAL",
        values.seconds(CHECK_INTERVAL_MIN_S, CHECK_INTERVAL_MAX_S),
        "2",
        "Seconds from one check to the next.",
        field="check_interval_s",
    ),
    _option(
        "check_timeout",
        None,
        values.seconds(CHECK_INTERVAL_MIN_S, CHECK_INTERVAL_MAX_S),
        "(check_interval)",
        "Seconds after which a check that has not ended is ended and counts as failed.",
        field="check_timeout_s",
    ),
    _option(
        "check_rise",
        None,
        values.whole_number(1, 1000),
        "1",
        "Checks in a row that must pass before a failed node is good again.",
    ),
    _option(
        "check_fall",
        None,
        values.whole_number(1, 1000),
        "1",
        "Checks in a row that must fail before a node gives its virtual IPs up.",
    ),
    _option(
        "notify_script",
        "NOTIFY_SCRIPT",
        values.script(),
        "(none)",
        "A script that keepalived runs when a group changes its state. Its arguments are INSTANCE, "
        "the VRRP instance's name, MASTER, BACKUP, FAULT or STOP, and the priority. It is killed after "
        "30 s; a run that fails is reported and changes nothing else.",
    ),
    _option(
        "script_user",
        None,
        values.user(),
        '"root"',
        "The user that check_script and notify_script are run as.",
    ),
    _option(
        "preemption",
        "PREEMPTION",
        values.preemption(),
        '"preempt_delay 300"',
        'What a node does that comes back and has a higher priority than the master. "preempt": takes '
        'over at once. "preempt_delay 300": takes over after 300 seconds. "nopreempt": leaves the '
        'virtual IPs where they are. "preempt_nodelay 300", a misprint of the OpenShift '
        'documentation, is read as "preempt_delay 300" with a warning.',
    ),
    _option(
        "replica_count",
        "REPLICA_COUNT",
        values.whole_number(1, lists.NODES_MAX),
        "2",
        "How many nodes there will be. It helps to spread the groups when nodes is not set.",
    ),
    _option(
        "nodes",
        None,
        lists.node_addresses(),
        "[]",
        "The addresses of all nodes, this one among them, the same list on each. Groups are then "
        "spread exactly evenly. Not set: with use_unicast the unicast_peers and this node, otherwise "
        "unknown.",
    ),
    _option(
        "priority",
        None,
        values.whole_number(1, 254),
        "(computed)",
        "Fixes this node's VRRP priority for every group. Not set, it is computed so that the groups "
        "are spread.",
    ),
    _option(
        "use_unicast",
        "USE_UNICAST",
        values.boolean(),
        "false",
        "Sends advertisements to unicast_peers instead of the multicast group.",
    ),
    _option(
        "unicast_peers",
        "UNICAST_PEERS",
        lists.node_addresses(),
        "[]",
        "The addresses of the other nodes. This node's own may be among them: it is left out. Every "
        "family that the virtual IPs have needs a peer.",
    ),
    _option(
        "firewall_chain",
        "IPTABLES_CHAIN",
        lists.firewall_chains(),
        '"INPUT"',
        'The firewall chain that gets a rule letting VRRP in. "inet filter input" names one exactly, '
        "a list names several, an empty text (also an empty variable) leaves the firewall alone. "
        "Where firewalld runs, it is asked as well.",
        empty_counts=True,
    ),
    _option(
        "kernel_modules",
        None,
        lists.kernel_modules(),
        '["ip_vs"]',
        "Kernel modules that are loaded at the start. An empty list loads none.",
    ),
    _option(
        "vrrp_version",
        None,
        values.whole_number(2, 3),
        "3",
        "The version of VRRP. 2 joins nodes that run OpenShift's IP failover, with IPv4.",
    ),
    _option(
        "advert_interval",
        None,
        values.advert_interval(ADVERT_INTERVAL_MIN_S, ADVERT_INTERVAL_MAX_S),
        "(0.1; with vrrp_version 2: 1)",
        "Seconds between two advertisements. A lost node is noticed after about three of them.",
        field="advert_interval_s",
    ),
    _option(
        "auth_pass",
        None,
        values.auth_pass(),
        "(with vrrp_version 2 the first 8 characters of name)",
        "The password in the advertisements of VRRP version 2; version 3 has none. It is no secret: "
        "everyone on the network can read it.",
    ),
    _option(
        "prefix_length",
        None,
        values.whole_number(1, 128),
        "(32 for IPv4, 128 for IPv6)",
        "The prefix length that the virtual IPs are put on the interface with. At most 32 if any of "
        "them is IPv4.",
    ),
)

BY_KEY = {option.key: option for option in OPTIONS}
BY_VARIABLE = {option.variable: option for option in OPTIONS if option.variable is not None}

# The original reads these, but they say nothing about a node: shown as warnings, never as errors.
IGNORED_VARIABLES = {
    "OPENSHIFT_HA_SELECTOR": "the nodes are those that have this file",
    "OPENSHIFT_HA_ADMIN_EMAILS": "ipfod sends no mail; notify_script may",
    "OPENSHIFT_HA_SMTP_SERVER": "ipfod sends no mail; notify_script may",
    "OPENSHIFT_HA_NFTABLES_RULE": "the firewall is opened by OPENSHIFT_HA_IPTABLES_CHAIN, nftables or not",
}


class Form(StrEnum):
    """The two forms that a configuration comes in; they differ in how options are spelled."""

    TOML = "toml"
    ENV = "env"

    def option(self, name: str) -> Option | None:
        """The option that is spelled like this, None if there is none."""
        return (BY_KEY if self is Form.TOML else BY_VARIABLE).get(name)

    def spell(self, key: str) -> str:
        """How an option is spelled; by its key if this form has no other name for it."""
        variable = BY_KEY[key].variable
        return variable if self is Form.ENV and variable is not None else key

    def instead_of(self, name: str) -> str:
        """What to say to someone who used a name that this form does not know."""
        if self is Form.TOML:
            nearest = BY_VARIABLE[name].key if name in BY_VARIABLE else nearest_to(name, BY_KEY)
        else:
            key = name.removeprefix(VARIABLE_PREFIX).lower()
            if key in BY_KEY and BY_KEY[key].variable is None:
                return f"{key} can be set in .toml files only"
            nearest = BY_KEY[key].variable or name if key in BY_KEY else nearest_to(name, BY_VARIABLE)
        return f"the nearest known one is {nearest}"


def nearest_to(name: str, known: Iterable[str]) -> str:
    """The known name most like this one, whatever its case; it may be like none."""
    folded = name[:64].replace("-", "_").lower()
    return max(known, key=lambda other: SequenceMatcher(None, other.lower(), folded).ratio())
