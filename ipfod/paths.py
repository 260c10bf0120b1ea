"""Where ipfod keeps its files. Fixed; tests and the lab give each node a mount namespace of its own."""

from __future__ import annotations

import os
from pathlib import Path

CONFIGURATION = Path("/etc/ipfod")
RUNTIME = Path("/run/ipfod")  # goes at reboot
STATE_FILE = Path("/var/lib/ipfod/state.json")
HISTORY = STATE_FILE.with_name("history")
# Failovers are directories of RUNTIME; a failover's name has no dot, so these cannot meet one.
ACCEPTED = RUNTIME / "accepted.d"  # the last version of each configuration file that could be used
LOCK = RUNTIME / "daemon.lock"
BOOT = RUNTIME / "boot"  # a random name of this boot


def runtime_failovers() -> list[str]:
    """Names of failovers that an ipfod runs or ran since the boot: each has a directory of its own."""
    if not RUNTIME.is_dir():
        return []
    found = (entry for entry in os.scandir(RUNTIME) if entry.is_dir(follow_symlinks=False))
    return [entry.name for entry in found if "." not in entry.name]
