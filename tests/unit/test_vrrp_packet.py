"""VRRP packets: real ones, generated ones, damaged ones and noise."""

from __future__ import annotations

import struct
from contextlib import suppress
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipfod.vrrp.packet import Advert, PacketError, build, build_packet, checksum, parse


def advert(
    version: int, source: str, destination: str, router: int, *addresses: str, **other: object
) -> Advert:
    values: dict[str, object] = {
        "version": version,
        "ip_version": ip_address(source).version,
        "source": ip_address(source),
        "destination": ip_address(destination),
        "virtual_router_id": router,
        "priority": 200,
        "interval_cs": 100 if version == 2 else 10,
        "addresses": tuple(map(ip_address, addresses)),
    }
    return Advert(**(values | other))  # type: ignore[arg-type]  # the table below is shorter for it


# As keepalived 2.2.7 sent them on a veth, and what its configuration said.
REAL = {
    "version 3, IPv4": (
        "45c0002000010000ff70d04c0a4d0001e00000123102c801000a11610a4d0067",
        advert(3, "10.77.0.1", "224.0.0.18", 2, "10.77.0.103"),
    ),
    "version 3, IPv4 unicast": (
        "45c0002000010000ff70a6100a4d00010a4d00023105c801000ae7200a4d0068",
        advert(3, "10.77.0.1", "10.77.0.2", 5, "10.77.0.104"),
    ),
    "version 3, IPv6": (
        "6c02be5d002870fffe800000000000000000000000770001ff020000000000000000000000000012"
        "3103c802000a0aa8fe800000000000000000000000770099fd770000000000000000000000000099",
        advert(3, "fe80::77:1", "ff02::12", 3, "fe80::77:99", "fd77::99"),
    ),
    "version 3, IPv6 unicast": (
        "6c0a85eb00187040fd770000000000000000000000000001fd770000000000000000000000000002"
        "3106c801000a0d64fd770000000000000000000000000097",
        advert(3, "fd77::1", "fd77::2", 6, "fd77::97", ttl=64),
    ),
    "version 2": (
        "45c0002800010000ff70d0440a4d0001e00000122107c80100010c400a4d00690000000000000000",
        advert(2, "10.77.0.1", "224.0.0.18", 7, "10.77.0.105"),
    ),
    "version 2, password": (
        "45c0002c00010000ff70d0400a4d0001e00000122101c802010153e80a4d00650a4d00667365637265747061",
        advert(2, "10.77.0.1", "224.0.0.18", 1, "10.77.0.101", "10.77.0.102", auth_pass="secretpa"),
    ),
    "version 2, short password, unicast": (
        "45c0002800010000ff70a6080a4d00010a4d00022108c8010101933d0a4d006a7800000000000000",
        advert(2, "10.77.0.1", "10.77.0.2", 8, "10.77.0.106", auth_pass="x"),
    ),
    "version 2, IPv6": (
        "6c02be5d001870fffe800000000000000000000000770001ff020000000000000000000000000012"
        "2104c80100011a53fd770000000000000000000000000098",
        advert(2, "fe80::77:1", "ff02::12", 4, "fd77::98"),
    ),
    "version 2, IPv6, password": (
        "6c02be5d001870fffe800000000000000000000000770001ff020000000000000000000000000012"
        "2109c80101011950fd770000000000000000000000000096",
        advert(2, "fe80::77:1", "ff02::12", 9, "fd77::96", auth_pass=""),
    ),
}
IPV4, IPV6 = (bytes.fromhex(REAL[f"version 3, IPv{each}"][0]) for each in (4, 6))


@pytest.mark.parametrize("name", REAL)
def test_real_packet_says_what_keepalived_was_told(name: str) -> None:
    packet, expected = REAL[name]
    assert parse(bytes.fromhex(packet)) == expected


@pytest.mark.parametrize("name", REAL)
def test_built_message_is_the_one_that_keepalived_sends(name: str) -> None:
    packet, said = bytes.fromhex(REAL[name][0]), REAL[name][1]
    assert build(said) == packet[20 if said.ip_version == 4 else 40 :]


