"""What the bus may ask the daemon to do."""

from __future__ import annotations

from typing import Protocol

from ipfod.plan.model import GroupKey


class Control(Protocol):
    """Every method may raise an IpfodError, which becomes the caller's answer. `who` names the caller."""

    async def reload(self) -> None:
        """Read the configuration again and run it."""

    async def set_preemption(self, failover: str, index: int, text: str) -> None:
        """Order a preemption policy for a group, or for the whole failover with index 0."""

    async def reset_preemption(self, failover: str, index: int) -> None:
        """Go back to the policy of the configuration."""

    async def step_down(self, key: GroupKey, hold_s: int, who: str) -> None:
        """Have another node take the group; returns when its advert was heard."""

    async def take_over(self, key: GroupKey, who: str) -> None:
        """Make this node the group's master; returns when it is."""

    async def send_gratuitous_arp(self, key: GroupKey) -> None:
        """Tell the link where the group's virtual IPs are."""

    async def enter_maintenance(self, reason: str, until_usec: int) -> tuple[str, ...]:
        """Give up everything; a warning for each group that no other node has taken."""

    async def leave_maintenance(self) -> None:
        """Take part again."""
