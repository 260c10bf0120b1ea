"""Groups and virtual router IDs of a failover: the part of the plan that is the same on every node. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ipfod.config.model import Address, Complaint, Failover, Grouping
from ipfod.errors import InvalidConfiguration

VRRP_ID_MAX = 255  # RFC 9568 5.2.3: 1..255


class PlanError(InvalidConfiguration):
    """A failover that reads well and cannot be planned; `complaint` says where and why."""

    def __init__(self, complaint: Complaint) -> None:
        super().__init__(str(complaint))
        self.complaint = complaint


@dataclass(frozen=True, slots=True)
class Slot:
    """A group before any node has its part in it."""

    index: int  # 1-based, counted over both families
    name: str
    virtual_router_id: int
    virtual_ips: tuple[Address, ...]


def layout(failover: Failover) -> tuple[Slot, ...]:
    """Put the virtual IPs into groups and give each its id. Raises PlanError if there are too few ids.

    IPv4 groups come first, then IPv6 ones: a VRRP instance has one family. A number of groups counts for each
    family, so a dual-stack failover has a group of each for every pair.
    """
    blocks = _grouped(failover, 4) + _grouped(failover, 6)
    ids = virtual_router_ids(failover.vrrp_id_offset, failover.excluded_vrrp_ids, len(blocks))
    if len(ids) < len(blocks):
        raise PlanError(_too_many(failover, len(blocks), len(ids)))
    prefix = failover.name.replace("-", "_")
    return tuple(
        Slot(index, f"{prefix}_VIP_{index}", virtual_router_id, block)
        for index, (block, virtual_router_id) in enumerate(zip(blocks, ids, strict=True), start=1)
    )


def distribute(addresses: Sequence[Address], groups: int) -> tuple[tuple[Address, ...], ...]:
    """Split addresses into at most `groups` runs whose lengths differ by one at most, longer ones first."""
    count = min(groups, len(addresses))
    runs = []
    start = 0
    for index in range(count):
        length = len(addresses) // count + (index < len(addresses) % count)
        runs.append(tuple(addresses[start : start + length]))
        start += length
    return tuple(runs)


def virtual_router_ids(offset: int, excluded: Sequence[int], count: int) -> tuple[int, ...]:
    """The first `count` ids above the offset that are not excluded; fewer if they do not fit below 256."""
    free = [number for number in range(offset + 1, VRRP_ID_MAX + 1) if number not in set(excluded)]
    return tuple(free[:count])


def _grouped(failover: Failover, version: int) -> tuple[tuple[Address, ...], ...]:
    ranges = [block for block in failover.ranges if block and block[0].version == version]
    addresses = [address for block in ranges for address in block]
    match failover.vip_groups:
        case Grouping.PER_VIP:
            return tuple((address,) for address in addresses)
        case Grouping.PER_RANGE:
            return tuple(ranges)
        case number:
            return distribute(addresses, number)


def _too_many(failover: Failover, wanted: int, fit: int) -> Complaint:
    return Complaint(
        file=failover.source.file,
        line=failover.source.lines.get("vrrp_id_offset", failover.source.lines.get("virtual_ips", 1)),
        key="vrrp_id_offset",
        what=f"{wanted} groups do not fit above {failover.vrrp_id_offset}, only {fit} do",
        accepted=f"a smaller vrrp_id_offset, or vip_groups that make at most {fit} groups in all",
    )
