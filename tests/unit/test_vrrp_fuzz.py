"""The packet parser against whatever a wire can bring: more than 100,000 packets in a normal run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_vrrp_packet import REAL, changed

from ipfod.vrrp.packet import Advert, PacketError, build_packet, parse

EXAMPLES, BATCH = 120, 1000  # an example is a seed: drawing each packet would take minutes
LENGTH_MAX = 120


def noise(random: Random, real: list[bytes]) -> bytes:
    """Nothing but random bytes, or what begins as a real packet does."""
    start = random.choice(real)[: random.choice((0, 1, 20, 21, 40, 41))]
    return start + random.randbytes(random.randrange(LENGTH_MAX))


def damaged(random: Random, real: list[bytes]) -> bytes:
    """A real packet with some bytes changed, cut off or repeated."""
    packet = bytearray(random.choice(real))
    for _ in range(random.randrange(4)):
        packet[random.randrange(len(packet))] = random.randrange(256)
    end = random.randrange(len(packet) + 1) if random.random() < 0.2 else len(packet)
    return bytes(packet[:end]) + bytes(packet[: random.randrange(30)] if random.random() < 0.2 else b"")


def forged(random: Random, real: list[bytes]) -> bytes:
    """A real packet with some bytes changed and the checksums right: what comes past the first checks."""
    packet = random.choice(real)
    for _ in range(random.randrange(1, 4)):
        at = random.randrange(len(packet) - 1)
        if at // 2 != 5 and at != 0:  # the checksum itself; the version of IP says where it is
            packet = changed(packet, at, random.randbytes(1))
    return packet


def same_again(said: Advert) -> Advert:
    return parse(build_packet(said))


@pytest.mark.parametrize("make", [noise, damaged, forged])
def test_no_packet_is_read_as_anything_but_what_it_says(make: Callable[[Random, list[bytes]], bytes]) -> None:
    """Nothing but PacketError is raised, and what is accepted is an advert that can be sent again."""
    real = [bytes.fromhex(packet) for packet, _ in REAL.values()]
    accepted = 0

    @given(st.integers(0, 2**64))
    @settings(max_examples=EXAMPLES // 3 + 1, deadline=None)
    def batch(seed: int) -> None:
        nonlocal accepted
        random = Random(seed)
        for _ in range(BATCH):
            packet = make(random, real)
            with suppress(PacketError):
                said = parse(packet)
                accepted += 1
                if said.ttl == 255 or said.ip_version == 6:
                    assert same_again(said) == said, packet.hex()

    batch()
    if make is not noise:
        assert accepted > BATCH  # or it was only refused at the door
