"""The notify script, run by keepalived through a wrapper: its time is bounded, and ipfod hears how it ended.

keepalived itself waits for no script and does not say how one ends. The wrapper changes the user too, for
keepalived 2.2.7 kills itself when it tests a configuration with a script of another user than root (upstream
issue 2617). Pure.
"""

from __future__ import annotations

import shlex

from ipfod.config.model import Failover
from ipfod.host.run import ENVIRONMENT, signal_name
from ipfod.keepalived.files import KeepalivedFiles

SHELL = "/bin/sh"
KIND = "NOTIFY"  # the first word of the wrapper's lines in the FIFO; keepalived has none like it
WORD = "ENDED"
TIME_S = 30  # what Pacemaker gives its alert agents by default
KILL_AFTER_S = 5
ROOT = "root"
TIMED_OUT = frozenset({124, 128 + 9})  # timeout(1): by SIGTERM, and by SIGKILL after that
SIGNALLED = 128  # sh(1): and the number of the signal
CANNOT_RUN = {
    126: "cannot be started: it is not executable, or the interpreter of its first line is not",
    127: "cannot be started: it, or the interpreter that its first line names, does not exist",
}


def command(files: KeepalivedFiles) -> str:
    """What keepalived runs; it adds four arguments."""
    return f"{SHELL} {files.notify}"


def wrapper(failover: Failover, files: KeepalivedFiles) -> str:
    """The shell script around the notify script, "" if the failover has none."""
    if failover.notify_script is None:
        return ""
    user = shlex.quote(failover.script_user)
    become = f'setpriv --reuid={user} --regid="$(id -g {user})" --init-groups -- '
    script = f"{become if failover.script_user != ROOT else ''}{shlex.quote(str(failover.notify_script))}"
    fifo = shlex.quote(str(files.fifo))
    variables = " ".join(f"{name}={shlex.quote(value)}" for name, value in ENVIRONMENT.items())
    return (
        "# Written by ipfod; changes are overwritten. keepalived runs this when a VRRP instance changes.\n"
        "# keepalived's TMPDIR is closed to others, and its NOTIFY_SOCKET is not for scripts.\n"
        "cd /\n"
        "# keepalived is the last to be killed when memory runs out; a script is like any other program.\n"
        "{ echo 0 >/proc/self/oom_score_adj; } 2>/dev/null\n"
        f'env --ignore-environment {variables} timeout --kill-after={KILL_AFTER_S} {TIME_S} {script} "$@"\n'
        "ended=$?\n"
        "# Opened in both directions a FIFO is not waited for, unless it is full because nobody reads it.\n"
        f'[ -p {fifo} ] && timeout 1 printf \'{KIND} "%s" {WORD} %d\\n\' "$2" "$ended" 1<>{fifo}\n'
    )


def sentence(ended: int) -> str:
    """How a run ended by the wrapper's status, "" if it ended well."""
    if ended == 0:
        return ""
    if ended in TIMED_OUT:
        return f"did not end within {TIME_S} s and was killed"
    if ended in CANNOT_RUN:
        return CANNOT_RUN[ended]
    if ended > SIGNALLED:
        return f"was killed by {signal_name(ended - SIGNALLED)}"
    return f"ended with status {ended}"
