"""Deployments of OpenShift's IP failover: their variables, and what of them has no meaning on a node."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ipfod.config.manifest import Fields, Items, Node, Scalar
from ipfod.config.options import EXCLUDED_IDS_VARIABLE, VARIABLE_PREFIX
from ipfod.config.reading import Complaints
from ipfod.config.values import quoted

KINDS = {"Deployment", "DeploymentConfig"}  # the second is what OpenShift 3 made
WHOLE = "whole objects, as `oc get deployment NAME -o yaml` writes them"
ENTRY = 'entries of `- name: VARIABLE` with `value: "TEXT"` on the next line, right under name'
NO_MEANING = "has no meaning on a node and is left out"

NAMES_SHOWN = 20  # of a list in a warning; the rest is counted

# What people may want to know of a field that is left out; the others are only named.
_PLACEMENT = "install the file on the nodes that are meant, and list their addresses in nodes"
EXPLAINED = {
    "nodeSelector": _PLACEMENT,
    "nodeName": _PLACEMENT,
    "affinity": _PLACEMENT,
    "tolerations": _PLACEMENT,
    "topologySpreadConstraints": _PLACEMENT,
    "volumes": "scripts run on the node itself, among the node's own files",
    "ports": "a hostPort kept two such pods off one node; one node runs one ipfod for all files",
}
# Read here, or true of every node.
_UNDERSTOOD = {"selector", "template", "replicas", "containers", "hostNetwork", "name", "env", "envFrom"}
_PLAIN = re.compile(r"[A-Za-z0-9_./-]{1,64}")


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable with its value. `origin` says where in the Deployment it stands.

    `elsewhere` says where the cluster would take the value from; then `text` is "".
    """

    name: str
    text: str
    line: int
    origin: str
    elsewhere: str = ""


@dataclass(frozen=True, slots=True)
class Mount:
    """A volume in a container. `origin` is in words; `host` is the node's directory if it is one."""

    path: str
    origin: str
    host: str | None = None


@dataclass(frozen=True, slots=True)
class Container:
    """A container that has variables of IP failover."""

    name: str
    line: int
    variables: tuple[Variable, ...]
    mounts: tuple[Mount, ...]


@dataclass(frozen=True, slots=True)
class Deployment:
    """What a Deployment says about IP failover, and what is wrong with it. `line` is that of its name."""

    name: str
    line: int
    replicas: Scalar | None
    containers: tuple[Container, ...]
    complaints: Complaints


@dataclass(frozen=True, slots=True)
class Found:
    """The Deployments of a file; `complaints` are about the rest of it."""

    deployments: tuple[Deployment, ...]
    complaints: Complaints


class _Misshapen(Exception):
    def __init__(self, line: int, key: str, what: str, accepted: str = WHOLE) -> None:
        super().__init__(line, key, what, accepted)
        self.complaint = (line, key, what, accepted)


@dataclass(slots=True)
class _LeftOut:
    """Names of what is not used, in the order of their coming, and the line of the first."""

    line: int = 1
    names: dict[str, None] = field(default_factory=dict)

    def add(self, name: str, line: int) -> None:
        self.line = self.line if self.names else line
        self.names.setdefault(shown(name))

    def complain(self, complaints: Complaints, key: str, what: str) -> None:
        if self.names:
            complaints.add(self.line, key, f"{what}: {several(self.names)}", warning=True)


def shown(name: str) -> str:
    """A foreign name on one printable line."""
    return name if _PLAIN.fullmatch(name) else quoted(name)


def several(names: Iterable[str]) -> str:
    """Names with commas, not too many of them."""
    listed = list(names)
    more = f" and {len(listed) - NAMES_SHOWN} more" if len(listed) > NAMES_SHOWN else ""
    return ", ".join(listed[:NAMES_SHOWN]) + more


def is_variable(name: str) -> bool:
    """Whether a variable belongs to IP failover, known or not."""
    return name.startswith(VARIABLE_PREFIX) or name == EXCLUDED_IDS_VARIABLE


def find(documents: Iterable[Node], file: str) -> Found:
    """Everything about IP failover in the documents of a manifest."""
    complaints = Complaints(file)
    deployments: list[Deployment] = []
    others = _LeftOut()
    try:
        for each in _objects(documents):
            kind, name = _text(each, "kind"), _name(each)
            found = _deployment(each, name, Complaints(file)) if kind in KINDS else None
            if found is not None:
                deployments.append(found)
            if found is None or not (found.containers or found.complaints.fatal):
                others.add(f"{kind}/{name.text}", each.line)
    except _Misshapen as fault:
        complaints.add(*fault.complaint)
    if any(found.containers or found.complaints.fatal for found in deployments):
        what = "these objects have no variables of IP failover and are left out"
        others.complain(complaints, "file", what)
    elif not complaints.fatal:
        what = "has no Deployment with a container that has OPENSHIFT_HA_ variables in its env"
        has = f"; it has {several(others.names)}" if others.names else ""
        complaints.add(1, "file", what + has, WHOLE)
    return Found(tuple(deployments), complaints)


