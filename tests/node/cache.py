"""What takes long to make and all checkouts on this machine can share: made once, kept outside of them."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

CACHE = Path(
    "/var/cache/ipfod-tests"
)  # nothing in it is needed by a node that is not running: it may be removed
UNFINISHED = ".unfinished"


def place(name: str, recipe: str, *, home: Path = CACHE) -> Path:
    """The directory HOME/NAME-HASH, the place of what is made by a recipe; the hash is that of its text."""
    return home / f"{name}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"


def cached(name: str, recipe: str, make: Callable[[Path], None], *, home: Path = CACHE) -> Path:
    """What `make` has filled once: the directory `place(name, recipe)`.

    It appears when it is complete, and two that want it at once make it only once. Blocks for as long as that
    takes. Whatever `make` raises is passed on, and nothing is left then.
    """
    done = place(name, recipe, home=home)
    if done.exists():
        return done
    home.mkdir(parents=True, exist_ok=True)
    with (home / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if done.exists():
            return done
        for abandoned in home.glob(f"{name}-*{UNFINISHED}"):  # its maker was killed: the lock is free
            shutil.rmtree(abandoned)
        unfinished = done.with_name(done.name + UNFINISHED)
        unfinished.mkdir()
        try:
            make(unfinished)
            unfinished.rename(done)
        except BaseException:
            shutil.rmtree(unfinished)
            raise
    return done
