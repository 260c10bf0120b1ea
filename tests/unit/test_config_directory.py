"""Files, directories and the environment: what is read, what is skipped, and that nothing blocks or leaks."""

from __future__ import annotations

import os
from pathlib import Path

from ipfod.config.load import ENVIRONMENT, FILE_MAX, load_directory, load_environment, load_file
from ipfod.config.model import Source


def test_a_file_is_named_by_its_stem_and_read_by_its_suffix(tmp_path: Path) -> None:
    (tmp_path / "web.toml").write_text('virtual_ips = "1.1.1.1"')
    (tmp_path / "db.env").write_text("OPENSHIFT_HA_VIRTUAL_IPS=1.1.1.2")
    (tmp_path / "web.conf").write_text("")
    for name in ("web.toml", "db.env"):
        failover, complaints = load_file(tmp_path / name)
        assert complaints == ()
        assert failover is not None
        assert (failover.name, failover.source.file) == (Path(name).stem, str(tmp_path / name))
    failover, (complaint,) = load_file(tmp_path / "web.conf")
    assert failover is None
    assert str(complaint) == f"{tmp_path}/web.conf:1: file: has an unknown suffix; .toml or .env"


def test_what_is_no_readable_file_is_complained_of_and_nothing_blocks(tmp_path: Path) -> None:
    (tmp_path / "directory.toml").mkdir()
    os.mkfifo(tmp_path / "fifo.toml")
    (tmp_path / "dangling.toml").symlink_to(tmp_path / "nothing")
    (tmp_path / "loop.toml").symlink_to(tmp_path / "loop.toml")
    (tmp_path / "device.toml").symlink_to("/dev/zero")
    (tmp_path / "large.toml").write_bytes(b"#" * (FILE_MAX + 1))
    expected = {
        "directory.toml": "is not a regular file; a regular file that can be read",
        "fifo.toml": "is not a regular file; a regular file that can be read",
        "dangling.toml": "cannot be read: No such file or directory; a regular file that can be read",
        "loop.toml": "cannot be read: Too many levels of symbolic links; a regular file that can be read",
        "device.toml": "is not a regular file; a regular file that can be read",
        "large.toml": "is too large; at most 1048576 bytes",
    }
    descriptors = len(os.listdir("/proc/self/fd"))
    for name, fault in expected.items():
        failover, (complaint,) = load_file(tmp_path / name)
        assert failover is None
        assert str(complaint) == f"{tmp_path}/{name}:1: file: {fault}"
    assert load_file(Path("/nowhere/a\0b.toml"))[0] is None
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_a_file_name_of_any_bytes_is_shown_on_one_line(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/a\xff\n\x1b.toml"
    with open(path, "wb") as file:
        file.write(b'virtual_ips = "1.1.1.1"')
    loaded_directory = load_directory(tmp_path, {})
    (complaint,) = loaded_directory.complaints
    assert str(complaint).isprintable()
    assert complaint.key == "name"
    assert complaint.file == f"{tmp_path}/a\\xff\\n\\x1b.toml"


def test_a_directory_is_read_by_name_without_hidden_files_and_leftovers(tmp_path: Path) -> None:
    for number, name in enumerate(
        ["c.toml", "a.toml", "B.toml", ".hidden.toml", ".#a.toml", "a.toml~", "#a.toml#"]
    ):
        (tmp_path / name).write_text(f'virtual_ips = "1.1.1.{number + 1}"')
    (tmp_path / "b.env").write_text("OPENSHIFT_HA_VIRTUAL_IPS=1.1.1.9")
    (tmp_path / "a.toml.rpmsave").write_text("nonsense")
    (tmp_path / "README").write_text("nonsense")
    found = load_directory(tmp_path, {"OPENSHIFT_HA_VIRTUAL_IPS": "1.1.1.10", "PATH": "/bin"})
    assert found.complaints == ()
    assert [failover.name for failover in found.failovers] == ["B", "a", "b", "c", "ipfailover"]
    assert [path.name for path in found.files] == ["B.toml", "a.toml", "b.env", "c.toml"]
    assert found.failovers[-1].source == Source(ENVIRONMENT, {"virtual_ips": 1})


def test_a_bad_file_does_not_stop_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("nonsense")
    (tmp_path / "b.toml").write_text('virtual_ips = "1.1.1.1"')
    (tmp_path / "c.toml").write_bytes(b"\xff")
    (tmp_path / "d.env").write_text("OPENSHIFT_HA_VIRTUAL_IPS=1.1.1.2")
    found = load_directory(tmp_path, {"OPENSHIFT_HA_VIRTUAL_IPS": "x"})
    assert [failover.name for failover in found.failovers] == ["b", "d"]
    assert [Path(complaint.file).name for complaint in found.complaints] == ["a.toml", "c.toml", ENVIRONMENT]
    assert [path.name for path in found.files] == ["a.toml", "b.toml", "c.toml", "d.env"]


def test_two_files_with_one_name_are_an_error_that_names_both(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('virtual_ips = "1.1.1.1"\nname = "web"')
    (tmp_path / "b.env").write_text("OPENSHIFT_HA_VIRTUAL_IPS=1.1.1.2\nOPENSHIFT_HA_CONFIG_NAME=web")
    (tmp_path / "web.toml").write_text('virtual_ips = "1.1.1.3"')
    found = load_directory(tmp_path, {"OPENSHIFT_HA_VIRTUAL_IPS": "1.1.1.4", "OPENSHIFT_HA_CONFIG_NAME": "web"})
    assert [failover.source.file for failover in found.failovers] == [f"{tmp_path}/a.toml"]
    already = f'"web" is the name of the failover in {tmp_path}/a.toml already; a name of its own: '
    assert [
        str(complaint).startswith(expected)
        for complaint, expected in zip(
            found.complaints,
            [
                f"{tmp_path}/b.env:2: OPENSHIFT_HA_CONFIG_NAME: {already}",
                f"{tmp_path}/web.toml:1: name: {already}",
                f"environment:1: OPENSHIFT_HA_CONFIG_NAME: {already}",
            ],
            strict=True,
        )
    ] == [True, True, True]


def test_a_missing_directory_is_empty_and_what_is_none_is_complained_of(tmp_path: Path) -> None:
    missing = load_directory(tmp_path / "missing", {})
    assert (missing.failovers, missing.complaints, missing.files) == ((), (), ())
    (tmp_path / "file").write_text("")
    (complaint,) = load_directory(tmp_path / "file", {}).complaints
    assert (
        str(complaint)
        == f"{tmp_path}/file:1: file: cannot be listed: Not a directory; a directory that can be read"
    )


def test_the_environment_alone_may_define_a_failover(tmp_path: Path) -> None:
    assert load_environment({"PATH": "/bin"}) is None
    result = load_environment({"OPENSHIFT_HA_VIRTUAL_IPS": "1.1.1.1-2", "HA_EXCLUDED_VRRP_IDS": "12 13"})
    assert result is not None
    failover, complaints = result
    assert complaints == ()
    assert failover is not None
    assert (failover.name, failover.excluded_vrrp_ids) == ("ipfailover", (12, 13))


def test_an_environment_without_virtual_ips_is_an_error_if_anything_else_is_set() -> None:
    result = load_environment({"OPENSHIFT_HA_MONITOR_PORT": "80", "OPENSHIFT_HA_TYPO": "\udcff"})
    assert result is not None
    failover, complaints = result
    assert failover is None
    assert [str(complaint).split("; ")[0] for complaint in complaints] == [
        "environment:1: OPENSHIFT_HA_TYPO: is no known variable",
        "environment:1: OPENSHIFT_HA_VIRTUAL_IPS: is not set",
    ]
