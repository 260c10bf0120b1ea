"""Announcements, read again byte by byte as RFC 826, 5227, 8200 and 4861 lay them out."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipfod.errors import Failed
from ipfod.vrrp.announce import announce
from ipfod.vrrp.frames import announcement

MAC = bytes.fromhex("02005e10a7ff")


def ones_complement_sum(data: bytes) -> int:
    """RFC 1071, 4.1: word by word, carries added back. 0xffff for data that holds its right checksum."""
    assert len(data) % 2 == 0
    total = 0
    for at in range(0, len(data), 2):
        total += data[at] << 8 | data[at + 1]
        total = (total & 0xFFFF) + (total >> 16)
    return total


macs = st.binary(min_size=6, max_size=6)
ipv4 = st.integers(0, 2**32 - 1).map(IPv4Address)
ipv6 = st.integers(0, 2**128 - 1).map(IPv6Address)


@given(address=ipv4, mac=macs)
def test_ipv4_is_announced_by_an_arp_request_for_oneself(address: IPv4Address, mac: bytes) -> None:
    frame = announcement(address, mac)
    assert len(frame) == 14 + 28
    assert frame[0:6] == b"\xff\xff\xff\xff\xff\xff"  # to everybody
    assert frame[6:12] == mac
    assert frame[12:14] == b"\x08\x06"  # ARP
    assert frame[14:16] == b"\x00\x01"  # hardware: Ethernet
    assert frame[16:18] == b"\x08\x00"  # protocol: IPv4
    assert frame[18:20] == b"\x06\x04"  # lengths of both addresses
    assert frame[20:22] == b"\x00\x01"  # request: RFC 5227 section 3 wants this of the two
    assert frame[22:28] == mac  # sender
    assert frame[28:32] == int(address).to_bytes(4, "big")
    assert frame[32:38] == bytes(6)  # target: RFC 5227 1.1, "SHOULD be set to all zeroes"
    assert frame[38:42] == int(address).to_bytes(4, "big")  # RFC 5227 section 3: the same as the sender's


@given(address=ipv6, mac=macs)
def test_ipv6_is_announced_by_an_unsolicited_neighbour_advertisement(address: IPv6Address, mac: bytes) -> None:
    frame = announcement(address, mac)
    all_nodes = bytes.fromhex("ff02" + "00" * 13 + "01")
    assert len(frame) == 14 + 40 + 32
    assert frame[0:6] == b"\x33\x33" + all_nodes[-4:]  # RFC 2464 section 7
    assert frame[6:12] == mac
    assert frame[12:14] == b"\x86\xdd"
    header, message = frame[14:54], frame[54:]
    assert header[0:4] == b"\x60\x00\x00\x00"  # version 6, no class, no flow
    assert int.from_bytes(header[4:6], "big") == len(message) == 32
    assert header[6] == 58  # ICMPv6
    assert header[7] == 255  # RFC 4861 7.1.2: anything else is discarded
    assert header[8:24] == int(address).to_bytes(16, "big")
    assert header[24:40] == all_nodes  # RFC 4861 7.2.6
    assert message[0:2] == b"\x88\x00"  # RFC 4861 4.4: type 136, code 0
    router, solicited, override = (message[4] >> bit & 1 for bit in (7, 6, 5))
    assert (router, solicited, override) == (0, 0, 1)  # 7.2.6: not solicited; override what caches have
    assert message[4] & 0x1F == 0
    assert message[5:8] == bytes(3)
    assert message[8:24] == int(address).to_bytes(16, "big")  # target
    assert message[24:26] == b"\x02\x01"  # RFC 4861 4.6.1: target link-layer address, one unit of 8 bytes
    assert message[26:32] == mac
    # RFC 8200 8.1
    pseudo = header[8:40] + len(message).to_bytes(4, "big") + bytes(3) + b"\x3a"
    assert ones_complement_sum(pseudo + message) == 0xFFFF


def test_an_advertisement_is_byte_for_byte_the_one_worked_out_by_hand() -> None:
    frame = announcement(ip_address("fd00::1:1"), MAC)
    pseudo = [0xFD00, 1, 1, 0xFF02, 1, 0x20, 0x3A]
    message = [0x8800, 0x2000, 0xFD00, 1, 1, 0x201, 0x200, 0x5E10, 0xA7FF]
    total = sum(pseudo + message)
    total = (total & 0xFFFF) + (total >> 16)
    assert frame[56:58] == (~total & 0xFFFF).to_bytes(2, "big")


def test_an_interface_that_is_not_there_or_is_no_ethernet_is_said() -> None:
    with pytest.raises(Failed, match="ipfod-none0: addresses cannot be announced: No such device"):
        announce("ipfod-none0", [ip_address("10.1.0.1")])
    with pytest.raises(Failed, match="lo: is no Ethernet link"):
        announce("lo", [ip_address("10.1.0.1")])
