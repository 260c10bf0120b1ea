"""Deployments of OpenShift's IP failover become configuration files that mean the same."""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest
from deployments import DOCUMENTED, container, deployment, errors, loaded, texts, warning, warnings
from hypothesis import given
from hypothesis import strategies as st

from ipfod.config.load import load_text
from ipfod.config.model import Failover, Preemption, PreemptionMode, Source
from ipfod.config.options import OPTIONS

# ---------------------------------------------------------------- the documentation's Deployment


def test_the_documented_deployment_says_what_it_says() -> None:
    assert loaded(DOCUMENTED.read_text()) == {
        "ipfailover": Failover(
            name="ipfailover",
            source=Source(""),
            ranges=((ip_address("1.1.1.1"), ip_address("1.1.1.2")),),
            vip_groups=10,
            interface="ens3",
            vrrp_id_offset=10,
            monitor_port=30060,
            check_script=Path("/etc/keepalive/mycheckscript.sh"),
            check_interval_s=2.0,
            check_timeout_s=2.0,
            preemption=Preemption(PreemptionMode.PREEMPT_DELAY, 300),
            replica_count=2,
            use_unicast=False,
            firewall_chain=("INPUT",),
        )
    }


def test_each_variable_of_the_documented_deployment_has_its_line_with_its_origin() -> None:
    said = re.findall(r"^ *- name: (OPENSHIFT_HA_\w+)$", DOCUMENTED.read_text(), re.MULTILINE)
    assert len(said) == 12
    lines = texts(DOCUMENTED.read_text())["ipfailover"].splitlines()
    for variable in said:
        key = next(option.key for option in OPTIONS if option.variable == variable)
        [line] = [line for line in lines if line.startswith(f"{key} = ")]
        assert line.endswith(f"  # {variable} of container openshift-ipfailover")
    assert len(lines) == len(said) + 1


@pytest.mark.parametrize(
    "word",
    [
        "strategy",
        "serviceAccountName",
        "privileged",
        "nodeSelector",
        "image",
        "ports",
        "securityContext",
        "volumeMounts",
        "livenessProbe",
        "volumes",
        "imagePullSecrets",
        "configMap keepalived-checkscript",
        "/etc/keepalive/mycheckscript.sh",
    ],
)
def test_what_has_no_meaning_on_a_node_is_named(word: str) -> None:
    assert any(
        re.search(rf"(?<!\w){word}(?!\w)", str(complaint)) for complaint in warnings(DOCUMENTED.read_text())
    )


def test_nothing_is_said_of_what_is_true_on_a_node_or_was_understood() -> None:
    said = " ".join(map(str, warnings(DOCUMENTED.read_text())))
    assert not re.search(r"hostNetwork|replicas|selector\b|template|VIRTUAL_IPS", said)


# ---------------------------------------------------------------- values


@pytest.mark.parametrize("value", ["30060", '"30060"', "'30060'", "!!str 30060"])
def test_numbers_may_be_written_without_quotes(value: str) -> None:
    assert loaded(deployment(container({"MONITOR_PORT": value})))["web"].monitor_port == 30060


@pytest.mark.parametrize("value", ["true", '"true"', "yes", "1"])
def test_truths_may_be_written_without_quotes(value: str) -> None:
    text = deployment(container({"USE_UNICAST": value, "UNICAST_PEERS": "10.0.0.2"}))
    assert loaded(text)["web"].use_unicast is True


def test_variables_that_say_the_default_are_kept() -> None:
    assert 'firewall_chain = "INPUT"' in texts(deployment(container({"IPTABLES_CHAIN": "INPUT"})))["web"]


@pytest.mark.parametrize("entry", ['value: ""', "value: null", "value:"])
def test_an_empty_variable_is_told_as_a_comment_and_sets_nothing(entry: str) -> None:
    written = deployment(container()).replace("env: [", f"env: [{{name: OPENSHIFT_HA_MONITOR_PORT, {entry}}}, ")
    [line] = [line for line in texts(written)["web"].splitlines() if "MONITOR_PORT" in line]
    assert re.fullmatch(r"# monitor_port = +# OPENSHIFT_HA_MONITOR_PORT of container ipf, which is empty", line)
    assert loaded(written)["web"].monitor_port == 80


def test_a_variable_without_a_value_is_empty_as_clusters_write_it() -> None:
    written = deployment(container()).replace("env: [", "env: [{name: OPENSHIFT_HA_NOTIFY_SCRIPT}, ")
    assert loaded(written)["web"].notify_script is None


def test_an_empty_chain_leaves_the_firewall_alone() -> None:
    assert loaded(deployment(container({"IPTABLES_CHAIN": '""'})))["web"].firewall_chain == ()


