"""How a command of ipfoctl ends: exit codes, and the errors that carry them."""

from __future__ import annotations

from enum import IntEnum

from ipfod.errors import IpfodError


class Exit(IntEnum):
    """Exit codes; scripts rely on them."""

    DONE = 0
    FAILED = 1  # or: problems were found
    USAGE = 2  # given by argparse
    NOT_RUNNING = 3
    NOT_PERMITTED = 4


class CommandFailed(IpfodError):
    """A command cannot do what it was asked for: shown as a sentence and a hint, exits with `exit_code`."""

    exit_code = Exit.FAILED


class ConfigurationRefused(CommandFailed):
    """Configuration files have errors; the text is one complaint a line, to be shown as it is."""


class Refused(CommandFailed):
    """ipfod has not done one thing, and says why; what else it is asked for may go well."""


class NotRunning(CommandFailed):
    """There is no daemon to talk to, or no bus to reach it by."""

    exit_code = Exit.NOT_RUNNING


class NotPermitted(CommandFailed):
    """The caller may not do that."""

    exit_code = Exit.NOT_PERMITTED
