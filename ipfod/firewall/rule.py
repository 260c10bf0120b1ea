"""The rules that let one failover's VRRP adverts through, and how they are told from other people's.

A rule is always `iifname/oifname X meta l4proto 112 ip daddr/saddr ADDRESS [ip ttl 255] accept`: one address,
no set, no state, no log, because a native rule may stand in a table that iptables-nft manages. What
iptables-save 1.8.9 makes of other forms (measured): a set of addresses becomes "accept everything",
`ip ttl 255` beside `ip protocol 112` becomes "--ttl-eq 0" with no protocol at all, `ip6 nexthdr 112`
becomes "--hl-eq 112". With `meta l4proto` address, protocol, interface and TTL are all shown as they are.

IGMP and MLD get no rule: only VRRP is let through. Measured with keepalived 2.2.7 and with raw sockets, through
a Linux bridge that snoops and queries:
- IPv4 needs no IGMP. Adverts arrive with IGMP dropped, coming in or going out, since 224.0.0.0/24 is flooded
  whoever has joined (RFC 4541, 2.1.2).
- IPv6 does need MLD behind such a switch. ff02::12 is not flooded there: if the node drops the switch's queries
  (or its own reports), adverts stop when the membership times out, 260 s with the usual timers. Firewalls that
  follow RFC 4890, 4.4.1 let MLD through; in others the administrator has to add `icmpv6 type
  mld-listener-query accept`. Letting MLD through without VRRP helps nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from ipfod.addresses import Address
from ipfod.firewall.chain import Direction, Expression

COMMENT_PREFIX = "ipfod:"
VRRP_PROTOCOL = 112  # IANA protocol numbers; RFC 5798, 5.1.1.4
_GROUPS: dict[int, Address] = {
    4: IPv4Address("224.0.0.18"),
    6: IPv6Address("ff02::12"),
}  # RFC 5798, 5.1.1.2 and 5.1.2.2
_TTL = 255  # RFC 5798, 5.1.1.3: an advert with another TTL or hop limit has crossed a router and is discarded
_INTERFACE_KEYS = {"iifname": Direction.INPUT, "oifname": Direction.OUTPUT}


@dataclass(frozen=True, slots=True)
class FirewallWish:
    """What one failover wants of the firewall.

    `ip_versions`: 4, 6 or both. `peers`: unicast peers; a family without any is multicast. `chains`: as
    `firewall_chain` has them, a bare name or "FAMILY TABLE CHAIN"; () = leave the firewall alone.
    """

    failover: str
    interface: str
    ip_versions: tuple[int, ...]
    peers: tuple[Address, ...] = ()
    chains: tuple[str, ...] = ("INPUT",)


@dataclass(frozen=True, slots=True)
class VrrpRule:
    """Accept the VRRP of one multicast group, or from (output: to) one unicast peer, on one interface."""

    failover: str
    direction: Direction
    interface: str
    address: Address

    @property
    def ip_version(self) -> int:
        return self.address.version

    @property
    def comment(self) -> str:
        """What the rule is found again by: ASCII, at most 70 bytes (nft takes 128)."""
        return COMMENT_PREFIX + self.failover

    def expressions(self) -> tuple[Expression, ...]:
        """The rule's statements in libnftables-json(5), exactly as `list` gives them back."""
        protocol, ttl = ("ip", "ttl") if self.ip_version == 4 else ("ip6", "hoplimit")
        group = self.address.is_multicast
        side = "daddr" if group or self.direction is Direction.OUTPUT else "saddr"
        key = next(key for key, direction in _INTERFACE_KEYS.items() if direction is self.direction)
        matches = [
            _match({"meta": {"key": key}}, self.interface),
            _match({"meta": {"key": "l4proto"}}, VRRP_PROTOCOL),
            _match({"payload": {"protocol": protocol, "field": side}}, str(self.address)),
        ]
        if group:
            matches.append(_match({"payload": {"protocol": protocol, "field": ttl}}, _TTL))
        return (*matches, {"accept": None})

    def __str__(self) -> str:
        if self.address.is_multicast or self.direction is Direction.OUTPUT:
            return f"VRRP to {self.address} on {self.interface}"
        return f"VRRP from {self.address} on {self.interface}"


def wanted_rules(wish: FirewallWish, direction: Direction) -> tuple[VrrpRule, ...]:
    """The rules that a wish comes to in a chain of that direction, both families, none twice."""
    rules = []
    for version in dict.fromkeys(wish.ip_versions):
        peers = [peer for peer in wish.peers if peer.version == version]
        for address in dict.fromkeys(_unscoped(peer) for peer in peers) or (_GROUPS[version],):
            rules.append(VrrpRule(wish.failover, direction, wish.interface, address))
    return tuple(rules)


def read_rule(comment: str, expressions: Sequence[Expression]) -> VrrpRule | None:
    """The rule that was listed, or None if it is not, to the letter, one that ipfod would write."""
    if not comment.startswith(COMMENT_PREFIX):
        return None
    try:
        interface, address = expressions[0]["match"], expressions[2]["match"]["right"]
        direction = _INTERFACE_KEYS[interface["left"]["meta"]["key"]]
        rule = VrrpRule(
            comment.removeprefix(COMMENT_PREFIX), direction, interface["right"], ip_address(address)
        )
    except (LookupError, TypeError, ValueError):
        return None
    return rule if rule.expressions() == tuple(expressions) else None


def _match(left: dict[str, Any], right: str | int) -> Expression:
    return {"match": {"op": "==", "left": left, "right": right}}


def _unscoped(address: Address) -> Address:
    """`fe80::1%eth0` as `fe80::1`: the rule names the interface anyhow, and nft knows no scope."""
    return type(address)(int(address))
