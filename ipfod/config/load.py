"""Reading configuration: a text, a file, the daemon's environment, a whole directory. Nothing here raises."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ipfod.config import env, toml
from ipfod.config.build import build
from ipfod.config.model import Complaint, Failover
from ipfod.config.options import BY_KEY, Form
from ipfod.config.reading import Complaints
from ipfod.config.values import Refused, quoted

FILE_MAX = 1 << 20  # bytes; the largest sensible file, 65536 addresses one by one, has about as many
ENVIRONMENT = "environment"  # stands for a file's name in complaints about the daemon's environment
ENVIRONMENT_NAME = "ipfailover"  # the name that the documentation's example gives

Result = tuple[Failover | None, tuple[Complaint, ...]]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A directory and the environment: the good failovers, every complaint, every file that was looked at."""

    failovers: tuple[Failover, ...]
    complaints: tuple[Complaint, ...]
    files: tuple[Path, ...]
    listed: bool = True  # False: the directory is there, but could not be read


def load_text(text: bytes, file: str, default_name: str, kind: Literal["toml", "env"]) -> Result:
    """Read one configuration. `file` is only shown; `default_name` serves if the text sets no name.

    Returns the failover, None if any complaint is more than a warning, and all complaints in line order.
    """
    complaints = Complaints(file)
    try:
        decoded = _decode(text)
    except _Undecodable as fault:
        complaints.add(fault.line, "file", fault.what, fault.accepted)
        return None, complaints.in_line_order()
    form = Form(kind)
    reading = (toml if form is Form.TOML else env).read(decoded, complaints)
    failover = build(reading, form=form, default_name=default_name, complaints=complaints)
    return failover, complaints.in_line_order()


def load_file(path: Path) -> Result:
    """Read a `.toml` or `.env` file, named by its stem unless it says otherwise."""
    shown = shown_path(path)
    match path.suffix:
        case ".toml":
            kind: Literal["toml", "env"] = "toml"
        case ".env":
            kind = "env"
        case _:
            return None, (Complaint(shown, 1, "file", "has an unknown suffix", ".toml or .env"),)
    try:
        text = _read(path)
    except Refused as refused:
        return None, (Complaint(shown, 1, "file", refused.faults[0], "a regular file that can be read"),)
    return load_text(text, shown, path.stem, kind)


def load_environment(environ: Mapping[str, str]) -> Result | None:
    """Read the failover that the daemon's own environment defines; None if it defines none."""
    reading = env.from_environment(environ)
    if reading is None:
        return None
    complaints = Complaints(ENVIRONMENT)
    failover = build(reading, form=Form.ENV, default_name=ENVIRONMENT_NAME, complaints=complaints)
    return failover, complaints.in_line_order()


def load_directory(directory: Path, environ: Mapping[str, str]) -> Loaded:
    """Read every `*.toml` and `*.env` of a directory by name, hidden files left out, then the environment.

    A missing directory is an empty one. Of two failovers with one name the first is kept, the second is
    complained of.
    """
    results: list[Result] = []
    listed = True
    try:
        names = sorted(entry for entry in os.listdir(directory) if _is_configuration(entry))
    except FileNotFoundError:
        names = []
    except OSError as error:
        names, listed = [], False
        what = f"cannot be listed: {error.strerror}"
        results.append(
            (None, (Complaint(shown_path(directory), 1, "file", what, "a directory that can be read"),))
        )
    files = tuple(directory / name for name in names)
    results += map(load_file, files)
    environment = load_environment(environ)
    if environment is not None:
        results.append(environment)

    by_name: dict[str, Failover] = {}
    complaints: list[Complaint] = []
    for failover, found in results:
        complaints += found
        if failover is None:
            continue
        first = by_name.setdefault(failover.name, failover)
        if first is not failover:
            complaints.append(_same_name(first, failover))
    return Loaded(tuple(by_name.values()), tuple(complaints), files, listed)


def _same_name(first: Failover, second: Failover) -> Complaint:
    form = Form.TOML if second.source.file.endswith(".toml") else Form.ENV
    return Complaint(
        second.source.file,
        second.source.lines.get("name", 1),
        form.spell("name"),
        f"{quoted(second.name)} is the name of the failover in {first.source.file} already",
        f"a name of its own: {BY_KEY['name'].accepted}",
    )


def _is_configuration(name: str) -> bool:
    # What editors and packages leave is hidden (.#x.toml) or ends otherwise (x.toml~, x.toml.rpmsave).
    return not name.startswith(".") and name.endswith((".toml", ".env"))


def shown_path(path: Path) -> str:
    """A path that may hold any bytes, on one printable line."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _read(path: Path) -> bytes:
    """The content of a file, at most one byte more than is allowed. Raises Refused."""
    if "\0" in str(path):
        raise Refused("cannot be read: its name contains a NUL")
    try:
        # Without O_NONBLOCK, opening a FIFO would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise Refused("is not a regular file")
            with open(descriptor, "rb", closefd=False) as file:
                return file.read(FILE_MAX + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise Refused(f"cannot be read: {error.strerror}") from None


class _Undecodable(Exception):
    def __init__(self, line: int, what: str, accepted: str) -> None:
        super().__init__(line, what, accepted)
        self.line, self.what, self.accepted = line, what, accepted


def _decode(text: bytes) -> str:
    """The characters of a file, with LF line ends. Raises _Undecodable."""
    if len(text) > FILE_MAX:
        raise _Undecodable(1, "is too large", f"at most {FILE_MAX} bytes")
    if b"\0" in text:
        raise _Undecodable(text.count(b"\n", 0, text.index(b"\0")) + 1, "contains a NUL byte", "UTF-8 text")
    try:
        decoded = text.decode("utf-8")
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        raise _Undecodable(
            line, f"contains byte 0x{text[error.start]:02x}, which is not UTF-8", "UTF-8 text"
        ) from None
    if decoded.startswith("\ufeff"):
        raise _Undecodable(1, "begins with a byte order mark", "UTF-8 text without one")
    return decoded.replace("\r\n", "\n")
