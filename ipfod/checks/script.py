"""The check script: what it says by its exit status, told apart from a script that cannot be run."""

from __future__ import annotations

import asyncio
from pathlib import Path

from ipfod.checks.verdict import Verdict
from ipfod.host.run import Outcome, Run, require_descriptor, run
from ipfod.host.scripts import script_complaint

LINE_MAX = 200  # characters of the script's first line that a report carries


async def script_check(script: Path, *, user: str, timeout_s: float, run: Run = run) -> Verdict:
    """Run the check script as `user`, by `run`: exit status 0 passes, any other says that the service is down.

    A script that is missing, unsafe, cannot be started, gives no answer in time or is killed by a signal is
    broken: it fails too, but has said nothing of the service. The text carries the first line of its output.
    """
    complaint = await asyncio.to_thread(script_complaint, script, user)
    if complaint:
        try:
            require_descriptor()  # without one no user is known
        except OSError as error:
            return Verdict(False, f"check script {script}: {error.strerror}", broken=True, unasked=True)
        return Verdict(False, f"check script {complaint}", broken=True)
    loop = asyncio.get_running_loop()
    began = loop.time()
    outcome = await run([str(script)], timeout_s=timeout_s, user=user)
    return Verdict(
        passing=outcome.ok,
        text=f"check script {script}: {_said(outcome)}",
        unasked=outcome.scarce,
        broken=outcome.timed_out or outcome.returncode is None or outcome.returncode < 0,
        duration_s=loop.time() - began,
    )


def _said(outcome: Outcome) -> str:
    line = next((line.strip() for line in outcome.output.splitlines() if line.strip()), "")
    if len(line) > LINE_MAX:
        line = line[: LINE_MAX - 1] + "…"
    return f"{outcome.sentence}: {line}" if line else outcome.sentence
