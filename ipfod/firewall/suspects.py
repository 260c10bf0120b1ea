"""Which chains drop an advert: the ruleset is read as the kernel would run it. Pure.

Matches are true, false or unknown (sets by name, what iptables-nft hides, limits). What follows from unknown
ones is a suspicion, no certainty. Statements: libnftables-json(5); hooks: nft(8), "Address families".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

from ipfod.addresses import Address
from ipfod.firewall.chain import Chain, Direction, Expression
from ipfod.firewall.rule import VRRP_PROTOCOL

HOOKS = {Direction.INPUT: ("ingress", "prerouting", "input"), Direction.OUTPUT: ("output", "postrouting")}
_TTL = 255  # RFC 5798, 5.1.1.3
_DEPTH_MAX = 16  # NFT_JUMP_STACK_SIZE, include/net/netfilter/nf_tables.h
_STEPS_MAX = 20000  # rules that match: chains that jump to each other twice are run 2^16 times
_OTHER_PROTOCOLS = frozenset({"tcp", "udp", "udplite", "sctp", "dccp", "icmp", "icmpv6", "igmp", "esp", "ah"})
_INTERFACES = {"iifname": Direction.INPUT, "iif": Direction.INPUT}
_INTERFACES |= {"oifname": Direction.OUTPUT, "oif": Direction.OUTPUT}

Ruleset = Mapping[Chain, Sequence[Sequence[Expression]]]  # the statements of each rule of each chain
_Truth = bool | None  # None: cannot be told


@dataclass(frozen=True, slots=True)
class Packet:
    """An advert on its way through this node. `source` None: whoever may send it."""

    direction: Direction
    interface: str
    destination: Address
    source: Address | None = None

    @property
    def ip_version(self) -> int:
        return self.destination.version


@dataclass(frozen=True, slots=True)
class Suspect:
    """A chain that drops the packet, or may do so."""

    chain: Chain
    certain: bool

    def __str__(self) -> str:
        return f"chain {self.chain} {'drops' if self.certain else 'may drop'} them"


@dataclass(slots=True)
class _Walk:
    """One base chain being run. `unsure`: a rule that cannot be told may have let the packet through."""

    packet: Packet
    ruleset: Ruleset
    by_name: Mapping[tuple[str, str, str], Chain]
    unsure: bool = False
    steps: int = 0
    found: list[Suspect] = field(default_factory=list)

    def run(self, chain: Chain, depth: int, doubt: bool) -> bool:
        """Whether the packet's way surely ends in this chain or those it jumps to."""
        if depth > _DEPTH_MAX or self.steps > _STEPS_MAX:
            return False
        for expressions in self.ruleset.get(chain, ()):
            truth = _all(_matches(each, self.packet) for each in expressions)
            if truth is False:
                continue
            self.steps += 1
            for verdict, more in _verdicts(expressions, self.packet):
                if more is False:
                    continue
                sure = truth is True and more is True
                if self._do(verdict, chain, depth, doubt or not sure):
                    return True
                if sure and ("return" in verdict or "goto" in verdict):
                    return False
                self.unsure = self.unsure or ("return" in verdict and not sure)
        return False

    def _do(self, verdict: Expression, chain: Chain, depth: int, doubt: bool) -> bool:
        if "accept" in verdict:
            self.unsure = self.unsure or doubt
            return not doubt
        if "drop" in verdict or "reject" in verdict:
            self.found.append(Suspect(chain, certain=not (doubt or self.unsure)))
            return not doubt
        for kind in ("jump", "goto"):
            if kind in verdict:
                target = self.by_name.get((chain.family, chain.table, verdict[kind].get("target", "")))
                return target is not None and self.run(target, depth + 1, doubt) and not doubt
        return False


def suspects(ruleset: Ruleset, packet: Packet) -> tuple[Suspect, ...]:
    """The chains that drop a packet: those that surely do, or where there are none those that may."""
    by_name = {(chain.family, chain.table, chain.name): chain for chain in ruleset}
    found: list[Suspect] = []
    for base in base_chains(ruleset, packet):
        walk = _Walk(packet, ruleset, by_name)
        if not walk.run(base, 0, False) and base.policy == "drop":
            walk.found.append(Suspect(base, certain=not walk.unsure))
        found += walk.found
    certain = tuple(dict.fromkeys(each for each in found if each.certain))
    return certain or tuple(dict.fromkeys(found))


def targets(rules: Iterable[Sequence[Expression]]) -> frozenset[str]:
    """The names of the chains that rules jump or go to."""
    found = set()
    for expressions in rules:
        for expression in expressions:
            pairs = _pairs(expression) if "vmap" in expression else ((None, expression),)
            for _, verdict in pairs:
                found |= {verdict[kind].get("target", "") for kind in ("jump", "goto") if kind in verdict}
    return frozenset(found)