@pytest.mark.parametrize("name", REAL)
def test_a_flipped_bit_anywhere_in_the_message_is_noticed(name: str) -> None:
    packet, said = bytes.fromhex(REAL[name][0]), REAL[name][1]
    for bit in range((20 if said.ip_version == 4 else 40) * 8, len(packet) * 8):
        damaged = bytearray(packet)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(PacketError):
            parse(bytes(damaged))


@pytest.mark.parametrize("name", REAL)
def test_a_packet_cut_off_anywhere_is_refused(name: str) -> None:
    packet = bytes.fromhex(REAL[name][0])
    for length in range(len(packet)):
        with pytest.raises(PacketError):
            parse(packet[:length])


def test_padding_of_short_frames_is_ignored() -> None:
    assert parse(IPV4.ljust(46, b"\0")) == parse(IPV4)


def changed(packet: bytes, at: int, value: bytes) -> bytes:
    """The packet with other bytes, and with checksums that are right again."""
    new = bytearray(packet)
    new[at : at + len(value)] = value
    if packet[0] >> 4 == 4:
        new[10:12] = bytes(2)
        struct.pack_into("!H", new, 10, checksum(new[:20]))
        header, pseudo = 20, new[12:20] + struct.pack("!HH", 112, len(new) - 20)
    else:
        header, pseudo = 40, new[8:40] + struct.pack("!II", len(new) - 40, 112)
    new[header + 6 : header + 8] = bytes(2)
    struct.pack_into("!H", new, header + 6, checksum(pseudo + new[header:]))
    return bytes(new)


@pytest.mark.parametrize(
    ("packet", "complaint"),
    [
        (b"", "neither IPv4 nor IPv6"),
        (b"\x25" * 40, "neither IPv4 nor IPv6"),
        (changed(IPV4, 0, b"\x46"), "options"),
        (changed(IPV4, 2, b"\xff\xff"), "length of 65535"),
        (changed(IPV4, 2, b"\x00\x05"), "length of 5"),
        (changed(IPV4, 6, b"\x20\x00"), "fragment"),
        (changed(IPV4, 6, b"\x00\x01"), "fragment"),
        (changed(IPV4, 8, b"\xfe"), "TTL of 254"),
        (changed(IPV4, 9, b"\x33"), "protocol 51"),
        (IPV4[:4] + b"\xff\xff" + IPV4[6:], "checksum in the IPv4 header"),
        (changed(IPV4, 12, b"\xe0\0\0\x12"), "source 224.0.0.18"),
        (changed(IPV4, 12, b"\0\0\0\0"), "source 0.0.0.0"),
        (changed(IPV4, 20, b"\x41"), "version 4"),
        (changed(IPV4, 20, b"\x21"), "1 addresses in a message of 12 bytes"),
        (changed(IPV4, 20, b"\x32"), "type 2"),
        (changed(IPV4, 21, b"\0"), "virtual router ID 0"),
        (changed(IPV4, 23, b"\x02"), "2 addresses in a message of 12 bytes"),
        (changed(IPV4, 23, b"\0"), "0 addresses in a message of 12 bytes"),
        (changed(IPV4, 24, b"\0\0"), "interval of 0"),
        (IPV4[:26] + b"\0\0" + IPV4[28:], "a wrong checksum"),
        (changed(IPV6, 4, b"\x00\x29"), "payload of 41"),
        (changed(IPV6, 6, b"\0"), "next header 0"),
        (changed(IPV6, 7, b"\x40"), "TTL of 64"),
        (changed(IPV6, 8, b"\xff"), "source ff80::77:1"),
    ],
)
def test_a_packet_that_breaks_a_rule_is_refused_and_the_rule_named(packet: bytes, complaint: str) -> None:
    with pytest.raises(PacketError, match=complaint):
        parse(packet)


def test_an_authentication_type_that_keepalived_sends_in_another_protocol_is_refused() -> None:
    packet = bytearray.fromhex(REAL["version 2, password"][0])
    packet[24] = 2
    packet[26:28] = bytes(2)
    struct.pack_into("!H", packet, 26, checksum(packet[20:]))
    with pytest.raises(PacketError, match="authentication type 2"):
        parse(bytes(packet))


