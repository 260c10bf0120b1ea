"""Which node a group prefers: even, the same on every node, and without a word between them. Pure.

With the nodes listed, group i takes them in an order read off i in the factorial number system. The first digit
goes up and the others go down. So, for every number of groups, the first choices of any two nodes differ by at
most one group, and still do when any one node is gone: while the groups of the lost node are dealt out from the
last node backwards, the first choices are dealt from the first node forwards, and the two never pile up.

Without a list a node knows only itself. It then takes a hash of its address and the virtual router ID, highest
wins (rendezvous hashing), which is even on average.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from ipfod.config.model import Address, Failover

# 254 is the highest that a backup may have (RFC 9568 5.2.4). Two above the planned ones are kept free for a
# node that takes over by order: `CLAIM_TAKING` to get a group, `CLAIM_HOLDING` to keep it.
CLAIM_TAKING = 254
CLAIM_HOLDING = 253
PRIORITY_MAX = 252
# A backup waits (256 - priority) / 256 of an advertisement interval. Ranks this far apart keep two backups from
# firing together (4 ms at 0.1 s), and the first two ranks still hand over within 5 ms.
RANK_STEP = 10
PRIORITY_MIN_LISTED = 1
# Without a list priorities stay in the upper part: the lowest still waits 14 ms at 0.1 s.
PRIORITY_MIN_HASHED = 220


def preference(index: int, nodes: Sequence[Address], *, turn: int = 0) -> tuple[Address, ...]:
    """The nodes in the order in which the group with 0-based `index` wants them.

    `turn` rotates the list first, so that failovers of few groups do not all begin with the same node.
    """
    remaining = sorted(nodes, key=lambda node: (node.version, int(node)))
    turn %= len(remaining)
    remaining = remaining[turn:] + remaining[:turn]
    order = [remaining.pop(index % len(remaining))]
    index //= len(nodes)
    while remaining:
        index, digit = divmod(index, len(remaining))
        order.append(remaining.pop(len(remaining) - 1 - digit))
    return tuple(order)


def priorities(failover: Failover, index: int, nodes: Sequence[Address]) -> dict[Address, int]:
    """Priority of every listed node for the group with 1-based `index`, 1..252, or as configured."""
    if failover.priority is not None:
        return dict.fromkeys(nodes, failover.priority)
    step = min(RANK_STEP, (PRIORITY_MAX - PRIORITY_MIN_LISTED) // max(1, len(nodes) - 1))
    turn = int.from_bytes(hashlib.sha256(failover.name.encode()).digest()[:4], "big")
    order = preference(index - 1, nodes, turn=turn)
    return {node: PRIORITY_MAX - rank * step for rank, node in enumerate(order)}


def hashed_priority(address: Address, virtual_router_id: int) -> int:
    """Priority of a node that knows no other, from its address and the id."""
    digest = hashlib.sha256(f"{address}#{virtual_router_id}".encode()).digest()
    return PRIORITY_MIN_HASHED + int.from_bytes(digest[:4], "big") % (PRIORITY_MAX - PRIORITY_MIN_HASHED + 1)
