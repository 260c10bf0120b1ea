"""Asking a keepalived that has just ended: nothing is signalled."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from ipfod.errors import Failed
from ipfod.keepalived.dump import request_dump


async def test_no_keepalived_is_a_failure_and_no_signal_to_ourselves(tmp_path: Path) -> None:
    """To kill(2) pid 0 is the caller's process group: SIGRTMIN+2 would end ipfod and whoever started it."""
    heard: list[int] = []
    before = signal.signal(signal.SIGRTMIN + 2, lambda number, _: heard.append(number))
    try:
        with pytest.raises(Failed, match="does not run"):
            await request_dump(0, signal.SIGRTMIN + 2, tmp_path / "keepalived.json")
    finally:
        signal.signal(signal.SIGRTMIN + 2, before)
    assert not heard
