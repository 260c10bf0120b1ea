"""What each problem is and what to do about it, by its code; docs/dbus.md has the same table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Explained:
    """One row: the code, what kind of object it is raised for, what it is and what to do."""

    code: str
    object: str
    text: str


# A code has two rows where it means different things of different objects.
PROBLEMS = (
    Explained(
        "configuration-invalid",
        "file",
        "it is refused, with a line of text for each mistake. The last version that was good stays in force",
    ),
    Explained(
        "interface-missing",
        "failover",
        "its interface is not there, or has no address that VRRP can use",
    ),
    Explained(
        "keepalived-failed",
        "failover",
        "it does not start, ended by itself or refuses its configuration. It is started again, less "
        "and less often. Or it hangs, and a peer has taken over: then its virtual IPs were taken off "
        "here",
    ),
    Explained(
        "check-failing",
        "failover",
        "the service is down here: text is what the check saw. This node holds no virtual IP of the failover",
    ),
    Explained(
        "check-doubtful",
        "failover",
        "the check passes, and yet something is odd: the port accepts connections and closes them at once",
    ),
    Explained(
        "script-failing",
        "failover",
        "check_script cannot judge: it is missing, not executable, writable by others, or does not "
        "end. That counts as failed, but it is the script that needs mending",
    ),
    Explained(
        "script-failing",
        "failover, a space, notify_script",
        "a run failed or was killed after 30 s. Nothing else follows from it",
    ),
    Explained(
        "firewall-blocking",
        "failover",
        "adverts are dropped on their way in or out, or a rule cannot be set or is removed again and "
        "again; text names the chain. See firewall.md",
    ),
    Explained(
        "firewall-chain-missing",
        "failover",
        "a chain of firewall_chain is not there, or VRRP may end in a table of the old iptables",
    ),
    Explained(
        "split-brain",
        "group",
        "two nodes advertise the group, and both hold its virtual IPs; the text has both addresses. "
        "Every node that hears both reports it, after three adverts of each: a hand-over is none. "
        "They do not hear each other or refuse what they hear: compare firewall, vrrp_version, "
        "auth_pass and virtual_ips of the two",
    ),
    Explained(
        "vrid-collision",
        "group",
        "a router with other virtual IPs uses the group's id on the same interface. Give one of the "
        "two another id, with vrrp_id_offset or excluded_vrrp_ids on all nodes. Before a group is "
        "started this node listens for a second, unless a peer serves it already. If the other router "
        "was there first, the group is not started: it is in fault until the other router is silent. "
        "A group that runs goes on",
    ),
    Explained(
        "duplicate-vip",
        "virtual IP",
        "this node is master, and a host that does not advertise the group answers for the address as "
        "well: the text has its hardware address. Asked for by ARP and neighbour discovery when this "
        "node becomes master, and heard in what hosts say meanwhile. Find it and take the address off "
        "there. It goes when three questions, a second apart, were not answered",
    ),
    Explained(
        "vip-missing",
        "virtual IP",
        "this node is master, but the interface has not had the address for half a second. keepalived "
        "puts back at once what somebody took off, so something takes it off again and again, or "
        "keepalived hangs",
    ),
    Explained(
        "vip-missing",
        "failover",
        "no node serves some of its groups: this one gave them up (maintenance), or the check fails "
        "on every node, and no other is heard",
    ),
    Explained(
        "vip-orphaned",
        "virtual IP",
        "the interface has the address though this node is not master, for more than half a second "
        "(and 5 ms more for each group of the node). What ipfod's own keepalived left is taken off, "
        "and so is the same address with the same prefix length if a hand added it. Anything else, "
        "such as another prefix length, is left alone: remove it, and what put it there",
    ),
    Explained(
        "module-failed",
        "module",
        "a kernel module of kernel_modules could not be loaded. VRRP does without",
    ),
    Explained(
        "metrics-failed",
        "IPFOD_METRICS_LISTEN",
        "metrics cannot be served there; text says why. Everything else goes on. See monitoring.md",
    ),
    Explained(
        "state-damaged",
        "file",
        "the state file or the history could not be written, or the state file was damaged; it is "
        "kept beside the new one under another name",
    ),
)