def test_the_excluded_ids_are_a_list_of_numbers() -> None:
    text = deployment(container(more="")).replace(
        "env: [", 'env: [{name: HA_EXCLUDED_VRRP_IDS, value: "12 13"}, '
    )
    assert "excluded_vrrp_ids = [12, 13] " in texts(text)["web"]
    assert loaded(text)["web"].excluded_vrrp_ids == (12, 13)


def test_the_misprint_of_the_documentation_is_corrected_with_a_warning() -> None:
    text = deployment(container({"PREEMPTION": "preempt_nodelay 300"}))
    assert 'preemption = "preempt_delay 300"' in texts(text)["web"]
    assert "misprint" in warning(text, "OPENSHIFT_HA_PREEMPTION")


def test_what_openshift_ignores_is_ignored_with_a_warning() -> None:
    text = deployment(container({"ADMIN_EMAILS": "root@localhost"}))
    assert "is ignored" in warning(text, "OPENSHIFT_HA_ADMIN_EMAILS")


def test_without_a_configuration_name_the_deployment_gives_it() -> None:
    [(name, text)] = texts(deployment(container(config=""), name="ipf-a")).items()
    assert name == "ipf-a"
    origin = 'metadata.name of the Deployment; to join its pods: vrrp_version = 2, auth_pass = "OpenShif"'
    assert re.search(rf'^name = "ipf-a" +# {re.escape(origin)}$', text, re.MULTILINE)


# Values of every option that has a variable; what is refused must be refused the same way by both.
VALUES = st.fixed_dictionaries(
    {"VIRTUAL_IPS": st.sampled_from(["192.0.2.1-3", "192.0.2.8/29, 2001:db8::1f39-1f3b"])},
    optional={
        "CONFIG_NAME": st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True),
        "VIP_GROUPS": st.sampled_from(["1", "300", "per-vip", "per-range"]),
        "NETWORK_INTERFACE": st.sampled_from(["ens3", "br-ex", "bond0.100"]),
        "VRRP_ID_OFFSET": st.integers(0, 255).map(str),
        "MONITOR_PORT": st.integers(0, 65535).map(str),
        "CHECK_SCRIPT": st.sampled_from(["/a", "/etc/é/check.sh", "/usr/local/bin/x=y"]),
        "NOTIFY_SCRIPT": st.sampled_from(["/a", "/b/'"]),
        "CHECK_INTERVAL": st.decimals("0.1", 3600, places=6, allow_nan=False).map(lambda value: f"{value:f}"),
        "PREEMPTION": st.sampled_from(["preempt", "nopreempt", "preempt_delay 0", "preempt_delay  1000"]),
        "REPLICA_COUNT": st.integers(1, 254).map(str),
        "USE_UNICAST": st.sampled_from(["true", "False", "0", "YES"]),
        "UNICAST_PEERS": st.sampled_from(["10.0.0.2,fd00::2", "10.0.0.2"]),
        "IPTABLES_CHAIN": st.sampled_from(["INPUT", "", "inet filter input", "A, B"]),
        "HA_EXCLUDED_VRRP_IDS": st.sampled_from(["1", "12 13", "12  255"]),
    },
)


@given(VALUES)
def test_a_manifest_means_what_an_environment_file_with_the_same_values_means(values: dict[str, str]) -> None:
    named = {key if key.startswith("HA_") else f"OPENSHIFT_HA_{key}": value for key, value in values.items()}
    environment = "".join(f'{name}="{value}"\n' for name, value in named.items())
    expected, _ = load_text(environment.encode(), "x.env", "keepalived", "env")
    env = "".join(
        f"          - name: {name}\n            value: {quote(value)}\n" for name, value in named.items()
    )
    found = loaded(deployment(f"name: c\n        env:\n{env.rstrip()}"))
    if expected is None:
        assert found == {}
    else:
        assert found == {expected.name: replace(expected, source=Source(""))}


def quote(value: str) -> str:
    doubled = value.replace("'", "''")
    return f"'{doubled}'"


# ---------------------------------------------------------------- what only the cluster knows


@pytest.mark.parametrize(
    ("value", "source"),
    [
        ("valueFrom: {configMapKeyRef: {name: ipf, key: port}}", "valueFrom configMapKeyRef ipf"),
        ("valueFrom: {fieldRef: {fieldPath: status.hostIP}}", "valueFrom fieldRef"),
        ("valueFrom: {}", "valueFrom somewhere else"),
        ("value: $(PORT)", 'the reference "$(PORT)"'),
    ],
)
def test_a_value_that_only_the_cluster_knows_is_a_warning_and_a_commented_key(value: str, source: str) -> None:
    text = deployment(container()).replace("env: [", f"env: [{{name: OPENSHIFT_HA_MONITOR_PORT, {value}}}, ")
    [line] = [line for line in texts(text)["web"].splitlines() if "MONITOR_PORT" in line]
    assert line.startswith("# monitor_port =")
    assert line.endswith(f"# OPENSHIFT_HA_MONITOR_PORT of container ipf, from {source}: to be filled in")
    assert warning(text, "OPENSHIFT_HA_MONITOR_PORT") == (
        f"7: comes from {source}, which only the cluster knows; set monitor_port in the new file by hand"
    )
    assert loaded(text)["web"].monitor_port == 80