def test_reserved_bits_are_ignored() -> None:
    assert parse(changed(IPV4, 24, b"\xf0\x0a")) == parse(IPV4)


def test_an_advert_without_addresses_is_valid() -> None:
    """keepalived sends it when all virtual IPs are excluded from the advert."""
    empty = replace(parse(IPV4), addresses=())
    assert parse(build_packet(empty)) == empty


def test_the_password_stays_out_of_logs() -> None:
    assert "secret" not in repr(REAL["version 2, password"][1])


@pytest.mark.parametrize(
    "wrong",
    [
        {"version": 4},
        {"virtual_router_id": 0},
        {"virtual_router_id": 256},
        {"priority": 256},
        {"priority": -1},
        {"ttl": 256},
        {"interval_cs": 0},
        {"interval_cs": 4096},
        {"version": 2, "interval_cs": 150},
        {"version": 2, "interval_cs": 25600},
        {"version": 2, "interval_cs": 100, "auth_pass": "ninechars"},
        {"version": 2, "interval_cs": 100, "auth_pass": "zero\0"},
        {"version": 2, "interval_cs": 100, "auth_pass": "\ud800"},
        {"auth_pass": "secret"},
        {"addresses": (IPv6Address("fd77::1"),)},
        {"addresses": (IPv4Address("10.77.0.1"),) * 256},
        {"destination": IPv6Address("ff02::12")},
    ],
)
def test_what_a_version_cannot_carry_is_not_built(wrong: dict[str, object]) -> None:
    with pytest.raises(PacketError):
        build(replace(parse(IPV4), **wrong))  # type: ignore[arg-type]  # the values are the test


ADDRESSES = {4: st.ip_addresses(v=4), 6: st.ip_addresses(v=6)}


def sources(ip_version: int) -> st.SearchStrategy[IPv4Address | IPv6Address]:
    return ADDRESSES[ip_version].filter(lambda each: not (each.is_multicast or each.is_unspecified))


@st.composite
def adverts(draw: st.DrawFn) -> Advert:
    version, ip_version = draw(st.sampled_from([2, 3])), draw(st.sampled_from([4, 6]))
    passwords = st.binary(max_size=8).filter(lambda data: not data.endswith(b"\0"))
    password = None
    if version == 2 and draw(st.booleans()):
        password = draw(passwords).decode("utf-8", "surrogateescape") if ip_version == 4 else ""
    return Advert(
        version=version,
        ip_version=ip_version,
        source=draw(sources(ip_version)),
        destination=draw(ADDRESSES[ip_version]),
        virtual_router_id=draw(st.integers(1, 255)),
        priority=draw(st.integers(0, 255)),
        interval_cs=draw(st.integers(1, 255)) * 100 if version == 2 else draw(st.integers(1, 4095)),
        addresses=tuple(draw(st.lists(ADDRESSES[ip_version], max_size=6))),
        auth_pass=password,
    )


@given(adverts())
@settings(max_examples=200, deadline=None)
def test_what_is_built_is_parsed_again(said: Advert) -> None:
    assert parse(build_packet(said)) == said


@given(st.binary(max_size=120))
@settings(max_examples=1000, deadline=None)
def test_no_bytes_raise_anything_but_a_packet_error(data: bytes) -> None:
    for start in (b"", IPV4[:20], IPV4[:21], IPV6[:40], IPV6[:41]):
        with suppress(PacketError):
            parse(start + data)


@given(adverts(), st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=4))
@settings(max_examples=500, deadline=None)
def test_damaged_adverts_raise_nothing_but_a_packet_error(said: Advert, damages: list[tuple[int, int]]) -> None:
    packet = bytearray(build_packet(said))
    for at, value in damages:
        packet[at % len(packet)] = value
    with suppress(PacketError):
        parse(bytes(packet))


@given(st.binary(max_size=80))
@settings(deadline=None)
def test_checksum_is_the_complement_of_the_folded_sum_of_words(data: bytes) -> None:
    words = data + b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(words) // 2}H", words))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    # Nothing but zeros has two complements, 0 and 0xFFFF; a VRRP message is never that.
    assert checksum(data) == (0xFFFF - total if any(data) else 0)
