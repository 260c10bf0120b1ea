"""What every test may rely on, and fixtures for those that need root: nodes in network namespaces."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator

import pytest

from ipfod.lab.lab import Lab

# A shell that runs the tests in the background has SIGINT ignored, and the programs that tests start and
# interrupt would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

NETNS = os.path.join(os.path.dirname(__file__), "netns") + os.sep


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in netns/ needs root."""
    for item in items:
        if str(item.path).startswith(NETNS):
            item.add_marker(pytest.mark.netns)
            if os.geteuid() != 0:
                item.add_marker(pytest.mark.skip(reason="needs root"))


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    """Three nodes and a client on one switch; nothing runs on the nodes but their system bus."""
    async with Lab(nodes=3) as lab:
        yield lab


@pytest.fixture
async def single() -> AsyncIterator[Lab]:
    """One node and a client on one switch; nothing runs on the node but its system bus."""
    async with Lab(nodes=1) as lab:
        yield lab


@pytest.fixture
async def pair() -> AsyncIterator[Lab]:
    """Two nodes and a client on one switch; nothing runs on the nodes but their system bus."""
    async with Lab(nodes=2) as lab:
        yield lab
