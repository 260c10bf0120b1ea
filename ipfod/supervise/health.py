"""A failover's checks while it runs: their verdict, and what they find wrong."""

from __future__ import annotations

from collections.abc import Callable

from ipfod.checks.watch import CheckReport, FailoverChecks
from ipfod.config.model import Failover
from ipfod.host.run import Run
from ipfod.node.events import CheckReported, Event
from ipfod.node.model import CheckState, ProblemCode
from ipfod.plan.model import FailoverPlan
from ipfod.supervise.checkplan import check_plan
from ipfod.supervise.problems import ProblemBook


class Health:
    """Owns the checks of one failover. `judged` is called when there is a verdict to act on."""

    def __init__(self, name: str, emit: Callable[[Event], None], run: Run, judged: Callable[[], None]) -> None:
        self.name = name
        self.verdict: CheckState | None = None  # None: not known yet
        self._emit = emit
        self._run = run
        self._judged = judged
        self._problems = ProblemBook(f"checks of {name}", emit)
        self._checks: FailoverChecks | None = None
        self._failover: Failover | None = None

    async def start(self, plan: FailoverPlan, *, wait: bool) -> None:
        """Begin to check what a plan says; with `wait` there is a verdict when this returns."""
        await self.stop()
        self._failover = plan.failover
        self.verdict = None
        what = check_plan(plan)
        if what is None:
            self.verdict = CheckState.DISABLED
            self._emit(CheckReported(self.name, CheckState.DISABLED, ""))
            self._problems.clear()
            return
        self._checks = FailoverChecks(self.name, what, self._take, run=self._run)
        self._checks.start()
        if wait:
            await self._checks.first()

    async def update(self, old: FailoverPlan, new: FailoverPlan) -> None:
        """Begin anew if something else is to be checked, or in another way."""
        self._failover = new.failover
        if check_plan(old) != check_plan(new):
            await self.start(new, wait=False)

    async def stop(self) -> None:
        """End; what was found stays reported."""
        if self._checks is not None:
            await self._checks.stop()
            self._checks = None

    def forget(self) -> None:
        """The failover is gone: nothing is wrong with it any more."""
        self._problems.clear()

    def trigger(self, port: int) -> None:
        """A listener on `port` was closed (0: any may have been): look again now."""
        if self._checks is not None and port in (0, self._checks.plan.port):
            self._checks.trigger()

    def _take(self, report: CheckReport) -> None:
        self.verdict = report.state
        self._judged()
        self._emit(CheckReported(self.name, report.state, report.text, report.duration_s))
        assert self._failover is not None  # there is no report before a start
        self._tell(report, self._failover)

    def _tell(self, report: CheckReport, failover: Failover) -> None:
        failing = report.text if report.state is CheckState.FAILING else ""
        for code, text, hint in (
            (ProblemCode.SCRIPT_FAILING, report.broken, _mending(failover)),
            (
                ProblemCode.CHECK_FAILING,
                failing,
                "start or mend the service; this node holds no VIP of this failover until the check passes",
            ),
            (
                ProblemCode.CHECK_DOUBTFUL,
                report.doubt,
                "the check passes, yet what listens there may not be the service, or refuses this node: "
                "look at its log; a check_script can ask more of it",
            ),
        ):
            if text:
                self._problems.raise_(code, self.name, text, hint)
            else:
                self._problems.clear(code)


def _mending(failover: Failover) -> str:
    if failover.check_script is None:
        return "the service was not asked: what this node lacks for it is to be mended first"
    return f"correct {failover.check_script}; ipfoctl check shows what is wrong with a file"
