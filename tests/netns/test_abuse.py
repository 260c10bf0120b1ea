"""Strangers on the bus and garbage on the wire, while something fails: the outage is as without them."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import sys
import time
from random import Random

from orders import VIP, owner_and_others, run_all
from scenario import PORT, configure, each_on_one, group, listed, no_traceback, on_node, status, until

from ipfod.keepalived.fifo import parse
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


# A thousand calls in one go, again when all are answered; the bus takes some of them back as too many.
BURST = FLOOD.replace("k=50", "k=1000")
WATCHDOG_S = 3.0
OPTIONS = f'monitor_port = {PORT}\npreemption = "preempt"\n'


async def begin(lab: Lab) -> None:
    for node in lab.nodes:
        await node.start_service(PORT)
    await run_all(lab, OPTIONS)
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


async def longest_silence(node: Node) -> float:
    """The longest time, in seconds, for which a daemon did not answer its watchdog; until it is cancelled."""
    notify = node._notify
    assert notify is not None
    worst, heard, since = 0.0, 0, time.monotonic()
    try:
        while True:
            await asyncio.sleep(0.02)
            worst = max(worst, time.monotonic() - since)
            if (count := notify.messages.count("WATCHDOG=1")) > heard:
                heard, since = count, time.monotonic()
    except asyncio.CancelledError:
        assert heard, "the watchdog was never answered"
        return worst


async def test_a_thousand_calls_at_once_change_no_outage_and_keep_no_watchdog_waiting(pair: Lab) -> None:
    configure(pair.nodes, f'virtual_ips = "{VIP}"\n{listed(pair)}\n{OPTIONS}')
    for node in pair.nodes:
        await node.start_service(PORT)
        await node.start_ipfod(env={"WATCHDOG_USEC": str(int(WATCHDOG_S * 1e6))})
    await each_on_one(pair, [VIP])
    owner, _ = await owner_and_others(pair)
    async with pair.meter([VIP]) as meter:
        await service_dies_and_is_back(pair, owner)
    alone_ms = meter.result().longest_ms
    silence = [asyncio.create_task(longest_silence(node)) for node in pair.nodes]
    clients = [
        await node.spawn([sys.executable, "-c", BURST], env={"AS": str(NOBODY)}, lines=True)
        for node in pair.nodes
    ]
    for client in clients:
        assert await client.line() == "started", client.output()
    async with pair.meter([VIP]) as meter:
        await service_dies_and_is_back(pair, owner)
    for task in silence:
        task.cancel()
    silent_s = max(await asyncio.gather(*silence))
    besieged_ms = meter.result().longest_ms
    print(f"alone {alone_ms:.0f} ms, with a thousand calls {besieged_ms:.0f} ms, silent {silent_s:.2f} s")
    assert besieged_ms <= alone_ms + QUICK_MS
    assert silent_s < WATCHDOG_S
    assert all(client.returncode is None for client in clients)
    for node in pair.nodes:
        assert no_traceback(node.log())


def spoilt(random: Random, line: bytes) -> bytes:
    """A line of keepalived's with other bytes, cut, doubled, or noise; never one about the group itself."""
    while True:
        data = bytearray(random.choice((line, line + line, random.randbytes(random.randrange(80)))))
        for _ in range(random.randrange(1, 4)):
            if data:
                data[random.randrange(len(data))] = random.randrange(256)
        made = bytes(data[: random.randrange(len(data) + 1)]).replace(b"\n", b"")
        found = parse(made)
        if found is None or found.name != "web_VIP_1":
            return made + b"\n"


async def test_garbage_in_the_files_beside_keepalived_is_passed_over(single: Lab) -> None:
    """Only root can write there; what he does by mistake ends nothing, and the next notification counts."""
    await begin(single)
    [node] = single.nodes
    here = node.inside("/run/ipfod/web")
    for path in (here, here / "track"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    for path in (here / "notify.fifo", here / "keepalived.conf", here / "track/web_VIP_1"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    random = Random(4711)
    line = b'INSTANCE "web_VIP_1" FAULT 0'
    descriptor = os.open(here / "notify.fifo", os.O_RDWR | os.O_NONBLOCK)
    try:
        for _ in range(100):  # a hundred lines are less than the FIFO holds
            os.write(descriptor, b"".join(spoilt(random, line) for _ in range(100)))
            await asyncio.sleep(0.01)
        os.write(descriptor, b"\n")
    finally:
        os.close(descriptor)
    for content in (b"", b"abc", b"\x00\xff" * 2000, b"9" * 5000, "\u0661".encode()):
        (here / "track/web_VIP_1").write_bytes(content)
        (here / "track/nobody's").write_bytes(content)
        (here / "keepalived.json").write_bytes(content)
        await asyncio.sleep(0.05)
    assert (await group(node, "web_VIP_1"))["state"] == "master"
    assert await single.holders(VIP) == [node]
    await node.stop_service(PORT)

    async def in_fault() -> bool:
        return (await group(node, "web_VIP_1"))["state"] == "fault" and await single.holders(VIP) == []

    await until(in_fault, what="the failed check counts")
    await node.start_service(PORT)
    await on_node(single, node, [VIP])
    assert no_traceback(node.log())


async def test_what_would_upset_a_terminal_is_no_reason(single: Lab) -> None:
    """Reasons are shown by ipfoctl, kept over reboots and written to the journal: they are one line."""
    await begin(single)
    [node] = single.nodes
    where = ("org.ipfod.Ipfod1", "/org/ipfod/Ipfod1", "org.ipfod.Ipfod1.Manager", "EnterMaintenance", "st")
    for reason in ("\x1b[2J", "a\nb", "a\rb", "\u202egnirts", "\u2028", "\x9b31m", "x" * 10_000):
        done = await node.bus("call", *where, reason, "0")
        assert done.returncode != 0
        assert "reason: is not one line of at most " in done.stderr
    document = await status(node)
    assert (document["maintenance"], document["maintenance_reason"]) == (False, "")
    assert await single.holders(VIP) == [node]
    assert all(line.isprintable() for line in node.log().splitlines())
    assert (await node.bus("call", *where, "caf\u00e9: $(id) %s {0} 'q'", "0")).returncode == 0
    assert (await status(node))["maintenance_reason"] == "caf\u00e9: $(id) %s {0} 'q'"
    assert "caf\u00e9: $(id) %s {0} 'q'" in (await node.ipfoctl("status")).stdout


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
