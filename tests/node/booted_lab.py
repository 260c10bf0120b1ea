"""The lab with booted nodes: what tests of the installed ipfod stand on."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Self

from ipfod.errors import Failed
from ipfod.lab.lab import Lab
from node.booted import BOOTED, INTERFACE, BootedNode


class BootedLab(Lab):
    """`async with BootedLab(image=image()) as lab`: booted nodes and a client on one switch.

    Meter, address watch and holders are the lab's own. Raises Failed, also when a unit of a node fails at boot.
    """

    def __init__(self, *, image: Path, nodes: int = 2) -> None:
        super().__init__(nodes=nodes, interface=INTERFACE)
        self.booted: list[BootedNode] = []  # the same as `nodes`, by their own type
        self._image = image

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        try:
            states = await asyncio.gather(*(node.until_booted() for node in self.booted))
            for node, state in zip(self.booted, states, strict=True):
                if state != BOOTED[0]:
                    raise Failed(f"{node.name}: {state}: {', '.join(await node.failed_units())}")
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def add_node(self) -> BootedNode:
        """Switch on one more node; `until_booted()` waits for its systemd."""
        self._made += 1
        name, addresses = f"node{self._made}", self._addressing.node()
        node = BootedNode(name, image=self._image, switch=self.switch, addresses=addresses)
        await self._stack.enter_async_context(node)
        self.nodes.append(node)
        self.booted.append(node)
        return node
