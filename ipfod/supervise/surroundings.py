"""What the supervisors of all failovers share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ipfod.host.netlink import Netlink
from ipfod.host.run import Run
from ipfod.keepalived.files import KeepalivedFiles
from ipfod.keepalived.launcher import Launcher
from ipfod.node.events import Event
from ipfod.plan.model import Group
from ipfod.supervise.management import LoadModule


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every supervisor shares."""

    netlink: Netlink
    emit: Callable[[Event], None]
    masters: Callable[[str], tuple[Group, ...]]  # groups of a failover that this node is master of
    launcher: Callable[[str, KeepalivedFiles], Launcher]  # by the failover's name
    run_script: Run
    load_module: LoadModule | None
    catch_up: Callable[[], None]  # hear the adverts that have come in: why keepalived does what it does
    dump_signal: int
