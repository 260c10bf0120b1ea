"""The grammar of virtual_ips, against a naive expansion and against everything that it refuses."""

from __future__ import annotations

import time
import tracemalloc
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipfod.config.model import Address
from ipfod.config.ranges import ADDRESSES_MAX, read_virtual_ips
from ipfod.config.values import Refused


def expand(value: object) -> list[list[str]]:
    return [[str(address) for address in block] for block in read_virtual_ips(value)]


def faults(value: object) -> tuple[str, ...]:
    with pytest.raises(Refused) as caught:
        read_virtual_ips(value)
    return caught.value.faults


def naive(entry: str) -> list[Address]:
    """What an entry means, worked out on its text and one address at a time."""
    if "/" in entry:
        network = ip_network(entry)
        return list(network.hosts() if network.version == 4 and network.prefixlen < 31 else network)
    head, _, tail = entry.partition("-")
    here = ip_address(head)
    if not tail:
        return [here]
    if "." in tail or ":" in tail:
        last = ip_address(tail)
    elif here.version == 4:
        last = ip_address(".".join([*head.split(".")[:3], tail]))
    else:
        last = ip_address(here.exploded[:-4] + tail.zfill(4))
    addresses = [here]
    while here != last:
        here += 1
        addresses.append(here)
    return addresses


def ordinary_ipv4() -> st.SearchStrategy[IPv4Address]:
    return st.builds(IPv4Address, st.integers(int(IPv4Address("1.0.0.0")), int(IPv4Address("126.0.0.0"))))


def ordinary_ipv6() -> st.SearchStrategy[IPv6Address]:
    return st.builds(IPv6Address, st.integers(int(IPv6Address("2001::")), int(IPv6Address("fe00::"))))


@st.composite
def entries(draw: st.DrawFn) -> str:
    """A valid entry of any kind, of some hundred addresses at most."""
    first = draw(st.one_of(ordinary_ipv4(), ordinary_ipv6()))
    last = first + draw(st.integers(0, 400))
    written = draw(st.sampled_from([str(first), first.exploded, str(first).upper()]))
    kind = draw(st.sampled_from(["single", "whole", "part", "network"]))
    if kind == "single":
        return written
    if kind == "whole":
        return f"{written}-{last}"
    if kind == "network":
        return str(
            ip_network((first, draw(st.integers(first.max_prefixlen - 8, first.max_prefixlen))), strict=False)
        )
    part = 256 if first.version == 4 else 65536
    end = draw(st.integers(int(first) % part, min(int(first) % part + 400, part - 1)))
    return (
        f"{written}-{end}" if part == 256 else f"{written}-{draw(st.sampled_from([f'{end:x}', f'{end:04X}']))}"
    )


@settings(deadline=None)
@given(entries())
def test_any_valid_entry_expands_to_what_its_text_says(entry: str) -> None:
    expected = naive(entry)
    assert read_virtual_ips(entry) == (tuple(expected),)
    assert read_virtual_ips([entry]) == (tuple(expected),)


@settings(deadline=None)
@given(st.lists(entries(), min_size=1, max_size=6))
def test_entries_are_refused_exactly_when_they_overlap(several: list[str]) -> None:
    expected = [naive(entry) for entry in several]
    flat = [address for block in expected for address in block]
    if len(set(flat)) == len(flat):
        assert read_virtual_ips(" , ".join(several)) == tuple(map(tuple, expected))
    else:
        assert any("repeats" in fault for fault in faults(several))


@settings(deadline=None)
@given(st.text("0123456789abcdefABCDEF.:/-, %\t٣", max_size=40))
def test_any_text_is_expanded_as_written_or_refused(text: str) -> None:
    try:
        blocks = read_virtual_ips(text)
    except Refused as refused:
        said = refused.faults
    else:
        parts = [part.strip(" \t") for part in text.split(",")]
        assert [list(block) for block in blocks] == [naive(part) for part in parts]
        return
    assert said
    assert all(fault.isprintable() for fault in said)


