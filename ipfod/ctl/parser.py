"""The command line of ipfoctl, as data: --help, `ipfoctl help`, the manual and completion all come from it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from ipfod import __version__
from ipfod.ctl.durations import seconds, since_usec
from ipfod.ctl.failures import Exit
from ipfod.ctl.text import printable

COMPLETE = "_complete"  # what shells call on Tab; not shown, see completion.py
HISTORY_SHOWN = 50
HOLD_S = 300
LAB_NODES_MAX = 16
TIMEOUT_S = 150  # somebody may have to type a password
HISTORY_MAX = 2**32 - 1  # D-Bus type u
EXITS = (
    (Exit.DONE, "done"),
    (Exit.FAILED, "failed, or problems were found"),
    (Exit.USAGE, "the command line makes no sense"),
    (Exit.NOT_RUNNING, "ipfod is not running"),
    (Exit.NOT_PERMITTED, "not permitted"),
)
EXIT_CODES = "exit codes:\n" + "".join(f"  {code:d}  {means}\n" for code, means in EXITS)

# What a command's one line does not say.
ABOUT = {
    "status": " Problems come first, each with what to do, and make the exit code 1.",
    "history": " ipfod keeps the last 1000, over restarts and reboots; the journal has them for longer.",
    "events": " Ends with Ctrl-C, or with exit code 3 when ipfod leaves the bus.",
    "step-down": " Returns when another node's advert was heard; this node answers until the other one does. "
    "If nobody takes a group, this node keeps it, and the exit code is 1. A failover's groups go one after the "
    "other, each whatever became of those before; what could not be moved is said at the end.",
    "take-over": " Returns when it is, whatever the preemption policies are; what moves is away for about a "
    "millisecond. It stays master until it loses the group. A node that is in fault cannot take over. A "
    "failover's groups go one after the other, as with step-down.",
    "preemption": " No virtual IP moves by it: a policy counts from the next change on. An ordered policy "
    "outlives restarts of ipfod, not a reboot.",
    "maintenance": " Groups are handed over one by one; this node answers for each until the other one does. "
    "Those that nobody takes are given up all the same, each with a warning.",
    "reload": " A bad file does not stop the good ones: what is wrong with it goes to standard error, and the "
    "exit code is 1. No virtual IP moves that did not change.",
    "check": " A warning alone leaves the exit code at 0. What lies between files is found too, such as a "
    "virtual IP that two of them have.",
    "plan": " Priorities need to know the nodes: those of --nodes, else of the option nodes, else of "
    "unicast_peers.",
    "import": " All files are written or none. What a node cannot know or do is a comment in the file and a "
    "warning.",
    "lab": " Nothing leaves the namespaces, nothing is left behind. Needs root, and no daemon.",
}


class _Parser(argparse.ArgumentParser):
    """Repeats in its complaints what it was given; that goes to a terminal."""

    def error(self, message: str) -> NoReturn:
        super().error(printable(message))


def command_line() -> argparse.ArgumentParser:
    """The parser of the whole command line, with all commands."""
    parser = _Parser(
        prog="ipfoctl",
        description="Show and steer IP failover on this node.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"ipfoctl {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name: str, text: str, *, reading: bool = True) -> argparse.ArgumentParser:
        about = f"{text[0].upper()}{text[1:]}.{ABOUT.get(name, '')}"
        added = commands.add_parser(name, help=text, description=about, allow_abbrev=False)
        if reading:
            added.add_argument("--json", action="store_true", help="write JSON, for programs")
        return added

    status = command("status", "who holds which virtual IP, since when and why; what is wrong first")
    status.add_argument("names", nargs="*", metavar="NAME", help="show only this failover, group or virtual IP")
    status.add_argument("--watch", action="store_true", help="show it again whenever something changes")
    status.add_argument("--all", action="store_true", help="show each group, however many there are")
    check = command("check", "check configuration files; needs no daemon and no root")
    check.add_argument("files", nargs="*", metavar="FILE", type=Path, help="default: all of /etc/ipfod")
    plan = command("plan", "show groups, router IDs and priorities of a file; needs no daemon and no root")
    plan.add_argument("file", nargs="?", metavar="FILE", type=Path, help="default: all of /etc/ipfod")
    plan.add_argument("--nodes", metavar="A,B,C", type=_nodes, help="node addresses, instead of the file's")
    imports = command(
        "import", "make configuration files from Deployments of OpenShift's IP failover", reading=False
    )
    imports.add_argument("file", metavar="FILE", type=Path, help="YAML or JSON; - for standard input")
    into = "where NAME.toml goes (default: the current directory)"
    imports.add_argument("-o", dest="directory", metavar="DIR", type=Path, default=Path(), help=into)
    _add_history(command)
    command("events", "changes of state and problems as they happen; --json: one object a line")
    command("reload", "have ipfod read its configuration again", reading=False)
    _add_orders(command)
    lab = command("lab", "rehearse a configuration file on nodes in network namespaces", reading=False)
    lab.add_argument("--config", metavar="FILE", help="rehearse this file (.toml or .env)")
    lab.add_argument("--nodes", metavar="N", help=f"how many nodes, 2 to {LAB_NODES_MAX}")
    shown = command("help", "what the manual says about a topic, or which topics there are", reading=False)
    topics = "a command, an option of ipfod.toml, a problem's code, or a word such as exit-codes"
    shown.add_argument("topic", nargs="?", metavar="TOPIC", help=topics)
    return parser


def _add_history(command: Callable[..., argparse.ArgumentParser]) -> None:
    history = command("history", "the last changes of state, the newest at the end")
    history.add_argument(
        "target", nargs="?", metavar="TARGET", help="of this failover, group or virtual IP alone"
    )
    since = 'what happened after that: 2h (ago), 22:30, 2026-11-27, or "2026-11-27 22:30"'
    history.add_argument("--since", metavar="TIME", type=since_usec, default=0, help=since)
    history.add_argument(
        "--limit",
        metavar="N",
        type=_limit,
        default=HISTORY_SHOWN,
        help=f"how many, 0 for all (default: {HISTORY_SHOWN})",
    )


def _add_orders(command: Callable[..., argparse.ArgumentParser]) -> None:
    """The commands that steer."""
    preemption = command("preemption", "show who takes over when it comes back, or order another policy")
    target = "a failover, a group or a virtual IP"
    preemption.add_argument("target", nargs="?", metavar="TARGET", help=f"{target}; default: all")
    policies = 'preempt, nopreempt, "preempt_delay SECONDS", or reset to what the file says'
    preemption.add_argument("policy", nargs="*", metavar="POLICY", help=policies)
    step_down = command("step-down", "have other nodes take what this one holds", reading=False)
    step_down.add_argument("target", metavar="TARGET", help=target)
    hold = "for how long this node does not want it back: 30s, 5m, 2h (default: 5m)"
    step_down.add_argument("--hold", metavar="TIME", type=seconds, default=HOLD_S, help=hold)
    take_over = command("take-over", "make this node the master", reading=False)
    take_over.add_argument("target", metavar="TARGET", help=target)
    maintenance = command(
        "maintenance", "give up everything, over restarts and reboots, or take part again", reading=False
    )
    maintenance.add_argument("switch", choices=("on", "off"))
    maintenance.add_argument("--reason", metavar="TEXT", default="", help="why, for those who ask")
    until = "end by itself after this time: 30m, 2h, 1d (default: not before it is left)"
    maintenance.add_argument("--for", metavar="TIME", type=seconds, dest="for_s", help=until)
    for each in (step_down, take_over, maintenance):
        wait = f"how long to wait for ipfod's answer (default: {TIMEOUT_S} s)"
        each.add_argument("--timeout", metavar="TIME", type=seconds, default=TIMEOUT_S, help=wait)


def _limit(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= len(str(HISTORY_MAX)) and int(text) <= HISTORY_MAX:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to {HISTORY_MAX}")


def _nodes(text: str) -> tuple[str, ...]:
    """Addresses as they are written; duplicates and words are refused here."""
    from ipaddress import ip_address

    nodes = []
    for part in text.split(","):
        try:
            node = str(ip_address(part.strip()))
        except ValueError:
            raise argparse.ArgumentTypeError(f"{part.strip()!r} is not an address") from None
        if node in nodes:
            raise argparse.ArgumentTypeError(f"{node} is named twice")
        nodes.append(node)
    return tuple(nodes)
