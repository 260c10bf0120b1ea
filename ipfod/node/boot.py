"""Which boot this is: what was ordered before a reboot is over after it."""

from __future__ import annotations

import contextlib
import logging
import secrets
from pathlib import Path

from ipfod.files import read_text

log = logging.getLogger(__name__)


def this_boot(path: Path) -> str:
    """A random name of this boot; "" if it cannot be kept: a restart of ipfod then looks like a reboot.

    Kept in a file in a directory that goes at reboot. The kernel's boot_id is the host's in a container.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError), open(path, "x", encoding="ascii") as file:
            file.write(secrets.token_hex(16))
        return read_text(path, "ascii")[:64]
    except (OSError, ValueError) as error:
        log.warning("%s: %s: runtime orders will not outlive a restart of ipfod", path, error)
        return ""
