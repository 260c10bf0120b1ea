"""The wrapper around the notify script, run by the shell that will run it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from plans import failover

from ipfod.keepalived.fifo import Notification, parse
from ipfod.keepalived.files import KeepalivedFiles
from ipfod.keepalived.notify import command, sentence, wrapper

ARGUMENTS = ("INSTANCE", "web_VIP_1", "MASTER", "252")
FAILOVER = failover('virtual_ips = "10.1.0.1"\nnotify_script = "/etc/ipfod/notify.sh"')


class Wrapped:
    """A directory with a FIFO that somebody reads, and scripts that are run by the wrapper."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.files = KeepalivedFiles(directory)
        self.script = directory / "it's.sh"
        os.mkfifo(self.files.fifo)
        self.fifo = os.open(self.files.fifo, os.O_RDWR | os.O_NONBLOCK)

    def run(self, text: str = "", user: str = "root") -> Notification | None:
        """What the FIFO says after a run of a script with this text."""
        if text:
            self.script.write_text(text)
            self.script.chmod(0o755)
        self.files.notify.write_text(
            wrapper(replace(FAILOVER, notify_script=self.script, script_user=user), self.files)
        )
        subprocess.run([*command(self.files).split(), *ARGUMENTS], check=False, timeout=20)
        try:
            said = os.read(self.fifo, 4096)
        except BlockingIOError:
            return None
        assert said.endswith(b"\n")
        return parse(said[:-1])


@pytest.fixture
def wrapped(tmp_path: Path) -> Iterator[Wrapped]:
    it = Wrapped(tmp_path)
    yield it
    os.close(it.fifo)


def test_the_script_gets_its_arguments_and_its_status_is_told(wrapped: Wrapped, tmp_path: Path) -> None:
    heard = tmp_path / "heard"
    assert wrapped.run(f'#!/bin/sh\nprintf "%s|" "$#" "$@" > {heard}\n') == Notification(
        "NOTIFY", "web_VIP_1", "ENDED", 0
    )
    assert heard.read_text() == "4|INSTANCE|web_VIP_1|MASTER|252|"
    assert wrapped.run("#!/bin/sh\nexit 3\n") == Notification("NOTIFY", "web_VIP_1", "ENDED", 3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("#!/bin/sh\nexit 3\n", "ended with status 3"),
        ("#!/bin/sh\nkill -SEGV $$\n", "was killed by SIGSEGV"),
        (
            "#!/nowhere/sh\n",
            "cannot be started: it, or the interpreter that its first line names, does not exist",
        ),
        ("#!/bin/sh\n", ""),
    ],
)
def test_how_it_ended_is_a_sentence(wrapped: Wrapped, text: str, said: str) -> None:
    ended = wrapped.run(text)
    assert ended is not None
    assert sentence(ended.number) == said


def test_a_script_that_is_gone_or_not_executable_is_told_too(wrapped: Wrapped) -> None:
    ended = wrapped.run()
    assert ended is not None
    assert "does not exist" in sentence(ended.number)
    wrapped.script.write_text("#!/bin/sh\n")
    ended = wrapped.run()
    assert ended is not None
    assert "is not executable" in sentence(ended.number)


def test_a_script_that_hangs_was_killed() -> None:
    assert [sentence(124), sentence(137)] == ["did not end within 30 s and was killed"] * 2
    assert "timeout --kill-after=5 30 " in wrapper(FAILOVER, KeepalivedFiles(Path("/run/ipfod/web")))


def test_another_user_runs_it_with_his_groups_and_none_of_roots_rights(wrapped: Wrapped) -> None:
    for directory in (wrapped.directory, *wrapped.directory.parents):
        if not directory.stat().st_mode & 0o001:
            directory.chmod(0o711)  # the tests' own, made for root alone
    heard = wrapped.directory / "heard"
    heard.touch()
    heard.chmod(0o666)
    ended = wrapped.run(
        f"#!/bin/sh\nid -un >{heard}\nid -Gn >>{heard}\ngrep CapEff /proc/self/status >>{heard}\n", "daemon"
    )
    assert ended is not None
    assert ended.number == 0
    user, groups, capabilities = heard.read_text().splitlines()
    assert (user, groups) == ("daemon", "daemon")
    assert set(capabilities.split()[1]) == {"0"}


def test_without_its_fifo_it_leaves_nothing(wrapped: Wrapped) -> None:
    wrapped.files.fifo.unlink()
    assert wrapped.run("#!/bin/sh\n") is None
    assert not wrapped.files.fifo.exists()


def test_a_failover_without_the_script_needs_no_wrapper() -> None:
    assert wrapper(failover('virtual_ips = "10.1.0.1"'), KeepalivedFiles(Path("/run/ipfod/web"))) == ""


def test_a_script_is_killed_like_any_other_program_when_memory_runs_out(
    wrapped: Wrapped, tmp_path: Path
) -> None:
    own, seen = Path("/proc/self/oom_score_adj"), tmp_path / "seen"
    before = own.read_text()
    own.write_text("500")  # to inherit; less than before would take CAP_SYS_RESOURCE
    try:
        assert wrapped.run(f"#!/bin/sh\ncat /proc/self/oom_score_adj >{seen}\n") is not None
    finally:
        own.write_text(before)
    assert seen.read_text() == "0\n"
