"""What TARGET means: a failover, a group's name or a virtual IP. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from ipfod.bus.paths import failover_path, group_path
from ipfod.ctl.addresses import normalised
from ipfod.ctl.description import Description, Failover, Group
from ipfod.ctl.failures import CommandFailed
from ipfod.plan.model import GroupKey


@dataclass(frozen=True, slots=True)
class Target:
    """One group or, with `group` None, a whole failover."""

    failover: Failover
    group: Group | None = None

    @property
    def groups(self) -> tuple[Group, ...]:
        return self.failover.groups if self.group is None else (self.group,)

    @property
    def path(self) -> str:
        """Its object on the bus."""
        return failover_path(self.failover.name) if self.group is None else path_of(self.failover, self.group)

    @property
    def name(self) -> str:
        return self.failover.name if self.group is None else self.group.name


def path_of(failover: Failover, group: Group) -> str:
    """A group's object on the bus; its name ends with its number (contract, "Instance names")."""
    return group_path(GroupKey(failover.name, int(group.name.rpartition("_")[2])))


def find(described: Description, name: str) -> Target:
    """What a name stands for; a failover's name goes first. Raises CommandFailed if nothing has it."""
    wanted = normalised(name)
    for failover in described.failovers:
        if failover.name == wanted:
            return Target(failover)
    for failover in described.failovers:
        for group in failover.groups:
            if wanted == group.name or wanted in group.virtual_ips:
                return Target(failover, group)
    raise CommandFailed(
        f"{name}: no failover, group or virtual IP of that name on {described.node_name}",
        hint="ipfoctl status lists them all",
    )
