"""What ipfod tells the journal: lines for people, and for programs fields with a fixed MESSAGE_ID."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping

from ipfod.node.events import Change, NodeChanged, ProblemCleared, ProblemRaised
from ipfod.node.model import Problem, Transition
from ipfod.node.node import Node
from ipfod.node.reasons import in_maintenance

log = logging.getLogger(__name__)

IDENTIFIER = "ipfod"
# Made with `systemd-id128 new`, once and for all: docs/ipfoctl.md names them.
TRANSITION_ID = "b40d1ecf70d54faba4e7caf381c1fa65"
PROBLEM_RAISED_ID = "71a8d0e26fa44991a11b5605aed910ed"
PROBLEM_CLEARED_ID = "df61dbd9e66241149028b9b879078b4d"
# syslog(3)
_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


def open_log() -> None:
    """Have the root logger write to the journal if standard error is connected to it, else as text there."""
    if _is_journal(sys.stderr.fileno()):
        logging.basicConfig(level=logging.INFO, handlers=[_Journal()], format="%(message)s")
    else:
        text = "%(asctime)s %(levelname)s %(message)s"
        logging.basicConfig(stream=sys.stderr, level=logging.INFO, format=text)


def tell(change: Change, node: Node) -> bool:
    """Write what an administrator wants to read later; False if it is nothing of that kind.

    `node` is as it is after the change.
    """
    match change:
        case Transition():
            text = f"{change.group_name}: {change.old} -> {change.new}: {change.reason}"
            log.info("%s", text, extra={"fields": _transition_fields(change)})
        case NodeChanged() if "maintenance" in change.fields:
            if (maintenance := node.maintenance) is not None:
                log.info("%s: this node holds no group until it is over", in_maintenance(maintenance))
            else:
                log.info("maintenance is over: this node takes part again")
        case ProblemRaised(problem):
            hint = f" ({problem.hint})" if problem.hint else ""
            # Many texts begin with what they are about.
            of = "" if problem.text.startswith(problem.object) else f"{problem.object}: "
            text = f"{problem.code}: {of}{problem.text}{hint}"
            log.warning("%s", text, extra={"fields": _problem_fields(PROBLEM_RAISED_ID, problem)})
        case ProblemCleared(problem):
            text = f"{problem.code} is over: {problem.object}"
            log.info("%s", text, extra={"fields": _problem_fields(PROBLEM_CLEARED_ID, problem)})
        case _:
            return False
    return True


def _transition_fields(transition: Transition) -> Mapping[str, str]:
    return {
        "MESSAGE_ID": TRANSITION_ID,
        "IPFOD_FAILOVER": transition.group.failover,
        "IPFOD_GROUP": transition.group_name,
        "IPFOD_OLD": transition.old,
        "IPFOD_NEW": transition.new,
        "IPFOD_REASON": transition.reason,
        "IPFOD_USEC": str(transition.usec),
    }


def _problem_fields(message_id: str, problem: Problem) -> Mapping[str, str]:
    return {
        "MESSAGE_ID": message_id,
        "IPFOD_PROBLEM": problem.code,
        "IPFOD_OBJECT": problem.object,
        "IPFOD_TEXT": problem.text,
        "IPFOD_HINT": problem.hint,
    }


def _is_journal(descriptor: int) -> bool:
    """As systemd.exec(5) says: JOURNAL_STREAM names device and inode of what is connected to the journal."""
    found = os.fstat(descriptor)
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


class _Journal(logging.Handler):
    """To the journal, with a record's `fields`; without its library or its socket to standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        try:
            # Of the distribution. mypy takes the directory of that name in the checkout for it.
            from systemd import journal  # type: ignore[attr-defined]

            journal.send(
                text,
                PRIORITY=_PRIORITIES.get(record.levelno, 6),
                SYSLOG_IDENTIFIER=IDENTIFIER,
                CODE_FILE=record.pathname,
                CODE_LINE=record.lineno,
                CODE_FUNC=record.funcName,
                **getattr(record, "fields", {}),
            )
        except (ImportError, OSError):
            print(text, file=sys.stderr)
