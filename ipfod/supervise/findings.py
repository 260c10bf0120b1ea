"""What is wrong with the packet filter, in words: one problem of a code for each failover. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ipfod.firewall.chain import Direction
from ipfod.firewall.firewalld import TABLE, ZoneReport, ZoneRule
from ipfod.firewall.keeper import FirewallReport
from ipfod.firewall.suspects import Packet, Suspect
from ipfod.node.model import Problem, ProblemCode

OTHERS_HINT = "nft list ruleset shows who else manages this chain"
# Never done by ipfod itself: a chain may be missing on one node only, and a node that speaks unicast beside
# another that speaks multicast makes two masters (measured, keepalived 2.2.7).
PEERED_HINT = "set firewall_chain to the chain that filters what comes in, or use_unicast = true on every node"
ZONES_HINT = "firewall-cmd --list-all-zones shows what it lets in, journalctl -u firewalld what it complains of"
CHAIN_HINT = 'set firewall_chain to the chain that filters what comes in, or to "" to leave the firewall alone'


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Adverts that do not get through, and the chains that are suspected."""

    failover: str
    packet: Packet
    suspects: tuple[Suspect, ...]


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything that is known.

    `legacy`: tables of the old iptables that may drop adverts. `fought`: chains, and rules of zones, that
    somebody keeps clearing; `other`: who changed the ruleset last. `opened`: failovers that do not leave the
    firewall alone; `peered`: multicast ones whose peers are known all the same.
    """

    chains: FirewallReport
    zones: ZoneReport
    legacy: tuple[str, ...]
    fought: frozenset[object]
    other: str
    obstacles: tuple[Obstacle, ...]
    opened: frozenset[str]
    peered: frozenset[str] = frozenset()


def problems(findings: Findings) -> tuple[Problem, ...]:
    """A problem for each failover and code, with all that is to be said of it."""
    said: dict[tuple[ProblemCode, str], tuple[list[str], str]] = {}
    for code, failover, text, hint in (*_blocking(findings), *_missing(findings)):
        texts, _ = said.setdefault((code, failover), ([], hint))
        if text not in texts:
            texts.append(text)
    return tuple(
        Problem(code, failover, f"{failover}: {'; '.join(texts)}", hint)
        for (code, failover), (texts, hint) in said.items()
    )


_Said = tuple[ProblemCode, str, str, str]


def _blocking(findings: Findings) -> Iterable[_Said]:
    code = ProblemCode.FIREWALL_BLOCKING
    for obstacle in findings.obstacles:
        yield code, obstacle.failover, _obstacle(obstacle, findings.legacy), _way_out(obstacle)
    for failover, place in _fights(findings):
        who = f', last by "{findings.other}"' if findings.other and not isinstance(place, ZoneRule) else ""
        text = f"{_place(place)}: the rule for VRRP is removed again and again{who}; it is put back with pauses"
        yield code, failover, text, "let only one program manage this chain, or have it let VRRP in by itself"
    for failover, text in findings.chains.errors.items():
        yield code, failover, text, OTHERS_HINT
    for failover, text in findings.zones.errors.items():
        yield code, failover, text, ZONES_HINT


def _fights(findings: Findings) -> Iterable[tuple[str, object]]:
    for place in findings.fought:
        if isinstance(place, ZoneRule):
            for failover in findings.zones.failovers.get(place, ()):
                yield failover, place
    for failover, chains in findings.chains.wanted.items():
        for chain in chains:
            if chain in findings.fought:
                yield failover, chain


def _place(place: object) -> str:
    return f"firewalld, zone {place.zone}" if isinstance(place, ZoneRule) else f"chain {place}"


def _obstacle(obstacle: Obstacle, legacy: tuple[str, ...]) -> str:
    packet = obstacle.packet
    if packet.direction is Direction.INPUT:
        text = (
            f"IPv{packet.ip_version} adverts of other nodes arrive on {packet.interface} but not at keepalived"
        )
    else:
        text = f"IPv{packet.ip_version} adverts of this node do not leave on {packet.interface}"
    named = [str(suspect) for suspect in obstacle.suspects]
    if not any(suspect.certain for suspect in obstacle.suspects):
        named += [f"{table} (legacy) may drop them" for table in legacy]
    return f"{text}: {', '.join(named) if named else 'no chain of nftables that drops them was found'}"


def _way_out(obstacle: Obstacle) -> str:
    chains = [suspect.chain for suspect in obstacle.suspects]
    if not chains:
        return "until they get through, two nodes may be master; nft monitor trace shows where a packet ends"
    if any(chain.table == TABLE for chain in chains):
        return "firewall-cmd --get-active-zones and --list-all-zones show which zone drops them, and why"
    if any(chain.hook not in ("input", "output") for chain in chains):
        return f"accept protocol 112 (VRRP) there: nft insert rule {chains[0]} meta l4proto 112 accept"
    return f'add "{chains[0]}" to firewall_chain, or accept protocol 112 (VRRP) there'


def _missing(findings: Findings) -> Iterable[_Said]:
    # Where nothing filters there is nothing to open, and the default "INPUT" names a chain that need not be.
    code = ProblemCode.FIREWALL_CHAIN_MISSING
    for failover, chains in findings.chains.missing.items() if findings.chains.filters else ():
        names = ", ".join(f'"{chain}"' for chain in chains)
        hint = PEERED_HINT if failover in findings.peered else CHAIN_HINT
        yield code, failover, f"there is no chain {names}; whatever filters here may drop VRRP", hint
    for table in findings.legacy:
        program, _, name = table.partition(" ")
        text = f"table {name} of {program}-legacy drops VRRP, and ipfod does not write there"
        hint = f"{program}-legacy -t {name} -I INPUT -p vrrp -j ACCEPT; or change over to {program}-nft"
        for failover in sorted(findings.opened):
            yield code, failover, text, hint
