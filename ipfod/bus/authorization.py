"""Who may change something: today root, found by asking the bus for the user of the caller's connection."""

from __future__ import annotations

from enum import StrEnum

from ipfod.bus.connection import Connection, bus_call
from ipfod.bus.errors import BusError, standard
from ipfod.bus.interfaces import NAME

ANSWER_TIMEOUT_S = 5.0


class Action(StrEnum):
    """What may be asked for, spelled as its polkit action."""

    RELOAD = f"{NAME}.reload"


async def authorize(bus: Connection, caller: str, action: Action) -> None:
    """Return if the connection `caller` (its unique name) may do `action`, else raise AccessDenied.

    Unique names are never used twice, so the answer cannot be about somebody else. A caller that has left the
    bus meanwhile is refused.
    """
    try:
        [uid] = await bus.call(bus_call("GetConnectionUnixUser", "s", caller), timeout_s=ANSWER_TIMEOUT_S)
    except (BusError, EOFError, TimeoutError) as error:
        raise standard("AccessDenied", f"{action}: the bus does not say who calls: {error}") from error
    if uid != 0:
        raise standard("AccessDenied", f"{action}: only root may do this")
