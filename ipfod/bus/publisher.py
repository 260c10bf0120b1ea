"""Turns changes of the node into signals.

Changes are noted and the signals made from the node's state when they are sent, so that a burst gives each
object one signal with its newest values. Work is cut into slices: failovers and groups first, then the virtual
IPs, of which there may be thousands; those of a burst when it is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from typing import Any

from ipfod.bus import wire
from ipfod.bus.interfaces import (
    FAILOVER,
    GROUP,
    MANAGER,
    OBJECT_MANAGER,
    PROPERTIES,
    VIRTUAL_IP,
    problem_entry,
    transition_entry,
)
from ipfod.bus.objects import Object, Objects
from ipfod.bus.paths import ROOT, path_of
from ipfod.bus.schema import Interface
from ipfod.bus.server import shown
from ipfod.node.events import (
    Added,
    Change,
    Changed,
    FailoverRef,
    NodeChanged,
    ProblemCleared,
    ProblemRaised,
    Ref,
    Removed,
    VirtualIPRef,
)
from ipfod.node.model import Transition
from ipfod.node.node import Node
from ipfod.plan.model import GroupKey

SLICE_S = 0.005
# While many groups change, their virtual IPs wait: thousands of signals would hold up who moves the groups.
MANY_GROUPS, REST_S, REST_MAX_S = 8, 0.02, 0.3


@dataclass(slots=True)
class _Pending:
    """What is to be said of one object: that it went, that it came, which properties changed; in this order."""

    removed: bool = False
    added: bool = False
    names: set[str] = field(default_factory=set)


class Publisher:
    """The signals of one node; `send` takes those of a slice at once."""

    def __init__(self, node: Node, objects: Objects, send: Callable[..., None]) -> None:
        self._node = node
        self._objects = objects
        self._send = send
        self._first: dict[Ref, _Pending] = {}
        self._of_groups: dict[GroupKey, set[str]] = {}  # the same of each of their virtual IPs
        self._then: dict[Ref, _Pending] = {}
        self._node_fields: set[str] = set()
        self._changed_s = self._burst_since_s = 0.0  # a group, last and first
        self._scheduled: asyncio.TimerHandle | None = None

    def publish(self, changes: tuple[Change, ...]) -> None:
        """Send Transition, ProblemRaised and ProblemCleared now, note the rest for the next turns."""
        events: list[wire.Signal] = []
        for change in changes:
            match change:
                case Transition():
                    events.append(_event("Transition", _transition_body(change)))
                case ProblemRaised() | ProblemCleared():
                    self._node_fields.add("problems")
                    name = type(change).__name__
                    events.append(_event(name, [wire.clean(problem_entry(change.problem))]))
                case NodeChanged():
                    self._node_fields |= change.fields
                case Added():
                    self._pending(change.ref).added = True
                case Removed():
                    self._note_removed(change.ref)
                case Changed():
                    self._note_changed(change.ref, change.fields)
        self._send(*events)
        self._schedule()

    def flush(self) -> None:
        """Send everything that is still to be said."""
        if self._scheduled is not None:
            self._scheduled.cancel()
            self._scheduled = None
        self._send(*chain.from_iterable(chain(self._of_first(), self._of_virtual_ips())))

    def _schedule(self) -> None:
        """Have what is noted said: at once, or when a burst is over."""
        loop = asyncio.get_running_loop()
        if self._first or self._node_fields:
            due_s = loop.time()
        elif self._of_groups or self._then:
            due_s = self._rest_until_s()
        else:
            return
        if self._scheduled is not None:
            if self._scheduled.when() <= due_s:
                return
            self._scheduled.cancel()
        self._scheduled = loop.call_at(due_s, self._slice)

    def _rest_until_s(self) -> float:
        """Until when virtual IPs wait for groups that change."""
        if len(self._of_groups) <= MANY_GROUPS:
            return self._changed_s
        return min(self._changed_s + REST_S, self._burst_since_s + REST_MAX_S)

    def _slice(self) -> None:
        self._scheduled = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        virtual_ips = self._of_virtual_ips() if now >= self._rest_until_s() else iter(())
        messages: list[wire.Signal] = []
        for of_one in chain(self._of_first(), virtual_ips):
            messages += of_one
            if loop.time() > now + SLICE_S:
                break
        self._send(*messages)
        self._schedule()

    # ------------------------------------------------------------ noting

    def _pending(self, ref: Ref) -> _Pending:
        queue = self._then if isinstance(ref, VirtualIPRef) else self._first
        return queue.setdefault(ref, _Pending())

    def _note_removed(self, ref: Ref) -> None:
        pending = self._pending(ref)
        # Nobody has heard of an object that came and went within one burst.
        pending.removed = pending.removed or not pending.added
        pending.added = False
        pending.names.clear()

    def _note_changed(self, ref: Ref, fields: frozenset[str]) -> None:
        match ref:
            case FailoverRef():
                self._note(ref, FAILOVER, fields)
            case GroupKey():
                self._note(ref, GROUP, fields)
                if names := VIRTUAL_IP.changed_by(frozenset(f"group.{name}" for name in fields)):
                    self._changed_s = asyncio.get_running_loop().time()
                    if not self._of_groups:
                        self._burst_since_s = self._changed_s
                    self._of_groups.setdefault(ref, set()).update(names)
            case VirtualIPRef():
                self._note(ref, VIRTUAL_IP, fields)

    def _note(self, ref: Ref, interface: Interface, fields: frozenset[str]) -> None:
        if names := interface.changed_by(fields):
            self._pending(ref).names |= names

    # ------------------------------------------------------------ saying

    def _of_first(self) -> Iterator[list[wire.Signal]]:
        """Take what is noted of the node, failovers and groups: the signals, one object after the other."""
        if self._node_fields:
            fields, self._node_fields = frozenset(self._node_fields), set()
            yield [_properties_changed(Object(ROOT, MANAGER, self._node), MANAGER.changed_by(fields))]
        yield from self._of_each(self._first)

    def _of_virtual_ips(self) -> Iterator[list[wire.Signal]]:
        """The same of virtual IPs."""
        while self._of_groups:
            key = next(iter(self._of_groups))
            yield list(self._virtual_ips_of(key, self._of_groups.pop(key)))
        yield from self._of_each(self._then)

    def _of_each(self, queue: dict[Ref, _Pending]) -> Iterator[list[wire.Signal]]:
        while queue:
            ref = next(iter(queue))
            # All of them at once: what a slice that ends here would leave is noted nowhere any more.
            yield list(self._signals(ref, queue.pop(ref)))

    def _virtual_ips_of(self, key: GroupKey, names: Collection[str]) -> Iterator[wire.Signal]:
        """What a group's change says of each of its virtual IPs, with what is to be said of that one anyway."""
        if (status := self._node.groups.get(key)) is None:
            return
        for address in status.group.virtual_ips:
            ref = VirtualIPRef(address)
            pending = self._then.pop(ref, None) or _Pending()
            pending.names.update(names)
            yield from self._signals(ref, pending)

    def _signals(self, ref: Ref, pending: _Pending) -> Iterator[wire.Signal]:
        found = self._objects.of(ref)
        if pending.removed:
            interface = {FailoverRef: FAILOVER, GroupKey: GROUP, VirtualIPRef: VIRTUAL_IP}[type(ref)]
            yield _signal(ROOT, OBJECT_MANAGER, "InterfacesRemoved", [path_of(ref), [interface.name]])
        if found is not None:
            if pending.added:
                yield _signal(ROOT, OBJECT_MANAGER, "InterfacesAdded", [found.path, shown(found)])
            elif pending.names:
                yield _properties_changed(found, pending.names)


