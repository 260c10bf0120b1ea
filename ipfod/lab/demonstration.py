"""`python -m ipfod.lab` and `ipfoctl lab`: virtual IPs that move between nodes on this machine, measured."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from ipfod.config.load import load_file, load_text, shown_path
from ipfod.config.model import Failover
from ipfod.errors import Failed, InvalidConfiguration, IpfodError
from ipfod.lab import ruleset
from ipfod.lab.lab import DEFAULT_INTERFACE, Lab
from ipfod.lab.moves import moves
from ipfod.lab.node import Node
from ipfod.lab.program import ENVIRONMENT
from ipfod.lab.rehearsal import ECHO_INTERVAL_MS, Rehearsal, problems
from ipfod.lab.screen import Screen

NODES = 3
NODES_MAX = 16
# With the packages of Fedora and RHEL that have them. The bus there is dbus-broker, without dbus-daemon.
PROGRAMS = {
    "keepalived": "keepalived",
    "nft": "nftables",
    "dbus-daemon": "dbus-daemon",
    "ip": "iproute",
    **dict.fromkeys(("unshare", "nsenter", "setpriv", "kill"), "util-linux"),
}
HIDDEN = ("/run", "/etc/ipfod", "/var/lib/ipfod")  # of the host's, on the nodes
# Everything else is the default. With "preempt" a node that is back takes its virtual IPs again at once, so
# each move starts from the same even distribution; the default, "preempt_delay 300", waits 5 minutes.
DEMONSTRATION = """\
virtual_ips = ["192.168.3.10-15", "fd00:1bf0:3::10-12"]
vip_groups = 3
nodes = [{nodes}]
preemption = "preempt"
"""


@dataclass(frozen=True, slots=True)
class Script:
    """What is rehearsed: a failover and the file it came from."""

    failover: Failover
    file: str  # name below /etc/ipfod
    text: str


def main(argv: Sequence[str]) -> int:
    """Run the demonstration, or the rehearsal of a user's own file; returns the exit code.

    0: every virtual IP moved each time and none was on two nodes; 1: not so, the last line says what; 2: usage.
    """
    try:
        options = _parser().parse_args(argv)
    except SystemExit as ended:  # --help and usage errors
        return int(ended.code or 0)
    try:
        _check_machine()
        return asyncio.run(_until_signal(options))
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except asyncio.CancelledError:
        return 128 + signal.SIGTERM
    except (IpfodError, OSError) as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1


class _Parser(argparse.ArgumentParser):
    """Repeats in its complaints what it was given; that goes to a terminal."""

    def error(self, message: str) -> NoReturn:
        super().error("".join(c if c.isprintable() else " " for c in message))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="ipfoctl lab",
        description="Rehearse on this machine what happens to virtual IPs when nodes, services or keepalived "
        "fail. The nodes are network namespaces; nothing leaves them, nothing is left behind.",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="rehearse this file (.toml or .env)")
    parser.add_argument("--nodes", type=_number_of_nodes, metavar="N", help=f"how many nodes, 2 to {NODES_MAX}")
    return parser


def _number_of_nodes(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= len(str(NODES_MAX)) and 2 <= int(text) <= NODES_MAX:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no number from 2 to {NODES_MAX}")


def _check_machine() -> None:
    """Raises Failed when this machine cannot run a lab."""
    if os.geteuid() != 0:
        raise Failed("only root may make network namespaces", hint="run it with sudo")
    missing = [program for program in PROGRAMS if shutil.which(program, path=ENVIRONMENT["PATH"]) is None]
    if missing:
        packages = " ".join(dict.fromkeys(PROGRAMS[program] for program in missing))
        hint = f"dnf install {packages}; in a checkout `make run` installs what it needs"
        raise Failed(f"{', '.join(missing)}: not installed", hint=hint)


async def _until_signal(options: argparse.Namespace) -> int:
    """Run, and take everything down again on SIGTERM too."""
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        if options.config is None:
            return await _demonstrate(options.nodes or NODES)
        return await _rehearse(options.config, options.nodes)
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


async def _demonstrate(count: int) -> int:
    """The main job with nothing to configure."""
    async with Lab(nodes=count) as lab:
        text = DEMONSTRATION.format(nodes=", ".join(f'"{node.own_addresses[0]}"' for node in lab.nodes))
        failover, complaints = load_text(text.encode(), "web.toml", "web", "toml")
        if failover is None:
            raise InvalidConfiguration("\n".join(map(str, complaints)))
        return await _play(lab, Script(failover, "web.toml", text))


async def _rehearse(file: Path, count: int | None) -> int:
    """A user's own file: interface, addresses, scripts and chain are those that it names."""
    failover, complaints = load_file(file)
    if failover is None:
        raise InvalidConfiguration("\n".join(map(str, complaints)))
    listed = failover.nodes or (failover.unicast_peers if failover.use_unicast else ())
    nodes = count or max(2, len(listed) or failover.replica_count)
    if listed and nodes > len(listed):
        raise Failed(
            f"{shown_path(file)}: names {len(listed)} nodes, and {nodes} are to be rehearsed",
            hint="list them all in `nodes` (and `unicast_peers`), or use fewer with --nodes",
        )
    if nodes > NODES_MAX:
        raise Failed(
            f"{file}: {nodes} nodes are to be rehearsed, and a lab has {NODES_MAX} at most",
            hint=f"use fewer: --nodes {NODES_MAX}",
        )
    async with Lab(
        nodes=nodes,
        virtual_ips=failover.virtual_ips,
        node_addresses=listed,
        interface=failover.interface or DEFAULT_INTERFACE,
        chains=failover.firewall_chain,
    ) as lab:
        for node in lab.nodes:
            _copy_scripts(node, failover)
            if not failover.firewall_chain:
                await node.run(["nft", *ruleset.accept_vrrp()], check=True)
        return await _play(lab, Script(failover, file.name, file.read_text()))


def _copy_scripts(node: Node, failover: Failover) -> None:
    """The nodes see the host's files, except where they have directories of their own."""
    for script in (failover.check_script, failover.notify_script):
        if script is not None and script.is_file() and any(script.is_relative_to(top) for top in HIDDEN):
            node.write(str(script), script.read_text(), mode=script.stat().st_mode & 0o7777)


async def _play(lab: Lab, script: Script) -> int:
    """Start ipfod everywhere and let everything happen; returns the exit code."""
    planned = moves(script.failover)
    screen = Screen(sys.stdout, titles=[move.title for move in planned])
    screen.say(_introduction(lab, script))
    rehearsal = Rehearsal(lab, script.failover, file=script.file, text=script.text, screen=screen)
    try:
        async with rehearsal:
            for problem in problems(rehearsal.views):
                screen.say(f"reported by {problem}")
            for move in planned:
                await rehearsal.play(move)
            screen.finish()
    except IpfodError:
        print("", *rehearsal.logs(), sep="\n", file=sys.stderr)
        raise
    for failure in rehearsal.failures:
        print(f"lab: {failure}", file=sys.stderr)
    return 1 if rehearsal.failures else 0


def _introduction(lab: Lab, script: Script) -> str:
    parts = "each with a D-Bus, nftables, keepalived and ipfod of its own"
    lines = [
        f"{len(lab.nodes)} nodes on this machine, {parts}:",
        *(f"    {node.name} {' '.join(map(str, node.own_addresses))}" for node in lab.nodes),
        f"A client sends an echo request to every virtual IP each {ECHO_INTERVAL_MS:g} ms.",
        "",
        f"/etc/ipfod/{script.file}:",
        *(f"    {line}" for line in script.text.rstrip().splitlines()),
    ]
    return "\n".join(lines)
