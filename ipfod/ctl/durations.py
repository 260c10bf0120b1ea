"""Spans of time as people write them on a command line. Pure."""

from __future__ import annotations

import argparse
import re

_UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"([0-9]{1,10})([smhd]?)", re.ASCII)
DURATION_MAX_S = 2**32 - 1  # D-Bus type u
ACCEPTED = "a number of seconds, or with a unit: 30s, 5m, 2h, 1d"


def seconds(text: str) -> int:
    """ "5m" is 300. Raises argparse.ArgumentTypeError naming what is accepted."""
    match = _DURATION.fullmatch(text)
    if match is not None and (total := int(match[1]) * _UNITS_S[match[2]]) <= DURATION_MAX_S:
        return total
    raise argparse.ArgumentTypeError(f"{text!r} is not {ACCEPTED}")
