"""keepalived's JSON dump: whatever is in the file, it is a list of instances or a ValueError."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipfod.errors import Failed
from ipfod.keepalived.dump import InstanceDump, parse_dump, request_dump


def entry(**changes: Any) -> dict[str, Any]:
    """An instance as keepalived 2.2.7 writes it, cut down to some of its keys."""
    data = {
        "iname": "web_VIP_1",
        "vrid": 11,
        "state": 2,
        "wantstate": 2,
        "base_priority": 254,
        "effective_priority": 244,
        "last_transition": 1700000000.123456,
        "vips": ["10.1.0.1 dev eth0 scope global set"],
    }
    return {"data": data | changes, "stats": {"advert_rcvd": 0}}


def text(*entries: dict[str, Any]) -> bytes:
    return json.dumps(entries).encode()


def test_every_instance_is_read() -> None:
    assert parse_dump(text(entry(), entry(iname="web_VIP_2", state=3, last_transition=0.0))) == (
        InstanceDump("web_VIP_1", "MASTER", 244, 1700000000123456),
        InstanceDump("web_VIP_2", "FAULT", 244, 0),
    )


@pytest.mark.parametrize(
    ("number", "word"), [(0, "INIT"), (1, "BACKUP"), (2, "MASTER"), (3, "FAULT"), (97, "DELETED"), (98, "STOP")]
)
def test_states_have_the_words_of_the_notifications(number: int, word: str) -> None:
    assert parse_dump(text(entry(state=number)))[0].word == word


def test_an_unknown_state_says_nothing() -> None:
    assert parse_dump(text(entry(state=42)))[0].word == "INIT"


def test_no_instance_at_all_is_a_dump_too() -> None:
    assert parse_dump(b"[]") == ()


def test_a_dump_cut_off_at_any_length_is_incomplete() -> None:
    whole = text(entry(), entry(iname="web_VIP_2"))
    for length in range(len(whole)):
        with pytest.raises(ValueError, match=r".+"):
            parse_dump(whole[:length])


@pytest.mark.parametrize(
    "broken",
    [
        b"{}",
        b"null",
        b"7",
        b"[7]",
        b"[{}]",
        b'[{"data": []}]',
        b'{"version": 2, "vrrp": []}',
        text(entry(iname=7)),
        text(entry(state="MASTER")),
        text(entry(effective_priority=None)),
        b"[" * 100_000,
        b"\xff\xfe[",
    ],
)
def test_something_else_is_a_value_error(broken: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_dump(broken)


@settings(deadline=None)
@given(garbage=st.binary(max_size=100))
def test_random_bytes_are_a_value_error(garbage: bytes) -> None:
    try:
        parse_dump(garbage)
    except ValueError:
        return
    assert json.loads(garbage) == []


@settings(deadline=None)
@given(
    key=st.sampled_from(["iname", "state", "effective_priority", "last_transition"]),
    value=st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.none()),
)
def test_any_value_is_read_or_a_value_error(key: str, value: object) -> None:
    try:
        (found,) = parse_dump(text(entry(**{key: value})))
    except ValueError:
        return
    assert 0 <= found.since_usec < 1 << 64  # D-Bus type t


@pytest.mark.parametrize("since", ["Infinity", "-Infinity", "NaN", "1e999", "-5", "1e300", '"now"', "null"])
def test_a_time_that_is_none_is_left_out(since: str) -> None:
    whole = text(entry()).replace(b"1700000000.123456", since.encode())
    assert parse_dump(whole)[0].since_usec == 0


async def test_a_process_that_is_gone_does_not_answer(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    with pytest.raises(Failed, match=f"keepalived {process.pid} is gone"):
        await request_dump(process.pid, signal.SIGCONT, tmp_path / "keepalived.json")


async def test_a_process_that_does_not_answer_is_given_up_and_an_old_dump_is_not_taken_for_its_answer(
    tmp_path: Path,
) -> None:
    path = tmp_path / "keepalived.json"
    path.write_bytes(text(entry()))
    with pytest.raises(Failed, match=r"did not write keepalived\.json within 2 s"):
        await request_dump(os.getpid(), signal.SIGCONT, path)


async def test_an_answer_that_comes_in_pieces_is_awaited(tmp_path: Path) -> None:
    path = tmp_path / "keepalived.json"
    whole = text(entry())
    request = asyncio.create_task(request_dump(os.getpid(), signal.SIGCONT, path))
    await asyncio.sleep(0.02)
    for length in (0, 1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        await asyncio.sleep(0.02)
        assert not request.done()
    path.write_bytes(whole)
    assert [instance.name for instance in await request] == ["web_VIP_1"]
