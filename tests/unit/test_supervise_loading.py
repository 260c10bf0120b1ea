"""Configuration files as they are to be used: good ones as they are, a bad one as it last was usable."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ipfod.supervise.loading import Loading, load, remember

GOOD = 'virtual_ips = "10.1.0.1"\n'
CHANGED = 'virtual_ips = "10.1.0.1-2"\n'
BAD = 'virtual_ips = "10.1.0.2-1"\n'


class Files:
    """A configuration directory, and where the copies of what was usable are kept."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "etc"
        self.accepted = directory / "run" / "accepted"
        self.directory.mkdir()

    def write(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.write_text(text)
        return path

    def load(self, **environ: str) -> Loading:
        return load(self.directory, environ, self.accepted)

    def remember(self, loading: Loading) -> None:
        remember(loading.failovers, self.accepted)

    def copies(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in self.accepted.iterdir()}


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def vips(loading: Loading) -> dict[str, list[str]]:
    return {failover.name: [str(vip) for vip in failover.virtual_ips] for failover in loading.failovers}


def test_good_files_are_used_as_they_are(files: Files) -> None:
    files.write("web.toml", GOOD)
    files.write("db.env", "OPENSHIFT_HA_VIRTUAL_IPS=10.1.0.9\n")
    loading = files.load()
    assert vips(loading) == {"web": ["10.1.0.1"], "db": ["10.1.0.9"]}
    assert (loading.complaints, loading.fallback) == ((), frozenset())


def test_a_missing_directory_is_an_empty_one(files: Files) -> None:
    files.directory.rmdir()
    assert files.load() == Loading((), (), frozenset())


def test_the_environment_may_define_one_more(files: Files) -> None:
    files.write("web.toml", GOOD)
    assert set(vips(files.load(OPENSHIFT_HA_VIRTUAL_IPS="10.1.0.9"))) == {"web", "ipfailover"}


def test_a_bad_file_among_good_ones_is_complained_of_and_the_good_ones_run(files: Files) -> None:
    files.write("web.toml", GOOD)
    bad = files.write("bad.toml", BAD)
    loading = files.load()
    assert vips(loading) == {"web": ["10.1.0.1"]}
    assert [complaint.file for complaint in loading.complaints] == [str(bad)]
    assert loading.fallback == frozenset()


def test_a_file_that_became_bad_goes_on_as_it_was(files: Files) -> None:
    path = files.write("web.toml", GOOD)
    first = files.load()
    files.remember(first)
    files.write("web.toml", BAD)
    loading = files.load()
    assert loading.failovers == first.failovers  # also the file that complaints will name
    assert loading.fallback == {"web"}
    assert [complaint.file for complaint in loading.complaints] == [str(path)]


def test_it_goes_on_through_any_number_of_reloads_and_ends_when_the_file_is_good_again(files: Files) -> None:
    files.write("web.toml", GOOD)
    files.remember(files.load())
    files.write("web.toml", BAD)
    for _ in range(3):
        loading = files.load()
        files.remember(loading)
        assert vips(loading) == {"web": ["10.1.0.1"]}
        assert files.copies() == {"web.toml": GOOD}
    files.write("web.toml", CHANGED)
    loading = files.load()
    assert vips(loading) == {"web": ["10.1.0.1", "10.1.0.2"]}
    assert loading.fallback == frozenset()


def test_a_file_that_was_removed_does_not_go_on(files: Files) -> None:
    path = files.write("web.toml", GOOD)
    files.remember(files.load())
    path.unlink()
    loading = files.load()
    assert loading == Loading((), (), frozenset())
    files.remember(loading)
    assert files.copies() == {}


def test_a_bad_file_that_was_never_good_has_nothing_to_go_on_as(files: Files) -> None:
    files.write("web.toml", BAD)
    loading = files.load()
    files.remember(loading)
    assert loading.failovers == ()
    assert files.copies() == {}


def test_the_old_version_does_not_come_back_under_a_name_that_another_file_has_taken(files: Files) -> None:
    files.write("a.toml", 'name = "web"\n' + GOOD)
    files.remember(files.load())
    files.write("a.toml", BAD)
    files.write("b.toml", 'name = "web"\nvirtual_ips = "10.1.0.7"\n')
    loading = files.load()
    assert vips(loading) == {"web": ["10.1.0.7"]}
    assert loading.fallback == frozenset()


def test_the_second_of_two_files_with_one_name_goes_on_as_it_was(files: Files) -> None:
    files.write("a.toml", GOOD)
    files.write("b.toml", 'virtual_ips = "10.1.0.7"\n')
    files.remember(files.load())
    files.write("b.toml", 'name = "a"\nvirtual_ips = "10.1.0.8"\n')
    loading = files.load()
    assert vips(loading) == {"a": ["10.1.0.1"], "b": ["10.1.0.7"]}
    assert loading.fallback == {"b"}
    assert [Path(complaint.file).name for complaint in loading.complaints] == ["b.toml"]


def test_a_warning_makes_no_file_bad(files: Files) -> None:
    files.write("web.toml", GOOD + 'preemption = "preempt_nodelay 300"\n')
    loading = files.load()
    assert [complaint.warning for complaint in loading.complaints] == [True]
    assert vips(loading) == {"web": ["10.1.0.1"]}
    assert loading.fallback == frozenset()


@pytest.mark.parametrize("key", ["check_script", "notify_script"])
def test_a_script_that_is_missing_makes_its_file_bad_and_names_the_line(files: Files, key: str) -> None:
    path = files.write("web.toml", GOOD + f'{key} = "/nowhere/check.sh"\n')
    loading = files.load()
    assert loading.failovers == ()
    (complaint,) = loading.complaints
    assert str(complaint).startswith(f"{path}:2: {key}: /nowhere")


def test_a_script_that_everybody_may_change_makes_its_file_bad(files: Files, tmp_path: Path) -> None:
    script = tmp_path / "check.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o777)
    files.write("web.toml", GOOD + f'check_script = "{script}"\n')
    loading = files.load()
    assert loading.failovers == ()
    assert "writable by others" in loading.complaints[0].what


def test_copies_are_closed_to_others(files: Files) -> None:
    files.write("web.toml", 'vrrp_version = 2\nauth_pass = "secret"\n' + GOOD)
    files.remember(files.load())
    assert stat.S_IMODE((files.accepted / "web.toml").stat().st_mode) == 0o600
    assert stat.S_IMODE(files.accepted.stat().st_mode) == 0o700


def test_a_file_that_changed_since_it_was_read_is_not_taken_for_what_is_in_force(files: Files) -> None:
    files.write("web.toml", GOOD)
    loading = files.load()
    files.remember(loading)
    files.write("web.toml", CHANGED)
    files.remember(loading)
    assert files.copies() == {"web.toml": GOOD}


def test_copies_of_files_that_are_no_longer_in_force_go(files: Files) -> None:
    files.write("web.toml", GOOD)
    files.write("db.toml", 'virtual_ips = "10.1.0.7"\n')
    loading = files.load()
    files.remember(loading)
    assert set(files.copies()) == {"web.toml", "db.toml"}
    remember([failover for failover in loading.failovers if failover.name == "db"], files.accepted)
    assert set(files.copies()) == {"db.toml"}


def test_the_environments_failover_has_no_copy(files: Files) -> None:
    files.remember(files.load(OPENSHIFT_HA_VIRTUAL_IPS="10.1.0.9"))
    assert files.copies() == {}


def test_a_damaged_copy_is_no_version_to_go_on_as(files: Files) -> None:
    files.write("web.toml", GOOD)
    files.remember(files.load())
    (files.accepted / "web.toml").write_bytes(os.urandom(100))
    files.write("web.toml", BAD)
    assert files.load().failovers == ()


def test_what_is_in_force_serves_on_when_the_directory_cannot_be_listed(files: Files) -> None:
    files.write("web.toml", GOOD)
    files.write("db.toml", 'virtual_ips = "10.1.0.9"\n')
    first = files.load()
    files.remember(Loading(first.failovers[1:], (), frozenset()))  # of one there is an accepted copy
    for path in files.directory.iterdir():
        path.unlink()
    files.directory.rmdir()
    files.directory.write_text("")  # also root cannot list it
    again = load(files.directory, {}, files.accepted, first.failovers)
    assert vips(again) == vips(first)
    assert again.fallback == {"web", "db"}
    assert "cannot be listed" in again.complaints[0].what
    # After a start nothing is in force: what was accepted is.
    assert set(vips(files.load())) == {first.failovers[1].name}


def test_what_is_in_force_serves_on_when_neither_file_nor_copy_can_be_read(files: Files) -> None:
    path = files.write("web.toml", GOOD)
    first = files.load()
    path.write_text(BAD)
    assert vips(load(files.directory, {}, files.accepted, first.failovers)) == {"web": ["10.1.0.1"]}
    path.unlink()
    assert vips(load(files.directory, {}, files.accepted, first.failovers)) == {}
