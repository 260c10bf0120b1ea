"""From single verdicts to a state: so many in a row before the state changes. Pure."""

from __future__ import annotations

from ipfod.node.model import CheckState


class Hysteresis:
    """Counts verdicts in a row.

    The first verdict of all decides at once, so that a node knows soon where it stands. After that, `rise`
    passing ones in a row turn FAILING into PASSING, and `fall` failing ones turn PASSING into FAILING.
    """

    def __init__(self, *, rise: int, fall: int) -> None:
        """Both are at least 1."""
        self._needed = {CheckState.PASSING: rise, CheckState.FAILING: fall}
        self.state = CheckState.PENDING
        self.count = 0  # verdicts in a row against the state
        self.needed = 1  # how many of them would change it

    def feed(self, passing: bool) -> CheckState:
        """Take a verdict and return the state that follows."""
        said = CheckState.PASSING if passing else CheckState.FAILING
        if said is self.state:
            self.count = 0
            return self.state
        self.needed = 1 if self.state is CheckState.PENDING else self._needed[said]
        self.count += 1
        if self.count >= self.needed:
            self.state, self.count = said, 0
        return self.state
