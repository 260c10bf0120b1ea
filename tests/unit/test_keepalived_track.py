"""Track files: what is written is read back, whatever else is in them is no value."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipfod.keepalived.track import FAULT, FIT, TrackFiles


@pytest.fixture
def track(tmp_path: Path) -> TrackFiles:
    return TrackFiles(tmp_path)


@pytest.fixture(scope="module")
def anywhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("track")


def test_a_value_is_read_back(track: TrackFiles) -> None:
    for value in (FAULT, FIT, -10, 100):
        track.write("web_VIP_1", value)
        assert track.read("web_VIP_1") == value


def test_a_missing_file_has_no_value(track: TrackFiles) -> None:
    assert track.read("web_VIP_1") is None


@settings(deadline=None)
@given(value=st.integers(-99999, 99999))
def test_every_value_is_read_back(value: int, anywhere: Path) -> None:
    track = TrackFiles(anywhere)
    track.write("web_VIP_1", value)
    assert track.read("web_VIP_1") == value


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"abc",
        b"1.5",
        b"0x10",
        b" 5",
        b"5 ",
        b"+5",
        b"--5",
        b"-",
        b"5\n6",
        b"\xff\xfe",
        b"100000",
        b"9" * 10_000,
        "\u0665".encode(),
        b"1_0",
        b"0\0",
    ],
)
def test_garbage_is_no_value(track: TrackFiles, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "web_VIP_1").write_bytes(content)
    assert track.read("web_VIP_1") is None


@settings(deadline=None)
@given(content=st.binary(max_size=20))
def test_any_content_is_read_as_a_number_or_as_nothing(content: bytes, anywhere: Path) -> None:
    (anywhere / "web_VIP_2").write_bytes(content)
    value = TrackFiles(anywhere).read("web_VIP_2")
    assert value is None or int(content) == value


def test_garbage_is_replaced(track: TrackFiles, tmp_path: Path) -> None:
    (tmp_path / "web_VIP_1").write_text("abc")
    track.write("web_VIP_1", FIT)
    assert (tmp_path / "web_VIP_1").read_text() == "0\n"


def test_a_directory_in_its_place_is_no_value(track: TrackFiles, tmp_path: Path) -> None:
    (tmp_path / "web_VIP_1").mkdir()
    assert track.read("web_VIP_1") is None


def test_a_new_value_comes_by_rename_and_the_old_file_is_not_touched(track: TrackFiles, tmp_path: Path) -> None:
    path = tmp_path / "web_VIP_1"
    track.write("web_VIP_1", FIT)
    with open(path) as before:
        track.write("web_VIP_1", FAULT)
        assert before.read() == "0\n"
    assert os.listdir(tmp_path) == ["web_VIP_1"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_value_that_is_in_force_is_not_written_again(track: TrackFiles, tmp_path: Path) -> None:
    track.write("web_VIP_1", FIT)
    before = (tmp_path / "web_VIP_1").stat().st_ino
    with open(tmp_path / "web_VIP_1"):  # its number cannot be used again
        track.write("web_VIP_1", FIT)
        assert (tmp_path / "web_VIP_1").stat().st_ino == before


def test_a_symbolic_link_is_replaced_and_not_followed(track: TrackFiles, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("precious")
    (tmp_path / "web_VIP_1").symlink_to(other)
    track.write("web_VIP_1", FIT)
    assert other.read_text() == "precious"
    assert track.read("web_VIP_1") == FIT


def test_files_of_instances_that_are_gone_are_removed(track: TrackFiles, tmp_path: Path) -> None:
    for name in ("web_VIP_1", "web_VIP_2", "web_VIP_3"):
        track.write(name, FIT)
    (tmp_path / ".web_VIP_9.tmp").touch()  # left by a crash
    track.keep_only({"web_VIP_2", "web_VIP_4"})
    assert os.listdir(tmp_path) == ["web_VIP_2"]


def test_a_directory_in_place_of_the_temporary_file_does_not_keep_a_value_out(
    track: TrackFiles, tmp_path: Path
) -> None:
    track.write("web_VIP_1", FIT)
    (tmp_path / ".web_VIP_1.tmp").mkdir()
    track.write("web_VIP_1", FAULT)
    assert track.read("web_VIP_1") == FAULT
    with pytest.raises(IsADirectoryError):
        track.write(".web_VIP_1.tmp", FAULT)
