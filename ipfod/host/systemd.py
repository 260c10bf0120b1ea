"""The service manager: start, stop and reload of units and what became of them, over its D-Bus API.

See org.freedesktop.systemd1(5). Needs somebody who speaks D-Bus; knows nothing of how.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Protocol

from ipfod.errors import Failed

DESTINATION = "org.freedesktop.systemd1"
MANAGER_PATH = "/org/freedesktop/systemd1"
MANAGER, UNIT, SERVICE = f"{DESTINATION}.Manager", f"{DESTINATION}.Unit", f"{DESTINATION}.Service"
PROPERTIES = "org.freedesktop.DBus.Properties"
BOOTED = Path("/run/systemd/system")  # sd_booted(3)
ANSWER_S = 10.0
JOB_S = 30.0
POLL_S = 0.005
NO_SUCH_UNIT = f"{DESTINATION}.NoSuchUnit"


class Caller(Protocol):
    """Somebody who can call a method of another service on the system bus."""

    async def ask(
        self, destination: str, path: str, interface: str, member: str, signature: str, *body: Any
    ) -> list[Any]:
        """The body of the answer; variants as plain values. Raises Failed with the error's text."""


def booted() -> bool:
    """Whether systemd is the init of this machine."""
    return BOOTED.is_dir()


class Systemd:
    """The manager and its units. Every method raises Failed when systemd refuses or does not answer."""

    def __init__(self, bus: Caller) -> None:
        self._bus = bus
        self._paths: dict[str, str] = {}

    async def start(self, unit: str) -> None:
        """Start a unit and wait until its job is done; whether it runs then is to be asked."""
        await self._manager("ResetFailedUnit", unit, quiet=True)
        await self._job("StartUnit", unit)

    async def stop(self, unit: str) -> None:
        """Stop a unit and wait until it is down."""
        await self._job("StopUnit", unit)

    async def signal(self, unit: str, number: int) -> None:
        """Send a signal to the main process of a service."""
        await self._bus.ask(DESTINATION, MANAGER_PATH, MANAGER, "KillUnit", "ssi", unit, "main", number)

    async def main_pid(self, unit: str) -> int:
        """The main process of a service that is up, 0 if it is not."""
        state = await self.unit_property(unit, UNIT, "ActiveState")
        if state not in ("active", "reloading"):
            return 0
        return int(await self.unit_property(unit, SERVICE, "MainPID"))

    async def result(self, unit: str) -> str:
        """Why a service failed, systemd's word, "success" if it did not."""
        return str(await self.unit_property(unit, SERVICE, "Result"))

    async def active_units(self, pattern: str) -> tuple[str, ...]:
        """Names of units that are up, on their way up or down, matching a pattern such as "name@*.service"."""
        states = ["active", "reloading", "activating", "deactivating"]
        [units] = await self._bus.ask(
            DESTINATION, MANAGER_PATH, MANAGER, "ListUnitsByPatterns", "asas", states, [pattern]
        )
        return tuple(unit[0] for unit in units)

    async def job_type(self, unit: str) -> str:
        """What systemd is about to do with a unit ("stop", "restart", ...), "" if nothing."""
        number, path = await self.unit_property(unit, UNIT, "Job")
        if not number:
            return ""
        return str(await self._get(path, f"{DESTINATION}.Job", "JobType"))

    async def unit_property(self, unit: str, interface: str, name: str) -> Any:
        return await self._get(await self._path(unit), interface, name)

    async def _job(self, member: str, unit: str) -> None:
        await self._manager(member, unit, "replace")
        loop = asyncio.get_running_loop()
        deadline = loop.time() + JOB_S
        while (await self.unit_property(unit, UNIT, "Job"))[0]:
            if loop.time() > deadline:
                text = f"{unit}: systemd is not done within {JOB_S:g} s"
                raise Failed(text, hint=f"systemctl status {unit} shows what it waits for")
            await asyncio.sleep(POLL_S)

    async def _manager(self, member: str, *body: str, quiet: bool = False) -> None:
        try:
            await self._bus.ask(DESTINATION, MANAGER_PATH, MANAGER, member, "s" * len(body), *body)
        except Failed:
            if not quiet:
                raise

    async def _path(self, unit: str) -> str:
        if unit not in self._paths:
            [path] = await self._bus.ask(DESTINATION, MANAGER_PATH, MANAGER, "LoadUnit", "s", unit)
            self._paths[unit] = path
        return self._paths[unit]

    async def _get(self, path: str, interface: str, name: str) -> Any:
        [value] = await self._bus.ask(DESTINATION, path, PROPERTIES, "Get", "ss", interface, name)
        return value
