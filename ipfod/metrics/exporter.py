"""The daemon's metrics: counted on the event loop, served by a thread that asks the loop, closed at the end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from ipfod.errors import Failed
from ipfod.metrics.listen import VARIABLE, Listen, parse
from ipfod.metrics.snapshot import Snapshot, snapshot
from ipfod.metrics.tally import Tally
from ipfod.node.events import Change, Event, ProblemsSeen
from ipfod.node.model import Problem, ProblemCode
from ipfod.node.node import Node

if TYPE_CHECKING:
    from ipfod.metrics.server import MetricsServer

SCOPE = "metrics"
SNAPSHOT_TIMEOUT_S = 3.0  # a loop that is busy for so long is near the end that its watchdog puts to it
LATER = "then systemctl restart ipfod, which moves no virtual IP"

log = logging.getLogger(__name__)


class Metrics:
    """Owns the server, if there is one. Nothing in here keeps the daemon from its main job."""

    def __init__(self, node: Node, emit: Callable[[Event], None]) -> None:
        self._node = node
        self._emit = emit
        self._tally = Tally()
        self._server: MetricsServer | None = None

    def open(self, value: str) -> None:
        """Serve metrics where `value` says, nowhere if it is empty.

        What is in the way becomes the problem `metrics-failed`: virtual IPs do not wait for it.
        """
        if not value:
            return
        try:
            listen = parse(value)
            self._server = self._serve(listen)
        except Failed as error:
            self._tell(error)
        except Exception as error:  # a fault of ours or of the library: it must not end the start
            log.exception("metrics cannot be served")
            self._tell(Failed(f"metrics cannot be served: {error}", hint=f"take {VARIABLE} away"))
        else:
            log.info("metrics are at http://%s/metrics", listen)

    def take(self, event: Event, changes: tuple[Change, ...]) -> None:
        """Count what the node has taken in."""
        if self._server is not None:
            self._tally.take(event, changes)

    async def close(self) -> None:
        """End the server. May be called without one."""
        if self._server is not None:
            # In a thread: a scrape that is under way waits for this loop.
            await asyncio.to_thread(self._server.close)
            self._server = None

    def _tell(self, error: Failed) -> None:
        problem = Problem(ProblemCode.METRICS_FAILED, VARIABLE, error.text, f"{error.hint}; {LATER}")
        self._emit(ProblemsSeen(SCOPE, (problem,)))

    def _serve(self, listen: Listen) -> MetricsServer:
        """Raises Failed."""
        try:
            # Only now: most nodes have no use for them.
            from ipfod.metrics.collector import NodeCollector
            from ipfod.metrics.server import MetricsServer
        except ImportError as error:
            hint = f"install prometheus_client for {VARIABLE}, or take the variable away"
            raise Failed(f"metrics cannot be served: {error}", hint=hint) from None
        loop = asyncio.get_running_loop()
        try:
            return MetricsServer(listen, NodeCollector(lambda: self._seen_by(loop)))
        except OSError as error:
            hint = f"set {VARIABLE} to an address of this node and a free port from 1024 on"
            raise Failed(f"metrics cannot be served on {listen}: {error.strerror}", hint=hint) from None

    def _seen_by(self, loop: asyncio.AbstractEventLoop) -> Snapshot:
        """A snapshot, taken on the loop and asked for from another thread. Raises Failed."""
        asked = asyncio.run_coroutine_threadsafe(self._look(), loop)
        try:
            return asked.result(SNAPSHOT_TIMEOUT_S)
        except TimeoutError:
            asked.cancel()
            raise Failed("metrics: ipfod is too busy to tell them", hint="see: journalctl -u ipfod") from None

    async def _look(self) -> Snapshot:
        return snapshot(self._node, self._tally)
