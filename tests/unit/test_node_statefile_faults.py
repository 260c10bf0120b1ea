"""What is wrong with a damaged state file, as an administrator reads it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ipfod.node.statefile import damaged, load


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "it is not JSON: Expecting value: line 1 column 1 (char 0)"),
        (b"{}", "it has no 'version'"),
        (b"[]", "it is not built as ipfod writes it"),
        (b'{"version": 2}', "it is of version 2, known is 1"),
        (b'{"version": 1, "modules": [], "virtual_ips": {"web": [[1]]}}', "it is not built as ipfod writes it"),
    ],
)
def test_what_is_damaged_is_said_for_people(tmp_path: Path, content: bytes, fault: str) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(content)
    assert load(path, "boot")[1] == f"{path} was damaged ({fault}); it is now {damaged(path)}"


def test_a_fault_is_no_longer_than_a_line(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_text(json.dumps({"version": "9" * 100_000}))
    assert len(load(path, "boot")[1]) < 500
