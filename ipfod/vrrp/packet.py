"""VRRP advertisements as frozen values: parsed strictly, built exactly. No I/O.

Version 2 is RFC 3768, version 3 is RFC 5798. Of the authentication types that RFC 2338 had and RFC 3768
dropped, type 1 (a plain password) is read and written, because keepalived's version 2 still offers it.

keepalived 2.2.7 does two things that no RFC has, both seen on the wire. Told to use version 2 it does so over
IPv6 too, with the pseudo-header in the checksum and without authentication data, whatever the type. And its
unicast over IPv6 leaves with the system's hop limit, 64.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from ipfod.addresses import Address

PROTOCOL = 112  # IANA "Assigned Internet Protocol Numbers"; RFC 5798 section 5.1.1.4
TTL = 255  # RFC 5798 sections 5.1.1.3 and 5.1.2.3; it proves that no router lies between
MULTICAST_IPV4 = IPv4Address("224.0.0.18")  # RFC 5798 section 5.1.1.2
MULTICAST_IPV6 = IPv6Address("ff02::12")  # RFC 5798 section 5.1.2.2

PRIORITY_LEAVING = 0  # the master stops taking part: RFC 5798 section 5.2.4
INTERVAL_MAX_CS = {2: 25500, 3: 4095}  # one byte of seconds; twelve bits of centiseconds

_ADVERTISEMENT = 1  # the only type there is: RFC 5798 section 5.2.2
_AUTH_NONE, _AUTH_PASSWORD = 0, 1  # RFC 2338 section 5.3.6
_AUTH_DATA = 8  # bytes at the end of every version 2 message over IPv4: RFC 3768 section 5.3.10
_INTERNETWORK_CONTROL = 0xC0  # the type of service of routing protocols, RFC 791; keepalived sends it too

_MESSAGE = struct.Struct("!BBBBHH")  # version and type, id, priority, count, (auth type,) interval, checksum
_IPV4 = struct.Struct("!BBHHHBBH4s4s")
_IPV6 = struct.Struct("!IHBB16s16s")


class PacketError(ValueError):
    """Not a valid VRRP advertisement; the text says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Advert:
    """One VRRP advertisement with what its IP header adds.

    `interval_cs` is in centiseconds for both versions. `auth_pass` is the password of version 2's
    authentication type 1, None without, "" over IPv6, which carries none; it was in clear on the wire but is
    kept out of logs.
    """

    version: int  # 2 or 3
    ip_version: int  # 4 or 6
    source: Address
    destination: Address
    virtual_router_id: int  # 1..255
    priority: int  # 0..255, 0 = the master leaves
    interval_cs: int
    addresses: tuple[Address, ...]
    ttl: int = TTL
    auth_pass: str | None = field(default=None, repr=False)


def parse(packet: bytes) -> Advert:
    """Read an advertisement from an IP packet, which starts with the IP header; padding after it is ignored.

    Everything is checked that RFC 3768 section 7.1 and RFC 5798 section 7.1 ask for and that needs no
    configuration. Raises PacketError, and nothing else, whatever the bytes are.
    """
    match packet[0] >> 4 if packet else None:
        case 4:
            return _parse_ipv4(packet)
        case 6:
            return _parse_ipv6(packet)
    raise PacketError("neither IPv4 nor IPv6")


def build(advert: Advert) -> bytes:
    """The VRRP message of an advertisement, checksum included: what follows the IP header.

    Raises PacketError for what the version cannot carry.
    """
    _check_values(advert)
    start = advert.version << 4 | _ADVERTISEMENT
    interval, tail = advert.interval_cs, b""
    if advert.version == 2:
        auth_type = _AUTH_NONE if advert.auth_pass is None else _AUTH_PASSWORD
        interval = auth_type << 8 | advert.interval_cs // 100
        tail = _auth_data(advert.auth_pass).ljust(_auth_length(advert.version, advert.ip_version), b"\0")
    body = b"".join(address.packed for address in advert.addresses) + tail
    message = bytearray(
        _MESSAGE.pack(start, advert.virtual_router_id, advert.priority, len(advert.addresses), interval, 0)
        + body
    )
    pseudo = _pseudo_header(advert.version, advert.source, advert.destination, len(message))
    struct.pack_into("!H", message, 6, checksum(pseudo + message))
    return bytes(message)


