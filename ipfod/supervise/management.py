"""Where ipfod runs: under systemd, with keepalived in units of its own, or by itself, with plain processes."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Protocol

from ipfod.host import systemd
from ipfod.host.modules import modprobe_unit
from ipfod.host.run import Run, run
from ipfod.host.systemd import Caller, Systemd
from ipfod.host.transient import run_transient
from ipfod.keepalived.files import KeepalivedFiles
from ipfod.keepalived.launcher import Launcher, PlainLauncher
from ipfod.keepalived.unit import UnitLauncher

UNIT = "ipfod.service"
RESTARTS = frozenset({"restart", "try-restart"})


LoadModule = Callable[[str], Awaitable[None]]


class Management(Protocol):
    """What depends on who runs ipfod."""

    @property
    def run_script(self) -> Run:
        """How check scripts are run."""

    def launcher(self, failover: str, files: KeepalivedFiles) -> Launcher:
        """How the keepalived of a failover is run."""

    @property
    def load_module(self) -> LoadModule | None:
        """Has a kernel module loaded or raises Failed; whether it is there is to be looked at. None: nobody."""

    async def is_restarting(self) -> bool:
        """Whether ipfod was told to end only to be started again: then keepalived runs on."""


class Alone:
    """No service manager: keepalived and scripts are plain processes, and an end is an end."""

    run_script: Run = staticmethod(run)
    load_module: LoadModule | None = None

    def launcher(self, failover: str, files: KeepalivedFiles) -> Launcher:
        return PlainLauncher(files)

    async def is_restarting(self) -> bool:
        return False


class UnderSystemd:
    """ipfod is a unit, and so are each keepalived and each run of a script."""

    run_script: Run = staticmethod(run_transient)

    def __init__(self, bus: Caller) -> None:
        self._systemd = Systemd(bus)

    def launcher(self, failover: str, files: KeepalivedFiles) -> Launcher:
        return UnitLauncher(failover, files, self._systemd)

    async def load_module(self, module: str) -> None:
        await self._systemd.start(modprobe_unit(module))

    async def is_restarting(self) -> bool:
        """Asks for the job on our own unit.

        PartOf= and StopPropagatedFrom= would stop keepalived on a restart too, or on a crash (systemd 252).
        """
        return await self._systemd.job_type(UNIT) in RESTARTS


def is_unit() -> bool:
    """Whether systemd has started this process as a service (INVOCATION_ID, systemd.exec(5))."""
    return systemd.booted() and "INVOCATION_ID" in os.environ
