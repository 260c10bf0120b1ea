"""ipfoctl's command line as scripts and terminals meet it: exit codes, colour, pipes, missing buses."""

from __future__ import annotations

import os
import pty
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

import ipfod
from ipfod.ctl.__main__ import main
from ipfod.ctl.parser import command_line
from ipfod.ctl.topics import commands

IPFOCTL = (sys.executable, "-m", "ipfod.ctl")
TIMEOUT_S = 20
NOWHERE = {"DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nonexistent/socket"}


def environment(**more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TERM": "xterm", **more}


def ipfoctl(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*IPFOCTL, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        env=environment(**more),
    )
    assert "Traceback" not in done.stderr
    return done


def test_what_makes_no_sense_is_repeated_without_what_upsets_a_terminal() -> None:
    for arguments in (
        ["reload", "\x1b[31mx"],
        ["\x1b[31mx"],
        ["plan", "--nodes", "\x1b[31mx"],
        ["lab", "\x1b[31mx"],
    ):
        done = ipfoctl(*arguments)
        assert done.returncode == 2
        assert "31mx" in done.stderr
        assert "\x1b" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "accepted"),
    [
        (("lab", "--nodes", "9" * 5000), "is no number from 2 to 16"),  # more digits than int() takes
        (("history", "--limit", "9" * 5000), "is not a number from 0 to 4294967295"),
        (("history", "--limit", "00000000000" + "9" * 11), "is not a number from 0 to 4294967295"),
    ],
)
def test_a_number_of_any_length_is_refused_with_what_is_accepted(
    arguments: tuple[str, ...], accepted: str
) -> None:
    done = ipfoctl(*arguments)
    assert (done.returncode, accepted in done.stderr) == (2, True)


@pytest.fixture
def good_file(tmp_path: Path) -> Path:
    path = tmp_path / "web.toml"
    path.write_text('virtual_ips = "192.168.3.1-200"\n')
    return path


# ---------------------------------------------------------------- usage


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nix"],
        ["status", "--nix"],
        ["--json", "status"],
        ["history", "--limit", "-1"],
        ["history", "--limit", "x"],
        ["history", "--limit", "4294967296"],
        ["events", "web"],
        ["plan", "a.toml", "b.toml"],
        ["step-down"],
        ["step-down", "web", "db"],
        ["step-down", "web", "--hold", "soon"],
        ["step-down", "web", "--hold"],
        ["step-down", "web", "--json"],
        ["take-over"],
        ["take-over", "web", "--hold", "5m"],
        ["take-over", "web", "--timeout", "-1"],
        ["maintenance"],
        ["maintenance", "maybe"],
        ["maintenance", "on", "--for", "4294967296"],
        ["maintenance", "on", "--for", "0"],
        ["maintenance", "off", "--for", "2h"],
        ["maintenance", "off", "--for", "0"],
        ["maintenance", "off", "--reason", "done"],
        ["preemption", "web", "preempt", "--timeout", "5"],
    ],
)
def test_a_command_line_that_makes_no_sense_exits_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.startswith("usage: ipfoctl")


def test_the_process_exits_with_what_main_returns() -> None:
    assert ipfoctl("nix").returncode == 2


def test_the_version_is_that_of_the_package() -> None:
    assert ipfoctl("--version").stdout == f"ipfoctl {ipfod.__version__}\n"


def test_help_names_every_command_and_exit_code() -> None:
    shown = ipfoctl("--help")
    assert shown.returncode == 0
    reading = ("status", "check", "plan", "history", "events")
    steering = ("reload", "preemption", "step-down", "take-over", "maintenance", "lab")
    for command in (*reading, *steering):
        assert re.search(rf"\n    {command}\s", shown.stdout)
    assert "3  ipfod is not running" in shown.stdout


def test_the_lab_reads_its_own_options() -> None:
    assert ipfoctl("lab", "--help").stdout.startswith("usage: ipfoctl lab ")
    assert ipfoctl("lab", "--nodes", "many").returncode == 2


# ---------------------------------------------------------------- no bus


ASKING = (
    *(["status"], ["history"], ["events"], ["reload"], ["preemption"], ["preemption", "web", "reset"]),
    *(["step-down", "web"], ["take-over", "web"], ["maintenance", "on"], ["maintenance", "off"]),
)
ASKING_NOBODY = {"check", "plan", "import", "lab", "help"}


def test_every_command_is_known_to_need_a_bus_or_none() -> None:
    known = {parser.prog.removeprefix("ipfoctl ") for parser, _ in commands(command_line())}
    assert known == {words[0] for words in ASKING} | ASKING_NOBODY


@pytest.mark.parametrize("arguments", ASKING, ids=" ".join)
def test_without_a_bus_every_command_exits_3(arguments: list[str]) -> None:
    done = ipfoctl(*arguments, **NOWHERE)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(
        "ipfoctl: ipfod is not running: no system bus at DBUS_SYSTEM_BUS_ADDRESS=unix:"
    )
    assert "(No such file or directory)\n  -> " in done.stderr


