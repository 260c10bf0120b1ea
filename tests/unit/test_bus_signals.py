"""The signals of the service, as gdbus and busctl see them."""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter

import pytest
from bus_harness import (
    GROUP_1,
    MISSING_CHAIN,
    NAME,
    ROOT,
    VIP_10,
    Daemon,
    World,
    addresses,
    big_failover,
    busctl,
    failover,
    node_with,
    planned,
    private_bus,
    serving,
    watching,
)
from dbus_next.message import Message
from dbus_next.signature import Variant

from ipfod.bus.connection import Connection, bus_call, system_bus_address
from ipfod.bus.objects import Objects
from ipfod.bus.paths import group_path
from ipfod.bus.publisher import Publisher
from ipfod.bus.service import Service
from ipfod.config.model import Preemption, PreemptionMode
from ipfod.node.events import (
    AddressesSeen,
    CheckReported,
    InstanceReported,
    KeepalivedChanged,
    MasterHeard,
    PriorityReported,
    ProblemsSeen,
)
from ipfod.node.model import CheckState, KeepalivedState, State
from ipfod.plan.model import GroupKey

world = serving

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owning the name on a system bus needs root")

PATIENCE_S = 10.0
NOPREEMPT = Preemption(PreemptionMode.NOPREEMPT)


async def test_gdbus_sees_a_transition_with_all_that_follows_from_it(world: World) -> None:
    async with world.watched_by_gdbus() as watcher:
        world.apply(InstanceReported("web", "web_VIP_1", State.MASTER, 250, usec=77))
        told = await watcher.until("'unknown', 'master'")
        assert told.startswith(
            f"{ROOT}: {NAME}.Manager.Transition (objectpath '{GROUP_1}', 'unknown', 'master', "
        )
        assert told.endswith(", uint64 77)\n")
        group = await watcher.until(f"{GROUP_1}: org.freedesktop.DBus.Properties.PropertiesChanged")
        for part in ("'State': <'master'>", "'Priority': <byte 0xfa>", "'Since': <uint64 77>", "'StateReason'"):
            assert part in group
        virtual_ip = await watcher.until(f"{VIP_10}: org.freedesktop.DBus.Properties.PropertiesChanged")
        assert "{'State': <'master'>, 'Since': <uint64 77>}" in virtual_ip


async def test_each_field_of_the_state_is_announced_under_its_property(world: World) -> None:
    web = f"{ROOT}/failover/web"
    async with world.watched_by_gdbus() as watcher:
        for event, path, said in (
            (
                KeepalivedChanged("web", KeepalivedState.RUNNING, 42, "started"),
                web,
                "'KeepalivedPID': <uint32 42>",
            ),
            (CheckReported("web", CheckState.PASSING, "port 80 open"), web, "'CheckText': <'port 80 open'>"),
            (PriorityReported("web", "web_VIP_1", 7), GROUP_1, "'Priority': <byte 0x07>"),
            (MasterHeard(GroupKey("web", 1), "192.168.3.2", 9), GROUP_1, "'Master': <'192.168.3.2'>"),
            (AddressesSeen({"eth0": frozenset(addresses("192.168.3.10"))}), VIP_10, "'Held': <true>"),
            (planned(failover(preemption=NOPREEMPT)), GROUP_1, "'Preemption': <'nopreempt'>"),
            (planned(failover(vrrp_id_offset=50)), GROUP_1, "'VirtualRouterID': <byte 0x33>"),
        ):
            world.apply(event)
            assert said in await watcher.until(
                f"{path}: org.freedesktop.DBus.Properties.PropertiesChanged", said
            )


async def test_a_burst_gives_each_object_one_signal_with_the_newest_values(world: World) -> None:
    async with world.watched_by_gdbus() as watcher:
        for priority in range(10, 20):
            world.apply(PriorityReported("web", "web_VIP_1", priority))
        world.apply(ProblemsSeen("firewall", (MISSING_CHAIN,)))
        world.apply(AddressesSeen({"eth0": frozenset(addresses("192.168.3.10"))}))
        await watcher.until(VIP_10)
        [group] = [line for line in watcher.seen if line.startswith(f"{GROUP_1}:")]
        assert "'Priority': <byte 0x13>" in group
        assert len([line for line in watcher.seen if "'Problems': <[{" in line]) == 1


async def test_problems_are_raised_and_cleared(world: World) -> None:
    async with world.watched_by_gdbus() as watcher:
        world.apply(ProblemsSeen("firewall", (MISSING_CHAIN,)), usec=5)
        raised = await watcher.until(f"{NAME}.Manager.ProblemRaised")
        assert "'code': <'firewall-chain-missing'>" in raised
        assert "'since': <uint64 5>" in raised
        await watcher.until("'Problems': <[{")
        world.apply(ProblemsSeen("firewall", ()))
        await watcher.until(f"{NAME}.Manager.ProblemCleared")
        await watcher.until("'Problems': <@aa{sv} []>")


