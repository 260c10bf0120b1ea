"""The last transitions on disk: `/var/lib/ipfod/history`, a line of JSON each, the oldest first.

Lines are added; now and then the file is written anew with what is still kept. A line that makes no sense is
left out, whatever it is: a power cut may leave half of one.
"""

from __future__ import annotations

import json
import os
import re
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ipfod.files import open_regular
from ipfod.node.durable import append_to_file, replace_file
from ipfod.node.model import State, Transition
from ipfod.node.statefile import NAME
from ipfod.plan.model import GroupKey

SIZE_MAX_BYTES = 8 << 20  # 2000 lines of the longest reasons are less
REASON_MAX = 1000  # characters; what a script printed is cut to fewer
USEC_MAX = 2**63 - 1
INDEX_MAX = 65536  # vip_groups
_GROUP = re.compile(r"[A-Za-z0-9_]{1,80}")


def load(path: Path, most: int) -> tuple[tuple[Transition, ...], bool]:
    """The last `most` transitions, the oldest first, and whether lines can be added to the file as it is.

    Never raises: what cannot be read is no history.
    """
    try:
        with open(path, "rb", opener=open_regular) as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - SIZE_MAX_BYTES))
            text = file.read(SIZE_MAX_BYTES)
    except OSError:
        return (), False
    lines = text.splitlines()
    found: deque[Transition] = deque(maxlen=most)
    for line in lines:
        if (transition := _parse(line)) is not None:
            found.append(transition)
    return tuple(found), len(found) == len(lines) and text[-1:] in (b"", b"\n")


def save(path: Path, transitions: Iterable[Transition]) -> None:
    """Write the file anew, the oldest first. Raises Failed."""
    replace_file(path, "".join(map(_line, transitions)))


def append(path: Path, transitions: Iterable[Transition]) -> None:
    """Add to the file. Raises Failed; it is to be written anew then."""
    append_to_file(path, "".join(map(_line, transitions)))


def _line(transition: Transition) -> str:
    document = {
        "usec": transition.usec,
        "failover": transition.group.failover,
        "group": transition.group.index,
        "name": transition.group_name,
        "old": transition.old,
        "new": transition.new,
        "reason": transition.reason[:REASON_MAX],
    }
    return json.dumps(document) + "\n"


def _parse(line: bytes) -> Transition | None:
    try:
        found: Any = json.loads(line)
        usec, index, reason = found["usec"], found["group"], found["reason"]
        if not (_is_number(usec, USEC_MAX) and _is_number(index, INDEX_MAX) and isinstance(reason, str)):
            return None
        if not (NAME.fullmatch(found["failover"]) and _GROUP.fullmatch(found["name"])):
            return None
        key = GroupKey(found["failover"], index)
        old, new = State(found["old"]), State(found["new"])
        return Transition(usec, key, found["name"], old, new, reason[:REASON_MAX])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _is_number(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most
