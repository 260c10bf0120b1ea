"""Fixtures for tests on booted nodes, and the conditions for running them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from node import browser, image
from node.booted_lab import BootedLab
from node.conditions import impose, need
from node.package import build

HERE = Path(__file__).parent
PROGRAMS = ("debootstrap", "systemd-nspawn", "rpmbuild")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    impose(items, HERE, mark="node", programs=PROGRAMS, is_made=image.is_made())
    need([item for item in items if item.path.match(f"{HERE}/test_cockpit*.py")], browser.PROGRAMS)


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


@pytest.fixture(scope="package")
def packages(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The package, and one of a higher release."""
    return build(tmp_path_factory.mktemp("one"), 1), build(tmp_path_factory.mktemp("two"), 2)


@pytest_asyncio.fixture(loop_scope="session")
async def pair(nodes: BootedLab, packages: tuple[Path, Path]) -> AsyncIterator[BootedLab]:
    """Two nodes with the package installed and nothing of an earlier test."""
    for node in nodes.booted:
        if (await node.run(["rpm", "-q", "ipfod"])).returncode != 0:
            await node.install_rpm(packages[0])
        await node.systemctl("stop", "ipfod")
        await node.systemctl("start", "ipfod-cleanup", check=True)
        await node.run(["sh", "-c", "rm -rf /etc/ipfod/*"], check=True)
        await node.systemctl("reset-failed")
    yield nodes
