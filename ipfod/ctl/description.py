"""What the daemon's `Describe` answers: read strictly, and narrowed to what was asked for. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ipfod.ctl.addresses import normalised
from ipfod.ctl.failures import CommandFailed

Document = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Problem:
    """One entry of `problems`."""

    code: str
    object: str
    text: str
    hint: str
    since_usec: int


@dataclass(frozen=True, slots=True)
class Group:
    """One entry of a failover's `groups`; `held` are those of its virtual IPs that the kernel has."""

    name: str
    state: str
    reason: str
    master: str
    since_usec: int
    virtual_ips: tuple[str, ...]
    held: frozenset[str]
    preemption: str
    preemption_origin: str


@dataclass(frozen=True, slots=True)
class Failover:
    """One entry of `failovers`."""

    name: str
    interface: str
    configuration_file: str
    preemption: str
    preemption_origin: str
    check_state: str
    check_text: str
    keepalived_state: str
    keepalived_pid: int
    unicast: bool
    groups: tuple[Group, ...]


@dataclass(frozen=True, slots=True)
class Description:
    """Everything that `status` shows."""

    version: str
    node_name: str
    maintenance: bool
    maintenance_reason: str
    maintenance_until: int
    problems: tuple[Problem, ...]
    failovers: tuple[Failover, ...]

    @property
    def groups(self) -> tuple[Group, ...]:
        return tuple(group for failover in self.failovers for group in failover.groups)


def parse(answer: object) -> Document:
    """The JSON document in the daemon's answer. Raises CommandFailed if it is none."""
    try:
        document = json.loads(answer) if isinstance(answer, str) else None
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise strange("no JSON object")
    return document


def narrow(document: Document, names: Sequence[str]) -> Document:
    """The document with only those groups that a name means: a failover, a group or a virtual IP.

    Problems stay, all of them. Raises CommandFailed for a name that means nothing.
    """
    if not names:
        return document
    wanted = {normalised(name) for name in names}
    met: set[str] = set()
    failovers = []
    for failover in _list(document, "failovers"):
        groups = []
        for group in _list(failover, "groups"):
            hits = wanted & {
                _get(failover, "name", str),
                _get(group, "name", str),
                *_texts(group, "virtual_ips"),
            }
            met |= hits
            if hits:
                groups.append(group)
        if groups:
            failovers.append({**failover, "groups": groups})
    if missing := sorted(wanted - met):
        node = _get(document, "node_name", str)
        raise CommandFailed(
            f"{', '.join(missing)}: no failover, group or virtual IP of that name on {node}",
            hint="ipfoctl status lists them all",
        )
    kept = {
        address for failover in failovers for group in failover["groups"] for address in group["virtual_ips"]
    }
    return {
        **document,
        "failovers": failovers,
        "virtual_ips": [vip for vip in _list(document, "virtual_ips") if _get(vip, "address", str) in kept],
    }


def read(document: Document) -> Description:
    """The document as frozen values. Raises CommandFailed naming the first key that is not as it should be."""
    virtual_ips = _list(document, "virtual_ips")
    held = frozenset(_get(vip, "address", str) for vip in virtual_ips if _get(vip, "held", bool))
    return Description(
        version=_get(document, "version", str),
        node_name=_get(document, "node_name", str),
        maintenance=_get(document, "maintenance", bool),
        maintenance_reason=_get(document, "maintenance_reason", str),
        maintenance_until=_get(document, "maintenance_until", int),
        problems=tuple(read_problem(problem) for problem in _list(document, "problems")),
        failovers=tuple(_failover(failover, held) for failover in _list(document, "failovers")),
    )


def read_problem(entry: Document) -> Problem:
    """A problem as the daemon sends it in `problems` and in its signals. Raises CommandFailed."""
    return Problem(
        code=_get(entry, "code", str),
        object=_get(entry, "object", str),
        text=_get(entry, "text", str),
        hint=_get(entry, "hint", str),
        since_usec=_get(entry, "since", int),
    )


def _failover(entry: Document, held: frozenset[str]) -> Failover:
    return Failover(
        name=_get(entry, "name", str),
        interface=_get(entry, "interface", str),
        configuration_file=_get(entry, "configuration_file", str),
        preemption=_get(entry, "preemption", str),
        preemption_origin=_get(entry, "preemption_origin", str),
        check_state=_get(entry, "check_state", str),
        check_text=_get(entry, "check_text", str),
        keepalived_state=_get(entry, "keepalived_state", str),
        keepalived_pid=_get(entry, "keepalived_pid", int),
        unicast=_get(entry, "unicast", bool),
        groups=tuple(_group(group, held) for group in _list(entry, "groups")),
    )


def _group(entry: Document, held: frozenset[str]) -> Group:
    virtual_ips = _texts(entry, "virtual_ips")
    return Group(
        name=_get(entry, "name", str),
        state=_get(entry, "state", str),
        reason=_get(entry, "state_reason", str),
        master=_get(entry, "master", str),
        since_usec=_get(entry, "since", int),
        virtual_ips=virtual_ips,
        held=held.intersection(virtual_ips),
        preemption=_get(entry, "preemption", str),
        preemption_origin=_get(entry, "preemption_origin", str),
    )


def _get(entry: Document, key: str, kind: type[T]) -> T:
    value = entry.get(key)
    if not isinstance(value, kind):
        raise strange(f"{key} is missing" if value is None else f"{key} is {value!r}")
    return value


def _list(entry: Document, key: str) -> list[Document]:
    value = _get(entry, key, list)
    if not all(isinstance(item, dict) for item in value):
        raise strange(f"{key} is not a list of objects")
    return value


def _texts(entry: Document, key: str) -> tuple[str, ...]:
    value = _get(entry, key, list)
    if not all(isinstance(item, str) for item in value):
        raise strange(f"{key} is not a list of strings")
    return tuple(value)


def strange(what: str) -> CommandFailed:
    """The error for an answer of the daemon that is not as this ipfoctl knows it."""
    return CommandFailed(
        f"ipfod answered in a way that this ipfoctl does not understand: {what[:200]}",
        hint="after an upgrade restart it, which moves no virtual IP: systemctl restart ipfod",
    )
