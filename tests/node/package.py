"""The RPM, built from this checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def build(directory: Path, release: int = 1) -> Path:
    """Build it in a directory; answers its path."""
    done = subprocess.run(
        [ROOT / "packaging/rpm.sh", directory, str(release)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PIP": str(Path(sys.executable).with_name("pip"))},
    )
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.splitlines()[0])  # on Fedora the policy module's comes after it
