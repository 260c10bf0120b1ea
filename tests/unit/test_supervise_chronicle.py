"""The history on disk follows the node's, also when it could not be written for a while."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from plans import planned

from ipfod.node.events import Event, InstanceReported, PlanApplied
from ipfod.node.historyfile import load
from ipfod.node.model import ProblemCode, State, Transition
from ipfod.node.node import HISTORY_LENGTH, Node
from ipfod.supervise import chronicle as under_test
from ipfod.supervise.chronicle import LINES_MAX, Chronicle

PATIENCE_S = 10.0


class Life:
    """One ipfod's life: a node whose one group changes its state, and its chronicle."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.node = Node("node1")
        self.chronicle = Chronicle(self.node, self.apply, file)
        self.chronicle.load()
        self.apply(PlanApplied(planned('name = "web"\nvirtual_ips = "10.1.0.1"')))

    def apply(self, event: Event) -> None:
        for change in self.node.apply(event, 1):
            if isinstance(change, Transition):
                self.chronicle.follow(change)

    def change(self, times: int) -> None:
        status = next(iter(self.node.groups.values()))
        for _ in range(times):
            state = State.BACKUP if status.state is State.MASTER else State.MASTER
            self.apply(InstanceReported("web", "web_VIP_1", state, 100))
            [status] = self.node.groups.values()

    @property
    def on_disk(self) -> tuple[Transition, ...]:
        return load(self.file, LINES_MAX)[0]

    @property
    def known(self) -> tuple[Transition, ...]:
        return self.node.history(HISTORY_LENGTH)[::-1]

    async def written(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while self.on_disk[-len(self.known) :] != self.known:
                await asyncio.sleep(0.01)


@asynccontextmanager
async def life(file: Path) -> AsyncIterator[Life]:
    living = Life(file)
    watch = asyncio.create_task(living.chronicle.watch())
    yield living
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)
    await living.chronicle.aclose()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "lib" / "history"


async def test_what_happens_is_on_disk_a_moment_later_and_known_to_the_next(file: Path) -> None:
    async with life(file) as first:
        first.change(3)
        await first.written()
    async with life(file) as second:
        assert second.known == first.known
        second.change(2)
        await second.written()
    assert second.known[:3] == first.known
    assert len(Life(file).known) == 5


async def test_what_happens_at_the_very_end_is_written(file: Path) -> None:
    async with life(file) as first:
        first.change(3)
    assert first.on_disk == first.known


async def test_the_file_keeps_within_bounds(file: Path) -> None:
    async with life(file) as living:
        for _ in range(5):
            living.change(700)
            await living.written()
            assert HISTORY_LENGTH <= len(living.on_disk) + 300 <= LINES_MAX + 300
    assert Life(file).known == living.known


async def test_a_file_that_cannot_be_written_is_a_problem_until_it_can(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "RETRY_S", 0.05)
    file.parent.write_text("in the way")
    async with life(file) as living:
        living.change(2)
        async with asyncio.timeout(PATIENCE_S):
            while not living.node.problems:
                await asyncio.sleep(0.01)
        [problem] = living.node.problems
        assert (problem.code, problem.object) == (ProblemCode.STATE_DAMAGED, str(file))
        living.change(2)
        file.parent.unlink()
        await living.written()
        async with asyncio.timeout(PATIENCE_S):
            while living.node.problems:
                await asyncio.sleep(0.01)
    assert len(living.on_disk) == 4


async def test_a_file_with_half_a_line_is_written_anew(file: Path) -> None:
    async with life(file) as first:
        first.change(2)
    file.write_text(file.read_text() + '{"usec": 1')
    async with life(file) as second:
        second.change(1)
    assert load(file, LINES_MAX) == (second.known, True)
    assert len(second.known) == 3
