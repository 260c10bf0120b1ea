"""What a configuration file says, frozen. Nothing here knows the machine it will run on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from ipfod.addresses import Address as Address


class Grouping(StrEnum):
    """How virtual IPs are put into groups when no number of groups is given."""

    PER_VIP = "per-vip"
    PER_RANGE = "per-range"


class MonitorAddress(StrEnum):
    """Which address the check of `monitor_port` connects to."""

    NODE = "node"
    VIP = "vip"


class PreemptionMode(StrEnum):
    """What a node does that comes back with a higher priority than the master's."""

    PREEMPT = "preempt"
    NOPREEMPT = "nopreempt"
    PREEMPT_DELAY = "preempt_delay"


PREEMPT_DELAY_MAX_S = 1000  # keepalived.conf(5): preempt_delay 0 to 1000
PREEMPTION_ACCEPTED = f'"preempt", "nopreempt" or "preempt_delay SECONDS" with 0 to {PREEMPT_DELAY_MAX_S}'


@dataclass(frozen=True, slots=True)
class Preemption:
    """A preemption policy; `delay_s` has a meaning with `PREEMPT_DELAY` only."""

    mode: PreemptionMode
    delay_s: int = 0

    @classmethod
    def parse(cls, text: str) -> Preemption:
        """Read what the option `preemption` takes. Raises ValueError naming what is accepted."""
        match text.split():
            case ["preempt"]:
                return cls(PreemptionMode.PREEMPT)
            case ["nopreempt"]:
                return cls(PreemptionMode.NOPREEMPT)
            case ["preempt_delay", delay] if re.fullmatch(r"[0-9]{1,4}", delay, re.ASCII):
                if int(delay) <= PREEMPT_DELAY_MAX_S:
                    return cls(PreemptionMode.PREEMPT_DELAY, int(delay))
        raise ValueError(PREEMPTION_ACCEPTED)

    def __str__(self) -> str:
        if self.mode is PreemptionMode.PREEMPT_DELAY:
            return f"{self.mode} {self.delay_s}"
        return str(self.mode)


@dataclass(frozen=True, slots=True)
class Source:
    """Where a failover was read: the file's path as shown to users, and the line of each key that it sets."""

    file: str
    lines: Mapping[str, int] = field(default_factory=dict)

    def at(self, key: str) -> str:
        """`FILE:LINE` of a key; line 1 for a key that the file does not set."""
        return f"{self.file}:{self.lines.get(key, 1)}"


@dataclass(frozen=True, slots=True)
class Complaint:
    """One thing wrong with a configuration: `FILE:LINE: KEY: what; accepted`.

    A `warning` is shown but does not make the file unusable.
    """

    file: str
    line: int
    key: str
    what: str
    accepted: str
    warning: bool = False

    def __str__(self) -> str:
        text = f"{self.file}:{self.line}: {self.key}: {self.what}"
        return f"{text}; {self.accepted}" if self.accepted else text


@dataclass(frozen=True, slots=True)
class Failover:
    """One IP failover configuration. The option table in `options.py` documents each field."""

    name: str
    source: Source
    ranges: tuple[tuple[Address, ...], ...]  # one tuple for each entry of virtual_ips, in the file's order
    vip_groups: int | Grouping = Grouping.PER_VIP
    interface: str | None = None
    vrrp_id_offset: int = 10
    excluded_vrrp_ids: tuple[int, ...] = ()
    monitor_port: int = 80
    monitor_address: MonitorAddress = MonitorAddress.NODE
    check_script: Path | None = None
    check_interval_s: float = 2.0
    check_timeout_s: float = 2.0
    check_rise: int = 1
    check_fall: int = 1
    notify_script: Path | None = None
    script_user: str = "root"
    preemption: Preemption = Preemption(PreemptionMode.PREEMPT_DELAY, 300)
    replica_count: int = 2
    nodes: tuple[Address, ...] = ()
    priority: int | None = None
    use_unicast: bool = False
    unicast_peers: tuple[Address, ...] = ()
    firewall_chain: tuple[str, ...] = ("INPUT",)
    kernel_modules: tuple[str, ...] = ("ip_vs",)
    vrrp_version: int = 3
    advert_interval_s: float = 0.1
    auth_pass: str | None = None
    prefix_length: int | None = None  # None: 32 for IPv4, 128 for IPv6

    @property
    def virtual_ips(self) -> tuple[Address, ...]:
        """Every virtual IP in the file's order."""
        return tuple(address for block in self.ranges for address in block)

    def prefix_length_of(self, address: Address) -> int:
        """The prefix length that a virtual IP is put on the interface with."""
        return address.max_prefixlen if self.prefix_length is None else self.prefix_length

    @property
    def monitored(self) -> bool:
        """Whether anything is checked at all."""
        return self.monitor_port != 0 or self.check_script is not None
