"""Which boot this is."""

from __future__ import annotations

from pathlib import Path

from ipfod.node.boot import this_boot


def test_a_boot_has_one_name_as_long_as_its_file_is_there(tmp_path: Path) -> None:
    path = tmp_path / "run" / "boot"
    name = this_boot(path)
    assert len(name) == 32
    assert this_boot(path) == name
    path.unlink()  # a reboot
    assert this_boot(path) not in (name, "")


def test_a_boot_that_cannot_be_noted_has_no_name(tmp_path: Path) -> None:
    path = tmp_path / "boot"
    path.mkdir()
    assert this_boot(path) == ""
    (tmp_path / "file").touch()
    assert this_boot(tmp_path / "file" / "boot") == ""


def test_a_file_with_anything_in_it_is_a_name_or_none(tmp_path: Path) -> None:
    path = tmp_path / "boot"
    path.write_bytes(b"\xff\x00")
    assert this_boot(path) == ""
    path.write_text("a" * 1000)
    assert this_boot(path) == "a" * 64


def test_a_file_that_was_emptied_is_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "boot"
    path.touch()
    name = this_boot(path)
    assert len(name) == 32
    assert this_boot(path) == name


def test_what_was_put_in_its_place_is_not_written_to(tmp_path: Path) -> None:
    path, victim = tmp_path / "boot", tmp_path / "victim"
    victim.touch()
    path.symlink_to(victim)
    assert this_boot(path) == ""
    assert victim.read_text() == ""
