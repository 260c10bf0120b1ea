"""The client's side of the outage meter: starts `echo.py` in the client's namespaces and reads its report."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ipfod.addresses import Address
from ipfod.errors import Failed
from ipfod.lab.machine import Machine
from ipfod.lab.program import Program

ECHO = Path(__file__).with_name("echo.py")
REPORT_TIMEOUT_S = 20.0  # it takes 0.2 s and as long as the JSON document needs


@dataclass(frozen=True, slots=True)
class Gap:
    """A run of unanswered echo requests."""

    start: float  # when the first of them was sent, seconds since the epoch
    lost: int
    ms: float  # until the first request that was answered again was sent
    open: bool  # none was, until the measurement ended


@dataclass(frozen=True, slots=True)
class Echo:
    """What was measured for one address."""

    address: str
    sent: int
    received: int
    slowest_ms: float  # the slowest answer
    gaps: tuple[Gap, ...]

    @property
    def longest_ms(self) -> float:
        """The longest outage, 0.0 if nothing was lost."""
        return max((gap.ms for gap in self.gaps), default=0.0)


@dataclass(frozen=True, slots=True)
class Measurement:
    """One report of `echo.py`. `late_ms` is the worst delay of a round of requests behind its time."""

    interval_ms: float
    late_ms: float
    echoes: dict[str, Echo]

    @classmethod
    def parse(cls, text: str) -> Measurement:
        """Read the JSON document."""
        document = json.loads(text)
        echoes = [
            Echo(**{**entry, "gaps": tuple(Gap(**gap) for gap in entry["gaps"])})
            for entry in document["addresses"]
        ]
        return cls(document["interval_ms"], document["late_ms"], {echo.address: echo for echo in echoes})

    @property
    def longest_ms(self) -> float:
        """The longest outage of any address, 0.0 if nothing was lost."""
        return max((echo.longest_ms for echo in self.echoes.values()), default=0.0)

    @property
    def lost(self) -> int:
        """Requests without an answer, over all addresses."""
        return sum(echo.sent - echo.received for echo in self.echoes.values())


class Meter:
    """`async with lab.meter([...]) as meter: …`, then `meter.result()`: from enter to exit, or to `stop()`."""

    def __init__(
        self, client: Machine, addresses: Sequence[Address], *, interval_ms: float, routes: Sequence[str]
    ) -> None:
        self._client = client
        self._argv = [sys.executable, "-I", "-S", str(ECHO), str(interval_ms), *map(str, addresses)]
        self._routes = routes
        self._program: Program | None = None
        self._measurement: Measurement | None = None

    async def __aenter__(self) -> Self:
        for route in self._routes:
            await self._client.run(["ip", "route", "replace", *route.split()], check=True)
        self._program = await self._client.spawn(self._argv, name="outage meter", lines=True)
        if await self._program.line() != "started":
            await self._program.close()
            raise Failed(f"outage meter: did not start: {self._program.output().strip()}")
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._program is not None
        try:
            with contextlib.suppress(Failed):
                await self.stop()
        finally:
            await self._program.close()

    async def stop(self) -> Measurement:
        """End the measurement. Raises Failed when the meter has died."""
        assert self._program is not None
        if self._measurement is None:
            await self._program.signal(signal.SIGTERM)
            text = await self._program.line()
            code = await self._program.wait(timeout_s=REPORT_TIMEOUT_S)
            if code != 0:
                raise Failed(f"outage meter: exit code {code}: {self._program.output().strip()}")
            self._measurement = Measurement.parse(text)
        return self._measurement

    def result(self) -> Measurement:
        """The measurement, once it has ended. Raises Failed when there is none."""
        if self._measurement is None:
            raise Failed(
                "outage meter: no result", hint="it is there after the `async with` block, or after stop()"
            )
        return self._measurement