@pytest.mark.parametrize("address", ["gibberish", "unix:dir=/tmp", "tcp:host=localhost", "unix:path"])
def test_an_address_that_is_none_exits_3(address: str) -> None:
    assert ipfoctl("status", DBUS_SYSTEM_BUS_ADDRESS=address).returncode == 3


@contextmanager
def strange_bus(path: Path, answers: list[bytes]) -> Iterator[None]:
    """Something that accepts one connection, answers a few lines, and hangs up."""

    def serve() -> None:
        with closing(server.accept()[0]) as peer:
            peer.settimeout(TIMEOUT_S)
            for answer in answers:
                peer.recv(4096)
                peer.sendall(answer)

    with closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind(str(path))
        server.listen()
        thread = threading.Thread(target=serve, name="strange bus")
        thread.start()
        yield
        thread.join(TIMEOUT_S)


@pytest.mark.parametrize(
    "answers",
    [[], [b"REJECTED EXTERNAL\r\n"], [b"OK 1234\r\n"], [b"\xff\xfe\r\n"], [b"OK 1234\r\n", b"x" * 64]],
    ids=["at-once", "rejected", "after-ok", "garbage", "garbage-after-hello"],
)
def test_a_bus_that_hangs_up_or_talks_nonsense_exits_3(tmp_path: Path, answers: list[bytes]) -> None:
    path = tmp_path / "bus"
    with strange_bus(path, answers):
        done = ipfoctl("status", DBUS_SYSTEM_BUS_ADDRESS=f"unix:path={path}")
    assert done.returncode == 3
    assert done.stderr.startswith("ipfoctl: ipfod is not running: no system bus")


# ---------------------------------------------------------------- accidents


@pytest.fixture
def broken_library(tmp_path: Path) -> str:
    """A directory whose dbus_next cannot be imported, as after an upgrade that went wrong."""
    (tmp_path / "dbus_next").mkdir()
    (tmp_path / "dbus_next" / "__init__.py").write_text('raise RuntimeError("out of order")\n')
    return str(tmp_path)


def test_an_accident_is_one_sentence(broken_library: str) -> None:
    done = ipfoctl("status", PYTHONPATH=broken_library)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("ipfoctl: internal error: RuntimeError: out of order\n  -> ")


def test_an_accident_is_told_at_length_on_request(broken_library: str) -> None:
    argv = [*IPFOCTL, "status"]
    more = environment(PYTHONPATH=broken_library, IPFOD_DEBUG="1")
    done = subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT_S, env=more)
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback ")


def test_files_are_checked_and_planned_without_dbus_next(broken_library: str, good_file: Path) -> None:
    assert ipfoctl("check", str(good_file), PYTHONPATH=broken_library).returncode == 0
    assert ipfoctl("plan", str(good_file), PYTHONPATH=broken_library).returncode == 0


# ---------------------------------------------------------------- terminals and pipes


def on_a_terminal(*arguments: str, **more: str) -> str:
    """What a command writes to a terminal."""
    ours, theirs = pty.openpty()
    with open(ours, "rb", buffering=0) as screen:
        with open(theirs, "wb", buffering=0) as terminal:
            subprocess.run([*IPFOCTL, *arguments], stdout=terminal, timeout=TIMEOUT_S, env=environment(**more))
        shown = b""
        try:
            while data := screen.read(4096):
                shown += data
        except OSError:  # EIO: nobody has the other end open any more
            pass
    return shown.decode()


def test_colour_is_for_terminals(good_file: Path) -> None:
    assert "\x1b[32mfine\x1b[0m" in on_a_terminal("check", str(good_file))
    assert "\x1b" not in ipfoctl("check", str(good_file)).stdout


@pytest.mark.parametrize("more", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_colour_can_be_declined(good_file: Path, more: dict[str, str]) -> None:
    shown = on_a_terminal("check", str(good_file), **more)
    assert "fine" in shown
    assert "\x1b" not in shown


def test_an_empty_no_color_declines_nothing(good_file: Path) -> None:
    assert "\x1b[32m" in on_a_terminal("check", str(good_file), NO_COLOR="")


def test_a_reader_that_has_seen_enough_is_no_failure(good_file: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as nobody:
        done = subprocess.run(
            [*IPFOCTL, "plan", str(good_file)],
            stdout=nobody,
            stderr=subprocess.PIPE,
            timeout=TIMEOUT_S,
            env=environment(),
        )
    assert (done.returncode, done.stderr) == (0, b"")


def test_output_that_cannot_be_written_is_a_failure(good_file: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*IPFOCTL, "plan", str(good_file)],
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=TIMEOUT_S,
            env=environment(),
        )
    assert done.returncode == 1
    assert done.stderr == b"ipfoctl: standard output: No space left on device\n"


def test_a_closed_standard_output_is_no_accident(good_file: Path) -> None:
    command = 'exec "$@" >&-'
    done = subprocess.run(
        ["sh", "-c", command, "sh", *IPFOCTL, "check", str(good_file)],
        stderr=subprocess.PIPE,
        timeout=TIMEOUT_S,
        env=environment(),
    )
    assert (done.returncode, done.stderr) == (0, b"")
