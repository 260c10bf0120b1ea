"""The state file survives a round trip, and whatever happens to it is reported and never fatal."""

from __future__ import annotations

import json
import os
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plans import ipv4_addresses, ipv6_addresses

from ipfod.addresses import InterfaceAddress
from ipfod.errors import Failed
from ipfod.node.statefile import SIZE_MAX_BYTES, Taken, damaged, load, save

BOOT = "5f0c" * 8
TAKEN = Taken(
    virtual_ips={
        "web": (
            InterfaceAddress("eth0", ip_address("10.1.0.1"), 32),
            InterfaceAddress("br-ex", ip_address("fd00::1:1"), 128),
        ),
        "db": (),
    },
    anchors={"web": {11: ip_address("10.1.0.1"), 12: ip_address("fd00::1:1")}, "db": {}},
    modules=("ip_vs",),
    zone_rules=(("public", 'rule priority="-112" family="ipv4" protocol value="112" accept'),),
)

names = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
entries = st.builds(
    InterfaceAddress, st.sampled_from(["eth0", "br-ex", "a" * 15]), ipv4_addresses(), st.integers(0, 32)
) | st.builds(InterfaceAddress, st.just("eth0"), ipv6_addresses(), st.integers(0, 128))
anchors = st.dictionaries(st.integers(1, 255), ipv4_addresses() | ipv6_addresses(), max_size=5)
takens = st.builds(
    Taken,
    virtual_ips=st.dictionaries(names, st.lists(entries, max_size=5).map(tuple), max_size=4),
    anchors=st.dictionaries(names, anchors, max_size=4),
    modules=st.lists(names, max_size=3).map(tuple),
    zone_rules=st.lists(st.tuples(st.text(max_size=9), st.text(max_size=9)), max_size=3).map(tuple),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lib" / "state.json"


@pytest.fixture(scope="module")
def anywhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file for all examples of a property."""
    return tmp_path_factory.mktemp("state") / "state.json"


def document() -> dict[str, Any]:
    return {
        "version": 1,
        "virtual_ips": {"web": [["eth0", "10.1.0.1", 32]]},
        "anchors": {"web": {"11": "10.1.0.1"}},
        "modules": ["ip_vs"],
    }


@contextmanager
def nobody() -> Iterator[None]:
    """Run as a user who may not do everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


# ---------------------------------------------------------------- good files


def test_what_was_saved_is_loaded_again(path: Path) -> None:
    save(path, TAKEN, BOOT)
    assert load(path, BOOT) == (TAKEN, "")


@settings(deadline=None)
@given(taken=takens)
def test_everything_survives_the_round_trip(taken: Taken, anywhere: Path) -> None:
    save(anywhere, taken, BOOT)
    assert load(anywhere, BOOT) == (taken, "")


def test_a_missing_file_is_an_empty_one_and_no_damage(path: Path) -> None:
    assert load(path, BOOT) == (Taken(), "")


def test_a_file_of_an_ipfod_that_knew_no_firewalld_is_no_damage(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document()))
    taken, damage = load(path, BOOT)
    assert (taken.modules, taken.zone_rules, damage) == (("ip_vs",), (), "")


def test_the_file_and_its_directory_are_for_root_only(path: Path) -> None:
    before = os.umask(0)
    try:
        save(path, TAKEN, BOOT)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_file_that_everybody_could_read_is_replaced_by_a_closed_one(path: Path) -> None:
    save(path, Taken(), BOOT)
    path.chmod(0o666)
    save(path, TAKEN, BOOT)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_only_the_file_itself_is_left_behind(path: Path) -> None:
    save(path, TAKEN, BOOT)
    save(path, Taken(), BOOT)
    assert [entry.name for entry in path.parent.iterdir()] == ["state.json"]


def test_the_file_is_replaced_and_never_written_in_place(path: Path) -> None:
    save(path, TAKEN, BOOT)
    with open(path) as before:
        save(path, Taken(), BOOT)
        assert json.loads(before.read())["modules"] == ["ip_vs"]
    assert load(path, BOOT) == (Taken(), "")


def test_20000_vips_are_read_back(path: Path) -> None:
    many = tuple(InterfaceAddress("eth0", ip_address(0xFD << 120 | n), 128) for n in range(20_000))
    save(path, Taken(virtual_ips={"web": many}), BOOT)
    assert path.stat().st_size < SIZE_MAX_BYTES * 20_000 / 65536
    assert load(path, BOOT)[0].virtual_ips["web"] == many


# ---------------------------------------------------------------- damaged files


