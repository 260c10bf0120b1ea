"""The table of options against the contract's names, the model and the documentation."""

from __future__ import annotations

import ast
import dataclasses
import re
import tomllib
from pathlib import Path

import pytest
from sources import MODULES, parsed, room_of

from ipfod.config.load import load_text
from ipfod.config.model import Failover
from ipfod.config.options import IGNORED_VARIABLES, OPTIONS, Form, Option

DOCUMENT = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
UNWRAPPED = re.sub(r"\n  (?=\S)", " ", DOCUMENT)

# Keys and variables that users rely on; written out here because the table must not change them unnoticed.
NAMES = """
name OPENSHIFT_HA_CONFIG_NAME, virtual_ips OPENSHIFT_HA_VIRTUAL_IPS, vip_groups OPENSHIFT_HA_VIP_GROUPS,
interface OPENSHIFT_HA_NETWORK_INTERFACE, vrrp_id_offset OPENSHIFT_HA_VRRP_ID_OFFSET,
excluded_vrrp_ids HA_EXCLUDED_VRRP_IDS, monitor_port OPENSHIFT_HA_MONITOR_PORT, monitor_address,
check_script OPENSHIFT_HA_CHECK_SCRIPT, check_interval OPENSHIFT_HA_CHECK_INTERVAL, check_timeout, check_rise,
check_fall, notify_script OPENSHIFT_HA_NOTIFY_SCRIPT, script_user, preemption OPENSHIFT_HA_PREEMPTION,
replica_count OPENSHIFT_HA_REPLICA_COUNT, nodes, priority, use_unicast OPENSHIFT_HA_USE_UNICAST,
unicast_peers OPENSHIFT_HA_UNICAST_PEERS, firewall_chain OPENSHIFT_HA_IPTABLES_CHAIN, kernel_modules,
vrrp_version, advert_interval, auth_pass, prefix_length
"""


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", DOCUMENT, re.DOTALL)
    assert found
    return found[1]


def test_the_table_has_the_promised_keys_and_variables() -> None:
    promised = [tuple(pair.split()) for pair in NAMES.split(",")]
    assert [(o.key, o.variable) if o.variable else (o.key,) for o in OPTIONS] == promised


def test_every_field_of_a_failover_has_exactly_one_option() -> None:
    fields = sorted(field.name for field in dataclasses.fields(Failover) if field.name != "source")
    assert sorted(option.field for option in OPTIONS) == fields


def test_every_field_of_a_failover_is_used_by_somebody() -> None:
    used = {
        node.attr
        for path in MODULES
        if path.name not in ("model.py", "rules.py") or room_of(path) != "config"
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Attribute)
    } | {"ranges", "prefix_length"}  # by properties and methods of the failover itself
    assert {field.name for field in dataclasses.fields(Failover)} - used == set()


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: str(option.key))
def test_a_default_that_can_be_written_is_the_default(option: Option) -> None:
    default = {field.name: field.default for field in dataclasses.fields(Failover)}[option.field]
    if option.default.startswith("("):
        assert default in (dataclasses.MISSING, None) or option.key in {"advert_interval", "check_timeout"}
    else:
        assert option.kind.read(tomllib.loads(f"x = {option.default}")["x"]) == default


def test_each_form_spells_an_option_as_it_reads_it() -> None:
    for option in OPTIONS:
        assert Form.TOML.option(Form.TOML.spell(option.key)) is option
        if option.variable:
            assert Form.ENV.option(Form.ENV.spell(option.key)) is option


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: str(option.key))
def test_the_documentation_has_every_option_with_variable_default_and_help(option: Option) -> None:
    variable = f"`{option.variable}`" if option.variable else "\u2013"
    default = option.default if option.default.startswith("(") else f"`{option.default}`"
    assert f"\n| `{option.key}` | {variable} | {default} | {option.accepted} |\n" in DOCUMENT
    assert f"\n- **`{option.key}`**: {option.help}\n" in UNWRAPPED


def test_the_documentation_has_no_option_that_the_table_has_not() -> None:
    assert re.findall(r"^\| `([a-z_]+)` \|", DOCUMENT, re.MULTILINE) == [option.key for option in OPTIONS]
    variables = set(re.findall(r"OPENSHIFT_HA_[A-Z_]+\b", DOCUMENT))
    assert variables == {o.variable for o in OPTIONS if o.variable} - {"HA_EXCLUDED_VRRP_IDS"} | set(
        IGNORED_VARIABLES
    )


def test_the_documented_toml_file_is_read_without_complaint() -> None:
    failover, complaints = load_text(block("toml").encode(), "web.toml", "web", "toml")
    assert complaints == ()
    assert failover is not None
    assert [len(entry) for entry in failover.ranges] == [3, 6, 3]


def test_the_documented_environment_file_is_read_without_complaint() -> None:
    failover, complaints = load_text(block("sh").encode(), "ipfailover.env", "ipfailover", "env")
    assert complaints == ()
    assert failover is not None
    assert len(failover.virtual_ips) == 2


def test_the_documented_errors_are_the_real_ones() -> None:
    text = b'virtual_ips = "10.0.0.9-5"\nmonitor_port = 70000\nvirtal_ip = "10.0.0.1"\n'
    _, complaints = load_text(text, "/etc/ipfod/web.toml", "web", "toml")
    assert "".join(f"{complaint}\n" for complaint in complaints) == block("text")


def test_the_documented_grammar_means_what_its_table_says() -> None:
    rows = re.findall(r"^\| [^|]*(?:address|range|network)[^|]* \| `([^`]+)` \|", DOCUMENT, re.MULTILINE)
    sizes = []
    for entry in rows:
        failover, _ = load_text(f'virtual_ips = "{entry}"'.encode(), "web.toml", "web", "toml")
        assert failover is not None
        sizes.append(len(failover.virtual_ips))
    assert sizes == [1, 3, 12, 3, 6, 16]
