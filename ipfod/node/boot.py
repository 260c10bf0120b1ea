"""Which boot this is: what was ordered before a reboot is over after it."""

from __future__ import annotations

import contextlib
import logging
import secrets
from pathlib import Path

from ipfod.errors import Failed
from ipfod.files import read_text
from ipfod.node.durable import replace_file

log = logging.getLogger(__name__)

LENGTH_MAX = 64


def this_boot(path: Path) -> str:
    """A random name of this boot; "" if it cannot be kept: a restart of ipfod then looks like a reboot.

    Kept in a file in a directory that goes at reboot. The kernel's boot_id is the host's in a container.
    """
    try:
        with contextlib.suppress(FileNotFoundError):
            if name := read_text(path, "ascii")[:LENGTH_MAX]:
                return name
        # None yet, or nothing in it: somebody has emptied it.
        replace_file(path, secrets.token_hex(16))
        return read_text(path, "ascii")[:LENGTH_MAX]
    except (OSError, ValueError, Failed) as error:
        log.warning("%s: %s: a restart of ipfod forgets every order but maintenance", path, error)
        return ""