def assert_set_aside(path: Path, content: bytes) -> None:
    taken, damage = load(path, BOOT)
    assert taken == Taken()
    assert damage.startswith(f"{path} was damaged (")
    assert damage.endswith(f"it is now {damaged(path)}")
    assert not path.exists()
    assert damaged(path).read_bytes() == content
    assert load(path, BOOT) == (Taken(), "")  # said once


def test_a_file_cut_off_at_any_length_is_set_aside_and_reported(path: Path) -> None:
    save(path, TAKEN, BOOT)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert_set_aside(path, whole[:length])


@settings(deadline=None)
@given(content=st.binary(max_size=200))
def test_random_bytes_are_set_aside_and_reported(content: bytes, anywhere: Path) -> None:
    anywhere.write_bytes(content)
    assert_set_aside(anywhere, content)


@settings(deadline=None)
@given(data=st.data())
def test_a_file_with_some_bytes_changed_is_never_fatal(data: st.DataObject, anywhere: Path) -> None:
    save(anywhere, TAKEN, BOOT)
    content = bytearray(anywhere.read_bytes())
    for position in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=5)):
        content[position] = data.draw(st.integers(0, 255))
    anywhere.write_bytes(content)
    taken, damage = load(anywhere, BOOT)
    assert anywhere.exists() is not bool(damage)
    if damage:
        assert taken == Taken()
    else:
        save(anywhere, taken, BOOT)  # whatever was believed can be written down again
        assert load(anywhere, BOOT) == (taken, "")


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(list(document())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(value=json_values, key=st.sampled_from([None, "version", "virtual_ips", "anchors", "modules"]))
def test_any_other_json_is_never_fatal(value: Any, key: str | None, anywhere: Path) -> None:
    anywhere.write_text(json.dumps(value if key is None else document() | {key: value}))
    taken, damage = load(anywhere, BOOT)
    assert isinstance(taken, Taken)
    assert anywhere.exists() is not bool(damage)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("version", 2),
        ("version", "1"),
        ("version", None),
        ("virtual_ips", [["eth0", "10.1.0.1", 32]]),
        ("virtual_ips", {"web": [["eth0", "10.1.0.1"]]}),
        ("virtual_ips", {"web": [["eth0", "10.1.0.1", "32"]]}),
        ("virtual_ips", {"web": [["eth0", "10.1.0.1", 33]]}),
        ("virtual_ips", {"web": [["eth0", "10.1.0.1", -1]]}),
        ("virtual_ips", {"web": [["eth0", "fd00::1", 129]]}),
        ("virtual_ips", {"web": [["eth0", "10.1.0", 32]]}),
        ("virtual_ips", {"web": [["eth0", 167837697, 32]]}),
        ("virtual_ips", {"web": [["", "10.1.0.1", 32]]}),
        ("virtual_ips", {"web": [["eth0\0", "10.1.0.1", 32]]}),
        ("virtual_ips", {"web": [["a" * 16, "10.1.0.1", 32]]}),
        ("virtual_ips", {"web": [None]}),
        ("virtual_ips", {"../../etc": []}),
        ("virtual_ips", {"": []}),
        ("anchors", {"web": {"11": "10.1.0"}}),
        ("anchors", {"web": {"11": 7}}),
        ("anchors", {"web": {"eleven": "10.1.0.1"}}),
        ("anchors", {"a/b": {}}),
        ("anchors", {"web": []}),
        ("modules", "ip_vs"),
        ("modules", ["/tmp/evil.ko"]),
        ("modules", [None]),
        ("modules", None),
    ],
)
def test_values_that_were_never_written_are_damage(path: Path, key: str, value: object) -> None:
    path.parent.mkdir()
    content = json.dumps(document() | {key: value}).encode()
    path.write_bytes(content)
    assert_set_aside(path, content)


@pytest.mark.parametrize("key", ["version", "virtual_ips", "anchors", "modules"])
def test_a_missing_part_is_damage(path: Path, key: str) -> None:
    path.parent.mkdir()
    content = json.dumps({name: value for name, value in document().items() if name != key}).encode()
    path.write_bytes(content)
    assert_set_aside(path, content)


def test_brackets_without_end_are_damage(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"[" * 100_000)
    assert_set_aside(path, b"[" * 100_000)


def test_a_huge_file_is_not_read_to_its_end(path: Path) -> None:
    path.parent.mkdir()
    with open(path, "wb") as file:
        file.truncate(1 << 40)  # a hole: it takes no space
    taken, damage = load(path, BOOT)
    assert taken == Taken()
    assert "too large" in damage


