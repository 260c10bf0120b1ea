"""What a target's name stands for, and how spans of time are written."""

from __future__ import annotations

import argparse
import time
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipfod.bus.paths import parse
from ipfod.ctl.description import Description, Failover, Group
from ipfod.ctl.durations import ACCEPTED, DURATION_MAX_S, SINCE_ACCEPTED, seconds, since_usec
from ipfod.ctl.failures import CommandFailed
from ipfod.ctl.targets import find
from ipfod.node.events import FailoverRef
from ipfod.plan.model import GroupKey


def group(name: str, *virtual_ips: str) -> Group:
    return Group(name, "backup", "", "", 0, virtual_ips, frozenset(), "preempt", "configuration")


def failover(name: str, *groups: Group) -> Failover:
    return Failover(name, "eth0", "", "preempt", "configuration", "", "", "running", 1, False, groups)


NODE = Description(
    "1",
    "node-a",
    False,
    "",
    0,
    (),
    (
        failover(
            "web-site", group("web_site_VIP_1", "10.1.0.1", "10.1.0.2"), group("web_site_VIP_12", "fd00::1:1")
        ),
        failover("db", group("db_VIP_1", "10.1.0.9")),
        failover("web_site_VIP_1", group("web_site_VIP_1_VIP_1", "10.1.0.10")),
    ),
)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("web-site", FailoverRef("web-site")),
        ("db", FailoverRef("db")),
        ("db_VIP_1", GroupKey("db", 1)),
        ("web_site_VIP_12", GroupKey("web-site", 12)),
        ("10.1.0.2", GroupKey("web-site", 1)),
        ("FD00:0:0::1:1", GroupKey("web-site", 12)),
        ("web_site_VIP_1", FailoverRef("web_site_VIP_1")),  # also a group's name: the failover goes first
        ("web_site_VIP_1_VIP_1", GroupKey("web_site_VIP_1", 1)),
    ],
)
def test_a_name_means_one_object_on_the_bus(name: str, meant: object) -> None:
    target = find(NODE, name)
    assert parse(target.path) == meant
    if isinstance(meant, FailoverRef):
        assert target.name == name
        assert target.groups == target.failover.groups
    else:
        assert target.group is not None
        assert target.groups == (target.group,)
        assert target.name == target.group.name


@pytest.mark.parametrize("name", ["", "web", "10.1.0.3", "10.1.0.0/24", "web_site", "db_VIP_2", "*", "-"])
def test_any_other_name_is_refused_with_where_to_find_them(name: str) -> None:
    with pytest.raises(CommandFailed) as refused:
        find(NODE, name)
    assert refused.value.text == f"{name}: no failover, group or virtual IP of that name on node-a"
    assert refused.value.hint == "ipfoctl status lists them all"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0", 0), ("7", 7), ("30s", 30), ("5m", 300), ("2h", 7200), ("1d", 86400), ("4294967295", 2**32 - 1)],
)
def test_spans_of_time_are_numbers_with_a_unit(text: str, expected: int) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "s", "-1", "+1", "1.5h", "5 m", " 5m", "5m\n", "5M", "5min", "1h30m", "1e3"),
        *("4294967296", "49711d", "9999999999", "\N{ARABIC-INDIC DIGIT FIVE}m"),
    ],
)
def test_anything_else_is_refused_naming_what_is_accepted(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as refused:
        seconds(text)
    assert str(refused.value) == f"{text!r} is not {ACCEPTED}"


@given(number=st.integers(0, 999_999_999), unit=st.sampled_from(["s", "m", "h", "d"]))
def test_no_span_is_longer_than_the_bus_carries(number: int, unit: str) -> None:
    try:
        assert 0 <= seconds(f"{number}{unit}") <= DURATION_MAX_S
    except argparse.ArgumentTypeError:
        assert number * {"s": 1, "m": 60, "h": 3600, "d": 86400}[unit] > DURATION_MAX_S


def test_the_whole_range_of_seconds_may_be_written_without_a_unit() -> None:
    assert seconds(str(DURATION_MAX_S)) == DURATION_MAX_S


@pytest.mark.parametrize(
    ("text", "ago_s"),
    [("30s", 30), ("5m", 300), ("2h", 7200), ("1d", 86400), ("90", 90)],
)
def test_since_a_span_is_so_long_ago(text: str, ago_s: int) -> None:
    assert abs(time.time() - ago_s - since_usec(text) / 1e6) < 5


def test_since_a_moment_is_local_time() -> None:
    then = datetime.now().replace(microsecond=0) - timedelta(days=3)
    assert since_usec(f"{then:%Y-%m-%d %H:%M:%S}") == int(then.timestamp()) * 1_000_000
    midnight = then.replace(hour=0, minute=0, second=0)
    assert since_usec(f"{then:%Y-%m-%d}") == int(midnight.timestamp()) * 1_000_000
    today = datetime.now().replace(hour=0, minute=0, second=0, microsecond=0)
    assert since_usec("00:00") == int(today.timestamp()) * 1_000_000


def test_since_a_moment_that_is_still_to_come_is_refused() -> None:
    for ahead in (timedelta(minutes=2), timedelta(days=400)):
        with pytest.raises(argparse.ArgumentTypeError, match=r"still to come; .* yesterday"):
            since_usec(f"{datetime.now() + ahead:%Y-%m-%d %H:%M}")


@pytest.mark.parametrize("text", ["", "yesterday", "25:00", "2026-13-01", "-1h", "1w", "9" * 12, "12:5"])
def test_since_anything_else_is_refused_with_what_is_accepted(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as refused:
        since_usec(text)
    assert any(accepted in str(refused.value) for accepted in (SINCE_ACCEPTED, ACCEPTED))
