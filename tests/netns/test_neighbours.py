"""Questions for addresses on a link that does not take them."""

from __future__ import annotations

import signal
from ipaddress import ip_address
from types import FrameType

import pytest
from alone import alone, ip, run

from ipfod.errors import Failed
from ipfod.vrrp.neighbours import Neighbours

BLOCKED_AFTER_S = 5.0  # what does not block takes milliseconds
MANY = 10000  # more than a socket holds


def test_an_adapter_that_does_not_send_holds_nothing_up() -> None:
    """A switch that asks for a pause, or a driver that hangs: the questions stay in the queue."""

    def blocked(_: int, __: FrameType | None) -> None:
        raise AssertionError("the question blocks")

    with alone():
        ip("link", "set", "eth0", "txqueuelen", "100000")
        shaping = ("tbf", "rate", "8", "burst", "1600", "limit", "100m")
        run("tc", "qdisc", "replace", "dev", "eth0", "root", *shaping)
        neighbours = Neighbours("eth0", lambda _: None)
        before = signal.signal(signal.SIGALRM, blocked)
        signal.setitimer(signal.ITIMER_REAL, BLOCKED_AFTER_S)
        try:
            with pytest.raises(Failed, match="temporarily unavailable"):
                neighbours.ask([ip_address("10.0.0.10")] * MANY, None)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.signal(signal.SIGALRM, before)
