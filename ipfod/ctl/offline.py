"""Configuration files read as the daemon reads them, on a machine where no daemon needs to run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ipfod.config import env
from ipfod.config.load import load_directory, load_file, shown_path
from ipfod.config.model import Address, Complaint, Failover
from ipfod.config.reading import UNREADABLE, Complaints, Setting
from ipfod.errors import Failed
from ipfod.metrics import listen
from ipfod.paths import CONFIGURATION
from ipfod.plan.conflicts import conflicts
from ipfod.plan.layout import PlanError
from ipfod.plan.model import FailoverPlan, Here
from ipfod.plan.planning import plan_failover

ENVIRONMENT_FILE = Path("/etc/sysconfig/ipfod")  # contract, files
DEFAULT_INTERFACE = "the default interface"  # which one that is, only the node knows
EMPTY = f"{CONFIGURATION}: no configuration files"


@dataclass(frozen=True, slots=True)
class Reading:
    """What files say: the failovers that can be planned, and everything that is wrong."""

    files: tuple[str, ...]
    failovers: tuple[Failover, ...]
    complaints: tuple[Complaint, ...]

    @property
    def errors(self) -> tuple[Complaint, ...]:
        return tuple(complaint for complaint in self.complaints if not complaint.warning)

    @property
    def warnings(self) -> tuple[Complaint, ...]:
        return tuple(complaint for complaint in self.complaints if complaint.warning)


def read(files: Sequence[Path]) -> Reading:
    """Read files, or the node's whole configuration if none is named, and look for conflicts between them."""
    names, failovers, complaints = _named(files) if files else _whole()
    plans = []
    for failover in failovers:
        try:
            plans.append(planned(failover))
        except PlanError as error:
            complaints.append(error.complaint)
    clashes = conflicts(plans)
    complaints += (complaint for found in clashes.values() for complaint in found)
    good = tuple(plan.failover for plan in plans if plan.name not in clashes)
    return Reading(tuple(names), good, tuple(complaints))


def planned(failover: Failover, *addresses: Address) -> FailoverPlan:
    """What a node with these addresses would run; without any, groups and ids only. Raises PlanError."""
    return plan_failover(failover, Here(failover.interface or DEFAULT_INTERFACE, addresses), {})


def shown(complaint: Complaint) -> str:
    """A complaint as one line that editors can jump to; warnings are marked where compilers mark them."""
    if not complaint.warning:
        return str(complaint)
    place = f"{complaint.file}:{complaint.line}: "
    return f"{place}warning: {str(complaint).removeprefix(place)}"


Read = tuple[list[str], list[Failover], list[Complaint]]


def _named(files: Sequence[Path]) -> Read:
    """Read the files as if they lay together in the configuration directory."""
    paths = tuple(dict.fromkeys(files))
    by_name: dict[str, Failover] = {}
    complaints: list[Complaint] = []
    for failover, found in map(load_file, paths):
        complaints += found
        if failover is not None and by_name.setdefault(failover.name, failover) is not failover:
            complaints.append(_same_name(by_name[failover.name], failover))
    return [shown_path(path) for path in paths], list(by_name.values()), complaints


def _same_name(first: Failover, second: Failover) -> Complaint:
    what = f'"{second.name}" is the name of the failover in {first.source.file} already'
    return Complaint(second.source.file, second.source.lines.get("name", 1), "name", what, "a name of its own")


def _whole() -> Read:
    environ, complaints = _daemon_environment()
    loaded = load_directory(CONFIGURATION, environ)
    return (
        [shown_path(path) for path in loaded.files],
        list(loaded.failovers),
        [*complaints, *loaded.complaints],
    )


def _daemon_environment() -> tuple[Mapping[str, str], Iterable[Complaint]]:
    """What systemd will give the daemon; the environment of this command is another."""
    complaints = Complaints(str(ENVIRONMENT_FILE))
    try:
        text = ENVIRONMENT_FILE.read_text(errors="replace")
    except FileNotFoundError:
        return {}, ()
    except OSError as error:
        complaints.add(1, "file", f"cannot be read: {error.strerror}", "a regular file that can be read")
        return {}, complaints.in_line_order()
    settings = env.read(text, complaints).settings
    for setting in settings:
        if setting.key == listen.VARIABLE and setting.value not in ("", UNREADABLE):
            _check_listen(setting, complaints)
    # What a failover lacks of which a value cannot be read, nobody knows.
    readable = all(setting.value is not UNREADABLE for setting in settings)
    environ = {setting.key: str(setting.value) for setting in settings} if readable else {}
    return environ, complaints.in_line_order()


def _check_listen(setting: Setting, complaints: Complaints) -> None:
    """A bad address for metrics is a warning: ipfod runs without them."""
    try:
        listen.parse(str(setting.value))
    except Failed as error:
        what = error.text.removeprefix(f"{listen.VARIABLE}: ")
        complaints.add(setting.line, setting.key, what, error.hint, warning=True)
