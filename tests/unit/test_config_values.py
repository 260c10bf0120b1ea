"""Single values and lists: what each option takes, what it refuses, and that nothing else gets through."""

from __future__ import annotations

import math
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipfod.config.model import Grouping, MonitorAddress, Preemption, PreemptionMode
from ipfod.config.options import BY_KEY, OPTIONS
from ipfod.config.values import Refused, Reread, quoted

SPECIAL = set("\"'{}#!\\$")


def read(key: str, value: object) -> object:
    return BY_KEY[key].kind.read(value)


def read_text(key: str, text: str) -> object:
    kind = BY_KEY[key].kind
    return kind.read(kind.from_text(text))


ACCEPTED: list[tuple[str, object, object]] = [
    ("name", "web-1_a", "web-1_a"),
    ("name", "a" * 64, "a" * 64),
    ("vip_groups", 3, 3),
    ("vip_groups", "per-range", Grouping.PER_RANGE),
    ("interface", "eth0.100", "eth0.100"),
    ("interface", "a" * 15, "a" * 15),
    ("vrrp_id_offset", 0, 0),
    ("vrrp_id_offset", 255, 255),
    ("excluded_vrrp_ids", [12, 13], (12, 13)),
    ("excluded_vrrp_ids", [], ()),
    ("monitor_port", 0, 0),
    ("monitor_port", 65535, 65535),
    ("monitor_address", "vip", MonitorAddress.VIP),
    ("check_script", "/usr/libexec/prüfung.sh", Path("/usr/libexec/prüfung.sh")),
    ("check_interval", 2, 2.0),
    ("check_interval", 0.1, 0.1),
    ("check_timeout", 3600, 3600.0),
    ("script_user", "keepalived_script", "keepalived_script"),
    ("preemption", "nopreempt", Preemption(PreemptionMode.NOPREEMPT)),
    ("preemption", "preempt", Preemption(PreemptionMode.PREEMPT)),
    ("preemption", "preempt_delay 0", Preemption(PreemptionMode.PREEMPT_DELAY, 0)),
    ("nodes", ["10.0.0.1", "2001:DB8::1"], (ip_address("10.0.0.1"), ip_address("2001:db8::1"))),
    ("unicast_peers", "10.0.0.1, 10.0.0.2", (ip_address("10.0.0.1"), ip_address("10.0.0.2"))),
    ("unicast_peers", "", ()),
    ("priority", 254, 254),
    ("use_unicast", True, True),
    ("firewall_chain", "", ()),
    ("firewall_chain", [], ()),
    ("firewall_chain", "INPUT", ("INPUT",)),
    ("firewall_chain", "inet  filter input", ("inet filter input",)),
    ("firewall_chain", ["INPUT", "ip6 filter ufw-before-input"], ("INPUT", "ip6 filter ufw-before-input")),
    ("kernel_modules", ["ip_vs", "nf-log"], ("ip_vs", "nf-log")),
    ("kernel_modules", [], ()),
    ("vrrp_version", 2, 2),
    ("advert_interval", 0.01, 0.01),
    ("advert_interval", 0.29, 0.29),  # 0.29 * 100 is 28.999999999999996
    ("advert_interval", 40, 40.0),
    ("auth_pass", "a;(b)~<%", "a;(b)~<%"),
    ("prefix_length", 24, 24),
]


@pytest.mark.parametrize(("key", "value", "expected"), ACCEPTED)
def test_a_value_is_accepted(key: str, value: object, expected: object) -> None:
    found = read(key, value)
    assert found == expected
    assert type(found) is type(expected)


