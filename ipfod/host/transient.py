"""Running a program as a transient systemd unit: outside of ipfod's sandbox, ended with all that it started.

Scripts of the administrator are to see the machine as it is and to run as any user, while ipfod itself needs
neither the rights nor the view.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ipfod.host.run import Outcome, run

# systemd ends the unit itself if we cannot: our own time-out comes first and is the one that is reported.
GRACE_S = 0.5
PROPERTIES = (
    "KillMode=control-group",
    f"TimeoutStopSec={GRACE_S:g}",
    "LogLevelMax=warning",  # a check every two seconds would fill the journal with starts and ends
)


async def run_transient(
    argv: Sequence[str],
    *,
    timeout_s: float,
    user: str | None = None,
    output_limit: int = 4096,
    cwd: Path = Path("/"),
) -> Outcome:
    """Like `run`, by way of systemd-run(1), which passes output and exit status on.

    A script that is killed by a signal shows as exit status 255.
    """
    properties = (*PROPERTIES, f"RuntimeMaxSec={timeout_s + GRACE_S:g}", f"WorkingDirectory={cwd}")
    command = ["systemd-run", "--quiet", "--wait", "--pipe", "--collect", "--service-type=exec"]
    command += [f"--property={each}" for each in properties]
    command += [f"--uid={user}"] if user is not None else []
    return await run([*command, "--", *argv], timeout_s=timeout_s, output_limit=output_limit)
