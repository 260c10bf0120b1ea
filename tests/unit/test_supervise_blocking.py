"""The proof that adverts get through, where the plan changes under it."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address

from ipfod.config.load import load_text
from ipfod.keepalived.dump import InstanceDump
from ipfod.node.events import PlanApplied
from ipfod.node.model import State, Transition
from ipfod.plan.model import FailoverPlan, Here, Plan
from ipfod.plan.planning import plan_failover
from ipfod.supervise.blocking import Blocked, BlockingWatch

HERE = Here("eth0", (ip_address("10.0.0.1"),))
PATIENCE_S = 15.0


def planned(name: str, number: int) -> FailoverPlan:
    toml = f'virtual_ips = "10.0.0.{number}"\nmonitor_port = 0\nvrrp_id_offset = {number}\n'
    found, complaints = load_text(toml.encode(), f"/etc/ipfod/{name}.toml", name, "toml")
    assert found is not None, complaints
    return plan_failover(found, HERE, {})


async def nothing(_: frozenset[Blocked]) -> None:
    """Nobody need know what is blocked."""


async def test_a_failover_that_goes_when_it_is_to_be_counted_ends_nothing() -> None:
    plans = {name: planned(name, number) for number, name in enumerate(("db", "web"), start=10)}
    asked: list[str] = []

    async def dump(name: str) -> tuple[InstanceDump, ...]:
        asked.append(name)
        if len(asked) == 1:  # the reload that removes the other one comes now
            watch.take(PlanApplied(Plan({name: plans[name]})), ())
        return ()

    watch = BlockingWatch(dump, lambda: None, nothing)
    groups = [group for plan in plans.values() for group in plan.groups]
    masters = [Transition(0, each.key, each.name, State.BACKUP, State.MASTER, "") for each in groups]
    watch.take(PlanApplied(Plan(plans)), masters)
    watching = asyncio.create_task(watch.watch())
    async with asyncio.timeout(PATIENCE_S):
        while asked.count(asked[0] if asked else "") < 4 and not watching.done():
            await asyncio.sleep(0.01)
    assert not watching.done()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