REFUSED: list[tuple[str, object]] = [
    *[("name", bad) for bad in ["", "a" * 65, "a b", "a.b", "ä", "a/b", "..", "a\n", "web\uff11", 5, None]],
    *[("vip_groups", bad) for bad in [0, -1, 65537, "per-node", "3", 1.0, True, [3]]],
    *[
        ("interface", bad)
        for bad in [
            "",
            "a" * 16,
            "eth 0",
            "a/b",
            ".",
            "..",
            "a:1",
            "et\u04bb0",
            "a\tb",
            "a}",
            "$_PWD",
            "eth*",
            "@a",
            0,
        ]
    ],
    *[("vrrp_id_offset", bad) for bad in [-1, 256, "10", 1.5, True]],
    *[("excluded_vrrp_ids", bad) for bad in [[0], [256], [12, 12], "12 13", 12, [True], ["12"], [[12]]]],
    *[("monitor_port", bad) for bad in [-1, 65536, "http", "80", 80.0, False]],
    *[("monitor_address", bad) for bad in ["Node", "", "10.0.0.1", 1, ["vip"]]],
    *[
        ("check_interval", bad)
        for bad in [0, 0.09, -1, 3601, math.inf, -math.inf, math.nan, "2", "2s", True, 10**400]
    ],
    *[("check_rise", bad) for bad in [0, 1001, "1"]],
    *[("script_user", bad) for bad in ["", "-x", "1root", "a b", "root\n", "a" * 33, "root:root", "rööt", 0]],
    *[("preemption", bad) for bad in ["", "preempt_delay", "preempt_delay 1001", "preempt_delay -1"]],
    *[
        ("preemption", bad)
        for bad in ["preempt_delay ٣", "preempt\ndelay 3", "nopreempt\n", "Preempt", "preempt 5", 300]
    ],
    *[("preemption", bad) for bad in ["preempt_nodelay", "preempt_nodelay x", "preempt_nodelay 1001"]],
    *[
        ("nodes", bad)
        for bad in [["10.0.0.1", "10.0.0.1"], ["2001:db8::1", "2001:DB8:0::1"], "10.0.0.1,", ["10.0.0.0/24"]]
    ],
    *[("nodes", bad) for bad in [["224.0.0.18"], ["::1"], ["fe80::1%eth0"], ["10.0.0.1-2"], ["node1"], 5, [5]]],
    ("nodes", [f"10.0.{i}.1" for i in range(255)]),
    *[("priority", bad) for bad in [0, 255]],
    *[("use_unicast", bad) for bad in ["true", 1, 0, "yes", None]],
    *[
        ("firewall_chain", bad)
        for bad in ["a b", "bridge filter input", "inet filter", "a;b", "a\nb", "{x}", "-j", ["INPUT", ""]]
    ],
    *[
        ("firewall_chain", bad)
        for bad in [["INPUT", "INPUT"], 5, [5], "a" * 128, "inet filter input x", "INPUT,FORWARD"]
    ],
    *[
        ("kernel_modules", bad)
        for bad in ["ip_vs", ["-r"], ["a b"], ["a/b"], [""], ["ip_vs", "ip_vs"], ["a" * 56], [5]]
    ],
    *[("vrrp_version", bad) for bad in [1, 4, "3"]],
    *[("advert_interval", bad) for bad in [0, 0.001, 0.015, 40.01, math.nan, "1"]],
    *[
        ("auth_pass", bad)
        for bad in ["", "a" * 9, "a b", 'a"', "a'", "a{", "a}", "a#", "a!", "a\\", "$_PWD", "ä", "a\n", 5]
    ],
    *[("prefix_length", bad) for bad in [0, 129]],
]


@pytest.mark.parametrize(("key", "value"), REFUSED)
def test_a_value_is_refused_with_a_printable_reason(key: str, value: object) -> None:
    with pytest.raises(Refused) as caught:
        read(key, value)
    assert caught.value.faults
    assert all(fault.isprintable() and len(fault) < 300 for fault in caught.value.faults)


@pytest.mark.parametrize("key", ["check_script", "notify_script"])
@pytest.mark.parametrize(
    "path",
    [
        "check.sh",
        "",
        "/usr/",
        "/a\nb",
        '/a"b',
        "/a'b",
        "/a{b",
        "/a}b",
        "/a#b",
        "/a!b",
        "/a\\b",
        "/$_PWD/x",
        "/a\0b",
        "/" + "a" * 512,
    ],
)
def test_a_script_path_that_keepalived_would_misread_is_refused(key: str, path: str) -> None:
    with pytest.raises(Refused):
        read(key, path)