def build_packet(advert: Advert) -> bytes:
    """The whole IP packet of an advertisement, for a raw socket that takes the IP header from the sender.

    Raises PacketError for what the version cannot carry.
    """
    message = build(advert)
    source, destination = advert.source.packed, advert.destination.packed
    if advert.ip_version == 6:
        start = 6 << 28 | _INTERNETWORK_CONTROL << 20
        return _IPV6.pack(start, len(message), PROTOCOL, advert.ttl, source, destination) + message
    header = bytearray(
        _IPV4.pack(
            0x45, _INTERNETWORK_CONTROL, 20 + len(message), 0, 0, advert.ttl, PROTOCOL, 0, source, destination
        )
    )
    struct.pack_into("!H", header, 10, checksum(header))
    return bytes(header) + message


def checksum(data: bytes | bytearray) -> int:
    """The Internet checksum (RFC 1071) of bytes; 0 for bytes that contain their own correct one."""
    if len(data) % 2:
        data = data + b"\0"
    # The one's complement sum of 16-bit words is the number's remainder by 2^16 - 1, as 2^16 leaves 1.
    return -int.from_bytes(data, "big") % 0xFFFF


def _parse_ipv4(packet: bytes) -> Advert:
    if len(packet) < _IPV4.size:
        raise PacketError("shorter than an IPv4 header")
    start, _, length, _, fragment, ttl, protocol, _, source, destination = _IPV4.unpack_from(packet)
    if start != 0x45:
        raise PacketError("an IPv4 header with options")
    if not _IPV4.size <= length <= len(packet):
        raise PacketError(f"an IPv4 length of {length} in {len(packet)} bytes")
    if fragment & 0x3FFF:  # all but "reserved" and "do not fragment"
        raise PacketError("a fragment")
    if checksum(packet[: _IPV4.size]):
        raise PacketError("a wrong checksum in the IPv4 header")
    if protocol != PROTOCOL:
        raise PacketError(f"IP protocol {protocol}, not {PROTOCOL}")
    return _parse_message(packet[_IPV4.size : length], IPv4Address(source), IPv4Address(destination), ttl)


def _parse_ipv6(packet: bytes) -> Advert:
    if len(packet) < _IPV6.size:
        raise PacketError("shorter than an IPv6 header")
    _, length, protocol, ttl, source, destination = _IPV6.unpack_from(packet)
    if length > len(packet) - _IPV6.size:
        raise PacketError(f"an IPv6 payload of {length} in {len(packet)} bytes")
    if protocol != PROTOCOL:
        raise PacketError(f"next header {protocol}, not {PROTOCOL}")
    end = _IPV6.size + length
    return _parse_message(packet[_IPV6.size : end], IPv6Address(source), IPv6Address(destination), ttl)


