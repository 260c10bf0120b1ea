"""Deployments of OpenShift's IP failover, the documentation's and small ones, and what becomes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ipfod.config.load import load_text
from ipfod.config.model import Complaint, Failover, Source
from ipfod.config.openshift import Conversion, convert

FILE = "ipf.yaml"
DOCUMENTED = Path(__file__).with_name("deployment.yaml")


def container(
    variables: Mapping[str, str] | None = None,
    *,
    config: str = "web",
    virtual_ips: str = "192.0.2.1-3",
    name: str = "ipf",
    more: str = "",
) -> str:
    """A container in flow style. Variables go without the prefix OPENSHIFT_HA_, their values are YAML."""
    values = {"CONFIG_NAME": config, "VIRTUAL_IPS": virtual_ips, **(variables or {})}
    env = ", ".join(f"{{name: OPENSHIFT_HA_{key}, value: {value}}}" for key, value in values.items())
    return f"{{name: {name}, env: [{env}]{more}}}"


def deployment(*containers: str, name: str = "keepalived", pod: str = "", spec: str = "") -> str:
    """A Deployment in block style down to the pod; its first container is on line 7."""
    lines = [
        "kind: Deployment",
        f"metadata: {{name: {name}}}",
        "spec:",
        "  template:",
        "    spec:",
        "      containers:",
        *[f"      - {each}" for each in containers or [container()]],
        *[f"      {line}" for line in pod.splitlines()],
        *[f"  {line}" for line in spec.splitlines()],
    ]
    return "".join(f"{line}\n" for line in lines)


def converted(text: str) -> Conversion:
    conversion = convert(text.encode(), FILE)
    assert bool(conversion.files) != any(not complaint.warning for complaint in conversion.complaints)
    return conversion


def texts(text: str) -> dict[str, str]:
    return {file.name: file.text for file in converted(text).files}


def loaded(text: str) -> dict[str, Failover]:
    """What the files of a manifest say, without where they say it."""
    failovers = {}
    for name, toml in texts(text).items():
        failover, complaints = load_text(toml.encode(), f"{name}.toml", "unnamed", "toml")
        assert failover is not None, complaints
        assert complaints == ()
        failovers[name] = replace(failover, source=Source(""))
    return failovers


def errors(text: str) -> list[str]:
    return [str(complaint) for complaint in converted(text).complaints if not complaint.warning]


def warnings(text: str) -> list[Complaint]:
    conversion = converted(text)
    assert conversion.files, conversion.complaints
    return list(conversion.complaints)


def warning(text: str, key: str) -> str:
    """The one warning about a key, after the key."""
    [found] = [complaint for complaint in warnings(text) if complaint.key == key]
    return f"{found.line}: {found.what}; {found.accepted}"
