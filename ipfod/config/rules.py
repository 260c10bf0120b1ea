"""What options demand of each other inside one failover."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ipfod.config.model import Address, Failover
from ipfod.config.options import Form

IPV4_PREFIX_MAX = 32


class Fault(NamedTuple):
    """What is wrong: by the option's key, the fault, what is accepted."""

    key: str
    what: str
    accepted: str


@dataclass(frozen=True, slots=True)
class Draft:
    """A failover before it is believed. `given` are the keys that its file sets."""

    failover: Failover
    given: frozenset[str]
    form: Form


def _peers_for_unicast(draft: Draft) -> Iterator[Fault]:
    if draft.failover.use_unicast and not draft.failover.unicast_peers:
        peers = draft.form.spell("unicast_peers")
        yield Fault(
            "use_unicast", f"is true, but {peers} is not set", f"{peers} with the other nodes' addresses"
        )


def _peers_of_every_family(draft: Draft) -> Iterator[Fault]:
    peers = draft.failover.unicast_peers
    if not draft.failover.use_unicast or not peers:
        return
    families = {type(block[0]) for block in draft.failover.ranges}
    for family in sorted(families - {type(peer) for peer in peers}, key=lambda missing: missing.__name__):
        version = "IPv4" if family.__name__ == "IPv4Address" else "IPv6"
        virtual_ips = draft.form.spell("virtual_ips")
        yield Fault(
            "unicast_peers", f"has no {version} address, but {virtual_ips} has", "a peer of each family"
        )


def _no_virtual_ip_among(key: str, addresses: Iterable[Address], draft: Draft) -> Iterator[Fault]:
    virtual_ips = frozenset(draft.failover.virtual_ips) if addresses else frozenset()
    for address in addresses:
        if address in virtual_ips:
            yield Fault(key, f"{address} is a virtual IP", "the nodes' own addresses")


def _nodes_are_not_virtual(draft: Draft) -> Iterator[Fault]:
    yield from _no_virtual_ip_among("nodes", draft.failover.nodes, draft)


def _peers_are_not_virtual(draft: Draft) -> Iterator[Fault]:
    yield from _no_virtual_ip_among("unicast_peers", draft.failover.unicast_peers, draft)


def _password_with_version_2_only(draft: Draft) -> Iterator[Fault]:
    if "auth_pass" in draft.given and draft.failover.vrrp_version != 2:
        yield Fault(
            "auth_pass", "is set, but VRRP version 3 has no password", "auth_pass with vrrp_version = 2"
        )


def _whole_seconds_with_version_2(draft: Draft) -> Iterator[Fault]:
    interval_s = draft.failover.advert_interval_s
    # VRRPv2 carries whole seconds in one octet, from 1 (RFC 2338, 5.3.7).
    if draft.failover.vrrp_version == 2 and not interval_s.is_integer():
        accepted = "with vrrp_version 2 whole seconds, 1 or more"
        yield Fault("advert_interval", f"{interval_s:g} is not a number of whole seconds", accepted)


def _prefix_fits_family(draft: Draft) -> Iterator[Fault]:
    length = draft.failover.prefix_length
    if (
        length is not None
        and length > IPV4_PREFIX_MAX
        and any(block[0].version == 4 for block in draft.failover.ranges)
    ):
        accepted = f"a whole number from 1 to {IPV4_PREFIX_MAX} where a virtual IP is IPv4"
        yield Fault("prefix_length", f"{length} is out of range", accepted)


Rule = Callable[[Draft], Iterator[Fault]]

# A rule is left out when one of the options that it reads was refused: its complaint would only confuse.
RULES: tuple[tuple[frozenset[str], Rule], ...] = (
    (frozenset({"use_unicast", "unicast_peers"}), _peers_for_unicast),
    (frozenset({"use_unicast", "unicast_peers", "virtual_ips"}), _peers_of_every_family),
    (frozenset({"nodes", "virtual_ips"}), _nodes_are_not_virtual),
    (frozenset({"unicast_peers", "virtual_ips"}), _peers_are_not_virtual),
    (frozenset({"vrrp_version", "auth_pass"}), _password_with_version_2_only),
    (frozenset({"vrrp_version", "advert_interval"}), _whole_seconds_with_version_2),
    (frozenset({"prefix_length", "virtual_ips"}), _prefix_fits_family),
)


def faults(draft: Draft, refused: frozenset[str]) -> Iterator[Fault]:
    """Every rule that a failover breaks. `refused` are the keys whose values are not known."""
    for needed, rule in RULES:
        if not needed & refused:
            yield from rule(draft)
