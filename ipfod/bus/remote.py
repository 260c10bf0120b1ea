"""Calling other services on the system bus."""

from __future__ import annotations

from typing import Any

from dbus_next.message import Message
from dbus_next.signature import Variant

from ipfod.bus.connection import Connection, system_bus_address
from ipfod.bus.errors import BusError
from ipfod.errors import Failed

ANSWER_S = 25.0  # what D-Bus clients commonly wait


class Remote:
    """A connection of its own, so that the service's own traffic and these calls do not wait for each other."""

    def __init__(self) -> None:
        self._connection: Connection | None = None

    async def open(self) -> None:
        """Connect. Raises Failed."""
        self._connection = await Connection.open(system_bus_address(), lambda _: None)

    async def ask(
        self, destination: str, path: str, interface: str, member: str, signature: str, *body: Any
    ) -> list[Any]:
        """The body of the answer, variants as plain values. Raises Failed with what the other side said."""
        if self._connection is None:
            raise Failed(f"{destination} cannot be asked: not connected to the system bus")
        message = Message(destination, path, interface, member, signature=signature, body=list(body))
        try:
            answer = await self._connection.call(message, timeout_s=ANSWER_S)
        except BusError as error:
            raise Failed(f"{interface}.{member}: {error.text}") from error
        except TimeoutError as error:
            raise Failed(f"{interface}.{member}: no answer within {ANSWER_S:g} s") from error
        except EOFError as error:
            raise Failed(f"{interface}.{member}: the system bus is gone") from error
        return [_plain(value) for value in answer]

    async def aclose(self) -> None:
        if self._connection is not None:
            await self._connection.aclose()
            self._connection = None


def _plain(value: Any) -> Any:
    return _plain(value.value) if isinstance(value, Variant) else value
