"""The files of one failover: closed to others, replaced in one step, removed without a trace."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ipfod.keepalived.files import KeepalivedFiles, write_atomically


@pytest.fixture
def files(tmp_path: Path) -> KeepalivedFiles:
    return KeepalivedFiles(tmp_path / "run" / "web")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_directories_are_closed_whatever_the_umask_and_can_be_prepared_again(
    files: KeepalivedFiles,
) -> None:
    before = os.umask(0)
    try:
        files.prepare()
        files.directory.chmod(0o777)
        files.prepare()
    finally:
        os.umask(before)
    assert mode(files.directory) == mode(files.track) == 0o700


def test_every_file_is_in_the_failovers_own_directory_under_a_name_of_its_own(files: KeepalivedFiles) -> None:
    paths = [
        files.configuration,
        files.candidate,
        files.fifo,
        files.track,
        files.pid,
        files.vrrp_pid,
        files.dump,
        files.log,
    ]
    assert {path.parent for path in paths} == {files.directory}
    assert len(set(paths)) == len(paths)


def test_nothing_is_left_after_removal_and_it_may_be_done_twice(files: KeepalivedFiles, tmp_path: Path) -> None:
    files.prepare()
    for name in ("keepalived.conf", "keepalived.data", ".hidden"):
        (files.directory / name).touch()
    os.mkfifo(files.fifo)
    (files.track / "web_VIP_1").touch()
    precious = tmp_path / "precious"
    precious.touch()
    (files.directory / "link").symlink_to(precious)
    files.remove()
    files.remove()
    assert os.listdir(files.directory.parent) == []
    assert precious.exists()


def test_a_file_is_replaced_in_one_step_and_closed_to_others(tmp_path: Path) -> None:
    path = tmp_path / "keepalived.conf"
    path.write_text("old")
    path.chmod(0o644)
    with open(path) as before:
        write_atomically(path, "new é")
        assert before.read() == "old"
    assert path.read_text(encoding="utf-8") == "new é"
    assert mode(path) == 0o600
    assert os.listdir(tmp_path) == ["keepalived.conf"]


def test_a_symbolic_link_in_place_of_the_temporary_file_is_not_followed(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("precious")
    (tmp_path / ".keepalived.conf.tmp").symlink_to(other)
    write_atomically(tmp_path / "keepalived.conf", "new")
    assert (tmp_path / "keepalived.conf").read_text() == "new"
    assert other.read_text() == "precious"
