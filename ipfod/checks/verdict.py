"""What one check says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verdict:
    """One answer of one check, with a sentence that starts with what was checked.

    `broken`: the check itself cannot be made (a script that is missing or hangs), which is not the same as a
    service that is down; such a verdict never passes. `unasked`: this node lacks what asking takes (files,
    memory), so nothing is known, and what was known stays. `doubtful`: it passes, yet something is odd that an
    administrator should know. `duration_s` is how long the answer took.
    """

    passing: bool
    text: str
    broken: bool = False
    unasked: bool = False
    doubtful: bool = False
    duration_s: float = 0.0
