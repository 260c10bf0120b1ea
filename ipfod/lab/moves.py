"""The four ways in which virtual IPs come to move, as the demonstration plays them."""

from __future__ import annotations

import signal

from ipfod.config.model import Failover
from ipfod.lab.node import Node
from ipfod.lab.rehearsal import Move, Rehearsal
from ipfod.lab.theory import Timers


async def _stop_ipfod(_: Rehearsal, node: Node) -> None:
    await node.kill_ipfod(signal.SIGTERM)


async def _start_ipfod(_: Rehearsal, node: Node) -> None:
    await node.start_ipfod()


async def _stop_service(rehearsal: Rehearsal, node: Node) -> None:
    await node.stop_service(rehearsal.failover.monitor_port)


async def _start_service(rehearsal: Rehearsal, node: Node) -> None:
    await node.start_service(rehearsal.failover.monitor_port)


async def _kill_keepalived(_: Rehearsal, node: Node) -> None:
    await node.kill("keepalived", signal.SIGKILL)


async def _lose_node(_: Rehearsal, node: Node) -> None:
    # The cable first: a kernel that goes down takes a moment, in which it would still answer the client.
    await node.unplug()
    await node.power_cut()


# With default settings a peer of priority 242 takes over: theory says 6, 9, 9 and 306 ms. With the allowances
# that stays below the 15, 30, 30 and 400 ms that ipfod's users may count on. What is promised has the meter's
# resolution on top.
PLANNED = Move("planned: SIGTERM to ipfod", _stop_ipfod, _start_ipfod, Timers.planned_ms, 8.0)
SERVICE = Move("service death: its process is killed", _stop_service, _start_service, Timers.detected_ms, 20.0)
KEEPALIVED = Move("keepalived killed: SIGKILL to all of it", _kill_keepalived, None, Timers.detected_ms, 20.0)
LOST = Move("node lost: cable pulled, power cut", _lose_node, None, Timers.master_down_ms, 90.0)


def moves(failover: Failover) -> list[Move]:
    """Those that a failover can show; without a monitored port no service can die."""
    return [PLANNED, *([SERVICE] if failover.monitor_port else []), KEEPALIVED, LOST]
