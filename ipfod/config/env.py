"""Environment files with the OpenShift variable names: what the shell and systemd read alike, nothing more."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ipfod.config.options import EXCLUDED_IDS_VARIABLE, VARIABLE_PREFIX, Form
from ipfod.config.reading import UNREADABLE, Complaints, Reading, Setting
from ipfod.config.values import Refused, quoted

ACCEPTED = "KEY=VALUE, KEY='VALUE' or KEY=\"VALUE\" on one line"

_BLANKS = " \t"
_ASSIGNMENT = re.compile(r"(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)([ \t]*)=(.*)", re.DOTALL)


def read(text: str, complaints: Complaints) -> Reading:
    """The variables of an environment file, in its order, with lines. What cannot be read is complained of.

    Nothing is expanded: a `$` or a backslash stays what it is, and no option accepts it. A `#` begins a comment
    only at the beginning of a line: after a value systemd keeps it as part of that, and the shell does not.
    """
    settings: dict[str, Setting] = {}
    complete = True
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip(_BLANKS)
        if not stripped or stripped[0] in "#;":
            continue
        assignment = _ASSIGNMENT.fullmatch(stripped)
        if not assignment:
            complaints.add(number, "syntax", f"{quoted(stripped)} is not an assignment", ACCEPTED)
            complete = False
            continue
        key, blanks, written = assignment.groups()
        try:
            if blanks or written[:1].isspace():
                raise Refused("has spaces around =")
            setting = Setting(key, _unquoted(written), number)
        except Refused as refused:
            complaints.add(number, key, refused.faults[0], ACCEPTED)
            settings.setdefault(key, Setting(key, UNREADABLE, number))
            continue
        if key in settings:
            first = settings[key].line
            complaints.add(number, key, f"is set twice, first on line {first}", "each variable once")
        else:
            settings[key] = setting
    return Reading(tuple(settings.values()), complete)


def _unquoted(written: str) -> str:
    """The value behind a `=`. Raises Refused where shell and systemd would not agree on it."""
    quote = written[:1]
    if quote not in ("'", '"'):
        if "'" in written or '"' in written:
            raise Refused("has a quote inside its value")
        if "#" in written:
            raise Refused("has a # in its value: a comment needs a line of its own")
        return written
    value, closing, rest = written[1:].partition(quote)
    if not closing:
        raise Refused("has a quote that is not closed")
    if rest:
        raise Refused("has text after its closing quote")
    return value


def from_environment(environ: Mapping[str, str]) -> Reading | None:
    """The variables of a process that mean something here, in the order of their names; None if none is set.

    An empty variable is an unset one, unless its option gives it a meaning. The excluded IDs alone define no
    failover.
    """
    settings = tuple(
        Setting(name, value, 1)
        for name, value in sorted(environ.items())
        if name.startswith(VARIABLE_PREFIX) or name == EXCLUDED_IDS_VARIABLE
        if value or Form.ENV.option(name) is not None
    )
    if not any(setting.value and setting.key != EXCLUDED_IDS_VARIABLE for setting in settings):
        return None
    return Reading(settings)
