"""Whole files, the environment and directories: what becomes a failover, and what is complained of."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

import pytest

from ipfod.config.load import FILE_MAX, load_text
from ipfod.config.model import Failover, Preemption, PreemptionMode, Source
from ipfod.config.options import BY_KEY, OPTIONS

Kind = Literal["toml", "env"]


def load(text: str, kind: Kind = "toml", name: str = "web") -> tuple[Failover | None, list[str]]:
    failover, complaints = load_text(text.encode(), f"web.{kind}", name, kind)
    return failover, [str(complaint) for complaint in complaints]


def loaded(text: str, kind: Kind = "toml") -> Failover:
    failover, complaints = load(text, kind)
    assert complaints == []
    assert failover is not None
    return failover


# The documentation's deployment, chapter 8.4.2, as an environment file.
DOCUMENTED = """\
OPENSHIFT_HA_CONFIG_NAME="ipfailover"
OPENSHIFT_HA_VIRTUAL_IPS="1.1.1.1-2"
OPENSHIFT_HA_VIP_GROUPS="10"
OPENSHIFT_HA_NETWORK_INTERFACE="ens3"
OPENSHIFT_HA_MONITOR_PORT="30060"
OPENSHIFT_HA_VRRP_ID_OFFSET="10"
OPENSHIFT_HA_REPLICA_COUNT="2"
OPENSHIFT_HA_USE_UNICAST="false"
#OPENSHIFT_HA_UNICAST_PEERS="10.0.148.40,10.0.160.234,10.0.199.110"
OPENSHIFT_HA_IPTABLES_CHAIN="INPUT"
#OPENSHIFT_HA_NOTIFY_SCRIPT=/etc/keepalive/mynotifyscript.sh
OPENSHIFT_HA_CHECK_SCRIPT="/etc/keepalive/mycheckscript.sh"
OPENSHIFT_HA_PREEMPTION="preempt_delay 300"
OPENSHIFT_HA_CHECK_INTERVAL="2"
"""


def test_the_documented_deployment_is_read_from_an_environment_file() -> None:
    failover = loaded(DOCUMENTED, "env")
    assert failover.source.lines["virtual_ips"] == 2
    assert failover.source.at("check_interval") == "web.env:14"
    assert failover == Failover(
        name="ipfailover",
        source=failover.source,
        ranges=((ip_address("1.1.1.1"), ip_address("1.1.1.2")),),
        vip_groups=10,
        interface="ens3",
        vrrp_id_offset=10,
        monitor_port=30060,
        replica_count=2,
        use_unicast=False,
        firewall_chain=("INPUT",),
        check_script=Path("/etc/keepalive/mycheckscript.sh"),
        preemption=Preemption(PreemptionMode.PREEMPT_DELAY, 300),
        check_interval_s=2.0,
    )


def test_the_original_preemption_misprint_is_a_warning_and_the_file_is_used() -> None:
    failover, (complaint,) = load('virtual_ips = "1.1.1.1"\npreemption = "preempt_nodelay 300"\n')
    assert failover is not None
    assert failover.preemption == Preemption(PreemptionMode.PREEMPT_DELAY, 300)
    assert complaint.startswith(
        'web.toml:2: preemption: "preempt_nodelay 300" is a misprint, read as "preempt_delay 300"; '
    )


def test_one_line_makes_a_failover_with_every_default() -> None:
    failover = loaded('virtual_ips = "10.0.0.1"')
    source = Source("web.toml", {"virtual_ips": 1})
    assert failover == Failover(name="web", source=source, ranges=((ip_address("10.0.0.1"),),))


def test_an_error_has_the_documented_form() -> None:
    failover, complaints = load('\n\nvirtual_ips = "10.0.0.9-5"')
    assert failover is None
    assert complaints == [
        'web.toml:3: virtual_ips: "10.0.0.9-5" is reversed; an address, FIRST-LAST or a CIDR network'
    ]


def test_every_error_of_a_file_is_reported_in_line_order() -> None:
    _, complaints = load(
        """\
        virtual_ips = ["10.0.0.9-5", "x"]
        use_unicast = true
        virtal_ip = 3
        monitor_port = "80"
        auth_pass = "secret"
        preemption = "preempt_nodelay 5"
        nodes = 1.2.3.4
        check_rise = 0
        """
    )
    assert [complaint.split(": ")[:2] for complaint in complaints] == [
        ["web.toml:1", "virtual_ips"],
        ["web.toml:1", "virtual_ips"],
        ["web.toml:2", "use_unicast"],
        ["web.toml:3", "virtal_ip"],
        ["web.toml:4", "monitor_port"],
        ["web.toml:5", "auth_pass"],
        ["web.toml:6", "preemption"],
        ["web.toml:7", "nodes"],
        ["web.toml:8", "check_rise"],
    ]


def test_a_file_of_nothing_but_faults_is_cut_and_counted() -> None:
    _, complaints = load("\n".join(f"k{number} = 1" for number in range(1000)))
    assert len(complaints) == 101
    assert complaints[-1] == "web.toml:100: file: has 901 more faults; correct these first"


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("toml", "virtal_ips = 1", "virtal_ips: is no known option; the nearest known one is virtual_ips"),
        ("toml", "Virtual-IPs = 1", "Virtual-IPs: is no known option; the nearest known one is virtual_ips"),
        ("toml", "OPENSHIFT_HA_IPTABLES_CHAIN = 1", "the nearest known one is firewall_chain"),
        ("toml", '"a\\u001bb" = 1', '"a\\x1bb": is no known option; the nearest known one is '),
        ("env", "OPENSHIFT_HA_VIRTUAL_IP=1", "the nearest known one is OPENSHIFT_HA_VIRTUAL_IPS"),
        ("env", "OPENSHIFT_HA_MONITORPORT=", "the nearest known one is OPENSHIFT_HA_MONITOR_PORT"),
        ("env", "OPENSHIFT_HA_EXCLUDED_VRRP_IDS=1", "the nearest known one is HA_EXCLUDED_VRRP_IDS"),
        ("env", "monitor_port=1", "the nearest known one is OPENSHIFT_HA_MONITOR_PORT"),
        ("env", "OPENSHIFT_HA_FIREWALL_CHAIN=1", "the nearest known one is OPENSHIFT_HA_IPTABLES_CHAIN"),
        ("env", "OPENSHIFT_HA_ADVERT_INTERVAL=1", "advert_interval can be set in .toml files only"),
        ("env", "PATH=/bin", "PATH: is no known variable; the nearest known one is "),
    ],
)
def test_an_unknown_key_is_an_error_with_the_nearest_known_one(kind: Kind, text: str, expected: str) -> None:
    required = 'virtual_ips = "1.1.1.1"\n' if kind == "toml" else "OPENSHIFT_HA_VIRTUAL_IPS=1.1.1.1\n"
    failover, (complaint,) = load(required + text, kind)
    assert failover is None
    assert complaint.startswith(f"web.{kind}:2: ")
    assert expected in complaint


@pytest.mark.parametrize("variable", ["SELECTOR", "ADMIN_EMAILS", "SMTP_SERVER", "NFTABLES_RULE"])
def test_variables_without_meaning_on_a_node_are_warned_of_and_ignored(variable: str) -> None:
    text = f"OPENSHIFT_HA_VIRTUAL_IPS=1.1.1.1\nOPENSHIFT_HA_{variable}=x\n"
    failover, (complaint,) = load(text, "env")
    assert failover is not None
    assert complaint.startswith(f"web.env:2: OPENSHIFT_HA_{variable}: has no meaning here and is ignored; ")
    assert load(text.replace("=x", "="), "env")[1] == []


def test_an_empty_variable_is_unset_except_for_the_chain_where_it_means_none() -> None:
    names = [option.variable for option in OPTIONS if option.variable and option.key != "virtual_ips"]
    empty = "OPENSHIFT_HA_VIRTUAL_IPS=1.1.1.1\n" + "".join(f"{name}=\n" for name in names)
    failover = loaded(empty, "env")
    unset = loaded("OPENSHIFT_HA_VIRTUAL_IPS=1.1.1.1\n", "env")
    assert unset.firewall_chain == ("INPUT",)
    assert failover == replace(unset, firewall_chain=(), source=failover.source)
    assert set(failover.source.lines) == {"virtual_ips", "firewall_chain"}


RULES: list[tuple[str, str | None]] = [
    ('virtual_ips = "10.0.0.1"\nuse_unicast = true', "2: use_unicast: is true, but unicast_peers is not set"),
    ('virtual_ips = "10.0.0.1"\nuse_unicast = true\nunicast_peers = "10.0.0.8"', None),
    ('virtual_ips = "10.0.0.1"\nunicast_peers = "2001:db8::8"', None),
    (
        'virtual_ips = "10.0.0.1, 2001:db8::1"\nuse_unicast = true\nunicast_peers = "10.0.0.8"',
        "3: unicast_peers: has no IPv6 address, but virtual_ips has; a peer of each family",
    ),
    (
        'virtual_ips = "10.0.0.1, 2001:db8::1"\nuse_unicast = true\nunicast_peers = "2001:db8::8"',
        "3: unicast_peers: has no IPv4 address, but virtual_ips has; a peer of each family",
    ),
    (
        'virtual_ips = "10.0.0.1-9"\nnodes = ["10.0.0.5"]',
        "2: nodes: 10.0.0.5 is a virtual IP; the nodes' own addresses",
    ),
    ('virtual_ips = "10.0.0.1-9"\nunicast_peers = "10.0.0.5"', "2: unicast_peers: 10.0.0.5 is a virtual IP"),
    ('virtual_ips = "10.0.0.1"\nauth_pass = "x"', "2: auth_pass: is set, but VRRP version 3 has no password"),
    ('virtual_ips = "10.0.0.1"\nauth_pass = "x"\nvrrp_version = 2', None),
    (
        'virtual_ips = "10.0.0.1"\nvrrp_version = 2\nadvert_interval = 0.1',
        "3: advert_interval: 0.1 is not a number of whole seconds; with vrrp_version 2 whole seconds, ",
    ),
    ('virtual_ips = "10.0.0.1"\nvrrp_version = 2\nadvert_interval = 2', None),
    ('virtual_ips = "10.0.0.1, 2001:db8::1"\nprefix_length = 33', "2: prefix_length: 33 is out of range"),
    ('virtual_ips = "10.0.0.1"\nprefix_length = 32', None),
    ('virtual_ips = "2001:db8::1"\nprefix_length = 64', None),
]


@pytest.mark.parametrize(("text", "expected"), RULES)
def test_options_that_contradict_each_other_are_complained_of(text: str, expected: str | None) -> None:
    failover, complaints = load(text)
    if expected is None:
        assert failover is not None
        assert complaints == []
    else:
        assert failover is None
        assert len(complaints) == 1
        assert complaints[0].startswith(f"web.toml:{expected}")


def test_a_rule_is_spelled_with_variables_in_an_environment_file() -> None:
    _, complaints = load("OPENSHIFT_HA_VIRTUAL_IPS=1.1.1.1\nOPENSHIFT_HA_USE_UNICAST=yes\n", "env")
    assert complaints == [
        "web.env:2: OPENSHIFT_HA_USE_UNICAST: is true, but OPENSHIFT_HA_UNICAST_PEERS is not set; "
        "OPENSHIFT_HA_UNICAST_PEERS with the other nodes' addresses"
    ]


def test_a_refused_option_brings_no_second_complaint_from_a_rule() -> None:
    _, complaints = load('virtual_ips = "10.0.0.1"\nuse_unicast = true\nunicast_peers = "x"')
    assert complaints == [
        f'web.toml:3: unicast_peers: "x" is not an address; {BY_KEY["unicast_peers"].accepted}'
    ]


def test_defaults_follow_the_version_the_interval_and_the_name() -> None:
    two = loaded('virtual_ips = "1.1.1.1"\nname = "ipfailover-a"\nvrrp_version = 2')
    assert (two.advert_interval_s, two.auth_pass) == (1.0, "ipfailov")
    three = loaded('virtual_ips = "1.1.1.1"\ncheck_interval = 5')
    assert (three.advert_interval_s, three.auth_pass, three.check_timeout_s) == (0.1, None, 5.0)
    assert loaded('virtual_ips = "1.1.1.1"\ncheck_interval = 5\ncheck_timeout = 9').check_timeout_s == 9.0


@pytest.mark.parametrize("kind", ["toml", "env"])
def test_virtual_ips_are_required(kind: Kind) -> None:
    failover, complaints = load("", kind)
    assert failover is None
    key = "virtual_ips" if kind == "toml" else "OPENSHIFT_HA_VIRTUAL_IPS"
    assert complaints == [
        f"web.{kind}:1: {key}: is not set; "
        "required: an address, FIRST-LAST or a CIDR network, or several of them"
    ]


@pytest.mark.parametrize(
    "text",
    [
        "virtual_ips = 10.0.0.1",
        'virtual_ips = "1.1.1.1"\nuse_unicast = true\nunicast_peers = 1.1.1.2',
        'virtual_ips = "1.1.1.1"\nauth_pass = "x"\nvrrp_version = two',
        "nodes = [\nvirtual_ips = '1.1.1.1'",
        "virtual_ips '1.1.1.1'",
    ],
)
def test_what_cannot_be_read_is_not_said_to_be_missing_too(text: str) -> None:
    failover, (complaint,) = load(text)
    assert failover is None
    assert "is not TOML" in complaint


def test_a_name_that_cannot_be_read_is_not_replaced() -> None:
    failover, (complaint,) = load('virtual_ips = "1.1.1.1"\nname = web', name="no name")
    assert failover is None
    assert complaint.startswith("web.toml:2: name: is not TOML")


def test_a_file_name_that_is_no_name_needs_a_name_inside() -> None:
    failover, complaints = load('virtual_ips = "1.1.1.1"', name="my web.old")
    assert failover is None
    assert complaints == [
        'web.toml:1: name: is not set, and "my web.old", the file\'s name, cannot take its place; '
        "1 to 64 of the characters A-Z a-z 0-9 _ -"
    ]
    named, complaints = load('virtual_ips = "1.1.1.1"\nname = "web"', name="my web.old")
    assert (named is not None, complaints) == (True, [])


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\n\na = '\xff'", "web.toml:3: file: contains byte 0xff, which is not UTF-8; UTF-8 text"),
        (b"\na = 1\0", "web.toml:2: file: contains a NUL byte; UTF-8 text"),
        (b"\xef\xbb\xbfa = 1", "web.toml:1: file: begins with a byte order mark; UTF-8 text without one"),
        (b"#" * (FILE_MAX + 1), "web.toml:1: file: is too large; at most 1048576 bytes"),
    ],
)
def test_what_is_not_text_is_complained_of(content: bytes, expected: str) -> None:
    failover, complaints = load_text(content, "web.toml", "web", "toml")
    assert failover is None
    assert [str(complaint) for complaint in complaints] == [expected]


@pytest.mark.parametrize("kind", ["toml", "env"])
def test_windows_line_ends_are_read(kind: Kind) -> None:
    text = 'virtual_ips = "1.1.1.1"\r\nmonitor_port = 0\r\n'
    if kind == "env":
        text = "OPENSHIFT_HA_VIRTUAL_IPS=1.1.1.1\r\nOPENSHIFT_HA_MONITOR_PORT=0\r\n"
    assert loaded(text, kind).monitor_port == 0


def test_65536_addresses_one_by_one_fit_into_a_file() -> None:
    entries = ",".join(f'"10.{i >> 16}.{i >> 8 & 255}.{i & 255}"' for i in range(65536, 131072))
    assert len(loaded(f"virtual_ips=[{entries}]").virtual_ips) == 65536
