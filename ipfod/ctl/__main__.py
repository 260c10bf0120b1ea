"""ipfoctl's command line: what was asked for, and the one place where errors become text and exit codes."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from ipfod import __version__
from ipfod.ctl.console import Console, complain, open_console
from ipfod.ctl.durations import seconds, since_usec
from ipfod.ctl.failures import CommandFailed, ConfigurationRefused, Exit
from ipfod.ctl.text import printable
from ipfod.errors import IpfodError

HISTORY_SHOWN = 50
HOLD_S = 300
TIMEOUT_S = 150  # somebody may have to type a password
HISTORY_MAX = 2**32 - 1  # D-Bus type u
EXIT_CODES = """\
exit codes:
  0  done
  1  failed, or problems were found
  2  the command line makes no sense
  3  ipfod is not running
  4  not permitted
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. Never raises but for bugs under IPFOD_DEBUG=1."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        _make_streams_safe()
        code = _run(arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        _drop_output()  # the reader had enough: `ipfoctl history | head`
        return Exit.DONE
    except KeyboardInterrupt:
        return 130  # as shells count: 128 + SIGINT
    except ConfigurationRefused as error:
        complain(*error.text.splitlines())
        return error.exit_code
    except IpfodError as error:
        complain(f"ipfoctl: {error.text}", *([f"  -> {error.hint}"] if error.hint else []))
        return error.exit_code if isinstance(error, CommandFailed) else Exit.FAILED
    except OSError as error:
        _drop_output()
        complain(f"ipfoctl: {error.filename or 'standard output'}: {error.strerror or error}")
        return Exit.FAILED
    except Exception as error:
        if os.environ.get("IPFOD_DEBUG") == "1":
            raise
        complain(
            f"ipfoctl: internal error: {type(error).__name__}: {error}", "  -> see more with IPFOD_DEBUG=1"
        )
        return Exit.FAILED


def _run(arguments: list[str]) -> int:
    if arguments[:1] == ["lab"]:
        from ipfod import lab

        return int(lab.main(arguments[1:]))
    try:
        parser = _parser()
        options = parser.parse_args(arguments)
        _refuse_contradictions(parser, options)
    except SystemExit as ended:  # --help, --version and usage errors
        return int(ended.code or 0)
    return _command(options, open_console())


def _refuse_contradictions(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    leaving = options.command == "maintenance" and options.switch == "off"
    if leaving and (options.reason or options.for_s is not None):
        parser.error("--reason and --for go with maintenance on")


def _command(options: argparse.Namespace, console: Console) -> Exit:
    """Each command's module is imported only when it runs: `status` is to be quick."""
    match options.command:
        case "status":
            from ipfod.ctl import status

            return status.run(
                options.names, console, as_json=options.json, watch=options.watch, every=options.all
            )
        case "check":
            from ipfod.ctl import check

            return check.run(options.files, console, as_json=options.json)
        case "plan":
            from ipfod.ctl import plan

            return plan.run(options.file, options.nodes, console, as_json=options.json)
        case "import":
            from ipfod.ctl import imports

            return imports.run(options.file, options.directory, console)
        case "history":
            from ipfod.ctl import transitions

            wanted = transitions.Wanted(options.target, options.since, options.limit)
            return transitions.history(wanted, console, as_json=options.json)
        case "events":
            from ipfod.ctl import transitions

            return transitions.events(console, as_json=options.json)
        case "reload":
            from ipfod.ctl import reload

            return reload.run(console)
    return _order(options, console)


def _order(options: argparse.Namespace, console: Console) -> Exit:
    """The commands that steer."""
    match options.command:
        case "preemption":
            from ipfod.ctl import preemption

            return preemption.run(options.target, options.policy, console, as_json=options.json)
        case "step-down":
            from ipfod.ctl import moves

            return moves.step_down(options.target, options.hold, options.timeout, console)
        case "take-over":
            from ipfod.ctl import moves

            return moves.take_over(options.target, options.timeout, console)
        case "maintenance":
            from ipfod.ctl import maintenance

            if options.switch == "off":
                return maintenance.off(options.timeout, console)
            return maintenance.on(options.reason, options.for_s, options.timeout, console)
    raise AssertionError(options.command)


class _Parser(argparse.ArgumentParser):
    """Repeats in its complaints what it was given; that goes to a terminal."""

    def error(self, message: str) -> NoReturn:
        super().error(printable(message))


def _parser() -> argparse.ArgumentParser:
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
        added = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
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
    lab.add_argument("--config", metavar="FILE", help="see: ipfoctl lab --help")
    lab.add_argument("--nodes", metavar="N", help="see: ipfoctl lab --help")
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
    if text.isascii() and text.isdigit() and int(text[:11]) <= HISTORY_MAX:
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


def _make_streams_safe() -> None:
    """Text that the terminal's encoding lacks becomes `?`; a closed stream swallows what is written."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # lives as long as the process
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115  # lives as long as the process
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _drop_output() -> None:
    """Keep Python from complaining at exit about what it could not write."""
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
    except (OSError, ValueError):
        return  # not a file: nothing will be flushed at exit either


if __name__ == "__main__":
    sys.exit(main())
