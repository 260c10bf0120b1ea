"""`ipfod cleanup`: stops everything and gives back what ipfod took from the host. Reads top-down.

It needs no configuration: what is to be released is known from the state file, from what keepalived was given
and from the configuration, whatever of them is left. It can be run again at any time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import Awaitable, Iterable

from ipfod import paths
from ipfod.addresses import InterfaceAddress, in_order
from ipfod.bus.remote import Remote
from ipfod.config.load import load_directory
from ipfod.config.model import Failover
from ipfod.errors import Failed, IpfodError
from ipfod.files import read_text
from ipfod.firewall.firewalld import Firewalld, ZoneRule
from ipfod.firewall.keeper import FirewallKeeper
from ipfod.host.modules import remove
from ipfod.host.netlink import Host, Netlink
from ipfod.host.processes import end
from ipfod.host.systemd import Systemd, booted
from ipfod.keepalived.files import KeepalivedFiles
from ipfod.keepalived.launcher import PlainLauncher
from ipfod.keepalived.reread import virtual_ips_in
from ipfod.keepalived.unit import unit_name
from ipfod.lock import DaemonLock
from ipfod.node import statefile
from ipfod.node.boot import this_boot
from ipfod.node.durable import unfinished
from ipfod.supervise.management import UNIT
from ipfod.supervise.settle import DEFAULT_INTERFACE

DAEMON_STOPS_S = 15.0
DEFAULT_MODULE = "ip_vs"  # the documentation's; named even when nothing says that it was ever loaded


async def cleanup() -> int:
    """Do it all, whatever fails on the way; returns 0, or 1 if something is left."""
    failures: list[str] = []
    taken, damage = statefile.load(paths.STATE_FILE, this_boot(paths.BOOT))
    if damage:
        print(f"ipfod cleanup: {damage}")
    failovers = load_directory(paths.CONFIGURATION, os.environ).failovers
    netlink = Netlink()
    await netlink.open()
    try:
        known = _known(taken, failovers)
        held = _held(await netlink.host(), known, failovers)
        print("OpenShift IP Failover service terminating.")
        await _step(failures, _stop_units())
        await _step(failures, _stop_daemon())
        await _step(failures, _remove_modules(taken, failovers))
        print("  - Cleaning up ...")
        await asyncio.gather(*(_step(failures, _stop_keepalived(name)) for name in paths.runtime_failovers()))
        await _step(failures, _remove_rules())
        await _step(failures, _remove_zone_rules())
        await _step(failures, _release(netlink, held, known, failovers))
    finally:
        await netlink.close()
    if not failures:
        await _step(failures, _remove_files())
    for failure in failures:
        print(f"ipfod cleanup: {failure}")
    return 1 if failures else 0


async def _step(failures: list[str], step: Awaitable[None]) -> None:
    try:
        await step
    except IpfodError as error:
        failures.append(str(error))
    except OSError as error:  # somebody else's file is in the way, or a file system is read-only
        text = f"{error.filename or paths.RUNTIME}: {error.strerror}"
        failures.append(str(Failed(text, hint="see what is in the way there, then clean up again")))


# ---------------------------------------------------------------- what there is


def _known(taken: statefile.Taken, failovers: Iterable[Failover]) -> frozenset[InterfaceAddress]:
    """VIPs with their interface, as the state file, keepalived's configurations and the failovers name them."""
    known = {entry for entries in taken.virtual_ips.values() for entry in entries}
    for name in paths.runtime_failovers():
        configuration = KeepalivedFiles(paths.RUNTIME / name).configuration
        with contextlib.suppress(OSError):
            known.update(virtual_ips_in(read_text(configuration, errors="replace")))
    for failover in failovers:
        interface = failover.interface or DEFAULT_INTERFACE
        known.update(
            InterfaceAddress(interface, address, failover.prefix_length_of(address))
            for address in failover.virtual_ips
        )
    return frozenset(known)


