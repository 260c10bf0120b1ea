"""ipfoctl's command line: what was asked for, and the one place where errors become text and exit codes."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from ipfod.ctl.console import Console, complain, complain_of, open_console
from ipfod.ctl.failures import CommandFailed, ConfigurationRefused, Exit
from ipfod.ctl.parser import COMPLETE, command_line
from ipfod.errors import IpfodError


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
        complain_of(error)
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
    if arguments[:1] == [COMPLETE]:
        from ipfod.ctl import completion

        return completion.run(arguments[1:], open_console())
    try:
        parser = command_line()
        options = parser.parse_args(arguments)
        _refuse_contradictions(parser, options)
    except SystemExit as ended:  # --help, --version and usage errors
        return int(ended.code or 0)
    return _command(options, open_console())


def _refuse_contradictions(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    leaving = options.command == "maintenance" and options.switch == "off"
    if leaving and (options.reason or options.for_s is not None):
        parser.error("--reason and --for go with maintenance on")
    if options.command == "maintenance" and options.for_s == 0:
        parser.error("--for 0 ends it at once; without --for it lasts until maintenance off")


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
        case "help":
            from ipfod.ctl import help

            return help.run(options.topic, console)
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
