"""The systemd units, judged by systemd itself."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

UNITS = sorted((Path(__file__).parents[2] / "systemd").glob("*.service"))


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_finds_nothing_wrong_with_a_unit(unit: Path, tmp_path: Path) -> None:
    copy = tmp_path / unit.name
    # The program is where the package puts it, not in a checkout.
    copy.write_text(re.sub(r"/usr/bin/ipfo\w+", "/bin/true", unit.read_text()))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True, check=False
    )
    complaints = [line for line in done.stderr.splitlines() if unit.name in line]
    assert complaints == []
    assert done.returncode == 0, done.stderr


def test_there_are_units() -> None:
    assert {unit.name for unit in UNITS} == {
        "ipfod.service",
        "ipfod-cleanup.service",
        "ipfod-keepalived@.service",
    }
