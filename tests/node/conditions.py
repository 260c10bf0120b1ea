"""What tests that share something booted have in common: event loop, time, and what the machine must offer."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
import pytest_asyncio

from node.image import TIMEOUT_S

FIRST_TIMEOUT_S = 3 * TIMEOUT_S  # of a test that has to make first what is cached afterwards, or to wait for it


def impose(
    items: Iterable[pytest.Item], directory: Path, *, mark: str, programs: Sequence[str], is_made: bool
) -> None:
    """Mark the tests below a directory: they run on the session's event loop, where what they share lives.

    They are skipped without root or one of the programs, and have time while what they need is to be made yet.
    """
    mine = [item for item in items if item.path.is_relative_to(directory)]
    for item in mine:
        item.add_marker(mark)
        if pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
        if not is_made:
            item.add_marker(pytest.mark.timeout(FIRST_TIMEOUT_S))
        if os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason="needs root"))
    need(mine, programs)


def need(items: Iterable[pytest.Item], programs: Sequence[str]) -> None:
    """Skip tests where one of these programs is not installed."""
    if missing := [program for program in programs if shutil.which(program) is None]:
        for item in items:
            item.add_marker(pytest.mark.skip(reason=f"needs {' and '.join(missing)}"))
