"""Text of ipfoctl: cells, tables, times, lists of addresses."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipfod.ctl.addresses import normalised, shortened
from ipfod.ctl.text import Cell, Style, ago, clock, count, line, printable, render, table

MINUTE = 60_000_000


@pytest.mark.parametrize(
    ("past_usec", "shown"),
    [
        (0, "0 s"),
        (59_999_999, "59 s"),
        (MINUTE, "1 min"),
        (59 * MINUTE, "59 min"),
        (60 * MINUTE, "1 h"),
        (47 * 60 * MINUTE, "47 h"),
        (48 * 60 * MINUTE, "2 days"),
        (-5 * MINUTE, "0 s"),
    ],
)
def test_an_age_is_told_in_one_unit(past_usec: int, shown: str) -> None:
    now = 1_700_000_000_000_000
    assert ago(now - past_usec, now) == shown


def test_an_unknown_time_has_no_age() -> None:
    assert ago(0, 1_700_000_000_000_000) == "-"


def test_a_time_of_the_clock_has_milliseconds() -> None:
    assert clock(1_700_000_000_123_999).endswith(":20.123")


def test_a_time_that_no_calendar_holds_is_shown_as_a_number() -> None:
    assert clock(2**64 - 1) == str(2**64 - 1)


def test_nothing_that_moves_the_cursor_is_printed() -> None:
    assert printable("a\x1b[2Jb\nc\r\td\u202ee") == "a [2Jb c  d e"


def test_colour_is_written_only_where_it_is_allowed() -> None:
    lines = [line(Cell("web", Style.RED), " on eth0")]
    assert render(lines, colour=False) == "web on eth0\n"
    assert render(lines, colour=True) == "\x1b[31mweb\x1b[0m on eth0\n"


def test_a_cut_line_is_exactly_as_wide_as_asked_and_says_that_it_is_cut() -> None:
    lines = [line("12345", Cell("67890", Style.GREEN), "tail")]
    assert render(lines, colour=False, width=8) == "1234567>\n"
    assert render(lines, colour=False, width=14) == "1234567890tail\n"


def test_columns_of_a_table_are_aligned() -> None:
    rows = [(Cell("a"), Cell("long cell"), Cell("x")), (Cell("longer"), Cell("b"), Cell(""))]
    assert render(table(("A", "B", "C"), rows, indent=2), colour=False).splitlines() == [
        "  A       B          C",
        "  a       long cell  x",
        "  longer  b",
    ]


def test_counted_things_have_their_plural() -> None:
    assert [count(number, "group") for number in (0, 1, 2)] == ["0 groups", "1 group", "2 groups"]


def test_neighbours_are_joined_as_the_configuration_spells_them() -> None:
    assert shortened(["192.168.3.10", "192.168.3.11", "192.168.3.12", "192.168.3.20"]) == (
        "192.168.3.10-12, 192.168.3.20"
    )
    assert shortened(["10.0.0.255", "10.0.1.0"]) == "10.0.0.255, 10.0.1.0"
    assert shortened(["fd00::9", "fd00::a", "fd00::b"]) == "fd00::9-fd00::b"


def test_what_does_not_fit_is_counted_in_addresses() -> None:
    addresses = ["10.0.0.1", "10.0.0.2", "10.0.0.9", "10.0.1.1", "10.0.1.2", "10.0.1.3"]
    assert shortened(addresses, most=1) == "10.0.0.1-2 and 4 more"
    assert shortened(addresses, most=3) == "10.0.0.1-2, 10.0.0.9, 10.0.1.1-3"


def test_no_address_and_no_addresses_are_shown_as_such() -> None:
    assert shortened([]) == "-"
    assert shortened(["what", "ever"]) == "what, ever"


def test_ipv6_is_found_in_any_spelling() -> None:
    assert normalised("FD00:0:0::0A") == "fd00::a"
    assert normalised("web") == "web"


def _expanded(text: str) -> list[IPv4Address | IPv6Address]:
    found: list[IPv4Address | IPv6Address] = []
    for entry in text.split(", "):
        first, _, last = entry.partition("-")
        start = ip_address(first)
        stop = start
        if last:
            stop = ip_address(last) if ":" in last else ip_address(f"{first.rsplit('.', 1)[0]}.{last}")
        found += [start + offset for offset in range(int(stop) - int(start) + 1)]
    return found


@given(
    st.lists(
        st.integers(0, 600).map(lambda number: IPv4Address("10.0.0.0") + number)
        | st.integers(0, 40).map(lambda number: IPv6Address("fd00::") + number),
        min_size=1,
        max_size=60,
    )
)
def test_a_shortened_list_says_every_address_in_its_order(addresses: list[IPv4Address | IPv6Address]) -> None:
    assert _expanded(shortened([str(address) for address in addresses])) == addresses
