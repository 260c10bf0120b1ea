"""From a failover and this node's addresses to what this node runs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ipfod.config.model import Address, Complaint, Failover, Preemption
from ipfod.plan.layout import PlanError, Slot, layout
from ipfod.plan.model import FailoverPlan, Group, Here, Origin, Setting
from ipfod.plan.placement import hashed_priority, priorities

Anchors = Mapping[int, Address]  # by virtual router ID
# Preemption policies ordered while ipfod runs, by a group's index; 0 is the whole failover.
Overrides = Mapping[int, Preemption]
WHOLE_FAILOVER = 0
NO_OVERRIDES: Overrides = MappingProxyType({})


def plan_failover(
    failover: Failover, here: Here, anchors: Anchors, overrides: Overrides = NO_OVERRIDES
) -> FailoverPlan:
    """What this node runs for a failover. Raises PlanError when file and node do not fit together.

    `anchors` are the virtual IPs that adverts carried so far; each is kept while its group still has it, so
    that nodes can take up a change one after the other (a peer refuses adverts with another list).
    """
    _refuse_own_addresses(failover, here)
    known = known_nodes(failover, here.addresses)
    if failover.nodes and here.addresses and not set(here.addresses) & set(failover.nodes):
        raise PlanError(_not_listed(failover, here))
    whole = _setting(overrides.get(WHOLE_FAILOVER), Setting(failover.preemption))
    groups = tuple(
        _group(failover, slot, here, known, anchors, _setting(overrides.get(slot.index), whole))
        for slot in layout(failover)
    )
    return FailoverPlan(failover, here.interface, here.addresses, groups, whole)


def _setting(ordered: Preemption | None, otherwise: Setting) -> Setting:
    return otherwise if ordered is None else Setting(ordered, Origin.RUNTIME)


def known_nodes(failover: Failover, own: tuple[Address, ...]) -> tuple[Address, ...]:
    """The nodes that share the VIPs: as listed, else unicast peers and this node; () if nobody says."""
    if failover.nodes:
        return failover.nodes
    if not failover.use_unicast:
        return ()
    # A dual-stack peer list names each node twice: one family is enough to count them. The list may or may not
    # name this node.
    version = min((address.version for address in failover.virtual_ips), default=4)
    peers = tuple(peer for peer in failover.unicast_peers if peer.version == version)
    mine = _nearest(own, peers)
    return peers if mine is None or set(own) & set(peers) else (*peers, mine)


def _group(
    failover: Failover,
    slot: Slot,
    here: Here,
    known: tuple[Address, ...],
    anchors: Anchors,
    preemption: Setting,
) -> Group:
    version = slot.virtual_ips[0].version
    peers = _peers(failover, here, version)
    anchor = anchors.get(slot.virtual_router_id)
    return Group(
        failover=failover.name,
        index=slot.index,
        name=slot.name,
        virtual_router_id=slot.virtual_router_id,
        virtual_ips=slot.virtual_ips,
        anchor=anchor if anchor in slot.virtual_ips and anchor is not None else slot.virtual_ips[0],
        priority=_priority(failover, slot, here, known),
        source=_source(here, version, peers),
        preemption=preemption,
        peers=peers,
    )


def _peers(failover: Failover, here: Here, version: int) -> tuple[Address, ...]:
    """Unicast peers of a family without this node, () for multicast. Raises PlanError if none is left."""
    if not failover.use_unicast:
        return ()
    listed = [peer for peer in failover.unicast_peers if peer.version == version]
    peers = tuple(peer for peer in listed if peer not in here.addresses)
    if not peers:
        what = f"names no node but this one for IPv{version}"
        raise PlanError(_complaint(failover, "unicast_peers", what, "the addresses of the other nodes"))
    return peers


def _nearest(own: tuple[Address, ...], peers: tuple[Address, ...]) -> Address | None:
    """The own address that shares most leading bits with a peer's, as in RFC 6724 5, rule 8: peers know it."""
    mine = [address for address in own if peers and address.version == peers[0].version]
    return min(mine, key=lambda a: min(int(a) ^ int(peer) for peer in peers), default=None)


def _source(here: Here, version: int, peers: tuple[Address, ...]) -> Address | None:
    """The address adverts come from: multicast IPv6 ones come from a link-local address (RFC 9568 5.1.2.1)."""
    if peers:
        return _nearest(here.addresses, peers)
    mine = [address for address in here.addresses if address.version == version]
    if version == 6:
        mine.sort(key=lambda address: not address.is_link_local)
    return mine[0] if mine else None


def _priority(failover: Failover, slot: Slot, here: Here, known: tuple[Address, ...]) -> int:
    if failover.priority is not None:
        return failover.priority
    mine = next((node for node in known if node in here.addresses), None)
    if mine is not None:
        return priorities(failover, slot.index, known)[mine]
    # One address speaks for the node in both families.
    own = min(here.addresses, key=lambda a: (a.version, a.is_link_local), default=None)
    return hashed_priority(own, slot.virtual_router_id) if own is not None else 1


def _refuse_own_addresses(failover: Failover, here: Here) -> None:
    for address in failover.virtual_ips:
        if address in here.addresses:
            raise PlanError(
                _complaint(
                    failover,
                    "virtual_ips",
                    f"{address} is this node's own address on {here.interface}",
                    "addresses that no node has by itself",
                )
            )


def _not_listed(failover: Failover, here: Here) -> Complaint:
    own = ", ".join(str(address) for address in here.addresses if not address.is_link_local)
    return _complaint(
        failover,
        "nodes",
        f"none of the listed nodes is this one ({own or 'no address'} on {here.interface})",
        "the addresses of all nodes, this one's included",
    )


def _complaint(failover: Failover, key: str, what: str, accepted: str) -> Complaint:
    source = failover.source
    return Complaint(source.file, source.lines.get(key, 1), key, what, accepted)