def _objects(nodes: Iterable[Node]) -> Iterator[Fields]:
    """The objects of a file; those of a List one by one. Raises _Misshapen."""
    for node in nodes:
        if not isinstance(node, Fields) or not _text(node, "kind"):
            raise _Misshapen(node.line, "kind", "is not set: this is a part of an object, or none at all")
        if _text(node, "kind") == "List":
            yield from _objects(_items(node, "items"))
        else:
            yield node


def _deployment(each: Fields, name: Scalar, complaints: Complaints) -> Deployment:
    """What a Deployment says. What is wrong with it is complained of; then it may have no containers."""
    replicas = None
    containers: list[Container] = []
    try:
        if not _complain_of_misplaced(each, complaints):
            spec = _fields(each, "spec")
            found = spec.fields.get("replicas")
            replicas = found if isinstance(found, Scalar) else None
            containers = _containers(name, spec, complaints)
    except _Misshapen as fault:
        complaints.add(*fault.complaint)
    return Deployment(name.text, name.line, replicas, tuple(containers), complaints)


def _containers(deployment: Scalar, spec: Fields, complaints: Complaints) -> list[Container]:
    pod = _fields(_fields(spec, "template"), "spec")
    volumes = dict(map(_volume, _optional_items(pod, "volumes")))
    containers: list[Container] = []
    parts = [spec, pod]
    left_out = _LeftOut()
    sidecars = []
    for node in _items(pod, "containers"):
        if not isinstance(node, Fields):
            raise _Misshapen(node.line, "containers", "has an entry that is no mapping")
        container = _container(node, volumes, complaints)
        if container.variables:
            containers.append(container)
            parts.append(node)
        else:
            sidecars.append(container)
    if containers:
        _complain_of_meaningless(parts, complaints, left_out)
        for sidecar in sidecars:
            left_out.add(f"container {sidecar.name}", sidecar.line)
        what = "these have no meaning on a node and are left out"
        left_out.complain(complaints, deployment.text or "Deployment", what)
    return containers


def _complain_of_meaningless(parts: Iterable[Fields], complaints: Complaints, left_out: _LeftOut) -> None:
    for part in parts:
        for key, line in part.lines.items():
            if key in EXPLAINED:
                complaints.add(line, key, NO_MEANING, EXPLAINED[key], warning=True)
            elif key not in _UNDERSTOOD:
                left_out.add(key, line)


def _container(node: Fields, volumes: dict[str, Mount], complaints: Complaints) -> Container:
    """A container with its variables; other variables and envFrom get a warning. Raises _Misshapen."""
    name = _text(node, "name")
    if not name:
        raise _Misshapen(node.line, "containers", "has an entry without a name")
    variables: dict[str, Variable] = {}
    others = _LeftOut()
    for entry in _optional_items(node, "env"):
        try:
            variable = _variable(entry, name)
        except _Misshapen as fault:
            complaints.add(*fault.complaint)
            continue
        if not is_variable(variable.name):
            others.add(variable.name, variable.line)
        elif variable.name in variables:
            what = f"is set twice, first on line {variables[variable.name].line}"
            complaints.add(variable.line, variable.name, what, "each variable once")
        else:
            variables[variable.name] = variable
    if variables:
        others.complain(complaints, "env", "these variables have no meaning here and are left out")
    for source in _optional_items(node, "envFrom"):
        what = f"takes variables from {_origin(source)}, which only the cluster knows"
        complaints.add(source.line, "envFrom", what, "set them in the new file by hand", warning=True)
    mounts = tuple(_mounts(_optional_items(node, "volumeMounts"), volumes))
    return Container(name, node.line, tuple(variables.values()), mounts)


def _variable(entry: Node, container: str) -> Variable:
    """An entry of env. No value is an empty one: the cluster leaves empty values out. Raises _Misshapen."""
    name = _text(entry, "name") if isinstance(entry, Fields) else ""
    if not isinstance(entry, Fields) or not name:
        raise _Misshapen(entry.line, "env", "has an entry without a name", ENTRY)
    line, origin = entry.lines["name"], f"{shown(name)} of container {shown(container)}"
    for key in entry.fields:
        if key not in {"name", "value", "valueFrom"}:
            raise _Misshapen(entry.lines[key], name, f"has {quoted(key)} in its entry", ENTRY)
    if "valueFrom" in entry.fields:
        return Variable(name, "", line, origin, f"valueFrom {_origin(entry.fields['valueFrom'])}")
    value = entry.fields.get("value", Scalar("", line))
    if not isinstance(value, Scalar):
        raise _Misshapen(value.line, name, "has a list or mapping for its value", ENTRY)
    if "$(" in value.text:
        return Variable(name, "", line, origin, f"the reference {quoted(value.text)}")
    return Variable(name, value.text, line, origin)