def test_virtual_ips_that_only_the_cluster_knows_cannot_be_imported() -> None:
    text = deployment(container()).replace("value: 192.0.2.1-3", "valueFrom: {configMapKeyRef: {name: ipf}}")
    [error] = errors(text)
    assert error.startswith("ipf.yaml:7: OPENSHIFT_HA_VIRTUAL_IPS: is not set; required: an address, ")


def test_a_name_that_only_the_cluster_knows_is_the_deployments() -> None:
    text = deployment(container()).replace("value: web", "valueFrom: {fieldRef: {fieldPath: metadata.name}}")
    assert list(loaded(text)) == ["keepalived"]
    assert "fieldRef" in warning(text, "OPENSHIFT_HA_CONFIG_NAME")


def test_variables_from_elsewhere_are_told() -> None:
    text = deployment(container(more=", envFrom: [{configMapRef: {name: more}}]"))
    assert "configMapRef more" in warning(text, "envFrom")


# ---------------------------------------------------------------- warnings


def test_other_variables_and_containers_are_named() -> None:
    text = deployment(container().replace("env: [", "env: [{name: TZ, value: UTC}, "), "{name: sidecar}")
    assert warning(text, "env").startswith("7: these variables have no meaning here and are left out: TZ;")
    assert "container sidecar" in warning(text, "keepalived")


@pytest.mark.parametrize("field", ["nodeSelector", "affinity", "tolerations"])
def test_choosing_nodes_is_left_to_the_administrator(field: str) -> None:
    assert "list their addresses in nodes" in warning(deployment(pod=f"{field}: {{}}"), field)


@pytest.mark.parametrize(
    ("volume", "mount", "origin"),
    [
        ("configMap: {name: scripts}", "/opt/s", "configMap scripts"),
        ("secret: {secretName: scripts}", "/opt", "secret scripts"),
        ("hostPath: {path: /}", "/opt", "the node's /s/check.sh"),
        ("hostPath: {path: /srv/x}", "/opt/s/", "the node's /srv/x/check.sh"),
        ("emptyDir: {}", "/opt/sc", "the image"),
    ],
)
def test_a_script_is_told_with_where_it_came_from(volume: str, mount: str, origin: str) -> None:
    mounts = f", volumeMounts: [{{name: v, mountPath: {mount}}}, {{name: none, mountPath: /opt/s}}]"
    ipf = container({"MONITOR_PORT": "0", "CHECK_SCRIPT": "/opt/s/check.sh"}, more=mounts)
    text = deployment(ipf, pod=f"volumes: [{{name: v, {volume}}}]")
    told = warning(text, "OPENSHIFT_HA_CHECK_SCRIPT")
    assert told.startswith(f'7: "/opt/s/check.sh" is a path in the pod, from {origin}; ')


@pytest.mark.parametrize(
    ("variables", "replicas", "told"),
    [
        ({"REPLICA_COUNT": "3"}, "2", '"2" is not the 3 of OPENSHIFT_HA_REPLICA_COUNT'),
        ({}, "3", '"3" is not the 2 of OPENSHIFT_HA_REPLICA_COUNT'),
        ({"REPLICA_COUNT": "3"}, "3", None),
        ({}, "2", None),
    ],
)
def test_replicas_that_differ_are_told(variables: dict[str, str], replicas: str, told: str | None) -> None:
    text = deployment(container(variables), spec=f"replicas: {replicas}")
    assert [c.what for c in warnings(text) if c.key == "replicas"] == ([told] if told else [])


def test_a_script_beside_a_port_is_told_because_the_pod_did_not_check_both() -> None:
    both = deployment(container({"CHECK_SCRIPT": "/a"}))
    alone = deployment(container({"CHECK_SCRIPT": "/a", "MONITOR_PORT": "0"}))
    assert any("beside the check of port 80" in complaint.what for complaint in warnings(both))
    assert not any("beside" in complaint.what for complaint in warnings(alone))


def test_peers_that_would_not_be_used_are_told_because_the_pod_used_them() -> None:
    text = deployment(container({"UNICAST_PEERS": "10.0.0.2", "USE_UNICAST": "false"}))
    assert warning(text, "OPENSHIFT_HA_UNICAST_PEERS").endswith("; use_unicast = true")


def test_many_names_in_a_warning_are_counted() -> None:
    fields = "\n".join(f"field{number}: x" for number in range(300))
    assert "field19 and 280 more" in warning(deployment(pod=fields), "keepalived")
