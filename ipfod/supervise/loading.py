"""Configuration files as they are to be used: a good file's new version, a bad file's last usable one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ipfod.config.load import load_directory, load_file, shown_path
from ipfod.config.model import Complaint, Failover
from ipfod.keepalived.files import write_atomically
from ipfod.scripts import script_complaints


@dataclass(frozen=True, slots=True)
class Loading:
    """What was read. `fallback` names failovers that run on with the version before the file was damaged."""

    failovers: tuple[Failover, ...]
    complaints: tuple[Complaint, ...]
    fallback: frozenset[str]


def load(
    directory: Path, environ: Mapping[str, str], accepted: Path, before: Iterable[Failover] = ()
) -> Loading:
    """Read all configuration files. A bad one is complained of; its last usable version serves on.

    `before` are the failovers in force: when neither a file nor its accepted copy can be read, or the directory
    cannot, they serve on too.
    """
    loaded = load_directory(directory, environ)
    complaints = list(loaded.complaints)
    usable = []
    for failover in loaded.failovers:
        unsafe = script_complaints(failover)
        complaints += unsafe
        if not unsafe:
            usable.append(failover)
    known = {failover.source.file: failover for failover in before}
    files = loaded.files if loaded.listed else _files_before(directory, known, accepted)
    bad = [path for path in files if shown_path(path) not in {failover.source.file for failover in usable}]
    taken = {failover.name for failover in usable}
    last_usable = (_last_usable(path, accepted) or known.get(shown_path(path)) for path in bad)
    old = [last for last in last_usable if last is not None and last.name not in taken]
    return Loading((*usable, *old), tuple(complaints), frozenset(failover.name for failover in old))


def _files_before(directory: Path, known: Mapping[str, Failover], accepted: Path) -> list[Path]:
    """The files of a directory that cannot be listed, as far as they were in use."""
    names = {Path(file).name for file in known if Path(file).parent == directory}
    with contextlib.suppress(OSError):
        names |= {entry.name for entry in os.scandir(accepted) if entry.name.endswith((".toml", ".env"))}
    return [directory / name for name in sorted(names)]


def _last_usable(path: Path, accepted: Path) -> Failover | None:
    failover, _ = load_file(accepted / path.name)
    if failover is None:
        return None
    return replace(failover, source=replace(failover.source, file=str(path)))


def remember(failovers: Iterable[Failover], accepted: Path) -> None:
    """Keep a copy of the file of each failover that is in force now, and of no other."""
    accepted.mkdir(mode=0o700, parents=True, exist_ok=True)
    names = set()
    for failover in failovers:
        path = Path(failover.source.file)
        if not path.is_absolute():
            continue  # the daemon's environment: it cannot become bad without a restart
        names.add(path.name)
        again, _ = load_file(path)
        if again == failover:  # not a file that was changed again meanwhile, nor the old version of a bad one
            write_atomically(accepted / path.name, path.read_text())
    for entry in os.scandir(accepted):
        if entry.name not in names:
            os.unlink(entry.path)