def base_chains(chains: Iterable[Chain], packet: Packet) -> tuple[Chain, ...]:
    """The base chains that a packet comes through, in its order."""
    hooks = HOOKS[packet.direction]
    passed = [
        chain
        for chain in chains
        if chain.hook in hooks
        and chain.kind != "nat"
        and (packet.ip_version in chain.ip_versions or chain.hook == "ingress")
        and chain.device in ("", packet.interface)
    ]
    return tuple(sorted(passed, key=lambda chain: (hooks.index(chain.hook), chain.priority)))


def _verdicts(expressions: Sequence[Expression], packet: Packet) -> Iterator[tuple[Expression, _Truth]]:
    """The verdicts of a rule, and whether it comes to each; a map of verdicts has several."""
    for expression in expressions:
        if "vmap" in expression:
            for key, verdict in _pairs(expression):
                yield verdict, _compare(expression["vmap"].get("key"), "==", key, packet)
        elif expression.keys() & {"accept", "drop", "reject", "jump", "goto", "return"}:
            yield expression, True


def _pairs(expression: Expression) -> Iterator[tuple[Any, Expression]]:
    """Keys and verdicts of a map of verdicts; none if it is in a named one."""
    data = expression["vmap"].get("data")
    for pair in data.get("set", ()) if isinstance(data, dict) else ():
        if isinstance(pair, list) and len(pair) == 2 and isinstance(pair[1], dict):
            yield pair[0], pair[1]


def _matches(expression: Expression, packet: Packet) -> _Truth:
    """What one statement makes of the packet; statements that match nothing are true."""
    if "match" in expression:
        match = expression["match"]
        return _compare(match.get("left"), match.get("op", "=="), match.get("right"), packet)
    return None if expression.keys() & {"xt", "limit", "quota"} else True


def _compare(left: Any, op: str, right: Any, packet: Packet) -> _Truth:
    known = _value(left, packet)
    if known is _NEVER:
        return False  # a header that the packet does not have
    if known is None or op not in ("==", "!=", "in"):
        return None
    equal = _equal(known, right)
    return equal if equal is None or op != "!=" else not equal


_NEVER = object()


def _value(left: Any, packet: Packet) -> Any:
    """What the packet has there: a value; None if that cannot be told, `_NEVER` if it has no such thing."""
    match left:
        case {"meta": {"key": "l4proto"}} | {"payload": {"protocol": "ip", "field": "protocol"}}:
            return VRRP_PROTOCOL
        case {"meta": {"key": str(key)}} if key in _INTERFACES:
            return packet.interface if _INTERFACES[key] is packet.direction else ""
        case {"meta": {"key": "nfproto"}}:
            return f"ipv{packet.ip_version}"
        case {"ct": {"key": "state"}}:
            return "new"  # nobody answers an advert: conntrack never sees a reply
        case {"payload": {"protocol": ("ip" | "ip6") as protocol, "field": str(field_)}}:
            if protocol != ("ip" if packet.ip_version == 4 else "ip6"):
                return _NEVER
            fields = {"daddr": packet.destination, "saddr": packet.source, "ttl": _TTL, "hoplimit": _TTL}
            return VRRP_PROTOCOL if field_ == "nexthdr" else fields.get(field_)
        case {"payload": {"protocol": protocol}} if protocol in _OTHER_PROTOCOLS:
            return _NEVER
    return None


def _equal(known: Any, right: Any) -> _Truth:
    match right:
        case {"set": list(members)} | list(members):
            truths = [_equal(known, member) for member in members]
            return True if True in truths else (None if None in truths else False)
        case {"prefix": {"addr": str(address), "len": int(length)}} if isinstance(known, Address):
            try:
                return known in ip_network(f"{address}/{length}", strict=False)
            except ValueError:
                return None
        case {"range": [first, last]}:
            try:
                return bool(type(known)(first) <= known <= type(known)(last))
            except (TypeError, ValueError):
                return None
        case str(text) if isinstance(known, Address):
            try:
                return known == ip_address(text)
            except ValueError:
                return None  # a set by name
        case str(text) if isinstance(known, str) and not text.startswith("@"):
            return known.startswith(text[:-1]) if text.endswith("*") else known == text
        case int(number) if isinstance(known, int):
            return known == number
    return None


def _all(truths: Iterable[_Truth]) -> _Truth:
    found: _Truth = True
    for truth in truths:
        if truth is False:
            return False
        found = None if truth is None else found
    return found
