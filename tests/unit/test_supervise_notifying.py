"""The problem that a notify script fails."""

from __future__ import annotations

from plans import failover

from ipfod.node.events import Event, ProblemsSeen
from ipfod.supervise.notifying import NotifyWatch

WITH = failover('virtual_ips = "10.1.0.1-2"\nnotify_script = "/etc/ipfod/notify.sh"')
WITHOUT = failover('virtual_ips = "10.1.0.1-2"')


class Told:
    def __init__(self) -> None:
        self.events: list[Event] = []
        self.watch = NotifyWatch("web", self.events.append)

    def now(self) -> list[tuple[str, str, str]]:
        """Code, object and text of what is wrong now."""
        if not self.events:
            return []
        last = self.events[-1]
        assert isinstance(last, ProblemsSeen)
        return [(each.code, each.object, each.text) for each in last.problems]


def test_a_failing_run_is_a_problem_until_one_for_the_same_group_ends_well() -> None:
    told = Told()
    told.watch.ended(WITH, "web_VIP_1", 0)
    assert told.events == []
    told.watch.ended(WITH, "web_VIP_1", 3)
    text = "notify script /etc/ipfod/notify.sh ended with status 3 (web_VIP_1)"
    assert told.now() == [("script-failing", "web notify_script", text)]
    told.watch.ended(WITH, "web_VIP_2", 0)
    assert told.now() != []
    told.watch.ended(WITH, "web_VIP_1", 0)
    assert told.now() == []


def test_a_script_that_is_no_longer_configured_is_no_problem() -> None:
    told = Told()
    told.watch.ended(WITH, "web_VIP_1", 124)
    assert "30 s" in told.now()[0][2]
    told.watch.ended(WITHOUT, "web_VIP_1", 124)
    assert told.now() == []
