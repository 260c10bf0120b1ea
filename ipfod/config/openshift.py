"""From Deployments of OpenShift's IP failover to configuration files, through the table of options."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from posixpath import commonpath, join, normpath, relpath

from ipfod.config import deployment, manifest
from ipfod.config.build import build
from ipfod.config.deployment import Container, Deployment, Mount, Variable, shown
from ipfod.config.load import load_text
from ipfod.config.model import Complaint, Failover
from ipfod.config.options import BY_VARIABLE, OPTIONS, Form, Option
from ipfod.config.ranges import ADDRESSES_MAX
from ipfod.config.reading import UNREADABLE, Complaints, Reading, Setting
from ipfod.config.values import Reread, quoted

NAME = Form.ENV.spell("name")
VIRTUAL_IPS = Form.ENV.spell("virtual_ips")
REPLICA_COUNT = Form.ENV.spell("replica_count")
UNICAST_PEERS = Form.ENV.spell("unicast_peers")
CHECK_SCRIPT = Form.ENV.spell("check_script")
NOTIFY_SCRIPT = Form.ENV.spell("notify_script")

# The password of pods without a name of their own: the first 8 characters of the one that their image has. It
# is no value of the file that is made, which speaks version 3.
NAME_ORIGIN = 'metadata.name of the Deployment; to join its pods: vrrp_version = 2, auth_pass = "OpenShif"'

BAD_MAX = 20  # bad failovers in one file; reading 65536 addresses takes 50 ms, and the others can wait
COLUMN_MAX = 40  # comments stand in one column, except after longer values


@dataclass(frozen=True, slots=True)
class ConfigurationFile:
    """The name and the text of a `NAME.toml`, and how many virtual IPs it has."""

    name: str
    text: str
    virtual_ips: int


@dataclass(frozen=True, slots=True)
class Conversion:
    """What a manifest becomes: no files at all if any complaint is more than a warning."""

    files: tuple[ConfigurationFile, ...]
    complaints: tuple[Complaint, ...]


def convert(text: bytes, file: str) -> Conversion:
    """Turn a manifest into configuration files, one for each container with variables of IP failover.

    `file` is only shown, in complaints, with the manifest's lines. Never raises. Time and memory are bounded,
    by `manifest.read`, and because `BAD_MAX` bad failovers or too many virtual IPs end it.
    """
    try:
        found = deployment.find(manifest.read(text), file)
    except manifest.Unreadable as fault:
        return Conversion((), (Complaint(file, fault.line, "file", fault.what, fault.accepted),))
    complaints = [*found.complaints.in_line_order()]
    for each in found.deployments:
        complaints += each.complaints.in_line_order()
    converted: dict[str, ConfigurationFile] = {}
    bad = virtual_ips = 0
    for owner, container in ((each, container) for each in found.deployments for container in each.containers):
        faults = Complaints(file)
        made = _configuration(owner, container, faults)
        if made is not None:
            virtual_ips += made.virtual_ips
            if converted.setdefault(made.name, made) is not made:
                what = f"{quoted(made.name)} is the name of an earlier failover in this file"
                faults.add(container.line, NAME, what, "a name of its own for each container")
            if virtual_ips > ADDRESSES_MAX:
                what = f"makes {virtual_ips} virtual IPs with those before it"
                faults.add(container.line, VIRTUAL_IPS, what, f"at most {ADDRESSES_MAX} in one import")
        complaints += faults.in_line_order()
        bad += faults.fatal
        if bad == BAD_MAX or virtual_ips > ADDRESSES_MAX:
            what = "has too much wrong; what follows was not looked at"
            complaints.append(Complaint(file, container.line, "file", what, "correct the above first"))
            break
    refused = any(not complaint.warning for complaint in complaints)
    in_line_order = tuple(sorted(complaints, key=lambda complaint: complaint.line))
    return Conversion(() if refused else tuple(converted.values()), in_line_order)


def _configuration(each: Deployment, container: Container, complaints: Complaints) -> ConfigurationFile | None:
    """The file of one container. What is wrong is complained of; then the result is None."""
    variables = {variable.name: variable for variable in container.variables}
    _warn_of_unknown_values(container, complaints)
    if NAME not in variables or not variables[NAME].text:
        # Written too, so that the failover keeps its name when its file gets another.
        variables[NAME] = Variable(NAME, each.name, each.line, NAME_ORIGIN)
    settings = tuple(_settings(variables, container, complaints))
    failover = build(Reading(settings), form=Form.ENV, default_name="", complaints=complaints)
    if failover is None:
        return None
    _warn_of_scripts(variables, container.mounts, complaints)
    _warn_of_differences(each, failover, variables, complaints)
    text = "".join(f"{line}\n" for line in _lines(each, container, variables))
    again, found = load_text(text.encode(), f"{failover.name}.toml", failover.name, "toml")
    if again is None:
        complaints.kept += (replace(fault, file=complaints.file, line=container.line) for fault in found)
        return None
    return ConfigurationFile(failover.name, text, len(failover.virtual_ips))


def _settings(
    variables: Mapping[str, Variable], container: Container, complaints: Complaints
) -> Iterator[Setting]:
    """What is to be built. What is missing is complained of at the container's line."""
    for variable in variables.values():
        if not (variable.elsewhere and variable.name in BY_VARIABLE):
            yield Setting(variable.name, variable.text or variable.elsewhere, variable.line)
    for required in (NAME, VIRTUAL_IPS):
        if required not in variables or not variables[required].text:
            accepted = f"required: {BY_VARIABLE[required].accepted}"
            complaints.add(container.line, required, "is not set", accepted)
            yield Setting(required, UNREADABLE, container.line)


