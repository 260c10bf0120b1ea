"""The methods of the manager object that only tell something."""

from __future__ import annotations

import json
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any

from ipfod.bus import wire
from ipfod.bus.describe import describe
from ipfod.bus.errors import standard
from ipfod.bus.interfaces import MANAGER, transition_entry
from ipfod.bus.objects import Objects
from ipfod.bus.paths import virtual_ip_path
from ipfod.bus.server import Call, Handlers
from ipfod.bus.turns import Steps, Turns
from ipfod.errors import NotFound
from ipfod.node.model import Transition
from ipfod.node.node import HISTORY_LENGTH, Node

ADDRESS_LENGTH_MAX = 64  # the longest IPv6 address with a zone is shorter


class Manager:
    """The manager of one node."""

    def __init__(self, node: Node, objects: Objects, turns: Turns) -> None:
        self._node = node
        self._objects = objects
        self._turns = turns

    @property
    def handlers(self) -> Handlers:
        return {
            (MANAGER.name, "FindVirtualIP"): self._find_virtual_ip,
            (MANAGER.name, "GetHistory"): self._get_history,
            (MANAGER.name, "Describe"): self._describe,
        }

    async def _find_virtual_ip(self, call: Call) -> list[Any]:
        [text] = call.arguments
        shown = text if len(text) <= ADDRESS_LENGTH_MAX else f"{text[:ADDRESS_LENGTH_MAX]}…"
        try:
            address = ip_address(text)
        except ValueError as error:
            raise standard("InvalidArgs", f"{shown!r} is not an IPv4 or IPv6 address") from error
        if address not in self._node.virtual_ips:
            raise NotFound(f"{shown} is not a virtual IP of this node")
        return [virtual_ip_path(address)]

    async def _get_history(self, call: Call) -> bytes:
        [limit] = call.arguments
        return await self._turns.run(_marshalled(self._node.history(limit or HISTORY_LENGTH)))

    async def _describe(self, call: Call) -> list[Any]:
        return [json.dumps(await self._turns.run(describe(self._node, self._objects)))]


def _marshalled(transitions: Iterable[Transition]) -> Steps[bytes]:
    parts = []
    for transition in transitions:
        parts.append(wire.list_part(wire.clean(transition_entry(transition))))
        yield
    return wire.list_body(parts)
