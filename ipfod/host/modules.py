"""Kernel modules: which are there, and removing one.

Loading is systemd's (`modprobe@.service`): it takes a right that the daemon does not need otherwise.
"""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path

from ipfod.host.run import run

SYS_MODULE = Path("/sys/module")
MODULES = Path("/lib/modules")
REMOVE_S = 10.0


class Presence(StrEnum):
    """How a module is there."""

    LOADED = "loaded"
    BUILT_IN = "built into the kernel"
    ABSENT = "absent"


def presence(module: str) -> Presence:
    """Whether the kernel has a module now. Dashes and underscores are the same, as for modprobe(8)."""
    name = module.replace("-", "_")
    directory = SYS_MODULE / name
    if (directory / "initstate").exists():  # only what was loaded has it
        return Presence.LOADED
    if directory.is_dir() or _is_built_in(name):
        return Presence.BUILT_IN
    return Presence.ABSENT


def _is_built_in(name: str) -> bool:
    """By the list that comes with the kernel: a module without parameters leaves no trace in /sys."""
    try:
        text = (MODULES / os.uname().release / "modules.builtin").read_text()
    except OSError:
        return False
    return any(Path(line).name.partition(".")[0].replace("-", "_") == name for line in text.splitlines())


def users(module: str) -> int:
    """How many use a loaded module: other modules, sockets, rules."""
    try:
        return int((SYS_MODULE / module.replace("-", "_") / "refcnt").read_text())
    except (OSError, ValueError):
        return 0


async def remove(module: str) -> str:
    """Take a module out of the kernel, if nobody uses it. Answers in words what became of it."""
    match presence(module):
        case Presence.BUILT_IN:
            return "built into the kernel, stays"
        case Presence.ABSENT:
            return "not loaded"
        case Presence.LOADED if users(module):
            return "in use, left alone"
    outcome = await run(["modprobe", "--remove", module], timeout_s=REMOVE_S)
    return "removed" if outcome.ok else f"left: modprobe: {outcome.output.strip() or outcome.sentence}"


def modprobe_unit(module: str) -> str:
    """systemd's unit that loads a module, its name escaped as by systemd-escape(1)."""
    escaped = "".join(c if c.isalnum() or c == "_" else f"\\x{ord(c):02x}" for c in module)
    return f"modprobe@{escaped}.service"
