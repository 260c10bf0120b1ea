"""Which addresses the machines of a lab get. Pure."""

from __future__ import annotations

import ipaddress
from collections import deque
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network

from ipfod.addresses import Address

Network = IPv4Network | IPv6Network

# Used where neither the nodes nor the virtual IPs say otherwise: a private prefix (RFC 1918) and a unique local
# one (RFC 4193).
DEFAULT_NETWORKS: tuple[Network, ...] = (IPv4Network("192.168.3.0/24"), IPv6Network("fd00:1bf0:3::/64"))
SUBNET_BITS = {4: 24, 6: 64}
HOSTS = range(101, 251)  # the part of each 256 addresses that the lab picks from
BLOCKS = 4
ENOUGH = 17  # machines: the nodes of the largest rehearsal, and the client


class Addressing:
    """Hands out addresses: one of each family a machine, none twice, none that is a virtual IP.

    `listed` are the nodes' addresses that the user's file names; the nodes get them in that order, then free
    ones of the network (/24, /64) of the first listed node or virtual IP. The prefix is widened until all
    listed ones and some free ones are in it. Nodes count up, other machines down.
    """

    def __init__(self, *, virtual_ips: Sequence[Address] = (), listed: Sequence[Address] = ()) -> None:
        self.networks: list[Network] = []
        self._listed: dict[int, deque[Address]] = {}
        self._free: dict[int, deque[Address]] = {}
        taken = {*virtual_ips, *listed}
        for default in DEFAULT_NETWORKS:
            family = default.version
            nodes = [address for address in listed if address.version == family]
            first = next((a for a in (*nodes, *virtual_ips) if a.version == family), default[1])
            network: Network = ipaddress.ip_network((first, SUBNET_BITS[family]), strict=False)
            while not all(node in network for node in nodes) or len(_free(network, taken)) < ENOUGH:
                network = network.supernet()
            self.networks.append(network)
            self._listed[family], self._free[family] = deque(nodes), _free(network, taken)

    def node(self) -> list[str]:
        """Addresses with prefix length of one more node. Raises IndexError when the network is full."""
        return [
            f"{(self._listed[network.version] or self._free[network.version]).popleft()}/{network.prefixlen}"
            for network in self.networks
        ]

    def other(self) -> list[str]:
        """Addresses with prefix length of a machine that is no node. Raises IndexError likewise."""
        return [f"{self._free[network.version].pop()}/{network.prefixlen}" for network in self.networks]

    def is_near(self, address: Address) -> bool:
        """Whether the machines reach the address without a route of its own."""
        return any(address in network for network in self.networks)


def _free(network: Network, taken: set[Address]) -> deque[Address]:
    """Addresses of a network that nobody has."""
    blocks = min(BLOCKS, network.num_addresses // 256)
    candidates = (network[256 * block + host] for block in range(blocks) for host in HOSTS)
    return deque(address for address in candidates if address not in taken)
