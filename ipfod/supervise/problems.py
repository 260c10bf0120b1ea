"""The problems that one part of the daemon sees, told to the node only when they change."""

from __future__ import annotations

from collections.abc import Callable

from ipfod.node.events import Event, ProblemsSeen
from ipfod.node.model import Problem, ProblemCode


class ProblemBook:
    """Problems of one scope; a scope has one problem of a code at most."""

    def __init__(self, scope: str, emit: Callable[[Event], None]) -> None:
        self._scope = scope
        self._emit = emit
        self._open: dict[ProblemCode, Problem] = {}

    def raise_(self, code: ProblemCode, object_: str, text: str, hint: str) -> None:
        problem = Problem(code, object_, text, hint)
        if self._open.get(code) != problem:
            self._open[code] = problem
            self._emit(ProblemsSeen(self._scope, tuple(self._open.values())))

    def clear(self, code: ProblemCode | None = None) -> None:
        """The problem of a code is over, or all of them."""
        gone = self._open.keys() if code is None else self._open.keys() & {code}
        if gone:
            self._open = {key: value for key, value in self._open.items() if key not in gone}
            self._emit(ProblemsSeen(self._scope, tuple(self._open.values())))
