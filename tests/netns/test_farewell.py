"""The good-bye of a keepalived that died: whose turn it is, and whose it is no longer."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from ipaddress import ip_address

from alone import OWN, alone, held, ip, plan, until

from ipfod.host.netlink import Netlink
from ipfod.plan.model import FailoverPlan, Group
from ipfod.supervise.farewell import AT_ONCE, OVER_INTERVALS, Farewell
from ipfod.vrrp.filter import attach
from ipfod.vrrp.packet import MULTICAST_IPV4, PRIORITY_LEAVING, Advert, build_packet, parse

MANY = 240
SO_RCVBUFFORCE, QUEUE_BYTES = 33, 4 << 20  # asm-generic/socket.h; several thousand adverts
ETH_P_ALL, ETH_P_IP = 0x0003, 0x0800  # linux/if_ether.h
GROUP_MAC = bytes.fromhex("01005e000012")  # of 224.0.0.18
PEER = ip_address("10.0.0.2")


class Wire:
    """The other end of eth0, and what is heard there."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._parted: list[int] = []

    def parted(self) -> list[int]:
        """The ids whose parting adverts have come, in order."""
        with suppress(BlockingIOError):
            while packet := self._link.recv(128):
                if (advert := parse(packet)).priority == PRIORITY_LEAVING:
                    self._parted.append(advert.virtual_router_id)
        return self._parted


def advertise(group: Group, *, interface: str) -> None:
    """Somebody on `interface` is master of a group: a peer on the wire, this node itself on eth0."""
    advert = Advert(
        version=3,
        ip_version=4,
        source=PEER if interface == "wire" else OWN[0],
        destination=MULTICAST_IPV4,
        virtual_router_id=group.virtual_router_id,
        priority=100,
        interval_cs=10,
        addresses=group.virtual_ips[:1],
    )
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0) as link:
        link.sendto(build_packet(advert), (interface, ETH_P_IP, 0, 0, GROUP_MAC))


@contextmanager
def wire() -> Iterator[Wire]:
    with alone(), socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 0) as link:
        attach(link, length=128)
        link.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, QUEUE_BYTES)
        link.bind(("wire", ETH_P_ALL))
        yield Wire(link)


@asynccontextmanager
async def farewell_of(planned: FailoverPlan) -> AsyncIterator[Farewell]:
    """Ready to be said, with the groups' VIPs on eth0."""
    for group in planned.groups:
        ip("address", "add", f"{group.virtual_ips[0]}/32", "dev", "eth0")
    netlink = Netlink()
    await netlink.open()
    farewell = Farewell(netlink)
    farewell.prepare(planned)
    try:
        yield farewell
    finally:
        farewell.close()
        await netlink.close()


def many(more: str = "") -> FailoverPlan:
    planned = plan(f'virtual_ips = "10.0.1.1-{MANY}"\nmonitor_port = 0\n{more}')
    assert len(planned.groups) == MANY
    return planned


def ids(groups: tuple[Group, ...]) -> list[int]:
    return [group.virtual_router_id for group in groups]


async def test_a_new_plan_does_not_cut_a_farewell_short() -> None:
    """A reload makes other adverts ready while those of a keepalived that died leave."""
    with wire() as there:
        planned = many()
        async with farewell_of(planned) as farewell:
            saying = asyncio.create_task(farewell.say(planned.groups))
            while not saying.done():
                await asyncio.sleep(0.01)  # each keeps two sockets until what is being said is said
                farewell.prepare(planned)
            await saying
            assert not held()
            assert sorted(there.parted()) == sorted(ids(planned.groups))


async def test_who_is_not_taken_by_anybody_answers_until_all_peers_would_have_come() -> None:
    with wire() as there:
        planned = many()
        async with farewell_of(planned) as farewell:
            began = time.monotonic()
            await farewell.say(planned.groups)
            assert time.monotonic() - began >= OVER_INTERVALS * planned.failover.advert_interval_s
            assert not held()
            assert there.parted() == ids(planned.groups)