def test_the_documentation_example_is_four_addresses_in_two_ranges() -> None:
    assert expand("1.2.3.4-6,1.2.3.9") == [["1.2.3.4", "1.2.3.5", "1.2.3.6"], ["1.2.3.9"]]


def test_the_mixed_list_of_the_original_image_test_is_read_in_upper_and_lower_case() -> None:
    expected = [
        ["10.0.2.100", "10.0.2.101", "10.0.2.102"],
        ["2001:db8:1abc::1f39", "2001:db8:1abc::1f3a", "2001:db8:1abc::1f3b"],
    ]
    assert expand("10.0.2.100-102,2001:DB8:1ABC::1F39-1F3B") == expected
    assert expand("10.0.2.100-102,2001:db8:1abc::1f39-1f3b") == expected


def test_the_last_part_of_an_ipv6_range_is_hexadecimal() -> None:
    assert len(expand("2001:db8::e-11")[0]) == 4


def test_a_range_may_end_with_a_whole_address_in_another_network() -> None:
    (block,) = expand("10.0.0.254-10.0.1.1")
    assert block == ["10.0.0.254", "10.0.0.255", "10.0.1.0", "10.0.1.1"]


def test_an_ipv4_network_leaves_out_its_network_and_broadcast_addresses() -> None:
    (block,) = expand("192.168.1.0/24")
    assert (len(block), block[0], block[-1]) == (254, "192.168.1.1", "192.168.1.254")
    assert expand("192.168.1.4/31, 192.168.1.9/32") == [["192.168.1.4", "192.168.1.5"], ["192.168.1.9"]]


def test_an_ipv6_network_has_all_its_addresses() -> None:
    assert expand("2001:db8::/126") == [["2001:db8::", "2001:db8::1", "2001:db8::2", "2001:db8::3"]]


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ("10.0.0.9-5", '"10.0.0.9-5" is reversed'),
        ("10.0.1.1-10.0.0.9", '"10.0.1.1-10.0.0.9" is reversed'),
        ("2001:db8::b-a", '"2001:db8::b-a" is reversed'),
        ("1.1.1.250-260", '"1.1.1.250-260": "260" is not the last part of an IPv4 address'),
        ("1.1.1.1-", '"1.1.1.1-": "" is not the last part of an IPv4 address'),
        ("1.1.1.1-02", '"1.1.1.1-02": "02" is not the last part of an IPv4 address'),
        ("1.1.1.1-a", '"1.1.1.1-a": "a" is not the last part of an IPv4 address'),
        ("1.1.1.1-2-9", '"1.1.1.1-2-9": "2-9" is not the last part of an IPv4 address'),
        ("2001:db8::1-10000", '"2001:db8::1-10000": "10000" is not the last part of an IPv6 address'),
        ("64:ff9b::1.2.3.4-5", "give the whole last address"),
        ("1.2.3-4", '"1.2.3" is not an address'),
        ("1.2.3.", '"1.2.3." is not an address'),
        ("1.2.3.4.5", "is not an address"),
        ("1.1.1.256", "is not an address"),
        ("a.b.c.d-e", '"a.b.c.d" is not an address'),
        ("1.1.1.1;2.2.2.2", "is not an address"),
        ("1.1.1.1 2.2.2.2", "is not an address"),
        ("01.02.03.04", '"01.02.03.04" has leading zeros'),
        ("1.1.1.٣", "is not an address"),
        ("1.1.1.1-٣", "is not the last part"),
        ("1.1.1.0/٢٤", "is not a prefix length"),
        ("10.0.0.1-2001:db8::1", "mixes IPv4 and IPv6"),
        ("fe80::1%eth0", '"fe80::1%eth0" has a zone'),
        ("10.0.0.5/24", "10.0.0.0/24 is the one that it lies in"),
        ("10.0.0.0/33", '"33" is not a prefix length from 0 to 32'),
        ("10.0.0.0/024", '"024" is not a prefix length'),
        ("10.0.0.0/255.255.255.0", "is not a prefix length"),
        ("10.0.0.0/", "is not a prefix length"),
        ("2001:db8::/129", "is not a prefix length from 0 to 128"),
        ("0.0.0.0", "is the unspecified address"),
        ("127.0.0.1", "is a loopback address"),
        ("224.0.0.18", "is a multicast address"),
        ("255.255.255.255", "is the broadcast address"),
        ("126.255.255.255-127.0.0.1", "contains 127.0.0.0, a loopback address"),
        ("239.255.255.0/24", "contains 239.255.255.1, a multicast address"),
        ("::", "is the unspecified address"),
        ("::1", "is the loopback address"),
        ("::-5", "contains ::, the unspecified address"),
        ("ff02::12", "is a multicast address"),
        ("::ffff:10.0.0.1", "is an IPv4 address in IPv6 form"),
        ("10.0.0.1\n", "cannot be printed"),
        ("10.0.0.1\0", "cannot be printed"),
    ],
)
def test_a_bad_entry_is_refused_by_name(entry: str, fault: str) -> None:
    (only,) = faults([entry])
    assert fault in only


