"""keepalived's own word on the state of its instances: the JSON file that it writes on a signal."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass
from pathlib import Path

from ipfod.errors import Failed
from ipfod.files import read_bytes

# keepalived writes the file within 0.5 ms as a rule, 6 ms at worst (measured, 2.2.7); with 255 groups on a busy
# machine it may take longer.
ANSWER_S = 2.0
# A signal that comes while keepalived starts its child is lost (2.2.7).
ASK_AGAIN_S = 0.2
POLL_S = 0.001
SINCE_MAX_S = 1e12  # beyond it the microseconds do not fit into D-Bus type t
# Counters of adverts that came in, each under one of these: vrrp_in_chk(), keepalived/vrrp/vrrp.c.
RECEIVED = (
    "advert_rcvd",
    "pri_zero_rcvd",
    "packet_len_err",
    "advert_interval_err",
    "ip_ttl_err",
    "invalid_type_rcvd",
    "addr_list_err",
    "invalid_authtype",
    "authtype_mismatch",
    "auth_failure",
)
WORDS = {0: "INIT", 1: "BACKUP", 2: "MASTER", 3: "FAULT", 97: "DELETED", 98: "STOP"}


@dataclass(frozen=True, slots=True)
class InstanceDump:
    """One VRRP instance: keepalived's word for its state, effective priority, when it got there (µs, epoch).

    `received` counts the adverts that it got, those it refused too; `sent` those that it sent, or meant to.
    """

    name: str
    word: str
    priority: int
    since_usec: int
    received: int = 0
    sent: int = 0


async def request_dump(pid: int, signal_number: int, path: Path) -> tuple[InstanceDump, ...]:
    """Ask keepalived for the state of all its instances. Raises Failed if it does not answer.

    `signal_number` is what `keepalived --signum=JSON` says. The file appears before it is complete (upstream
    issue 2660), so it is unlinked first and then read until it parses.
    """
    if not pid:
        raise Failed(
            "keepalived: does not run", hint="ipfoctl status says why"
        )  # to kill(2) 0 is our own process group
    loop = asyncio.get_running_loop()
    asked = again = loop.time()
    _forget(path)
    while loop.time() < asked + ANSWER_S:
        if loop.time() >= again:
            _ask(pid, signal_number)
            again += ASK_AGAIN_S
        await asyncio.sleep(POLL_S)
        try:
            return parse_dump(read_bytes(path))
        except (OSError, ValueError):
            continue
    raise Failed(f"keepalived {pid} did not write {path.name} within {ANSWER_S:g} s")


def _forget(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}") from error


def _ask(pid: int, signal_number: int) -> None:
    try:
        os.kill(pid, signal_number)
    except ProcessLookupError as error:
        raise Failed(f"keepalived {pid} is gone") from error


def parse_dump(text: bytes) -> tuple[InstanceDump, ...]:
    """Read the file. Raises ValueError if it is incomplete or something else."""
    try:
        document = json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    # 2.2.7 writes a list; json_version 2 (2.2.8 and later, not our choice) wraps it.
    if not isinstance(document, list):
        raise ValueError("not a list of VRRP instances")
    return tuple(_instance(entry) for entry in document)


def _instance(entry: object) -> InstanceDump:
    data = entry.get("data") if isinstance(entry, dict) else None
    if not isinstance(data, dict):
        raise ValueError("an entry has no data")
    name, state = data.get("iname"), data.get("state")
    priority, since = data.get("effective_priority"), data.get("last_transition", 0)
    if not (isinstance(name, str) and isinstance(state, int) and isinstance(priority, int)):
        raise ValueError("an entry lacks iname, state or effective_priority")
    since_usec = int(since * 1e6) if isinstance(since, int | float) and 0 <= since < SINCE_MAX_S else 0
    stats = entry.get("stats") if isinstance(entry, dict) else None
    received = sum(_counter(stats, name) for name in RECEIVED)
    sent = _counter(stats, "advert_sent")
    return InstanceDump(name, WORDS.get(state, "INIT"), priority, since_usec, received, sent)


def _counter(stats: object, name: str) -> int:
    value = stats.get(name) if isinstance(stats, dict) else None
    return value if isinstance(value, int) else 0