async def test_objects_that_come_and_go_are_announced_by_the_manager(world: World) -> None:
    async with world.watched_by_gdbus("--object-path", ROOT) as watcher:
        world.apply(planned(failover(), failover("db", ("10.0.0.1",), vrrp_id_offset=100)))
        for path, interface in (
            (f"{ROOT}/failover/db", "Failover"),
            (f"{ROOT}/failover/db/group/_31", "Group"),
            (f"{ROOT}/vip/_310_2e0_2e0_2e1", "VirtualIP"),
        ):
            added = await watcher.until(f"{ROOT}: org.freedesktop.DBus.ObjectManager.InterfacesAdded")
            assert f"(objectpath '{path}', {{'{NAME}.{interface}': {{" in added
        world.apply(planned(failover()))
        gone = [await watcher.until("InterfacesRemoved") for _ in range(3)]
        assert any(f"(objectpath '{ROOT}/failover/db', ['{NAME}.Failover'])" in line for line in gone)
    assert f"{ROOT}/failover/db" not in await busctl("tree", NAME)


async def test_an_object_that_comes_and_goes_at_once_is_never_announced(world: World) -> None:
    async with world.watched_by_gdbus("--object-path", ROOT) as watcher:
        world.apply(planned(failover(), failover("db", ("10.0.0.1",), vrrp_id_offset=100)), planned(failover()))
        world.apply(planned(failover(), failover("last", ("10.0.0.2",), vrrp_id_offset=100)))
        await watcher.until("failover/last")
        assert "failover/db'" not in "".join(line for line in watcher.seen if "Interfaces" in line)


async def test_each_object_that_goes_and_comes_back_in_one_burst_is_said_to_be_back() -> None:
    """With 4080 virtual IPs the burst takes many slices, and any of them may end between the two signals."""
    node = node_with(big_failover())
    sent: Counter[str] = Counter()
    publisher = Publisher(node, Objects(node), lambda *messages: sent.update(each.member for each in messages))
    publisher.publish((*node.apply(planned(), 5), *node.apply(planned(big_failover()), 5)))
    while publisher._scheduled is not None:
        await asyncio.sleep(0)
    everything = 1 + 255 + 4080
    assert sent == {"Transition": 255, "InterfacesRemoved": everything, "InterfacesAdded": everything}


@pytest.mark.parametrize("method", ["GetManagedObjects", "Describe"])
async def test_the_answer_that_has_everything_is_as_new_as_the_signals_before_it(method: str) -> None:
    """Groups change while the answer is made: whoever puts later signals on top of it is not left behind."""
    interface = f"{NAME}.Manager" if method == "Describe" else "org.freedesktop.DBus.ObjectManager"
    states: dict[str, str] = {}

    def hear(message: Message) -> None:
        if message.member == "PropertiesChanged" and message.path in states:
            states[message.path] = message.body[1]["State"].value

    async def ask(client: Connection) -> None:
        [answer] = await client.call(Message(NAME, ROOT, interface, method), timeout_s=PATIENCE_S)
        states.update(states_in(answer))

    with private_bus():
        node = node_with(big_failover())
        service = Service(node, Daemon())
        await service.start()
        client = await Connection.open(system_bus_address(), hear)
        rule = f"sender='{NAME}',interface='org.freedesktop.DBus.Properties',arg0='{NAME}.Group'"
        await client.call(bus_call("AddMatch", "s", rule), timeout_s=PATIENCE_S)
        asking = asyncio.create_task(ask(client))
        for index in range(1, 256):
            await asyncio.sleep(0)
            event = InstanceReported("big", f"big_VIP_{index}", State.MASTER, 250)
            service.publish(node.apply(event, 5))
        await asking
        async with asyncio.timeout(PATIENCE_S):
            while set(states.values()) != {"master"}:
                await asyncio.sleep(0.01)
        assert len(states) == 255
        await client.aclose()
        await service.stop()


def states_in(answer: str | dict[str, dict[str, dict[str, Variant]]]) -> dict[str, str]:
    """The state of each group, by its path."""
    if isinstance(answer, str):
        [big] = json.loads(answer)["failovers"]
        keys = (GroupKey("big", index) for index in range(1, 256))
        return {group_path(key): group["state"] for key, group in zip(keys, big["groups"], strict=True)}
    face = f"{NAME}.Group"
    return {path: each[face]["State"].value for path, each in answer.items() if face in each}


async def test_busctl_monitor_and_wait_see_the_signals_too(world: World) -> None:
    command = ("busctl", "--system", "--json=short", "monitor", NAME)
    async with watching(*command, ready="Monitoring bus message stream") as watcher:
        world.apply(InstanceReported("web", "web_VIP_1", State.BACKUP, 250))
        told = json.loads(await watcher.until('"member":"Transition"'))
        assert told["payload"]["data"][:3] == [GROUP_1, "unknown", "backup"]
        assert told["path"] == ROOT


async def test_what_is_said_last_is_heard_before_the_service_leaves() -> None:
    with private_bus():
        world = World()
        await world.service.start()
        async with world.watched_by_gdbus() as watcher:
            world.apply(InstanceReported("web", "web_VIP_1", State.STOPPED, 250))
            await world.service.stop()
            await watcher.until(f"{VIP_10}: org.freedesktop.DBus.Properties.PropertiesChanged")
            await watcher.until("does not have an owner")
