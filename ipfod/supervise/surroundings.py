"""What the supervisors of all failovers share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ipfod.host.netlink import Host, Netlink
from ipfod.host.run import Run
from ipfod.keepalived.files import KeepalivedFiles
from ipfod.keepalived.launcher import Launcher
from ipfod.node.events import Event
from ipfod.node.model import GroupStatus
from ipfod.plan.model import GroupKey
from ipfod.supervise.ledger import Ledger
from ipfod.supervise.management import LoadModule
from ipfod.supervise.rivals import RivalWatch


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every supervisor shares."""

    netlink: Netlink
    emit: Callable[[Event], None]
    groups: Mapping[GroupKey, GroupStatus]  # as the node knows them now
    ledger: Ledger
    launcher: Callable[[str, KeepalivedFiles], Launcher]  # by the failover's name
    run_script: Run
    load_module: LoadModule | None
    rivals: RivalWatch
    addresses_seen: Callable[[Host], None]
    catch_up: Callable[[], None]  # hear the adverts that have come in: why keepalived does what it does
    dump_signal: int
