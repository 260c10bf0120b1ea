"""ipfod on the system bus: connects, takes the name, answers calls, sends signals."""

from __future__ import annotations

import logging

from dbus_next.constants import NameFlag, RequestNameReply
from dbus_next.message import Message

from ipfod.bus.authorization import Action, authorize
from ipfod.bus.connection import BUS_HINT, CONNECT_TIMEOUT_S, Connection, bus_call, system_bus_address
from ipfod.bus.control import Control
from ipfod.bus.errors import BusError
from ipfod.bus.interfaces import NAME
from ipfod.bus.manager import Manager
from ipfod.bus.objects import Objects
from ipfod.bus.orders import Orders
from ipfod.bus.publisher import Publisher
from ipfod.bus.server import Call, Server
from ipfod.bus.turns import Turns
from ipfod.errors import Failed
from ipfod.node.events import Change
from ipfod.node.node import Node

log = logging.getLogger(__name__)

POLICY = "/usr/share/dbus-1/system.d/org.ipfod.Ipfod1.conf"


class Service:
    """One node's service. After the loss of the bus make a new one."""

    def __init__(self, node: Node, control: Control) -> None:
        self._objects = Objects(node)
        turns = Turns()
        manager = Manager(node, self._objects, turns)
        orders = Orders(control, self._authorize)
        self._server = Server(self._objects, {**manager.handlers, **orders.handlers}, turns)
        self._publisher = Publisher(node, self._objects, self._send)
        self._connection: Connection | None = None

    async def start(self) -> None:
        """Connect and take the name. Raises Failed: no bus, name refused, or another ipfod has it."""
        address = system_bus_address()
        connection = await Connection.open(address, self._take)
        # Whoever calls from the moment on that the name is ours gets an answer.
        self._connection = connection
        try:
            await _take_name(connection)
        except BaseException:
            await self.stop()
            raise
        log.debug("%s is %s on %s", NAME, connection.unique_name, address)

    def publish(self, changes: tuple[Change, ...]) -> None:
        """Tell the bus what changed. Without a connection nobody is told: state is read when asked for."""
        if self._connection is not None:
            self._publisher.publish(changes)

    async def wait_lost(self) -> None:
        """Return when the bus has hung up. Only between `start` and `stop`."""
        if self._connection is None:
            raise RuntimeError("the service is not started")
        await self._connection.wait_lost()

    async def stop(self) -> None:
        """Send what is still to be said and leave the bus. Does nothing if not started."""
        if self._connection is None:
            return
        self._publisher.flush()
        await self._server.aclose()
        connection, self._connection = self._connection, None
        await connection.aclose()

    def _take(self, message: Message) -> None:
        if self._connection is not None:
            self._server.take(self._connection, message)

    def _send(self, *messages: Message) -> None:
        if self._connection is not None:
            self._connection.send(*messages)

    async def _authorize(self, call: Call, action: Action) -> int:
        if self._connection is None:
            raise Failed(f"{action}: the message bus is gone", hint=BUS_HINT)
        return await authorize(self._connection, call.caller, action, interactive=call.interactive)


async def _take_name(connection: Connection) -> None:
    try:
        [answer] = await connection.call(
            bus_call("RequestName", "su", NAME, NameFlag.DO_NOT_QUEUE.value), timeout_s=CONNECT_TIMEOUT_S
        )
    except BusError as error:
        hint = f"run ipfod as root, with its bus policy installed as {POLICY}"
        raise Failed(f"{NAME}: the message bus refuses the name: {error.text}", hint=hint) from error
    except (EOFError, TimeoutError) as error:
        text = f"{NAME}: the message bus did not answer the request for the name"
        raise Failed(text, hint=BUS_HINT) from error
    if answer not in (RequestNameReply.PRIMARY_OWNER.value, RequestNameReply.ALREADY_OWNER.value):
        raise Failed(f"{NAME}: the name is taken", hint="another ipfod runs: stop it first")
