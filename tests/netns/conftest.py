"""Fixtures for tests that need root: nodes in network namespaces."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest

from ipfod.lab.lab import Lab


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs root."""
    here = os.path.dirname(__file__) + os.sep
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker(pytest.mark.netns)
            if os.geteuid() != 0:
                item.add_marker(pytest.mark.skip(reason="needs root"))


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    """Three nodes and a client on one switch; nothing runs on the nodes but their system bus."""
    async with Lab(nodes=3) as lab:
        yield lab


@pytest.fixture
async def pair() -> AsyncIterator[Lab]:
    """Two nodes and a client on one switch; nothing runs on the nodes but their system bus."""
    async with Lab(nodes=2) as lab:
        yield lab
