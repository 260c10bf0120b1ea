"""Strangers on the bus and garbage on the wire, while something fails: the outage is as without them."""

from __future__ import annotations

import asyncio
import signal
import sys

from orders import VIP, owner_and_others, run_all
from scenario import PORT, no_traceback, on_node

from ipfod.lab.lab import CLIENT_INTERFACE, Lab
from ipfod.lab.node import Node

# 30 ms by contract; beside this a test runs on a machine with two cores that four clients keep busy.
QUICK_MS = 300.0
CLIENTS = 4
NOBODY = 65534
# As many calls at once as the bus lets a client have, of all kinds, for as long as it is let.
FLOOD = """
import asyncio, os, random
from dbus_next import Message
from dbus_next.aio import MessageBus
from dbus_next.constants import BusType

os.setuid(int(os.environ["AS"]))
CALLS = [("Describe", "", []), ("GetHistory", "u", [0]), ("FindVirtualIP", "s", ["x" * 60000]),
         ("Reload", "", []), ("EnterMaintenance", "st", ["y" * 4000, 0]), ("NoSuch", "ai", [[1] * 1000])]

async def main():
    bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
    print("started", flush=True)
    while True:
        asked = [bus.call(Message(destination="org.ipfod.Ipfod1", path="/org/ipfod/Ipfod1", member=member,
                                  interface="org.ipfod.Ipfod1.Manager", signature=signature, body=body))
                 for member, signature, body in random.choices(CALLS, k=50)]
        await asyncio.gather(*asked, return_exceptions=True)

asyncio.run(main())
"""
# VRRP packets of this failover's id with everything behind the first bytes at random, and of other lengths.
GARBAGE = """
import os, random, socket, sys
link = socket.socket(socket.AF_INET, socket.SOCK_RAW, 112)
link.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
link.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, sys.argv[1].encode())
print("started", flush=True)
while True:
    head = bytes([random.choice((0x21, 0x31, 0x41)), 11, random.randrange(256), random.randrange(256)])
    try:
        link.sendto(head + os.urandom(random.randrange(60)), ("224.0.0.18", 0))
    except OSError:
        pass
"""


async def begin(lab: Lab) -> None:
    for node in lab.nodes:
        await node.start_service(PORT)
    await run_all(lab, f'monitor_port = {PORT}\npreemption = "preempt"\n')
    await asyncio.sleep(0.5)


async def service_dies_and_is_back(lab: Lab, owner: Node) -> None:
    """The VIP goes to the other node and comes home."""
    [other] = [node for node in lab.nodes if node is not owner]
    await asyncio.sleep(1.0)
    await owner.stop_service(PORT)
    await on_node(lab, other, [VIP])
    await owner.start_service(PORT)
    await on_node(lab, owner, [VIP])


async def test_strangers_who_call_without_end_change_no_outage(pair: Lab) -> None:
    await begin(pair)
    owner, _ = await owner_and_others(pair)
    flood = [sys.executable, "-c", FLOOD]
    clients = [await owner.spawn(flood, env={"AS": str(NOBODY)}, lines=True) for _ in range(CLIENTS)]
    for client in clients:
        assert await client.line() == "started", client.output()
    async with pair.meter([VIP]) as meter:
        await service_dies_and_is_back(pair, owner)
        await owner.kill("keepalived", signal.SIGKILL)
        await on_node(pair, owner, [VIP])
        await asyncio.sleep(1.0)
    assert meter.result().longest_ms <= QUICK_MS
    assert (await owner.ipfoctl("history", "--limit", "1")).returncode == 0
    assert all(client.returncode is None for client in clients)
    assert no_traceback(owner.log())


async def test_garbage_on_the_wire_changes_no_outage(pair: Lab) -> None:
    await begin(pair)
    owner, _ = await owner_and_others(pair)
    sender = await pair.client.spawn([sys.executable, "-c", GARBAGE, CLIENT_INTERFACE], lines=True)
    assert await sender.line() == "started", sender.output()
    async with pair.meter([VIP]) as meter:
        await service_dies_and_is_back(pair, owner)
    assert meter.result().longest_ms <= QUICK_MS
    for node in pair.nodes:
        assert no_traceback(node.log())