def _parse_message(message: bytes, source: Address, destination: Address, ttl: int) -> Advert:
    if ttl != TTL and (source.version == 4 or destination.is_multicast):
        raise PacketError(f"a TTL of {ttl}, not {TTL}")
    if source.is_multicast or source.is_unspecified:
        raise PacketError(f"the source {source}")
    if len(message) < _MESSAGE.size:
        raise PacketError(f"a message of {len(message)} bytes")
    start, virtual_router_id, priority, count, interval, _ = _MESSAGE.unpack_from(message)
    version = start >> 4
    if version not in INTERVAL_MAX_CS:
        raise PacketError(f"VRRP version {version}")
    if start & 0xF != _ADVERTISEMENT:
        raise PacketError(f"type {start & 0xF}, not {_ADVERTISEMENT}")
    end = _MESSAGE.size + count * source.max_prefixlen // 8
    if len(message) != end + _auth_length(version, source.version):
        raise PacketError(f"{count} addresses in a message of {len(message)} bytes")
    if checksum(_pseudo_header(version, source, destination, len(message)) + message):
        raise PacketError("a wrong checksum")
    auth_pass = None
    if version == 2:
        auth_pass = _read_auth(interval >> 8, message[end:])
        interval = (interval & 0xFF) * 100
    else:
        interval &= 0xFFF  # four reserved bits, ignored on reception: RFC 5798 section 5.2.6
    if virtual_router_id == 0:
        raise PacketError("virtual router ID 0")
    if interval == 0:
        raise PacketError("an interval of 0")
    return Advert(
        version=version,
        ip_version=source.version,
        source=source,
        destination=destination,
        virtual_router_id=virtual_router_id,
        priority=priority,
        interval_cs=interval,
        addresses=_read_addresses(message[_MESSAGE.size : end], source.version),
        ttl=ttl,
        auth_pass=auth_pass,
    )


def _auth_length(version: int, ip_version: int) -> int:
    return _AUTH_DATA if (version, ip_version) == (2, 4) else 0


def _read_addresses(data: bytes, ip_version: int) -> tuple[Address, ...]:
    if ip_version == 4:
        return tuple(IPv4Address(data[at : at + 4]) for at in range(0, len(data), 4))
    return tuple(IPv6Address(data[at : at + 16]) for at in range(0, len(data), 16))


def _read_auth(auth_type: int, data: bytes) -> str | None:
    """The password of version 2; any bytes come back through surrogateescape as they were."""
    if auth_type == _AUTH_NONE:
        return None
    if auth_type != _AUTH_PASSWORD:
        raise PacketError(f"authentication type {auth_type}")
    return data.rstrip(b"\0").decode("utf-8", "surrogateescape")


def _auth_data(auth_pass: str | None) -> bytes:
    try:
        data = (auth_pass or "").encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise PacketError("a password that is no text") from error
    if len(data) > _AUTH_DATA or data.endswith(b"\0"):
        raise PacketError(f"a password of more than {_AUTH_DATA} bytes, or ending in a zero byte")
    return data


def _pseudo_header(version: int, source: Address, destination: Address, length: int) -> bytes:
    """What the checksum covers too: RFC 8200 section 8.1 for IPv6, RFC 9293 section 3.1 for IPv4.

    RFC 5798 section 5.2.8 can be read both ways for version 3 over IPv4; keepalived 2.2.7 does count it there.
    """
    if (version, source.version) == (2, 4):
        return b""
    if source.version == 6:
        return source.packed + destination.packed + struct.pack("!II", length, PROTOCOL)
    return source.packed + destination.packed + struct.pack("!HH", PROTOCOL, length)


def _check_values(advert: Advert) -> None:
    families = {advert.source.version, advert.destination.version, *(each.version for each in advert.addresses)}
    if advert.version not in INTERVAL_MAX_CS:
        raise PacketError(f"VRRP version {advert.version}")
    if families != {advert.ip_version}:
        raise PacketError(f"addresses that are not IPv{advert.ip_version}")
    if not 1 <= advert.virtual_router_id <= 255:
        raise PacketError(f"virtual router ID {advert.virtual_router_id}")
    if not 0 <= advert.priority <= 255 or not 0 <= advert.ttl <= 255:
        raise PacketError(f"priority {advert.priority} or TTL {advert.ttl}")
    if len(advert.addresses) > 255:
        raise PacketError(f"{len(advert.addresses)} addresses")
    if not 1 <= advert.interval_cs <= INTERVAL_MAX_CS[advert.version] or (
        advert.version == 2 and advert.interval_cs % 100
    ):
        raise PacketError(f"an interval of {advert.interval_cs} centiseconds in version {advert.version}")
    if (advert.version == 3 and advert.auth_pass is not None) or (advert.ip_version == 6 and advert.auth_pass):
        raise PacketError("a password in version 3 or over IPv6, where there is none")