def _held(
    host: Host, known: frozenset[InterfaceAddress], failovers: Iterable[Failover]
) -> frozenset[InterfaceAddress]:
    """Those that are on an interface now; a failover's VIPs on whatever interface it found for itself."""
    anywhere = {
        (address, failover.prefix_length_of(address))
        for failover in failovers
        if failover.interface is None
        for address in failover.virtual_ips
    }
    return frozenset(
        entry for entry in host.addresses if entry in known or (entry.address, entry.prefix_length) in anywhere
    )


# ---------------------------------------------------------------- what is done


async def _remove_modules(taken: statefile.Taken, failovers: Iterable[Failover]) -> None:
    """Remove what ipfod had loaded; what others loaded is theirs."""
    configured = [module for failover in failovers for module in failover.kernel_modules]
    for module in dict.fromkeys([*taken.modules, *configured] or [DEFAULT_MODULE]):
        ours = module in taken.modules
        result = await remove(module) if ours else "not loaded by ipfod, left alone"
        print(f"  - Removing {module} module ... {result}")


async def _stop_units() -> None:
    """Where systemd runs: the daemon's unit and those of keepalived."""
    if not booted():
        return
    remote = Remote()
    await remote.open()
    try:
        systemd = Systemd(remote)
        for unit in (*await systemd.active_units(UNIT), *await systemd.active_units(unit_name("*"))):
            await systemd.stop(unit)
    finally:
        await remote.aclose()


async def _stop_daemon() -> None:
    """One that was started outside of systemd."""
    if not paths.LOCK.exists():
        return
    with DaemonLock(paths.LOCK) as lock:
        if pid := lock.holder():
            await end(pid, DAEMON_STOPS_S)
            if lock.holder():
                raise Failed(
                    f"ipfod, process {pid}: does not stop", hint=f"kill -KILL {pid}, then clean up again"
                )


async def _stop_keepalived(failover: str) -> None:
    """One that was started outside of systemd."""
    await PlainLauncher(KeepalivedFiles(paths.RUNTIME / failover)).stop()


async def _remove_rules() -> None:
    keeper = FirewallKeeper()
    try:
        for sentence in await keeper.remove_all():
            print(f"  - Removing firewall rule ... {sentence}")
    finally:
        keeper.close()


async def _remove_zone_rules() -> None:
    """What ipfod added to firewalld's zones and did not take back itself."""
    rules = [ZoneRule(*each) for each in statefile.load(paths.STATE_FILE, this_boot(paths.BOOT))[0].zone_rules]
    if not rules:
        return
    remote = Remote()
    await remote.open()
    try:
        firewalld = Firewalld(remote)
        firewalld.remember(rules, lambda _: None)
        await firewalld.open(lambda: None)
        for sentence in await firewalld.remove_all():
            print(f"  - Removing firewall rule ... {sentence}")
    finally:
        await remote.aclose()


async def _release(
    netlink: Netlink,
    held: frozenset[InterfaceAddress],
    known: frozenset[InterfaceAddress],
    failovers: Iterable[Failover],
) -> None:
    """Take the VIPs off; those that keepalived gave up while it was stopped are listed as well."""
    for interface in sorted({entry.interface for entry in held or known} or {DEFAULT_INTERFACE}):
        mine = sorted((entry for entry in held if entry.interface == interface), key=in_order)
        addresses = "".join(f" {entry.address}" for entry in mine)
        print(f"  - Releasing VIPs{addresses} (interface {interface}) ...")
    left = held | _held(await netlink.host(), known, failovers)
    await netlink.remove(left)
    if still := _held(await netlink.host(), known, failovers):
        left_over = ", ".join(f"{entry.address}/{entry.prefix_length} dev {entry.interface}" for entry in still)
        raise Failed(f"{left_over}: not taken off", hint="ip address del each of them")


async def _remove_files() -> None:
    shutil.rmtree(paths.RUNTIME, ignore_errors=True)
    for path in (paths.STATE_FILE, paths.HISTORY):
        for each in (path, unfinished(path)):
            each.unlink(missing_ok=True)
    statefile.damaged(paths.STATE_FILE).unlink(missing_ok=True)
