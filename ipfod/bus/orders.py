"""The methods that change something: who may is asked first, then it is done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from ipfod.bus import wire
from ipfod.bus.authorization import Action
from ipfod.bus.control import Control
from ipfod.bus.errors import standard
from ipfod.bus.interfaces import FAILOVER, GROUP, MANAGER
from ipfod.bus.paths import parse
from ipfod.bus.server import Call, Handlers
from ipfod.node.events import FailoverRef
from ipfod.plan.model import GroupKey
from ipfod.plan.planning import WHOLE_FAILOVER

Authorize = Callable[[Call, Action], Awaitable[int]]


class Orders:
    """`authorize` answers the caller's user id, or raises what the caller is told."""

    def __init__(self, control: Control, authorize: Authorize) -> None:
        self._control = control
        self._authorize = authorize

    @property
    def handlers(self) -> Handlers:
        policies = {
            (interface.name, name): handler
            for interface in (FAILOVER, GROUP)
            for name, handler in (
                ("SetPreemption", self._set_preemption),
                ("ResetPreemption", self._reset_preemption),
            )
        }
        return {
            **policies,
            (MANAGER.name, "Reload"): self._reload,
            (MANAGER.name, "EnterMaintenance"): self._enter_maintenance,
            (MANAGER.name, "LeaveMaintenance"): self._leave_maintenance,
            (GROUP.name, "StepDown"): self._step_down,
            (GROUP.name, "TakeOver"): self._take_over,
            (GROUP.name, "SendGratuitousARP"): self._send_gratuitous_arp,
        }

    async def _reload(self, call: Call) -> list[Any]:
        await self._authorize(call, Action.RELOAD)
        await self._control.reload()
        return []

    async def _set_preemption(self, call: Call) -> list[Any]:
        await self._authorize(call, Action.PREEMPTION)
        await self._control.set_preemption(*_failover_and_index(call), call.arguments[0])
        return []

    async def _reset_preemption(self, call: Call) -> list[Any]:
        await self._authorize(call, Action.PREEMPTION)
        await self._control.reset_preemption(*_failover_and_index(call))
        return []

    async def _step_down(self, call: Call) -> list[Any]:
        who = await self._who(call, Action.SWITCHOVER)
        await self._control.step_down(_group(call), call.arguments[0], who)
        return []

    async def _take_over(self, call: Call) -> list[Any]:
        who = await self._who(call, Action.SWITCHOVER)
        await self._control.take_over(_group(call), who)
        return []

    async def _send_gratuitous_arp(self, call: Call) -> list[Any]:
        await self._authorize(call, Action.SWITCHOVER)
        await self._control.send_gratuitous_arp(_group(call))
        return []

    async def _enter_maintenance(self, call: Call) -> list[Any]:
        await self._authorize(call, Action.MAINTENANCE)
        reason, until_usec = call.arguments
        return [wire.clean(list(await self._control.enter_maintenance(reason, until_usec)))]

    async def _leave_maintenance(self, call: Call) -> list[Any]:
        await self._authorize(call, Action.MAINTENANCE)
        await self._control.leave_maintenance()
        return []

    async def _who(self, call: Call, action: Action) -> str:
        return f"uid {await self._authorize(call, action)}"


def _group(call: Call) -> GroupKey:
    match parse(call.path):
        case GroupKey() as key:
            return key
    raise standard("UnknownObject", f"{call.path}: no such object")


def _failover_and_index(call: Call) -> tuple[str, int]:
    match parse(call.path):
        case FailoverRef(name):
            return name, WHOLE_FAILOVER
        case GroupKey(name, index):
            return name, index
    raise standard("UnknownObject", f"{call.path}: no such object")