def test_script_arguments_are_refused_and_the_reason_says_so() -> None:
    with pytest.raises(Refused, match="arguments are not accepted"):
        read("check_script", "/usr/bin/check --fast")
    assert "without spaces and arguments" in BY_KEY["check_script"].accepted


@settings(deadline=None)
@given(st.sampled_from([option.key for option in OPTIONS]), st.text(max_size=12))
def test_no_text_becomes_anything_that_keepalived_would_misread(key: str, text: str) -> None:
    for value in (text, "/" + text, f"preempt_delay {text}", [text]):
        try:
            found = read(key, value)
        except Refused:
            continue
        for item in found if isinstance(found, tuple) else (found,):
            shown = str(item)
            assert shown.isprintable()
            assert not SPECIAL & set(shown)
            if isinstance(item, str | Path):
                assert shown in (value, text, str(Path(f"/{text}"))) or key == "firewall_chain"


@settings(deadline=None)
@given(st.sampled_from([option.key for option in OPTIONS]), st.text(max_size=12))
def test_variables_take_no_digits_but_0_to_9(key: str, text: str) -> None:
    try:
        found = read_text(key, text)
    except Refused:
        return
    if isinstance(found, int | float) and not isinstance(found, bool):
        assert text.isascii()
        assert float(text) == found


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("monitor_port", "30060", 30060),
        ("vip_groups", "10", 10),
        ("vip_groups", "per-range", Grouping.PER_RANGE),
        ("check_interval", "2", 2.0),
        ("check_interval", "0.5", 0.5),
        ("excluded_vrrp_ids", " 12  13\t14 ", (12, 13, 14)),
        ("unicast_peers", "10.0.148.40,10.0.160.234", (ip_address("10.0.148.40"), ip_address("10.0.160.234"))),
        *[("use_unicast", text, True) for text in ["true", "TRUE", "True", "yes", "1"]],
        *[("use_unicast", text, False) for text in ["false", "no", "No", "0"]],
    ],
)
def test_the_text_of_a_variable_is_accepted(key: str, text: str, expected: object) -> None:
    assert read_text(key, text) == expected


@pytest.mark.parametrize(
    ("key", "text"),
    [
        *[
            ("monitor_port", text)
            for text in ["http", "٣", "\uff18\uff10", "080", "+80", "8_0", "80 ", "0x50", "1" * 5000]
        ],
        *[("check_interval", text) for text in ["2s", "1e3", "inf", "nan", ".5", "2.", "٢"]],
        *[("use_unicast", text) for text in ["on", "ja", "2", "ye\u017f", ""]],
        *[("excluded_vrrp_ids", text) for text in ["12,13", "0", "12 12", "x"]],
    ],
)
def test_the_text_of_a_variable_is_refused(key: str, text: str) -> None:
    with pytest.raises(Refused):
        read_text(key, text)


@pytest.mark.parametrize("delay", ["300", "0", "1000"])
def test_the_misprint_of_the_documentation_is_read_as_a_delay_with_a_warning(delay: str) -> None:
    found = read("preemption", f"preempt_nodelay {delay}")
    assert isinstance(found, Reread)
    assert found.value == Preemption(PreemptionMode.PREEMPT_DELAY, int(delay))
    assert f'"preempt_delay {delay}"' in found.warning


def test_a_number_in_quotes_is_told_from_a_word() -> None:
    with pytest.raises(Refused, match=r'"80" is text: leave the quotes off'):
        read("monitor_port", "80")
    with pytest.raises(Refused, match=r'"http" is not a whole number'):
        read("monitor_port", "http")


def test_a_refused_password_is_not_repeated() -> None:
    with pytest.raises(Refused) as caught:
        read("auth_pass", "geheim s")
    assert "geheim" not in str(caught.value)


def test_a_number_too_long_to_write_is_refused() -> None:
    with pytest.raises(Refused, match="a huge number is out of range"):
        read("vrrp_id_offset", 1 << 20000)


@settings(deadline=None)
@given(st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.lists(st.integers()), st.dates()))
def test_any_foreign_value_is_shown_short_and_printable(value: object) -> None:
    shown = quoted(value)
    assert shown.isprintable()
    assert len(shown) <= 700
