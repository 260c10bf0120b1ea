"""The one place that turns what went wrong into a D-Bus error name and a text for the caller."""

from __future__ import annotations

import logging

from ipfod.errors import (
    Busy,
    Failed,
    InvalidConfiguration,
    InvalidRequest,
    IpfodError,
    NoSuccessor,
    NotFound,
)

log = logging.getLogger(__name__)

OWN = "org.ipfod.Ipfod1.Error"
# https://dbus.freedesktop.org/doc/dbus-specification.html and dbus-protocol.h
STANDARD = "org.freedesktop.DBus.Error"

_NAMES: dict[type[IpfodError], str] = {
    InvalidConfiguration: f"{OWN}.InvalidConfiguration",
    InvalidRequest: f"{STANDARD}.InvalidArgs",
    NotFound: f"{OWN}.NotFound",
    NoSuccessor: f"{OWN}.NoSuccessor",
    Busy: f"{OWN}.Busy",
    Failed: f"{OWN}.Failed",
}

# Everything that the service answers with, and when: for the manual and docs/dbus.md.
ERRORS = (
    (f"{OWN}.InvalidConfiguration", "the configuration was refused; one complaint a line"),
    (f"{OWN}.NotFound", "this node has no such failover, group or virtual IP, or no longer"),
    (f"{OWN}.NoSuccessor", "no other node took the group; this one has kept it"),
    (f"{OWN}.Busy", "the group is being moved already"),
    (f"{OWN}.Failed", "something outside ipfod refused or did not answer"),
    (f"{STANDARD}.AccessDenied", "the caller may not do this"),
    (
        f"{STANDARD}.InteractiveAuthorizationRequired",
        "with a password the caller might, but did not allow to be asked for one",
    ),
    (
        f"{STANDARD}.InvalidArgs",
        "an argument is of a wrong type or not accepted; the text says what is",
    ),
    *(
        (f"{STANDARD}.{kind}", "there is no such thing")
        for kind in ("UnknownObject", "UnknownInterface", "UnknownMethod", "UnknownProperty")
    ),
    (f"{STANDARD}.PropertyReadOnly", "no property can be set"),
    (
        f"{STANDARD}.LimitsExceeded",
        "more than 16 calls of one caller are unanswered, or more than 16 KiB of arguments",
    ),
)


class BusError(Exception):
    """An error of the bus's own kind: an error name and a text, sent or received as they are."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name
        self.text = text


def standard(kind: str, text: str) -> BusError:
    """A standard error, e.g. `standard("InvalidArgs", ...)`."""
    return BusError(f"{STANDARD}.{kind}", text)


def answer_for(error: Exception, *, what: str) -> tuple[str, str]:
    """Error name and text that a caller gets. What ipfod did not raise on purpose is a bug: the log gets the
    traceback (`what` names the call), the caller does not."""
    if isinstance(error, BusError):
        return error.name, error.text
    if isinstance(error, IpfodError):
        names = (name for cls, name in _NAMES.items() if isinstance(error, cls))
        return next(names, f"{OWN}.Failed"), str(error)
    log.error("%s: internal error", what, exc_info=error)
    return f"{OWN}.Failed", f"{what}: internal error (see: journalctl -u ipfod)"
