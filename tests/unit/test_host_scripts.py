"""Script security on real files, in a directory that the rules accept."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ipfod.host.scripts import script_complaint

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files that the rules accept")

NOBODY = 65534


@pytest.fixture
def safe() -> Iterator[Path]:
    """A directory that only root can write to, all the way up; pytest's own lies below /tmp."""
    directory = Path(tempfile.mkdtemp(prefix="ipfod-test-", dir="/var/lib"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def script(safe: Path) -> Path:
    path = safe / "check"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("user", ["root", "nobody"])
def test_ordinary_script_is_fine(script: Path, user: str) -> None:
    assert script_complaint(script, user) == ""
    assert script_complaint(Path("/bin/sh"), user) == ""  # a symbolic link twice over on Debian


def test_missing_script_or_directory_is_named(safe: Path) -> None:
    assert script_complaint(safe / "check", "root") == f"{safe}/check: does not exist"
    assert script_complaint(safe / "no" / "check", "root") == f"{safe}/no: does not exist"


def test_relative_path_is_refused() -> None:
    assert script_complaint(Path("bin/sh"), "root") == "bin/sh: is not a full path"


def test_unknown_user_is_named(script: Path) -> None:
    assert script_complaint(script, "no-such-user") == f"{script}: there is no user no-such-user to run it"


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o777])
def test_script_writable_by_others_is_refused(script: Path, mode: int) -> None:
    script.chmod(mode)
    assert script_complaint(script, "root") == f"{script}: is writable by others than root (mode 0{mode:o})"


def test_script_of_another_owner_is_refused(script: Path) -> None:
    os.chown(script, NOBODY, 0)
    assert script_complaint(script, "root") == f"{script}: is owned by nobody, not by root"
    os.chown(script, 54321, 0)
    assert script_complaint(script, "root") == f"{script}: is owned by user 54321, not by root"


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o1777])
def test_directory_writable_by_others_is_refused_sticky_or_not(safe: Path, script: Path, mode: int) -> None:
    safe.chmod(mode)
    assert script_complaint(script, "root") == f"{safe}: is writable by others than root (mode {mode:04o})"


def test_directory_of_another_owner_is_refused(safe: Path, script: Path) -> None:
    os.chown(safe, NOBODY, 0)
    assert script_complaint(script, "root") == f"{safe}: is owned by nobody, not by root"


def test_script_below_tmp_is_refused(tmp_path: Path) -> None:
    script = tmp_path / "check"
    script.touch(0o755)
    if tmp_path.parts[1] == "tmp":
        assert script_complaint(script, "root").startswith("/tmp: is writable by others than root")


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_no_regular_file_is_refused(safe: Path, make: Callable[[Path], None]) -> None:
    make(safe / "check")
    assert script_complaint(safe / "check", "root") == f"{safe}/check: is not a regular file"


def test_file_in_the_place_of_a_directory_is_named(script: Path) -> None:
    assert script_complaint(script / "below", "root") == f"{script}: is not a directory"


def test_script_must_be_executable_by_its_user(script: Path) -> None:
    script.chmod(0o644)
    assert script_complaint(script, "root") == f"{script}: is not executable by root (mode 0644)"
    script.chmod(0o744)
    assert script_complaint(script, "root") == ""
    assert script_complaint(script, "nobody") == f"{script}: is not executable by nobody (mode 0744)"
    script.chmod(0o754)
    os.chown(script, 0, os.getgrouplist("nobody", NOBODY)[0])
    assert script_complaint(script, "nobody") == ""


def test_directory_must_let_the_user_in(safe: Path, script: Path) -> None:
    safe.chmod(0o700)
    assert script_complaint(script, "root") == ""
    assert script_complaint(script, "nobody") == f"{safe}: user nobody may not enter it"


def test_links_are_followed_and_everything_on_the_way_is_looked_at(safe: Path, script: Path) -> None:
    (safe / "relative").symlink_to("../" + safe.name + "/check")
    (safe / "absolute").symlink_to(safe / "relative")
    (safe / "directory").symlink_to(safe)
    assert script_complaint(safe / "absolute", "root") == ""
    assert script_complaint(safe / "directory" / "relative", "root") == ""
    script.chmod(0o777)
    assert script_complaint(safe / "absolute", "root").startswith(f"{script}: is writable by others")


def test_link_in_a_directory_that_others_can_write_to_is_refused(safe: Path, script: Path) -> None:
    (safe / "open").mkdir()
    (safe / "open").chmod(0o777)
    (safe / "open" / "check").symlink_to(script)
    (safe / "innocent").symlink_to(safe / "open" / "check")
    complaint = f"{safe}/open: is writable by others than root (mode 0777)"
    assert script_complaint(safe / "innocent", "root") == complaint
    assert script_complaint(safe / "open" / ".." / "check", "root") == complaint


def test_loop_of_links_ends(safe: Path) -> None:
    (safe / "one").symlink_to("two")
    (safe / "two").symlink_to("one")
    assert script_complaint(safe / "one", "root") == f"{safe}/one: too many symbolic links"


def test_script_on_a_file_system_mounted_noexec_is_refused(safe: Path) -> None:
    """In a mount namespace of its own, which goes with the process."""
    look = "import sys, pathlib; from ipfod.host.scripts import script_complaint as c; "
    look += "p = pathlib.Path(sys.argv[1]); p.touch(0o755); print(c(p, 'root'))"
    mount = 'mount -t tmpfs -o noexec,mode=755 tmpfs "$1" && exec "$2" -c "$3" "$1/check"'
    argv = ["unshare", "--mount", "sh", "-c", mount, "sh", str(safe), sys.executable, look]
    said = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, timeout=30
    )
    assert said.stdout == f"{safe}/check: lies on a file system that is mounted noexec\n"


def test_impossible_path_is_a_complaint_and_no_exception() -> None:
    assert script_complaint(Path("/a\0b"), "root") != ""
    assert script_complaint(Path("/" + "a" * 300), "root") != ""
