"""The lab: nodes, a client and the switch between them, on this machine and without a trace on it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from ipaddress import ip_address
from typing import Self

from ipfod.addresses import Address
from ipfod.lab.addressing import Addressing
from ipfod.lab.machine import Machine
from ipfod.lab.meter import Meter
from ipfod.lab.node import Node
from ipfod.lab.switch import Switch

DEFAULT_INTERFACE = "eth0"
CLIENT_INTERFACE = "eth0"


class Lab:
    """`async with Lab(nodes=3) as lab`: nodes with nothing running but a bus, on one switch with a client.

    `virtual_ips` and `node_addresses` (in the order of the nodes) choose the addresses, see `Addressing`;
    `chains` is what the option `firewall_chain` names. Root only. Raises Failed naming the machine and what was
    refused.
    """

    def __init__(
        self,
        *,
        nodes: int = 3,
        virtual_ips: Sequence[Address | str] = (),
        node_addresses: Sequence[Address | str] = (),
        interface: str = DEFAULT_INTERFACE,
        chains: Sequence[str] = (),
    ) -> None:
        self.nodes: list[Node] = []
        self.switch = Switch("switch")
        self.client = Machine("client")
        self.interface = interface
        self._first_nodes = nodes
        self._chains = tuple(chains)
        self._made = 0
        self._stack = AsyncExitStack()
        self._addressing = Addressing(
            virtual_ips=[_address(vip) for vip in virtual_ips],
            listed=[_address(node) for node in node_addresses],
        )

    async def __aenter__(self) -> Self:
        try:
            await self._stack.enter_async_context(self.switch)
            await self._stack.enter_async_context(self.client)
            await self.switch.connect(self.client, CLIENT_INTERFACE, self._addressing.other())
            for _ in range(self._first_nodes):
                await self.add_node()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def add_node(self) -> Node:
        """Put one more node on the switch."""
        self._made += 1
        node = Node(
            f"node{self._made}",
            switch=self.switch,
            interface=self.interface,
            addresses=self._addressing.node(),
            chains=self._chains,
        )
        await self._stack.enter_async_context(node)
        self.nodes.append(node)
        return node

    async def holders(self, virtual_ip: Address | str) -> list[Node]:
        """The nodes on whose interface a virtual IP is now."""
        address = _address(virtual_ip)
        running = [node for node in self.nodes if node.pid is not None]
        held = await asyncio.gather(*(node.addresses() for node in running))
        return [node for node, addresses in zip(running, held, strict=True) if address in addresses]

    def meter(self, virtual_ips: Sequence[Address | str], *, interval_ms: float = 5.0) -> Meter:
        """What measures outages from the client's point of view, as an async context manager."""
        addresses = [_address(vip) for vip in virtual_ips]
        routes = [f"{a} dev {CLIENT_INTERFACE}" for a in addresses if not self._addressing.is_near(a)]
        return Meter(self.client, addresses, interval_ms=interval_ms, routes=routes)


def _address(text: Address | str) -> Address:
    return ip_address(text) if isinstance(text, str) else text
