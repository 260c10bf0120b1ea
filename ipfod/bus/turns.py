"""Big answers in small steps, one at a time, so that nobody who asks for them holds up a failover."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
Steps = Generator[None, None, T]  # yields where it may be interrupted; returns the result

STEPS_PER_TURN = 64  # some 2 ms between two looks at what else there is to do


class Turns:
    """The queue of those who wait for a big answer."""

    def __init__(self) -> None:
        self._busy = asyncio.Lock()

    async def run(self, steps: Steps[T]) -> T:
        """The result of `steps`, with a turn of the event loop after every few of them.

        None comes between the last step and the return: what was true at that step is true still.
        """
        result: list[T] = []

        def stepping() -> Generator[None, None, None]:
            result.append((yield from steps))

        running = stepping()
        async with self._busy:
            while True:
                for _ in islice(running, STEPS_PER_TURN):
                    pass
                if result:
                    return result[0]
                await asyncio.sleep(0)
