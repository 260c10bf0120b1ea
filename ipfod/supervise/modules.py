"""Kernel modules that the configuration names: those that are absent, and having them loaded."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable

from ipfod.errors import Failed
from ipfod.host.modules import Presence, presence
from ipfod.node.model import Problem, ProblemCode

log = logging.getLogger(__name__)


def absent(wanted: Iterable[str]) -> tuple[str, ...]:
    """The modules that the kernel lacks."""
    return tuple(module for module in dict.fromkeys(wanted) if presence(module) is Presence.ABSENT)


async def load_modules(
    modules: Iterable[str], load: Callable[[str], Awaitable[None]]
) -> tuple[tuple[str, ...], tuple[Problem, ...]]:
    """Have modules loaded; answers those that are there then, and a problem for each that is not."""
    loaded = []
    problems = []
    for module in modules:
        try:
            await load(module)
        except Failed as error:
            log.warning("module %s: %s", module, error)
        if presence(module) is Presence.ABSENT:
            text = f"{module}: this kernel module cannot be loaded"
            hint = (
                f"modprobe {module} says why; VRRP does not need it: kernel_modules = [] if nothing else does"
            )
            problems.append(Problem(ProblemCode.MODULE_FAILED, module, text, hint))
        else:
            log.info("module %s: loaded", module)
            loaded.append(module)
    return tuple(loaded), tuple(problems)