# ---------------------------------------------------------------- warnings


def _warn_of_unknown_values(container: Container, complaints: Complaints) -> None:
    """Values that only the cluster knows are left out; of unknown variables the build complains anyhow."""
    for variable in container.variables:
        option = BY_VARIABLE.get(variable.name)
        if variable.elsewhere and option is not None:
            what = f"comes from {variable.elsewhere}, which only the cluster knows"
            hint = f"set {option.key} in the new file by hand"
            complaints.add(variable.line, variable.name, what, hint, warning=True)


def _warn_of_scripts(
    variables: Mapping[str, Variable], mounts: tuple[Mount, ...], complaints: Complaints
) -> None:
    """Scripts are files of the pod: say where each comes from."""
    for name in (CHECK_SCRIPT, NOTIFY_SCRIPT):
        script = variables[name].text if name in variables else ""
        if not script:
            continue
        within = [
            mount
            for mount in mounts
            if mount.path.startswith("/") and commonpath((script, mount.path)) == normpath(mount.path)
        ]
        mount = max(within, key=lambda mount: len(mount.path), default=Mount("", "the image"))
        origin = mount.origin
        if mount.host:
            origin = f"the node's {shown(normpath(join(mount.host, relpath(script, mount.path))))}"
        what = f"{quoted(script)} is a path in the pod, from {origin}"
        hint = "put the script on every node, executable, writable by root only, and name its path there"
        complaints.add(variables[name].line, name, what, hint, warning=True)


def _warn_of_differences(
    each: Deployment, failover: Failover, variables: Mapping[str, Variable], complaints: Complaints
) -> None:
    """What the same values mean here and did not mean in the pod, as its scripts were read and run."""
    replicas = each.replicas
    counted_here = REPLICA_COUNT not in variables or not variables[REPLICA_COUNT].elsewhere
    if replicas is not None and counted_here and replicas.text != str(failover.replica_count):
        what = f"{quoted(replicas.text)} is not the {failover.replica_count} of {REPLICA_COUNT}"
        complaints.add(replicas.line, "replicas", what, "replica_count is the number of nodes", warning=True)
    if failover.check_script and failover.monitor_port:
        what = f"is run beside the check of port {failover.monitor_port}; the pod ran it instead of that check"
        hint = "both must pass; monitor_port = 0 leaves the script alone"
        complaints.add(variables[CHECK_SCRIPT].line, CHECK_SCRIPT, what, hint, warning=True)
    if failover.unicast_peers and not failover.use_unicast:
        what = "is not used, as use_unicast is false; the pod sent to these peers whatever it said"
        complaints.add(variables[UNICAST_PEERS].line, UNICAST_PEERS, what, "use_unicast = true", warning=True)


# ---------------------------------------------------------------- the file


def _lines(each: Deployment, container: Container, variables: Mapping[str, Variable]) -> Iterator[str]:
    """The file, in the order of the table of options, with the origin of each value beside it."""
    yield f"# IP failover of container {shown(container.name)} of Deployment {shown(each.name)}."
    settings = []
    for option in OPTIONS:
        variable = variables.get(option.variable or "")
        if variable is not None:
            settings.append((_setting(option, variable), variable))
    column = max(len(setting) for setting, _ in settings if len(setting) <= COLUMN_MAX)
    for setting, variable in settings:
        yield f"{setting:{column}}  # {variable.origin}{_remark(variable)}"


def _setting(option: Option, variable: Variable) -> str:
    """`KEY = VALUE`; a comment where there is no value to write."""
    if variable.text == "" and (variable.elsewhere or not option.empty_counts):
        return f"# {option.key} ="
    value = option.kind.from_text(variable.text)
    read = option.kind.read(value)
    if isinstance(read, Reread):
        value = str(read.value)
    return f"{option.key} = {_toml(value)}"


def _remark(variable: Variable) -> str:
    if variable.elsewhere:
        return f", from {variable.elsewhere}: to be filled in"
    return "" if variable.text else ", which is empty"


def _toml(value: object) -> str:
    """A value as TOML spells it; strings that no option refuses are alike in JSON."""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value, ensure_ascii=False)