async def test_a_few_groups_wait_for_nobody() -> None:
    with wire() as there:
        planned = plan(f'virtual_ips = "10.0.1.1-{AT_ONCE}"\nmonitor_port = 0\nadvert_interval = 40\n')
        async with farewell_of(planned) as farewell:
            began = time.monotonic()
            await farewell.say(planned.groups)
            assert time.monotonic() - began < planned.failover.advert_interval_s
            assert not held()
            assert there.parted() == ids(planned.groups)


async def test_a_group_that_the_kernel_does_not_take_off_holds_up_no_other() -> None:
    with wire() as there:
        planned = plan('virtual_ips = "10.0.1.1-3"\nmonitor_port = 0\n')
        refused, *others = planned.groups
        async with farewell_of(planned) as farewell:
            [worker] = [each.native_id for each in threading.enumerate() if each.name.startswith("netlink")]
            first = ["-e", "trace=sendto", "-e", "inject=sendto:error=ENOBUFS:when=1"]
            strace = await asyncio.create_subprocess_exec(
                "strace", f"--attach={worker}", *first, stderr=subprocess.PIPE
            )
            assert strace.stderr is not None
            assert b"attached" in await strace.stderr.readline()
            await farewell.say(planned.groups)
            strace.terminate()
            await strace.communicate()
            assert held() == {str(refused.virtual_ips[0])}
            assert there.parted() == ids(tuple(others))


async def test_what_a_peer_has_taken_by_itself_goes_first() -> None:
    with wire() as there:
        planned = many("advert_interval = 10\n")
        async with farewell_of(planned) as farewell:
            saying = asyncio.create_task(farewell.say(planned.groups))
            await until(lambda: bool(there.parted()), "the farewell has begun")
            advertise(planned.groups[-1], interface="wire")
            await saying
            assert not held()
            parted = there.parted()
            assert sorted(parted) == sorted(ids(planned.groups))
            assert parted[-1] != planned.groups[-1].virtual_router_id


async def test_what_this_node_has_taken_again_stays() -> None:
    """keepalived's parent starts its child again at once, and where no peer is the child is soon master."""
    with wire() as there:
        planned = many("advert_interval = 10\n")
        last = planned.groups[-1]
        async with farewell_of(planned) as farewell:
            saying = asyncio.create_task(farewell.say(planned.groups))
            await until(lambda: bool(there.parted()), "the farewell has begun")
            advertise(last, interface="eth0")
            await saying
            assert held() == {str(last.virtual_ips[0])}
            assert last.virtual_router_id not in there.parted()


async def test_the_next_death_is_heard_like_the_first() -> None:
    with wire() as there:
        planned = many("advert_interval = 10\n")
        async with farewell_of(planned) as farewell:
            await farewell.say(planned.groups[:1])
            assert there.parted() == ids(planned.groups[:1])
            saying = asyncio.create_task(farewell.say(planned.groups[1:]))
            await until(lambda: len(there.parted()) > 1, "the farewell has begun")
            advertise(planned.groups[-1], interface="wire")
            await saying
            assert there.parted()[-1] != planned.groups[-1].virtual_router_id


async def test_a_flood_of_adverts_does_not_keep_it_from_its_end() -> None:
    with wire() as there:
        planned = many()
        async with farewell_of(planned) as farewell:
            saying = asyncio.create_task(farewell.say(planned.groups))
            stranger = plan('virtual_ips = "10.0.2.1"\nmonitor_port = 0\nvrrp_id_offset = 250\n').groups[0]
            while not saying.done():
                for _ in range(100):
                    advertise(stranger, interface="wire")
                there.parted()  # it has a queue, too
                await asyncio.sleep(0)
            await saying
            assert not held()
            assert sorted(there.parted()) == sorted(ids(planned.groups))