def test_a_damaged_file_that_was_set_aside_before_is_replaced(path: Path) -> None:
    path.parent.mkdir()
    for content in (b"first", b"second"):
        path.write_bytes(content)
        assert_set_aside(path, content)


def test_a_damaged_file_that_cannot_be_set_aside_is_reported_as_such(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"{")
    damaged(path).mkdir()
    (damaged(path) / "full").touch()
    taken, damage = load(path, BOOT)
    assert taken == Taken()
    assert "cannot be set aside" in damage
    assert path.read_bytes() == b"{"


# ---------------------------------------------------------------- the file system


def test_a_file_that_may_not_be_read_is_reported_and_stays(path: Path) -> None:
    save(path, TAKEN, BOOT)
    path.chmod(0)
    with nobody():
        taken, damage = load(path, BOOT)
    assert taken == Taken()
    assert damage == f"{path} cannot be read: Permission denied"
    path.chmod(0o600)
    assert load(path, BOOT) == (TAKEN, "")


def test_a_directory_that_may_not_be_written_is_an_error(path: Path) -> None:
    path.parent.mkdir(mode=0o500)
    with nobody(), pytest.raises(Failed, match="cannot be written: Permission denied"):
        save(path, TAKEN, BOOT)


def test_a_directory_in_its_place_is_reported(path: Path) -> None:
    (path / "inside").mkdir(parents=True)
    before = len(os.listdir("/proc/self/fd"))
    assert load(path, BOOT) == (Taken(), f"{path} cannot be read: Is a directory")
    assert len(os.listdir("/proc/self/fd")) == before
    with pytest.raises(Failed, match="cannot be written: Is a directory"):
        save(path, TAKEN, BOOT)


def test_a_file_where_the_directory_should_be_is_reported(path: Path) -> None:
    path.parent.write_text("")
    assert load(path, BOOT) == (Taken(), f"{path} cannot be read: Not a directory")
    with pytest.raises(Failed, match="cannot be written"):
        save(path, TAKEN, BOOT)


def test_a_fifo_in_its_place_does_not_hang_and_is_set_aside(path: Path) -> None:
    path.parent.mkdir()
    os.mkfifo(path)
    taken, damage = load(path, BOOT)
    assert taken == Taken()
    assert "was damaged" in damage
    assert not path.exists()


def test_a_symbolic_link_is_replaced_and_what_it_leads_to_is_not_touched(path: Path) -> None:
    path.parent.mkdir()
    other = path.parent / "other"
    other.write_text("precious")
    path.symlink_to(other)
    save(path, TAKEN, BOOT)
    assert not path.is_symlink()
    assert other.read_text() == "precious"
    assert load(path, BOOT) == (TAKEN, "")


def test_a_symbolic_link_to_something_else_is_set_aside_and_not_what_it_leads_to(path: Path) -> None:
    path.parent.mkdir()
    other = path.parent / "other"
    other.write_text("precious")
    path.symlink_to(other)
    assert "was damaged" in load(path, BOOT)[1]
    assert other.read_text() == "precious"


def test_a_symbolic_link_that_leads_in_a_circle_is_set_aside(path: Path) -> None:
    path.parent.mkdir()
    path.symlink_to(path)
    assert "was damaged (it is no regular file)" in load(path, BOOT)[1]


def test_a_symbolic_link_in_place_of_the_temporary_file_is_not_followed(path: Path) -> None:
    path.parent.mkdir()
    other = path.parent / "other"
    other.write_text("precious")
    path.with_name("state.json.new").symlink_to(other)
    save(path, TAKEN, BOOT)
    assert other.read_text() == "precious"
    assert load(path, BOOT) == (TAKEN, "")


def test_a_link_to_a_state_that_could_be_believed_is_not_believed(path: Path) -> None:
    planted = path.parent / "planted"
    save(planted, TAKEN, BOOT)
    path.symlink_to(planted)
    taken, damage = load(path, BOOT)
    assert taken == Taken()
    assert "was damaged (it is no regular file)" in damage


def test_a_full_disk_leaves_the_old_file_in_force(path: Path) -> None:
    save(path, TAKEN, BOOT)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, before[1]))
    try:
        with pytest.raises(Failed, match="cannot be written: File too large"):
            save(path, Taken(modules=("m" * 60,)), BOOT)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert load(path, BOOT) == (TAKEN, "")
    save(path, Taken(), BOOT)  # and what was left of the failed one is in nobody's way
    assert load(path, BOOT) == (Taken(), "")
