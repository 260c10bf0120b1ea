"""The root file system that booted nodes share, and the mirror that its packages come from."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from ipfod.errors import Failed
from ipfod.lab.program import ENVIRONMENT
from node.cache import cached, place

NAME = "debian-node"
SCRIPT = Path(__file__).with_name("make_image.sh")
APT = Path(__file__).with_name("apt.sh")
RECIPE = SCRIPT.read_text() + APT.read_text()
# In namespaces of its own, and bound to this process: no end of this process leaves a mount or a process.
BOUND = ("setpriv", "--pdeathsig", "KILL")
ALONE = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
DEFAULT_MIRROR = "http://deb.debian.org/debian"
TIMEOUT_S = 1800.0  # a minute with a mirror near by
LOG_LINES = 20


def image() -> Path:
    """The image's directory, not to be written to; the first call on a machine makes it. Raises Failed."""
    return cached(NAME, RECIPE, lambda directory: make(SCRIPT, str(directory), mirror()))


def is_made() -> bool:
    """Whether `image()` would return at once."""
    return place(NAME, RECIPE).exists()


def make(script: Path, *args: str) -> None:
    """Run a script that makes something to be cached. Raises Failed with the end of what it printed."""
    done = subprocess.run(
        [*BOUND, *ALONE, "bash", str(script), *args],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
        env={**proxies(), **ENVIRONMENT},
    )
    if done.returncode != 0:
        end = "\n".join(done.stdout.splitlines()[-LOG_LINES:])
        raise Failed(f"{script.name} {' '.join(args)}: exit code {done.returncode}:\n{end}")


def mirror() -> str:
    """Where this machine's own packages come from, if it is a Debian; else where Debian's come from."""
    argv = ["apt-get", "indextargets", "--format", "$(REPO_URI)"]
    argv += ["Created-By: Packages", "Origin: Debian", "Label: Debian", "Component: main"]
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, env=ENVIRONMENT
        )
    except FileNotFoundError:
        return DEFAULT_MIRROR
    return next(iter(done.stdout.split()), DEFAULT_MIRROR)


def proxies() -> dict[str, str]:
    """The variables by which apt and debootstrap find a proxy."""
    names = ("http_proxy", "https_proxy", "no_proxy")
    return {name: os.environ[name] for name in names if name in os.environ}
