"""What lies in the place of a file of ipfod's is neither followed, written to nor waited for."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ipfod.errors import Failed
from ipfod.files import TEXT_MAX_BYTES, open_anew, open_regular, read_bytes, read_text
from ipfod.keepalived.files import write_atomically
from ipfod.keepalived.track import FAULT, TrackFiles
from ipfod.lock import DaemonLock
from ipfod.node import historyfile, statefile
from ipfod.node.boot import this_boot
from ipfod.node.durable import unfinished

PRECIOUS = "precious"


def _link(path: Path, other: Path) -> None:
    path.symlink_to(other)


def _hard_link(path: Path, other: Path) -> None:
    path.hardlink_to(other)


def _fifo(path: Path, _: Path) -> None:
    os.mkfifo(path)


def _device(path: Path, _: Path) -> None:
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 7))  # /dev/full


def _socket(path: Path, _: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


Plant = Callable[[Path, Path], None]
PLANTS = pytest.mark.parametrize("plant", [_link, _hard_link, _fifo, _device, _socket])
# A hard link is a regular file, and reading one harms nobody.
STRANGE = pytest.mark.parametrize("plant", [_link, _fifo, _device, _socket])


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Path]:
    """A file outside of ipfod's directory that stays as it was, whatever is done."""
    path = tmp_path / "other"
    path.write_text(PRECIOUS)
    yield path
    assert path.read_text() == PRECIOUS


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "ipfod"
    path.mkdir(mode=0o700)
    return path


@PLANTS
def test_a_file_is_made_in_the_place_of_whatever_is_there(plant: Plant, directory: Path, other: Path) -> None:
    path = directory / "file"
    plant(path, other)
    with open(open_anew(path), "w", encoding="utf-8") as file:
        file.write("ours")
    assert path.read_text() == "ours"
    found = path.lstat()
    assert stat.S_ISREG(found.st_mode)
    assert stat.S_IMODE(found.st_mode) == 0o600
    assert found.st_nlink == 1


@STRANGE
@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_WRONLY], ids=["read", "write"])
def test_whatever_is_no_regular_file_is_not_opened(
    plant: Plant, flags: int, directory: Path, other: Path
) -> None:
    path = directory / "file"
    plant(path, other)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match=r"symbolic links|no regular file|No such device"):
        open_regular(path, flags)
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_endless_file_is_not_read_to_its_end(directory: Path) -> None:
    path = directory / "file"
    with open(path, "wb") as file:
        file.truncate(1 << 40)
    assert len(read_bytes(path)) == TEXT_MAX_BYTES
    path.write_text("é", encoding="utf-8")
    assert read_text(path) == "é"


@PLANTS
@pytest.mark.parametrize("name", ["state.json", "state.json.new"])
def test_the_state_is_written_past_whatever_is_planted(
    plant: Plant, name: str, directory: Path, other: Path
) -> None:
    path = directory / "state.json"
    plant(directory / name, other)
    taken = statefile.Taken(modules=("ip_vs",))
    statefile.save(path, taken, "boot")
    assert statefile.load(path, "boot") == (taken, "")


@STRANGE
def test_no_state_is_read_from_what_is_planted(plant: Plant, directory: Path, other: Path) -> None:
    path = directory / "state.json"
    plant(path, other)
    taken, damage = statefile.load(path, "boot")
    assert taken == statefile.Taken()
    assert damage == f"{path} was damaged (it is no regular file); it is now {statefile.damaged(path)}"
    assert statefile.load(path, "boot") == (statefile.Taken(), "")


@PLANTS
@pytest.mark.parametrize("name", ["history", "history.new"])
def test_the_history_is_written_past_whatever_is_planted(
    plant: Plant, name: str, directory: Path, other: Path
) -> None:
    path = directory / "history"
    plant(directory / name, other)
    assert historyfile.load(path, 10) == ((), False)  # so it is written anew
    historyfile.save(path, ())
    assert historyfile.load(path, 10) == ((), True)


@PLANTS
def test_nothing_is_added_to_what_is_planted(plant: Plant, directory: Path, other: Path) -> None:
    path = directory / "history"
    plant(path, other)
    with pytest.raises(Failed):
        historyfile.append(path, ())


@PLANTS
@pytest.mark.parametrize("name", ["keepalived.conf", ".keepalived.conf.tmp"])
def test_keepalived_gets_a_file_of_its_own(plant: Plant, name: str, directory: Path, other: Path) -> None:
    plant(directory / name, other)
    write_atomically(directory / "keepalived.conf", "ours")
    assert read_text(directory / "keepalived.conf") == "ours"
    assert (directory / "keepalived.conf").lstat().st_nlink == 1


@PLANTS
def test_a_group_is_steered_past_what_is_planted(plant: Plant, directory: Path, other: Path) -> None:
    plant(directory / "web_VIP_1", other)
    track = TrackFiles(directory)
    assert track.read("web_VIP_1") is None
    track.write("web_VIP_1", FAULT)
    assert track.read("web_VIP_1") == FAULT


@PLANTS
def test_the_lock_is_taken_in_no_file_but_ipfods_own(plant: Plant, directory: Path, other: Path) -> None:
    path = directory / "daemon.lock"
    plant(path, other)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(Failed), DaemonLock(path):
        pass
    assert len(os.listdir("/proc/self/fd")) == before


@STRANGE
def test_the_name_of_the_boot_is_not_read_from_what_is_planted(
    plant: Plant, directory: Path, other: Path
) -> None:
    path = directory / "boot"
    plant(path, other)
    assert this_boot(path) == ""


def test_the_next_version_has_a_name_in_the_same_directory(directory: Path) -> None:
    assert unfinished(directory / "state.json") == directory / "state.json.new"
