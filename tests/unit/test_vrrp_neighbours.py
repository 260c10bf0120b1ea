"""Questions and answers about who has an address, byte by byte as RFC 826, 5227 and 4861 lay them out."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ipfod.vrrp.frames import probe, solicitation
from ipfod.vrrp.neighbours import Claim, in_ranges, parse_advertisement, parse_arp
from ipfod.vrrp.packet import checksum

MAC = bytes.fromhex("02005e10a7ff")
macs = st.binary(min_size=6, max_size=6)
ipv4 = st.integers(0, 2**32 - 1).map(IPv4Address)
ipv6 = st.integers(0, 2**128 - 1).map(IPv6Address)


@given(address=ipv4, mac=macs)
def test_a_probe_asks_everybody_and_claims_nothing(address: IPv4Address, mac: bytes) -> None:
    frame = probe(address, mac)
    assert len(frame) == 14 + 28
    assert frame[0:14] == b"\xff" * 6 + mac + b"\x08\x06"
    assert frame[14:22] == bytes.fromhex("0001 0800 06 04 0001")  # Ethernet, IPv4, lengths, request
    assert frame[22:28] == mac
    assert frame[28:32] == bytes(4)  # RFC 5227 2.1.1: an all-zero sender pollutes no cache
    assert frame[32:38] == bytes(6)
    assert frame[38:42] == address.packed


@given(address=ipv6, source=ipv6, mac=macs)
def test_a_solicitation_asks_the_group_of_the_address(
    address: IPv6Address, source: IPv6Address, mac: bytes
) -> None:
    frame = solicitation(address, source, mac)
    header, message = frame[14:54], frame[54:]
    group = bytes.fromhex("ff02" + "00" * 9 + "01ff") + address.packed[-3:]  # RFC 4291 2.7.1
    assert frame[0:6] == b"\x33\x33" + group[-4:]
    assert frame[6:14] == mac + b"\x86\xdd"
    assert header[:8] == b"\x60\x00\x00\x00" + (32).to_bytes(2, "big") + b"\x3a\xff"  # hop limit 255
    assert header[8:] == source.packed + group
    assert message[0:2] == b"\x87\x00"
    assert message[4:8] == bytes(4)
    assert message[8:24] == address.packed
    assert message[24:] == b"\x01\x01" + mac  # source link-layer address, 8 bytes
    pseudo = source.packed + group + (32).to_bytes(4, "big") + (58).to_bytes(4, "big")
    assert checksum(pseudo + message) == 0


@given(address=ipv4, hardware=macs, operation=st.sampled_from([1, 2]), rest=st.binary(max_size=20))
def test_the_sender_of_an_arp_packet_says_what_it_has(
    address: IPv4Address, hardware: bytes, operation: int, rest: bytes
) -> None:
    head = bytes.fromhex("0001 0800 06 04") + operation.to_bytes(2, "big")
    packet = head + hardware + address.packed + MAC + bytes(4) + rest
    assert parse_arp(packet) == Claim(address, hardware)


@given(packet=st.binary(max_size=80), hardware=st.binary(max_size=20))
def test_no_packet_breaks_the_parsers(packet: bytes, hardware: bytes) -> None:
    assert parse_arp(packet) is None or packet[:6] == bytes.fromhex("0001 0800 06 04")
    found = parse_advertisement(packet, hardware)
    assert (found is None) == (len(packet) < 64 or len(hardware) != 6)


@given(numbers=st.sets(st.integers(0, 300), min_size=1), most=st.integers(1, 20))
def test_ranges_have_all_numbers_and_are_as_few_and_as_narrow_as_can_be(numbers: set[int], most: int) -> None:
    ranges = in_ranges(sorted(numbers), most)
    covered = {number for first, last in ranges for number in range(first, last + 1)}
    assert covered >= numbers
    assert 1 <= len(ranges) <= most
    assert all(first in numbers and last in numbers and first <= last for first, last in ranges)
    assert all(earlier[1] + 1 < later[0] for earlier, later in pairwise(ranges))
    gaps = sorted((b - a - 1 for a, b in pairwise(sorted(numbers))), reverse=True)
    assert len(covered - numbers) == sum(gaps[most - 1 :])
