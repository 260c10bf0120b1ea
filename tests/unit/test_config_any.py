"""Any bytes are answered with complaints, and any valid failover is read as it was written."""

from __future__ import annotations

import json
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal

from hypothesis import example, given, settings
from hypothesis import strategies as st

from ipfod.config.load import load_text
from ipfod.config.model import Failover, Grouping, MonitorAddress, Preemption, PreemptionMode, Source
from ipfod.config.options import BY_KEY, OPTIONS

Kind = Literal["toml", "env"]


def loaded(text: str, kind: Kind = "toml") -> Failover:
    failover, complaints = load_text(text.encode(), f"web.{kind}", "web", kind)
    assert complaints == ()
    assert failover is not None
    return failover


PIECES = st.sampled_from(
    [
        *[f"{option.key} = " for option in OPTIONS],
        *[f"{option.variable}=" for option in OPTIONS if option.variable],
        *[
            '"10.0.0.1"',
            "10.0.0.1",
            "true",
            "2",
            "0.1",
            '"preempt_nodelay 3"',
            "[",
            "]",
            "{",
            "}",
            "'",
            '"',
            '"""',
            "\n",
            ",",
        ],
        *[
            "\\",
            "#",
            "\r\n",
            "\0",
            "[web]",
            "٣",
            "\u2028",
            "\x1b",
            "::/0",
            "-",
            "/",
            "%",
            "$",
            "\ufeff",
            "nan",
            "1e999",
        ],
    ]
)


@settings(deadline=None, max_examples=200)
@given(
    st.one_of(st.binary(max_size=60), st.lists(PIECES, max_size=20).map(lambda parts: "".join(parts).encode())),
    st.sampled_from(["toml", "env"]),
    st.text(max_size=5),
)
@example(b"\xff\xfe", "env", "\ud800")
def test_no_bytes_raise_and_each_complaint_is_one_printable_line(content: bytes, kind: Kind, name: str) -> None:
    failover, complaints = load_text(content, "web", name, kind)
    assert (failover is None) == any(not complaint.warning for complaint in complaints)
    assert [complaint.line for complaint in complaints] == sorted(complaint.line for complaint in complaints)
    for complaint in complaints:
        assert str(complaint).startswith(f"web:{complaint.line}: {complaint.key}: ")
        assert str(complaint).isprintable()
        assert 1 <= complaint.line <= content.count(b"\n") + 1


# For each key: the value in TOML, and what the failover's field must hold.
WORDS = st.text("abcXYZ019_", min_size=1, max_size=10)
PATHS = WORDS.map(lambda word: (f"/opt/{word}.sh", Path(f"/opt/{word}.sh")))
PEERS = st.lists(st.integers(1, 254), unique=True, max_size=5).map(
    lambda ends: ([f"192.168.7.{end}" for end in ends], tuple(ip_address(f"192.168.7.{end}") for end in ends))
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "name": WORDS.map(lambda word: (word, word)),
    "vip_groups": st.one_of(
        st.integers(1, 500).map(lambda n: (n, n)), st.sampled_from(Grouping).map(lambda g: (str(g), g))
    ),
    "interface": WORDS.map(lambda word: (word, word)),
    "vrrp_id_offset": st.integers(0, 255).map(lambda n: (n, n)),
    "excluded_vrrp_ids": st.lists(st.integers(1, 255), unique=True, min_size=1).map(
        lambda ids: (ids, tuple(ids))
    ),
    "monitor_port": st.integers(0, 65535).map(lambda n: (n, n)),
    "monitor_address": st.sampled_from(MonitorAddress).map(lambda a: (str(a), a)),
    "check_script": PATHS,
    "check_interval": st.integers(1, 36000).map(lambda n: (n / 10, n / 10)),
    "check_timeout": st.integers(1, 36000).map(lambda n: (n / 10, n / 10)),
    "check_rise": st.integers(1, 1000).map(lambda n: (n, n)),
    "check_fall": st.integers(1, 1000).map(lambda n: (n, n)),
    "notify_script": PATHS,
    "script_user": WORDS.map(lambda word: (f"u{word}", f"u{word}")),
    "preemption": st.integers(0, 1000).map(
        lambda n: (f"preempt_delay {n}", Preemption(PreemptionMode.PREEMPT_DELAY, n))
    ),
    "replica_count": st.integers(1, 252).map(lambda n: (n, n)),
    "nodes": PEERS,
    "priority": st.integers(1, 254).map(lambda n: (n, n)),
    "use_unicast": st.just((False, False)),
    "unicast_peers": PEERS,
    "firewall_chain": WORDS.map(lambda word: (f"c{word}", (f"c{word}",))),
    "kernel_modules": st.lists(WORDS, unique=True).map(lambda names: (names, tuple(names))),
    "vrrp_version": st.just((3, 3)),
    "advert_interval": st.integers(1, 4000).map(lambda n: (n / 100, n / 100)),
    "prefix_length": st.integers(1, 32).map(lambda n: (n, n)),
}


@st.composite
def valid(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """Values by key as a file has them, and by field as the failover must have them."""
    first, size = draw(st.integers(1, 250)), draw(st.integers(1, 5))
    written: dict[str, Any] = {"virtual_ips": [f"10.0.0.{first}-{first + size}", "2001:db8::1"]}
    ipv4 = tuple(ip_address(f"10.0.0.{end}") for end in range(first, first + size + 1))
    expected: dict[str, Any] = {"ranges": (ipv4, (ip_address("2001:db8::1"),))}
    for key in draw(st.permutations(sorted(VALUES)))[: draw(st.integers(0, len(VALUES)))]:
        written[key], expected[BY_KEY[key].field] = draw(VALUES[key])
    if "check_interval_s" in expected:
        expected.setdefault("check_timeout_s", expected["check_interval_s"])
    return written, expected


@settings(deadline=None)
@given(valid())
def test_any_valid_failover_is_what_its_toml_file_says(case: tuple[dict[str, Any], dict[str, Any]]) -> None:
    written, expected = case
    failover = loaded("".join(f"# {key}\n{key} = {json.dumps(value)}\n" for key, value in written.items()))
    lines = {key: 2 * number for number, key in enumerate(written, 1)}
    assert failover == Failover(**{"name": "web", **expected}, source=Source("web.toml", lines))


@settings(deadline=None)
@given(valid())
def test_any_valid_failover_is_what_its_environment_file_says(
    case: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    written, expected = case
    text = ""
    for key, value in written.items():
        option = BY_KEY[key]
        shown = (
            (" " if key == "excluded_vrrp_ids" else ",").join(map(str, value))
            if isinstance(value, list)
            else str(value)
        )
        if option.variable is None:
            expected.pop(option.field, None)
        else:
            text += f"{option.variable}='{shown}'\n"
    if "check_interval" in written:
        expected["check_timeout_s"] = expected["check_interval_s"]
    failover = loaded(text, "env")
    assert failover == Failover(**{"name": "web", **expected}, source=failover.source)
