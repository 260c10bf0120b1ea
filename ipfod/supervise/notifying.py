"""What becomes of the notify script of a failover: the problem that it fails."""

from __future__ import annotations

from collections.abc import Callable

from ipfod.config.model import Failover
from ipfod.keepalived.notify import sentence
from ipfod.node.events import Event
from ipfod.node.model import ProblemCode
from ipfod.supervise.problems import ProblemBook


class NotifyWatch:
    """Raises `script-failing` when a run of the script fails, until one for the same group ends well."""

    def __init__(self, name: str, emit: Callable[[Event], None]) -> None:
        self._name = name
        self._problems = ProblemBook(f"notify script of {name}", emit)
        self._failing: set[str] = set()

    def ended(self, failover: Failover, instance: str, status: int) -> None:
        """A run for a VRRP instance has ended."""
        if failover.notify_script is None:  # a late word of one that is no longer configured
            self.forget()
        elif text := sentence(status):
            self._failing.add(instance)
            hint = "correct it; ipfod has done its part all the same, and runs it again at the next change"
            said = f"notify script {failover.notify_script} {text} ({instance})"
            self._problems.raise_(ProblemCode.SCRIPT_FAILING, f"{self._name} notify_script", said, hint)
        else:
            self._failing.discard(instance)
            if not self._failing:
                self._problems.clear()

    def forget(self) -> None:
        """There is no such script any more, or another one."""
        self._failing.clear()
        self._problems.clear()