def _complain_of_misplaced(each: Fields, complaints: Complaints) -> bool:
    """Find variables that are in no container's env, as wrong indentation leaves them."""
    node: Node | None = each
    for key in ("spec", "template", "spec", "containers"):
        node = node.fields.get(key) if isinstance(node, Fields) else None
    containers = node.items if isinstance(node, Items) else ()
    right = {id(c.fields["env"]) for c in containers if isinstance(c, Fields) and "env" in c.fields}
    before = len(complaints.kept)
    for fault in _misplaced(each.fields.get("spec"), right):
        complaints.add(*fault.complaint)
    return len(complaints.kept) > before


def _misplaced(node: Node | None, right: set[int]) -> Iterator[_Misshapen]:
    """Variables below a node, except in the env of containers, the nodes that `right` identifies."""
    if isinstance(node, Items) and id(node) not in right:
        for item in node.items:
            yield from _misplaced(item, right)
    if not isinstance(node, Fields):
        return
    name = _text(node, "name")
    if is_variable(name):
        what = "is not in the env of a container: look at its indentation"
        yield _Misshapen(node.lines["name"], name, what, "spec.template.spec.containers[].env")
    if "env" in node.fields and "value" in node.fields:
        yield _Misshapen(node.lines["value"], "value", "stands beside env, not in one of its entries", ENTRY)
    for key, child in node.fields.items():
        if is_variable(key):
            yield _Misshapen(node.lines[key], key, "is a field, not an entry of env", ENTRY)
        elif key not in {"initContainers", "ephemeralContainers"}:
            yield from _misplaced(child, right)


# ---------------------------------------------------------------- volumes


def _volume(node: Node) -> tuple[str, Mount]:
    """A volume by its name, not mounted yet."""
    host = None
    if isinstance(node, Fields) and isinstance(path := node.fields.get("hostPath"), Fields):
        host = _text(path, "path") or None
    name = _text(node, "name") if isinstance(node, Fields) else ""
    return name, Mount("", _origin(node), host)


def _origin(node: Node) -> str:
    """What a volume, an entry of envFrom or a valueFrom takes its content from, in words."""
    if isinstance(node, Fields):
        for kind, source in node.fields.items():
            if kind in {"name", "prefix"}:
                continue
            name = (_text(source, "name") or _text(source, "secretName")) if isinstance(source, Fields) else ""
            return f"{shown(kind)} {shown(name)}" if name else shown(kind)
    return "somewhere else"


def _mounts(nodes: Iterable[Node], volumes: dict[str, Mount]) -> Iterator[Mount]:
    for node in nodes:
        volume = volumes.get(_text(node, "name")) if isinstance(node, Fields) else None
        if isinstance(node, Fields) and volume is not None:
            yield Mount(_text(node, "mountPath"), volume.origin, volume.host)


# ---------------------------------------------------------------- parts of objects


def _text(node: Fields, key: str) -> str:
    """The text of a field, "" if it is not set or no text."""
    found = node.fields.get(key)
    return found.text if isinstance(found, Scalar) else ""


def _name(each: Fields) -> Scalar:
    """metadata.name, empty if it is not set."""
    metadata = each.fields.get("metadata")
    found = metadata.fields.get("name") if isinstance(metadata, Fields) else None
    return found if isinstance(found, Scalar) else Scalar("", each.line)


def _fields(parent: Fields, key: str) -> Fields:
    """A mapping that must be there. Raises _Misshapen."""
    found = parent.fields.get(key)
    if found is None:
        raise _Misshapen(parent.line, key, "is not set")
    if not isinstance(found, Fields):
        raise _Misshapen(found.line, key, "is no mapping")
    return found


def _items(parent: Fields, key: str) -> tuple[Node, ...]:
    """A list that must be there. Raises _Misshapen."""
    found = parent.fields.get(key)
    if found is None:
        raise _Misshapen(parent.line, key, "is not set")
    if not isinstance(found, Items):
        raise _Misshapen(found.line, key, "is no list")
    return found.items


def _optional_items(parent: Fields, key: str) -> tuple[Node, ...]:
    """A list; one that is not set or null is empty. Raises _Misshapen."""
    found = parent.fields.get(key)
    return () if found is None or found == Scalar("", found.line) else _items(parent, key)
