"""The checks of one failover: at the interval, at once when a listener closes, soon when it may be back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ipfod.addresses import Address
from ipfod.checks.hysteresis import Hysteresis
from ipfod.checks.script import script_check
from ipfod.checks.tcp import tcp_check, tcp_check_all
from ipfod.checks.verdict import Verdict
from ipfod.host.run import Run, run
from ipfod.node.model import CheckState

RECHECK_S = 0.05  # between checks until `fall` is reached, once a closed listener has made one fail
RECOVERY_S = 0.05  # between looks at a refused port: the kernel announces no listener that opens
TRIGGER_GAP_S = 0.01  # between triggered rounds: somebody may open and close sockets in a loop

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CheckPlan:
    """What is checked, and how often; port and script must both pass where both are set.

    All of `addresses` must accept. They are the node's own, one of each family in use, or the virtual IPs.
    """

    port: int  # 0: none
    addresses: tuple[Address, ...]
    script: Path | None
    script_user: str
    interval_s: float
    timeout_s: float
    rise: int
    fall: int
    interface: str | None = None  # for link-local addresses


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The outcome of a round: the state that follows from it and the sentence of what was seen.

    `broken` says why a check itself cannot be made (for a script: when it was last tried), `doubt` what is odd
    about a check that passes; "" otherwise. `duration_s` is how long the answers took.
    """

    state: CheckState
    text: str
    broken: str
    duration_s: float
    doubt: str = ""


class FailoverChecks:
    """Owns the one task that checks; rounds never overlap, nor do runs of the script.

    A round asks the port first and the script only if the port accepts. Rounds start `interval_s` apart,
    whatever they take; one that takes longer is followed by the next at once. A round that came early (trigger,
    recovery) moves the schedule with it, so that `rise` and `fall` count whole intervals, with one exception:
    after a trigger failing rounds follow each other quickly until `fall` is reached.
    """

    def __init__(
        self, name: str, plan: CheckPlan, report: Callable[[CheckReport], None], *, run: Run = run
    ) -> None:
        """`report` is called from the loop after each round; the daemon filters what did not change."""
        self.name = name
        self._run = run  # how the script is run
        self.plan = plan
        self._report = report
        self._hysteresis = Hysteresis(rise=plan.rise, fall=plan.fall)
        self._task: asyncio.Task[None] | None = None
        self._script: asyncio.Task[Verdict] | None = None
        self._script_broken = ""
        self._failed_address: Address | None = None
        self._wake = asyncio.Event()  # triggered, or the script has ended
        self._triggered = False
        self._trigger_taken_at = float("-inf")
        self._hurried = False
        self._reported = asyncio.Event()

    def start(self) -> None:
        """Begin; the first round starts at once. With nothing to check, DISABLED is reported, and no more."""
        if self.plan.port == 0 and self.plan.script is None:
            self._report(CheckReport(CheckState.DISABLED, "nothing is checked", "", 0.0))
            self._reported.set()
            return
        self._task = asyncio.create_task(self._watch(), name=f"checks of {self.name}")

    async def stop(self) -> None:
        """End; a script that runs is ended too. May be called twice."""
        tasks = [task for task in (self._task, self._script) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._task = self._script = None

    def trigger(self) -> None:
        """Check now: a listener on the port has closed, or may have."""
        self._triggered = True
        self._wake.set()

    async def first(self) -> None:
        """Wait for the first report."""
        await self._reported.wait()

    # ------------------------------------------------------------ when

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            try:
                self._take_trigger()
                self._conclude(await self._round())
            except Exception:  # a fault of ours must not end the watch, or nobody would see the service die
                _log.exception("%s: a round of checks failed", self.name)
                self._hurried = False
            if self._hurried:
                await asyncio.sleep(min(self.plan.interval_s, RECHECK_S))
                due = loop.time()
                continue
            due = max(due + self.plan.interval_s, loop.time())
            if await self._early(due):
                due = loop.time()

    def _take_trigger(self) -> None:
        if self._triggered:
            self._triggered = False
            self._hurried = True
            self._trigger_taken_at = asyncio.get_running_loop().time()

    def _conclude(self, verdict: Verdict) -> None:
        state = self._hysteresis.state
        if not verdict.unasked or state is CheckState.PENDING:
            state = self._hysteresis.feed(verdict.passing)
        self._hurried = self._hurried and not verdict.passing and state is CheckState.PASSING
        text = verdict.text
        if self._hysteresis.count:
            text += f" ({self._hysteresis.count} of {self._hysteresis.needed} in a row)"
        self._reported.set()
        self._report(
            CheckReport(
                state=state,
                text=text,
                broken=verdict.text if verdict.broken else self._script_broken,
                duration_s=verdict.duration_s,
                doubt=verdict.text if verdict.doubtful else "",
            )
        )

    async def _early(self, due: float) -> bool:
        """Wait until the next round is due; True if there is a reason to start it earlier."""
        loop = asyncio.get_running_loop()
        while (now := loop.time()) < due:
            refused = self._failed_address if self._hysteresis.state is CheckState.FAILING else None
            if await self._triggered_before(due if refused is None else min(due, now + RECOVERY_S)):
                await asyncio.sleep(self._trigger_taken_at + TRIGGER_GAP_S - loop.time())
                return True
            if refused is not None and loop.time() < due:
                timeout_s = min(self.plan.timeout_s, RECOVERY_S)
                if (await tcp_check(refused, self.plan.port, timeout_s, self.plan.interface)).passing:
                    return True
        return False

    async def _triggered_before(self, when: float) -> bool:
        try:
            async with asyncio.timeout_at(when):
                while not self._triggered:
                    self._wake.clear()
                    await self._wake.wait()
        except TimeoutError:
            return self._triggered
        return True

    # ------------------------------------------------------------ what

    async def _round(self) -> Verdict:
        port = await self._ask_port() if self.plan.port else None
        if self.plan.script is None or (port is not None and not port.passing):
            assert port is not None  # start() has seen to it that there is one of the two
            return port
        script = await self._ask_script(self.plan.script)
        if port is None or not script.passing:
            return script
        return replace(port, text=f"{port.text}; {script.text}", duration_s=port.duration_s + script.duration_s)

    async def _ask_port(self) -> Verdict:
        plan = self.plan
        verdict, self._failed_address = await tcp_check_all(
            plan.addresses, plan.port, plan.timeout_s, plan.interface
        )
        return verdict

    async def _ask_script(self, script: Path) -> Verdict:
        """Run the script, or wait for one that still runs since a port failed meanwhile.

        A trigger does not wait for the script: the port is asked again beside it, and if that fails, it is
        the verdict.
        """
        if self._script is None or self._script.done():
            self._script = self._start(script)
        while not self._script.done():
            self._wake.clear()
            if self._triggered and self.plan.port:
                self._take_trigger()
                if not (port := await self._ask_port()).passing:
                    return port
            else:
                await self._wake.wait()
        verdict = self._script.result()
        self._script_broken = verdict.text if verdict.broken else ""
        return verdict

    def _start(self, script: Path) -> asyncio.Task[Verdict]:
        plan = self.plan
        check = script_check(script, user=plan.script_user, timeout_s=plan.timeout_s, run=self._run)
        task = asyncio.create_task(check, name=f"check script of {self.name}")
        task.add_done_callback(lambda _: self._wake.set())
        return task
