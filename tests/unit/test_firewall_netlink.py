"""Reading what the kernel says about transactions on the ruleset."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from ipfod.firewall.netlink import transaction_authors

# NFT_MSG_NEWGEN with generation 5, thread 8116, "python3": recorded on Linux 6.18, the port id set to 0.
RECORDED = bytes.fromhex(
    "300000000f0a00000000000000000000 00000005 0800010000000005 0800020000001fb4 0c000300707974686f6e3300"
)


def test_the_author_of_a_transaction_is_read() -> None:
    assert transaction_authors(RECORDED) == ("python3",)


def test_every_transaction_of_a_datagram_is_read_and_other_messages_are_passed_over() -> None:
    new_rule = struct.pack("=IHHII", 21, 0x0A06, 0, 0, 0) + b"\x01\0\0\0x" + bytes(3)
    assert transaction_authors(RECORDED + new_rule + RECORDED.replace(b"python3", b"nft\0\0\0\0")) == (
        "python3",
        "nft",
    )


@given(st.binary(max_size=200))
def test_any_datagram_at_all_is_read_to_its_end(data: bytes) -> None:
    assert len(transaction_authors(data)) <= len(data) // 16


@given(st.integers(0, len(RECORDED) - 1), st.integers(0, 255))
def test_a_damaged_message_does_no_harm(at: int, value: int) -> None:
    damaged = RECORDED[:at] + bytes([value]) + RECORDED[at + 1 :]
    assert len(transaction_authors(damaged)) <= 1
