"""The tree of objects on the bus, looked up in the node's state when somebody asks: nothing is kept here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from ipfod.addresses import Address
from ipfod.bus import paths
from ipfod.bus.interfaces import (
    FAILOVER,
    GROUP,
    INTROSPECTABLE,
    MANAGER,
    OBJECT_MANAGER,
    PEER,
    PROPERTIES,
    VIRTUAL_IP,
    VirtualIPView,
)
from ipfod.bus.schema import Interface
from ipfod.bus.turns import Steps
from ipfod.node.events import FailoverRef, Ref, VirtualIPRef
from ipfod.node.model import FailoverStatus, GroupStatus, VirtualIPStatus
from ipfod.node.node import Node
from ipfod.plan.model import GroupKey

T = TypeVar("T")
_Statuses = tuple[dict[str, FailoverStatus], dict[GroupKey, GroupStatus], dict[Address, VirtualIPStatus]]


@dataclass(frozen=True, slots=True)
class Object:
    """One object: its own interface and what that shows now."""

    path: str
    interface: Interface
    view: Any

    @property
    def interfaces(self) -> tuple[Interface, ...]:
        """All interfaces, the standard ones first."""
        standard = (PEER, INTROSPECTABLE, PROPERTIES)
        manager = (OBJECT_MANAGER,) if self.interface is MANAGER else ()
        return (*standard, *manager, self.interface)


class Objects:
    """The objects of one node."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def at(self, path: str) -> Object | None:
        """The object at a path, None if there is none (or only a node between objects)."""
        if path == paths.ROOT:
            return Object(path, MANAGER, self._node)
        ref = paths.parse(path)
        return None if ref is None else self.of(ref)

    def of(self, ref: Ref) -> Object | None:
        """The object that stands for `ref`, None if it is not there any more."""
        node = self._node
        match ref:
            case FailoverRef():
                if (failover := node.failovers.get(ref.name)) is not None:
                    return Object(paths.path_of(ref), FAILOVER, failover)
            case GroupKey():
                if (group := node.groups.get(ref)) is not None:
                    return Object(paths.path_of(ref), GROUP, group)
            case VirtualIPRef():
                virtual_ip = node.virtual_ips.get(ref.address)
                if virtual_ip is not None and (group := node.groups.get(virtual_ip.group)) is not None:
                    return Object(paths.path_of(ref), VIRTUAL_IP, VirtualIPView(virtual_ip, group))
        return None

    def refs(self) -> Iterator[Ref]:
        """Everything below the manager: failovers, groups, virtual IPs."""
        yield from (FailoverRef(name) for name in self._node.failovers)
        yield from self._node.groups
        yield from (VirtualIPRef(address) for address in self._node.virtual_ips)

    def each(self, make: Callable[[Object], T]) -> Steps[dict[Ref, T]]:
        """What `make` makes of every object below the manager as it is at the last step; a step for each.

        What changes meanwhile is made anew: the signals that tell of it leave before the answer does.
        """
        made: dict[Ref, T] = {}
        ahead = tuple(self.refs())
        while ahead:
            before = self._statuses()
            for ref in ahead:
                if (found := self.of(ref)) is not None:
                    made[ref] = make(found)
                else:
                    made.pop(ref, None)
                yield
            ahead = self._changed_since(before)
        return made

    def _statuses(self) -> _Statuses:
        return dict(self._node.failovers), dict(self._node.groups), dict(self._node.virtual_ips)

    def _changed_since(self, before: _Statuses) -> tuple[Ref, ...]:
        now = self._statuses()
        if now == before:  # at once where nothing was replaced
            return ()
        failovers, groups = _differing(before[0], now[0]), _differing(before[1], now[1])
        addresses = _differing(before[2], now[2])
        addresses |= {address: None for address, status in now[2].items() if status.group in groups}
        return (*map(FailoverRef, failovers), *groups, *map(VirtualIPRef, addresses))

    def children(self, path: str) -> list[str] | None:
        """The names of the nodes right below a path; None if nothing is at or below it."""
        node = self._node
        match path:
            case paths.ROOT:
                present = {"failover": node.failovers, "vip": node.virtual_ips}
                return [name for name, there in present.items() if there]
            case paths.FAILOVERS if node.failovers:
                return [paths.encode(name) for name in node.failovers]
            case paths.VIRTUAL_IPS if node.virtual_ips:
                return [paths.encode(str(address)) for address in node.virtual_ips]
        if f"{paths.ROOT}/".startswith(path if path == "/" else f"{path}/"):
            above = paths.ROOT.removeprefix(path).lstrip("/")
            return [above.split("/")[0]]
        owner = paths.parse(path.removesuffix("/group"))
        if isinstance(owner, FailoverRef) and owner.name in node.failovers:
            groups = [key for key in node.groups if key.failover == owner.name]
            if path.endswith("/group"):
                return [paths.encode(str(key.index)) for key in groups] or None
            return ["group"] if groups else []
        return [] if self.at(path) is not None else None


def _differing(before: Mapping[Any, object], now: Mapping[Any, object]) -> dict[Any, None]:
    """The keys, in order, whose values are others. Statuses are frozen: the same object says the same."""
    return {key: None for key in {**now, **before} if before.get(key) is not now.get(key)}
