"""Manifests with several Deployments, with none, with damage: all is found, or all is refused with its line."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
from deployments import DOCUMENTED, FILE, container, deployment, errors, loaded, texts, warning
from hypothesis import given
from hypothesis import strategies as st

from ipfod.config.load import load_text
from ipfod.config.openshift import convert

HARM_S = 30.0  # the slowest of what follows takes 2 s on two busy cores


# ---------------------------------------------------------------- several of them


def test_each_container_is_a_failover() -> None:
    two = deployment(container(config="a"), container(config="b", name="other", virtual_ips="192.0.2.9"))
    assert list(loaded(two)) == ["a", "b"]
    assert "# OPENSHIFT_HA_VIRTUAL_IPS of container other" in texts(two)["b"]


def test_each_document_and_each_item_of_a_list_is_looked_at() -> None:
    a, b, c = (deployment(container(config=name)) for name in "abc")
    assert list(loaded(f"---\n{a}---\n# nothing\n---\n{b}---\nkind: Service\nmetadata: {{name: s}}\n")) == [
        "a",
        "b",
    ]
    items = "".join("- " + each.replace("\n", "\n  ").rstrip(" ") for each in (a, b))
    assert list(loaded(f"kind: List\nitems:\n{items}---\n{c}")) == ["a", "b", "c"]
    assert list(loaded(f"kind: List\nitems: [{{kind: List, items: []}}]\n---\n{c}")) == ["c"]


def test_other_objects_are_left_out_with_a_warning() -> None:
    others = "---\nkind: ServiceAccount\nmetadata: {name: ipf}\n---\nkind: Deployment\nmetadata: {name: shop}\n"
    shop = "spec: {template: {spec: {containers: [{name: shop}]}}}\n"
    told = warning(deployment() + others + shop, "file")
    assert told.startswith("9: these objects have no variables of IP failover and are left out: ")
    assert "ServiceAccount/ipf, Deployment/shop" in told


def test_two_failovers_of_one_name_are_refused() -> None:
    [error] = errors(deployment(container(), container(name="other")))
    assert error.startswith('ipf.yaml:8: OPENSHIFT_HA_CONFIG_NAME: "web" is the name of an earlier failover')


def test_old_deployment_configs_are_read_too() -> None:
    assert list(loaded(deployment().replace("Deployment", "DeploymentConfig"))) == ["web"]


# ---------------------------------------------------------------- refusals


def test_every_bad_value_is_told_with_its_variable_and_line() -> None:
    bad = deployment(container({"MONITOR_PORT": "http", "VIP_GROUPS": "0", "VIRTUAL_IP": "1.1.1.1"}))
    assert [error.split(";")[0] for error in errors(bad)] == [
        'ipf.yaml:7: OPENSHIFT_HA_MONITOR_PORT: "http" is not a whole number',
        "ipf.yaml:7: OPENSHIFT_HA_VIP_GROUPS: 0 is out of range",
        "ipf.yaml:7: OPENSHIFT_HA_VIRTUAL_IP: is no known variable",
    ]


def test_one_bad_failover_refuses_all() -> None:
    assert texts(deployment() + "---\n" + deployment(container({"MONITOR_PORT": "x"}, config="b"))) == {}


POD = "kind: Deployment\nmetadata: {name: a}\nspec:\n  template:\n    spec:\n"
ENV = POD + "      containers:\n      - name: c\n        env:\n"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "1: file: has no Deployment with a container"),
        ("kind: Service\nmetadata: {name: s}\n", "1: file: has no Deployment .*; it has Service/s"),
        (deployment("{name: c}"), "1: file: has no Deployment .*; it has Deployment/keepalived"),
        ("- a\n", "1: kind: is not set"),
        ("just text\n", "1: kind: is not set"),
        ("spec:\n  env:\n  - name: OPENSHIFT_HA_VIP_GROUPS\n    value: '3'\n", "1: kind: is not set"),
        ("kind: [Deployment]\n", "1: kind: is not set"),
        ("kind: List\n", "1: items: is not set"),
        ("kind: Deployment\nspec: {}\n", "2: template: is not set"),
        ("kind: Deployment\nspec: []\n", "2: spec: is no mapping"),
        (POD + "      containers: {}\n", "6: containers: is no list"),
        (POD + "      containers: [x]\n", "6: containers: has an entry that is no mapping"),
        (POD + "      containers: [{image: x}]\n", "6: containers: has an entry without a name"),
        (ENV + "        - OPENSHIFT_HA_VIP_GROUPS\n", "9: env: has an entry without a name"),
        (ENV + "        - value: x\n", "9: env: has an entry without a name"),
        (ENV + "        - name: OPENSHIFT_HA_A\n          vale: x\n", '10: OPENSHIFT_HA_A: has "vale"'),
        (ENV + "        - name: OPENSHIFT_HA_A\n          value: [x]\n", "10: OPENSHIFT_HA_A: has a list"),
        (ENV + "          OPENSHIFT_HA_A: x\n", "9: OPENSHIFT_HA_A: is a field, not an entry of env"),
        (ENV + "        - name: OPENSHIFT_HA_A\n        value: x\n", "10: value: stands beside env"),
        (POD + "      env:\n      - name: OPENSHIFT_HA_A\n", "7: OPENSHIFT_HA_A: is not in the env of a"),
        (
            ENV + "        - {name: OPENSHIFT_HA_A, value: x}\n" * 2,
            "10: OPENSHIFT_HA_A: is set twice, first on line 9",
        ),
        (deployment(container(config="a.b")), '7: OPENSHIFT_HA_CONFIG_NAME: "a.b" is not a name'),
        (deployment(container(config=""), name="a.b"), '2: OPENSHIFT_HA_CONFIG_NAME: "a.b" is not a name'),
        (deployment(container(config=""), name=""), "7: OPENSHIFT_HA_CONFIG_NAME: is not set"),
        (deployment(container(virtual_ips="")), "7: OPENSHIFT_HA_VIRTUAL_IPS: is not set"),
        (deployment(container({"USE_UNICAST": "true"})), "7: OPENSHIFT_HA_USE_UNICAST: is true, but"),
        ("a: &a b\nc: *a\n", "2: file: refers to the anchor"),
        ("a: b: c\n", "1: file: is not YAML"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line(text: str, error: str) -> None:
    assert any(re.match(f"ipf.yaml:{error}", each) for each in errors(text)), errors(text)


def test_the_shortened_examples_of_the_documentation_are_refused() -> None:
    first = "kind: Deployment\nmetadata:\n  name: ipf\n# ...\n      spec:\n        env: []\n"
    assert "is not YAML" in errors(first)[0]
    indented = POD + "          env:\n          - name: OPENSHIFT_HA_VIRTUAL_IPS\n          value: '1.1.1.1'\n"
    assert [error.split(": ")[1] for error in errors(indented)] == ["OPENSHIFT_HA_VIRTUAL_IPS", "value"]


def test_init_containers_may_have_the_variables_too() -> None:
    pod = "initContainers: [{name: i, env: [{name: OPENSHIFT_HA_VIRTUAL_IPS, value: x}]}]"
    assert "initContainers" in warning(deployment(pod=pod), "keepalived")


def many(number: int, virtual_ips: str, **variables: str) -> str:
    return deployment(
        *(container(variables, config=f"n{each}", virtual_ips=virtual_ips) for each in range(number))
    )


@pytest.mark.parametrize(
    "text",
    [
        many(1500, "10.0.0.0/16"),
        many(1500, "2001:db8::/112", MONITOR_PORT="x"),
        many(50, "10.0.0.1", **{f"X{number}": "x" for number in range(150)}),
    ],
    ids=["addresses", "bad failovers", "unknown variables"],
)
def test_many_failovers_end_before_they_cost_much(text: str) -> None:
    began = time.monotonic()
    assert errors(text)
    assert time.monotonic() - began < HARM_S


# ---------------------------------------------------------------- anything


def pieces() -> Iterator[str]:
    yield from (
        "---\n",
        "...\n",
        "- ",
        "? ",
        ": ",
        "{",
        "}",
        "[",
        "]",
        "'",
        '"',
        "|\n",
        "&a ",
        "*a",
        "!x ",
        "#",
    )
    yield from ("\n", "  ", "\t", "\0", "\u2028", "\x85", "\\ud83d", "\\U00110000", "~", "<<: ", "%YAML 1.1\n")
    yield from ("$(A)", "valueFrom: {}", "kind: List\n", "items:\n", "env:\n", "value: x\n", "1.1.1.1", "٣")
    yield "- name: OPENSHIFT_HA_VIRTUAL_IPS\n"


EDITS = st.tuples(st.floats(0, 1), st.sampled_from([0, 0, 1, 5, 40]), st.sampled_from([*pieces()]) | st.text())


@given(
    st.sampled_from([DOCUMENTED.read_text(), deployment(container(), container(config="b"))]), st.lists(EDITS)
)
def test_a_damaged_manifest_is_converted_or_refused(text: str, edits: list[tuple[float, int, str]]) -> None:
    for place, cut, piece in edits:
        at = int(place * len(text))
        text = text[:at] + piece + text[at + cut :]
    conversion = convert(text.encode(errors="surrogatepass"), FILE)
    assert bool(conversion.files) != any(not complaint.warning for complaint in conversion.complaints)
    assert all(str(complaint).isprintable() for complaint in conversion.complaints)
    for file in conversion.files:
        assert load_text(file.text.encode(), FILE, "x", "toml")[0] is not None


@given(st.binary() | st.lists(st.sampled_from([*pieces()])).map(lambda found: "".join(found).encode()))
def test_any_bytes_are_answered(text: bytes) -> None:
    conversion = convert(text, FILE)
    assert conversion.files == ()
    assert conversion.complaints
