"""Failovers, nodes and plans as tests need them: built by the real reader and the real plan."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address

from hypothesis import strategies as st

from ipfod.config.load import load_text
from ipfod.config.model import Address, Failover
from ipfod.plan.model import FailoverPlan, Here, Plan
from ipfod.plan.planning import plan_failover

OWN = (ip_address("10.0.0.1"), ip_address("fe80::1"), ip_address("fd00::1"))
HERE = Here("eth0", OWN)
NO_ANCHORS: Mapping[int, Address] = {}

NAMES = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
GROUPINGS = ["1", "2", "3", "7", "65536", '"per-vip"', '"per-range"']


def failover(toml: str, *, file: str = "/etc/ipfod/web.toml") -> Failover:
    """A failover called web, from a configuration text that has no fault."""
    found, complaints = load_text(toml.encode(), file, "web", "toml")
    assert found is not None, complaints
    return found


def plan(toml: str, *, here: Here = HERE, file: str = "/etc/ipfod/web.toml") -> FailoverPlan:
    """What the node `here` runs of a failover called web."""
    return plan_failover(failover(toml, file=file), here, NO_ANCHORS)


def planned(*texts: str, interface: str = "eth0") -> Plan:
    """The plan of several failovers on one interface."""
    plans = [plan(text, here=Here(interface, OWN)) for text in texts]
    return Plan({one.name: one for one in plans})


def ipv4_addresses(network: int = 0x0A010000, size: int = 0x10000) -> st.SearchStrategy[IPv4Address]:
    """IPv4 addresses, those of 10.1.0.0/16 if nothing else is said."""
    return st.integers(network + 1, network + size - 2).map(IPv4Address)


def ipv6_addresses(network: int = 0xFD00 << 112 | 1 << 64) -> st.SearchStrategy[IPv6Address]:
    """Some IPv6 addresses of one /96 network, fd00:0:0:1::/96 if nothing else is said."""
    return st.integers(network + 1, network + (1 << 32) - 1).map(IPv6Address)


@st.composite
def failover_texts(draw: st.DrawFn, *, vips_max: int = 12) -> str:
    """Configuration texts without a fault, over everything that keepalived's configuration is made of."""
    version = draw(st.sampled_from([2, 3]))
    ipv4 = draw(st.lists(ipv4_addresses(), unique=True, max_size=vips_max))
    ipv6 = draw(st.lists(ipv6_addresses(), unique=True, min_size=not ipv4, max_size=vips_max))
    lines = [
        f'name = "{draw(NAMES)}"',
        f"virtual_ips = {draw(st.permutations([str(address) for address in (*ipv4, *ipv6)]))}",
        f"vip_groups = {draw(st.sampled_from(GROUPINGS))}",
        f"vrrp_id_offset = {draw(st.integers(0, 255 - 2 * vips_max))}",
        f"vrrp_version = {version}",
        f"preemption = {draw(_preemptions())}",
    ]
    if version == 2:
        lines.append(f"advert_interval = {draw(st.integers(1, 40))}")
        if draw(st.booleans()):
            characters = "".join(c for c in map(chr, range(0x22, 0x7F)) if c not in "\"'{}#!\\$")
            lines.append(f'auth_pass = "{draw(st.text(characters, min_size=1, max_size=8))}"')
    else:
        lines.append(f"advert_interval = {draw(st.integers(1, 4000)) / 100}")
    if draw(st.booleans()):
        lines.append(f"prefix_length = {draw(st.integers(1, 32 if ipv4 else 128))}")
    if draw(st.booleans()):
        lines.append(f"priority = {draw(st.integers(1, 254))}")
    if draw(st.booleans()):
        # Peers of 10.2.0.0/16 and fd00:0:0:2::/96: no virtual IP, and not this node.
        peers = draw(st.lists(ipv4_addresses(0x0A020000), unique=True, min_size=1, max_size=5))
        peers6 = draw(st.lists(ipv6_addresses(0xFD00 << 112 | 2 << 64), unique=True, min_size=1, max_size=5))
        lines += ["use_unicast = true", f"unicast_peers = {[str(peer) for peer in (*peers, *peers6)]}"]
    return "\n".join(lines) + "\n"


def _preemptions() -> st.SearchStrategy[str]:
    delays = st.integers(0, 1000).map(lambda delay: f'"preempt_delay {delay}"')
    return st.sampled_from(['"preempt"', '"nopreempt"']) | delays
