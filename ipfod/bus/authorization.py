"""Who may change something: root, and whom polkit lets. Without polkit root alone."""

from __future__ import annotations

import asyncio
import itertools
from enum import StrEnum

from dbus_next.message import Message
from dbus_next.signature import Variant

from ipfod.bus.connection import ANSWER_TIMEOUT_S, Connection, bus_call
from ipfod.bus.errors import BusError, standard
from ipfod.bus.interfaces import NAME

QUESTION_TIMEOUT_S = 25.0
PASSWORD_TIMEOUT_S = 120.0  # somebody is typing
POLKIT = "org.freedesktop.PolicyKit1"
ALLOW_USER_INTERACTION = 1  # CheckAuthorizationFlags, polkit's D-Bus reference
_questions = itertools.count(1)  # ids by which a question can be taken back


class Action(StrEnum):
    """What may be asked for, spelled as its polkit action."""

    RELOAD = f"{NAME}.reload"
    PREEMPTION = f"{NAME}.preemption"
    SWITCHOVER = f"{NAME}.switchover"
    MAINTENANCE = f"{NAME}.maintenance"


async def authorize(bus: Connection, caller: str, action: Action, *, interactive: bool = False) -> int:
    """The user id of connection `caller` (a unique name) if it may do `action`; else raises what it is told.

    `interactive`: the caller agrees to be asked for a password meanwhile. Unique names are never used twice, so
    the answer cannot be about somebody else. A caller that has left the bus is refused.
    """
    try:
        [uid] = await bus.call(bus_call("GetConnectionUnixUser", "s", caller), timeout_s=ANSWER_TIMEOUT_S)
    except (BusError, EOFError, TimeoutError) as error:
        raise standard("AccessDenied", f"{action}: the bus does not say who calls: {error}") from error
    if uid == 0:
        return 0
    try:
        authorized, challenge = await _ask_while_there(bus, caller, action, interactive=interactive)
    except (BusError, EOFError, TimeoutError, ValueError) as error:
        text = f"{action}: only root may do this while polkit does not answer; see: systemctl status polkit"
        raise standard("AccessDenied", text) from error
    if authorized:
        return int(uid)
    if challenge and not interactive:
        raise standard(
            "InteractiveAuthorizationRequired",
            f"{action}: a password is needed; call as root, or allow interactive authorization",
        )
    raise standard("AccessDenied", f"{action}: not permitted; call as root, or have a rule of polkit allow it")


async def _ask_while_there(
    bus: Connection, caller: str, action: Action, *, interactive: bool
) -> tuple[bool, bool]:
    """What polkit says. A caller that leaves meanwhile is given up, and so is the question for its password."""
    async with bus.end_of(caller) as left:
        question = f"{next(_questions)}"
        asking = asyncio.create_task(
            _ask_polkit(bus, caller, action, question, interactive=interactive), name=f"polkit {question}"
        )
        leaving = asyncio.create_task(left.wait(), name=f"caller of polkit {question}")
        try:
            await asyncio.wait({asking, leaving}, return_when=asyncio.FIRST_COMPLETED)
            return asking.result() if asking.done() else (False, False)
        finally:
            if not asking.done() or asking.cancelled() or isinstance(asking.exception(), TimeoutError):
                bus.send(_authority("CancelCheckAuthorization", "s", question))  # nobody waits any more
            for task in (asking, leaving):
                task.cancel()
            await asyncio.gather(asking, leaving, return_exceptions=True)


async def _ask_polkit(
    bus: Connection, caller: str, action: Action, question: str, *, interactive: bool
) -> tuple[bool, bool]:
    """Whether it is permitted, and whether it could be with a password. Raises ValueError for no answer."""
    asked = _authority(
        "CheckAuthorization",
        "(sa{sv})sa{ss}us",
        ["system-bus-name", {"name": Variant("s", caller)}],
        action,
        {},
        ALLOW_USER_INTERACTION if interactive else 0,
        question,
    )
    timeout_s = PASSWORD_TIMEOUT_S if interactive else QUESTION_TIMEOUT_S
    match await bus.call(asked, timeout_s=timeout_s):
        case [[bool(authorized), bool(challenge), dict()]]:
            return authorized, challenge
    raise ValueError("polkit's answer is none")


def _authority(member: str, signature: str, *body: object) -> Message:
    path, interface = "/org/freedesktop/PolicyKit1/Authority", f"{POLKIT}.Authority"
    return Message(POLKIT, path, interface, member, signature=signature, body=list(body))
