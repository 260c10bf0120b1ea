"""The files of one failover's keepalived, all below its own directory in /run/ipfod."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from ipfod.files import open_anew


@dataclass(frozen=True, slots=True)
class KeepalivedFiles:
    """Paths in `/run/ipfod/NAME/`, derived, never stored."""

    directory: Path

    @property
    def configuration(self) -> Path:
        return self.directory / "keepalived.conf"

    @property
    def candidate(self) -> Path:
        """A configuration that has yet to pass its test."""
        return self.directory / "keepalived.conf.new"

    @property
    def release(self) -> Path:
        """Commands for ip(8) that take the VIPs off: the unit runs them when keepalived has ended."""
        return self.directory / "release"

    @property
    def notify(self) -> Path:
        """The wrapper around the notify script."""
        return self.directory / "notify"

    @property
    def fifo(self) -> Path:
        return self.directory / "notify.fifo"

    @property
    def track(self) -> Path:
        """Directory of the track files. It outlives keepalived, whose inotify watch would die with it."""
        return self.directory / "track"

    @property
    def pid(self) -> Path:
        return self.directory / "keepalived.pid"

    @property
    def vrrp_pid(self) -> Path:
        return self.directory / "vrrp.pid"

    @property
    def dump(self) -> Path:
        """keepalived writes it into its TMPDIR under this fixed name."""
        return self.directory / "keepalived.json"

    @property
    def log(self) -> Path:
        return self.directory / "keepalived.log"

    def prepare(self) -> None:
        """Make the directories, closed to everybody but root (auth_pass is in the configuration)."""
        for directory in (self.directory, self.track):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            directory.chmod(0o700)

    def remove(self) -> None:
        """Take everything away again; what keepalived and its notify scripts left beside our files goes too."""
        shutil.rmtree(self.directory, ignore_errors=True)


def write_atomically(path: Path, text: str) -> None:
    """Replace a file, mode 0600, in one step: a reader sees the old text or the new one."""
    temporary = path.with_name(f".{path.name}.tmp")
    with open(open_anew(temporary), "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(temporary, path)
