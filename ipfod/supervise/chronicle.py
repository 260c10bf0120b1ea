"""Keeps the history on disk, beside the event loop: a disk that hangs or is full holds nothing up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from ipfod import paths
from ipfod.errors import Failed
from ipfod.node import historyfile
from ipfod.node.events import Event, ProblemsSeen
from ipfod.node.model import Problem, ProblemCode, Transition
from ipfod.node.node import HISTORY_LENGTH, Node

SCOPE = "history"
LINES_MAX = 2 * HISTORY_LENGTH  # then the file is written anew, with half of them
RETRY_S = 5.0


class Chronicle:
    """Reads what earlier ipfods have written into the node, and writes what happens from then on."""

    def __init__(self, node: Node, emit: Callable[[Event], None], file: Path = paths.HISTORY) -> None:
        self._node = node
        self._emit = emit
        self._file = file
        self._lines = 0
        self._anew = True  # the file is to be written anew
        self._pending: list[Transition] = []
        self._happened = asyncio.Event()
        self._writing: asyncio.Task[bool] | None = None

    def load(self) -> None:
        """Give the node what there is."""
        found, whole = historyfile.load(self._file, HISTORY_LENGTH)
        self._node.recall(found)
        self._lines, self._anew = len(found), not whole

    def follow(self, change: Transition) -> None:
        """Note a transition; it is on disk a moment later."""
        self._pending.append(change)
        self._happened.set()

    async def watch(self) -> None:
        """Write whenever something has happened, until cancelled."""
        while True:
            await self._happened.wait()
            self._happened.clear()
            if not await self._write():
                await asyncio.sleep(RETRY_S)
                self._happened.set()

    async def aclose(self) -> None:
        """Write the rest."""
        if self._writing is not None:
            await asyncio.wait({self._writing})
        if self._pending:
            await self._write()

    async def _write(self) -> bool:
        """Whether what has happened so far is on disk."""
        new, self._pending = self._pending, []
        anew = self._anew or self._lines + len(new) > LINES_MAX
        if anew:
            new = list(reversed(self._node.history(HISTORY_LENGTH)))
        self._writing = asyncio.create_task(self._to_disk(new, anew), name="history")
        # A thread cannot be ended; `aclose` waits for it.
        return await asyncio.shield(self._writing)

    async def _to_disk(self, transitions: list[Transition], anew: bool) -> bool:
        write = historyfile.save if anew else historyfile.append
        try:
            await asyncio.to_thread(write, self._file, transitions)
        except Failed as error:
            self._anew = True
            hint = "see that it can be written and the disk has room; it is kept in memory and written then"
            problem = Problem(ProblemCode.STATE_DAMAGED, str(self._file), error.text, hint)
            self._emit(ProblemsSeen(SCOPE, (problem,)))
            return False
        self._lines = len(transitions) + (0 if anew else self._lines)
        self._anew = False
        self._emit(ProblemsSeen(SCOPE, ()))
        return True
