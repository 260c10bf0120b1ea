"""`ipfod`, the daemon, and `ipfod cleanup`, which gives back everything that it took."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import traceback
from collections.abc import Sequence

from ipfod import __version__
from ipfod.errors import IpfodError
from ipfod.journal import open_log

FAILED = 1
# For how long the loop may keep the worker that takes VIPs off waiting; Python's default is ten times that.
TURN_S = 0.0005


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status: 0 done, 1 failed, 2 usage."""
    arguments = command_line().parse_args(argv)
    open_log()
    if os.geteuid() != 0:
        print(
            "ipfod: only root may do this: start it by systemctl start ipfod, or use ipfoctl", file=sys.stderr
        )
        return FAILED
    try:
        return _cleanup() if arguments.command == "cleanup" else _serve()
    except IpfodError as error:
        print(f"ipfod: {error}", file=sys.stderr)
        return FAILED
    except Exception as error:
        if os.environ.get("IPFOD_DEBUG") == "1":
            raise
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{os.path.basename(place.filename)}:{place.lineno}"
        print(f"ipfod: internal error at {where}: {type(error).__name__}: {error}", file=sys.stderr)
        return FAILED


def command_line() -> argparse.ArgumentParser:
    """The parser of the whole command line; the manual is made of it too."""
    parser = argparse.ArgumentParser(
        prog="ipfod",
        description="Keeps virtual IP addresses alive: runs and watches keepalived as /etc/ipfod says. "
        "Administrators use ipfoctl.",
    )
    parser.add_argument("--version", action="version", version=f"ipfod {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("cleanup", help="stop ipfod and keepalived, release VIPs, remove rules and modules")
    return parser


def _serve() -> int:
    from ipfod.daemon import Daemon

    sys.setswitchinterval(TURN_S)
    asyncio.run(_run(Daemon))
    return 0


async def _run(daemon: type) -> None:
    await daemon().run()


def _cleanup() -> int:
    from ipfod.cleanup import cleanup

    return asyncio.run(cleanup())


if __name__ == "__main__":
    sys.exit(main())
