"""Spans and moments of time as people write them on a command line."""

from __future__ import annotations

import argparse
import re
import time
from datetime import datetime

from ipfod.ctl.text import USEC_PER_S

_UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"([0-9]{1,10})([smhd]?)", re.ASCII)
_TIME_OF_DAY = re.compile(r"[0-9]{2}:[0-9]{2}(:[0-9]{2})?", re.ASCII)
DURATION_MAX_S = 2**32 - 1  # D-Bus type u
ACCEPTED = "a number of seconds, or with a unit: 30s, 5m, 2h, 1d"
SINCE_ACCEPTED = "a span (30s, 5m, 2h, 1d), a day (2026-11-27), a time of today (22:30) or both"


def seconds(text: str) -> int:
    """ "5m" is 300. Raises argparse.ArgumentTypeError naming what is accepted."""
    match = _DURATION.fullmatch(text)
    if match is not None and (total := int(match[1]) * _UNITS_S[match[2]]) <= DURATION_MAX_S:
        return total
    raise argparse.ArgumentTypeError(f"{text!r} is not {ACCEPTED}")


def since_usec(text: str) -> int:
    """When that was, in microseconds since 1970: so long ago, or at a local day and time.

    Raises argparse.ArgumentTypeError naming what is accepted, for what is still to come too: since 23:50, asked
    at midnight, would find nothing, which is what somebody who looks for the cause of a page takes it for.
    """
    if _DURATION.fullmatch(text):
        return int((time.time() - seconds(text)) * USEC_PER_S)
    clock = f"{datetime.now():%Y-%m-%d} {text}" if _TIME_OF_DAY.fullmatch(text) else text
    try:
        moment_s = int(datetime.fromisoformat(clock).timestamp())
    except (ValueError, OverflowError, OSError):
        raise argparse.ArgumentTypeError(f"{text!r} is not {SINCE_ACCEPTED}") from None
    if moment_s > time.time():
        text = f"{text!r} is still to come; a time of yesterday needs the day: 2026-11-27 22:30"
        raise argparse.ArgumentTypeError(text)
    return max(0, moment_s * USEC_PER_S)