def _signal(path: str, interface: Interface, member: str, body: Any) -> wire.Signal:
    [signature] = [signal.signature for signal in interface.signals if signal.name == member]
    return wire.Signal(path, interface.name, member, signature, body)


def _event(member: str, body: list[Any]) -> wire.Signal:
    return _signal(ROOT, MANAGER, member, body)


def _transition_body(transition: Transition) -> list[Any]:
    entry = transition_entry(transition)
    return [wire.clean(entry[name][1]) for name in ("group", "old", "new", "reason", "usec")]


def _properties_changed(target: Object, names: Collection[str]) -> wire.Signal:
    name, values = target.interface.name, target.interface.values(target.view, names)
    if target.interface is VIRTUAL_IP:
        ready = _changed_body(name, tuple(values.items()))
        return _signal(target.path, PROPERTIES, "PropertiesChanged", ready)
    return _signal(target.path, PROPERTIES, "PropertiesChanged", [name, wire.clean(values), []])


@lru_cache(maxsize=4)
def _changed_body(name: str, values: tuple[tuple[str, tuple[str, Any]], ...]) -> bytes:
    """The body of PropertiesChanged, marshalled: the virtual IPs of a group follow each other with the same."""
    [changed] = [each for each in PROPERTIES.signals if each.name == "PropertiesChanged"]
    return wire.marshal(changed.signature, [name, wire.clean(dict(values)), []])