@pytest.mark.parametrize(
    "value", ["10.0.0.1,,10.0.0.2", "10.0.0.1,", ",10.0.0.1", ["10.0.0.1", ""], " , 10.0.0.1"]
)
def test_an_empty_entry_is_refused_by_number(value: object) -> None:
    (only,) = faults(value)
    assert only.startswith("entry ")
    assert only.endswith(" is empty")


@pytest.mark.parametrize("value", ["", "  ", []])
def test_an_empty_list_is_refused(value: object) -> None:
    assert faults(value) == ("is empty",)


@pytest.mark.parametrize("value", [5, True, {"a": 1}, None, 1.5])
def test_what_is_neither_text_nor_list_is_refused(value: object) -> None:
    assert "neither text nor a list" in faults(value)[0]


def test_a_repeated_address_is_refused_with_both_entries() -> None:
    assert faults("10.0.0.1-9, 10.0.0.5") == ('"10.0.0.5" repeats 10.0.0.5 of "10.0.0.1-9"',)
    assert faults("10.0.0.5, 10.0.0.1-9") == ('"10.0.0.1-9" repeats 10.0.0.5 of "10.0.0.5"',)
    assert faults("2001:DB8::1, 2001:db8:0::1") == ('"2001:db8:0::1" repeats 2001:db8::1 of "2001:DB8::1"',)


def test_every_bad_entry_is_named_and_not_only_the_first() -> None:
    found = faults(["10.0.0.9-5", "10.0.0.1", "x", "10.0.0.1", 7])
    assert [fault.split()[0] for fault in found] == ['"10.0.0.9-5"', '"x"', '"10.0.0.1"', "7"]


def test_faults_without_number_are_cut_and_counted() -> None:
    found = faults(["x"] * 1000)
    assert len(found) == 51
    assert found[-1] == "the 950 entries after that were not looked at"


def test_255_groups_of_64_fit_and_the_limit_is_exact() -> None:
    assert sum(map(len, read_virtual_ips([f"10.{i}.0.0-10.{i}.0.63" for i in range(1, 256)]))) == 255 * 64
    assert sum(map(len, read_virtual_ips("10.0.0.0-10.0.255.255"))) == ADDRESSES_MAX
    (fault,) = faults("10.0.0.0-10.0.255.255, 10.1.0.0")
    assert fault == '"10.1.0.0" has 1 addresses, with the 65536 before it more than the 65536 of a failover'


@pytest.mark.parametrize(
    "entry", ["10.0.0.0/8", "0.0.0.0/0", "::/0", "2001:db8::/64", "2001:db8::-2001:db9::", "10.0.0.0/15"]
)
def test_a_huge_range_is_refused_at_once_and_without_memory(entry: str) -> None:
    tracemalloc.start()
    try:
        started = time.monotonic()
        (fault,) = faults([entry])
        assert time.monotonic() - started < 2
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert f'"{entry}" has ' in fault
    assert "65536" in fault
