"""Configuration files as they are to be used: a good file's new version, a bad file's last usable one."""

from __future__ import annotations

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


def load(directory: Path, environ: Mapping[str, str], accepted: Path) -> Loading:
    """Read all configuration files. A bad one is complained of; its last usable version serves on."""
    loaded = load_directory(directory, environ)
    complaints = list(loaded.complaints)
    usable = []
    for failover in loaded.failovers:
        unsafe = script_complaints(failover)
        complaints += unsafe
        if not unsafe:
            usable.append(failover)
    bad = [
        path for path in loaded.files if shown_path(path) not in {failover.source.file for failover in usable}
    ]
    taken = {failover.name for failover in usable}
    old = [last for path in bad if (last := _last_usable(path, accepted)) and last.name not in taken]
    return Loading((*usable, *old), tuple(complaints), frozenset(failover.name for failover in old))


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
