"""A look that is taken once, a moment after one or many reasons for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Soon:
    """Calls `look` once for some reasons, when the first of them is due. It may give the next reason itself."""

    def __init__(self, look: Callable[[], None]) -> None:
        self._look = look
        self._timer: asyncio.TimerHandle | None = None

    def within(self, delay_s: float) -> None:
        """There is a reason. One look is enough for all: it comes when the first of them is due."""
        loop = asyncio.get_running_loop()
        if self._timer is not None and self._timer.when() <= loop.time() + delay_s:
            return
        self.cancel()
        self._timer = loop.call_later(delay_s, self._due)

    def cancel(self) -> None:
        """Look no more; may be called again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _due(self) -> None:
        self._timer = None
        self._look()
