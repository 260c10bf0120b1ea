"""The lines that the journal gets."""

from __future__ import annotations

import logging

import pytest

from ipfod.journal import tell
from ipfod.node.events import Event, MaintenanceOrdered, ProblemsSeen
from ipfod.node.model import Problem, ProblemCode
from ipfod.node.node import Node
from ipfod.node.orders import Maintenance


@pytest.mark.parametrize(
    ("events", "lines"),
    [
        (
            [MaintenanceOrdered(Maintenance("disk", 0, 1)), MaintenanceOrdered(None)],
            [
                "maintenance: disk: this node holds no group until it is over",
                "maintenance is over: this node takes part again",
            ],
        ),
        (
            [ProblemsSeen("x", (Problem(ProblemCode.CHECK_FAILING, "web", "port 80 refused", "mend it"),))],
            ["check-failing: web: port 80 refused (mend it)"],
        ),
        (
            [
                ProblemsSeen("x", (Problem(ProblemCode.VIP_MISSING, "web", "web: no node serves it", ""),)),
                ProblemsSeen("x", ()),
            ],
            ["vip-missing: web: no node serves it", "vip-missing is over: web"],
        ),
    ],
)
def test_what_an_administrator_reads_later(
    events: list[Event], lines: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    node = Node("node1")
    for event in events:
        assert all(tell(change, node) for change in node.apply(event, 1))
    assert [record.getMessage() for record in caplog.records] == lines
