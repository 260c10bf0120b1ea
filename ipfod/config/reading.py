"""What the readers of TOML and of environment files have in common: settings with lines, and complaints."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum

from ipfod.config.model import Complaint
from ipfod.config.values import quoted

COMPLAINTS_MAX = 100  # of one file; a file that is something else entirely must not fill the log

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class Unreadable(Enum):
    """Stands for a value that was complained of already and is not known."""

    UNREADABLE = "unreadable"


UNREADABLE = Unreadable.UNREADABLE


@dataclass(frozen=True, slots=True)
class Setting:
    """One key, its value as the file has it or `UNREADABLE`, and the line (from 1) that the key is on."""

    key: str
    value: object
    line: int


@dataclass(frozen=True, slots=True)
class Reading:
    """What a file sets. It is not `complete` if keys may stand in parts that could not be read at all."""

    settings: tuple[Setting, ...]
    complete: bool = True


@dataclass(slots=True)
class Complaints:
    """Collects what is wrong with one file."""

    file: str
    kept: list[Complaint] = field(default_factory=list)
    dropped: int = 0

    @property
    def full(self) -> bool:
        """Whether further complaints are only counted."""
        return len(self.kept) >= COMPLAINTS_MAX

    @property
    def fatal(self) -> bool:
        """Whether the file cannot be used."""
        return self.dropped > 0 or any(not complaint.warning for complaint in self.kept)

    def add(self, line: int, key: str, what: str, accepted: str = "", *, warning: bool = False) -> None:
        """Complain about a key, which may hold anything; `what` and `accepted` must be printable already."""
        if self.full:
            self.dropped += 1
            return
        shown = key if _PLAIN_KEY.fullmatch(key) else quoted(key)
        self.kept.append(Complaint(self.file, line, shown, what, accepted, warning))

    def in_line_order(self) -> tuple[Complaint, ...]:
        """Everything that was collected; a last complaint counts what was not kept."""
        ordered = sorted(self.kept, key=lambda complaint: complaint.line)
        if self.dropped:
            last = ordered[-1].line
            ordered.append(
                Complaint(self.file, last, "file", f"has {self.dropped} more faults", "correct these first")
            )
        return tuple(ordered)
