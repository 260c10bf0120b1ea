"""keepalived as a systemd unit of its own: `ipfod-keepalived@NAME.service`.

systemd keeps it through a crash, an upgrade and a restart of ipfod, and takes its VIPs off when it dies while
no ipfod looks.
"""

from __future__ import annotations

import asyncio
import signal

from ipfod.errors import Failed
from ipfod.host.processes import children
from ipfod.host.systemd import Systemd
from ipfod.keepalived.files import KeepalivedFiles
from ipfod.keepalived.launcher import PlainLauncher

START_S = 5.0
POLL_S = 0.005


def unit_name(failover: str) -> str:
    """The unit of a failover's keepalived; a failover's name has no character that systemd would escape."""
    return f"ipfod-keepalived@{failover}.service"


class UnitLauncher:
    """A `Launcher` that asks systemd."""

    def __init__(self, failover: str, files: KeepalivedFiles, systemd: Systemd) -> None:
        self._unit = unit_name(failover)
        self._files = files
        self._systemd = systemd

    @property
    def log_hint(self) -> str:
        return f"see journalctl -u {self._unit}"

    async def running(self) -> int:
        return await self._systemd.main_pid(self._unit)

    async def start(self) -> int:
        if not await self.running():
            # One that an ipfod outside of systemd has left, or its pid files, would be "already running".
            await PlainLauncher(self._files).stop()
        await self._systemd.start(self._unit)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + START_S
        while loop.time() < deadline:
            # A SIGTERM that comes before the VRRP child has written its pid file is lost on it.
            if (pid := await self.running()) and children(pid) and self._files.vrrp_pid.exists():
                return pid
            await asyncio.sleep(POLL_S)
        result = await self._systemd.result(self._unit)
        raise Failed(f"{self._unit} does not run ({result})", hint=self.log_hint)

    async def reload(self) -> None:
        await self._systemd.signal(self._unit, signal.SIGHUP)

    async def stop(self) -> None:
        await self._systemd.stop(self._unit)
