"""Fixtures for tests on booted nodes, and the conditions for running them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from node import image
from node.booted_lab import BootedLab
from node.conditions import impose

HERE = Path(__file__).parent
PROGRAMS = ("debootstrap", "systemd-nspawn", "rpmbuild")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    impose(items, HERE, mark="node", programs=PROGRAMS, is_made=image.is_made())


@pytest.fixture(scope="session")
def node_image() -> Path:
    """The root file system of booted nodes; a minute's work on a machine that has none yet."""
    return image.image()


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def nodes(node_image: Path) -> AsyncIterator[BootedLab]:
    """Two booted nodes and a client on one switch, the same for all tests of this directory."""
    # Not for the session: tests elsewhere may see to it that this process has no children.
    async with BootedLab(image=node_image) as lab:
        yield lab
