"""From the settings of one file to a `Failover`: every option parsed, every rule checked."""

from __future__ import annotations

from typing import Any

from ipfod.config import rules
from ipfod.config.model import Failover, Source
from ipfod.config.options import BY_KEY, IGNORED_VARIABLES, Form, Option
from ipfod.config.reading import UNREADABLE, Complaints, Reading, Setting
from ipfod.config.values import AUTH_PASS_MAX, Refused, Reread, quoted

ADVERT_INTERVAL_VERSION_2_S = 1.0  # what the original's keepalived uses, which has the option unset


def build(reading: Reading, *, form: Form, default_name: str, complaints: Complaints) -> Failover | None:
    """The failover that a file describes. What is wrong is complained of; then the result is None."""
    parsed: dict[str, Any] = {}
    lines: dict[str, int] = {}
    refused: set[str] = set()
    for setting in reading.settings:
        option = form.option(setting.key)
        if option is None:
            _unknown(setting, form, complaints)
            continue
        if form is Form.ENV and setting.value == "" and not option.empty_counts:
            continue
        lines[option.key] = setting.line
        if setting.value is UNREADABLE:
            refused.add(option.key)
            continue
        try:
            parsed[option.key] = _parse(option, setting, form, complaints)
        except Refused as refusal:
            refused.add(option.key)
            for what in refusal.faults:
                complaints.add(setting.line, setting.key, what, option.accepted)
    if not reading.complete:
        # What seems to be missing may stand in what could not be read, which was complained of.
        return None

    if "name" not in lines:
        parsed["name"] = _default_name(default_name, form, complaints)
    if "virtual_ips" not in lines:
        refused.add("virtual_ips")
        accepted = f"required: {BY_KEY['virtual_ips'].accepted}, or several of them"
        complaints.add(1, form.spell("virtual_ips"), "is not set", accepted)
    failover = _assemble(parsed, Source(complaints.file, lines))
    draft = rules.Draft(failover, frozenset(parsed) & frozenset(lines), form)
    for fault in rules.faults(draft, frozenset(refused)):
        complaints.add(lines.get(fault.key, 1), form.spell(fault.key), fault.what, fault.accepted)
    return None if complaints.fatal else failover


def _parse(option: Option, setting: Setting, form: Form, complaints: Complaints) -> object:
    """The value of a setting. Raises Refused."""
    value = setting.value
    if form is Form.ENV and isinstance(value, str):
        value = option.kind.from_text(value)
    found = option.kind.read(value)
    if isinstance(found, Reread):
        complaints.add(setting.line, setting.key, found.warning, option.accepted, warning=True)
        return found.value
    return found


def _unknown(setting: Setting, form: Form, complaints: Complaints) -> None:
    if form is Form.ENV and setting.key in IGNORED_VARIABLES:
        if setting.value != "":
            reason = IGNORED_VARIABLES[setting.key]
            complaints.add(
                setting.line, setting.key, "has no meaning here and is ignored", reason, warning=True
            )
    else:
        # The search for the nearest name takes a millisecond: not for thousands of them.
        instead = "" if complaints.full else form.instead_of(setting.key)
        kind = "option" if form is Form.TOML else "variable"
        complaints.add(setting.line, setting.key, f"is no known {kind}", instead)


def _default_name(default_name: str, form: Form, complaints: Complaints) -> str:
    """The name of a failover that gives itself none; its file's name may not be fit for it."""
    option = BY_KEY["name"]
    try:
        option.kind.read(default_name)
    except Refused:
        what = f"is not set, and {quoted(default_name)}, the file's name, cannot take its place"
        complaints.add(1, form.spell("name"), what, option.accepted)
    return default_name


def _assemble(parsed: dict[str, Any], source: Source) -> Failover:
    """The parsed options as a failover, with the defaults that depend on other options."""
    fields = {BY_KEY[key].field: value for key, value in parsed.items()}
    fields.setdefault("ranges", ())
    if fields.get("vrrp_version") == 2:
        fields.setdefault("advert_interval_s", ADVERT_INTERVAL_VERSION_2_S)
        fields.setdefault("auth_pass", fields.get("name", "")[:AUTH_PASS_MAX])
    if "check_interval_s" in fields:
        fields.setdefault("check_timeout_s", fields["check_interval_s"])
    fields.setdefault("name", "")
    return Failover(source=source, **fields)
