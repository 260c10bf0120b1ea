"""The wire of a node whose interface goes and comes back."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import IPv4Address

from alone import PATIENCE_S, alone, ip, plan

from ipfod.node.events import Event, MasterHeard
from ipfod.plan.model import Plan
from ipfod.supervise.rivals import RivalWatch
from ipfod.supervise.wire import Wire
from ipfod.vrrp.packet import MULTICAST_IPV4, Advert, build_packet

PEER = IPv4Address("10.0.0.2")
GROUP_MAC = bytes.fromhex("01005e000012")  # of 224.0.0.18: RFC 1112 6.4
ETH_P_IP = 0x0800  # linux/if_ether.h


def say() -> None:
    """Another node is master of the first group."""
    advert = Advert(3, 4, PEER, MULTICAST_IPV4, 11, 200, 10, (IPv4Address("10.0.0.10"),))
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0) as sender:
        sender.sendto(build_packet(advert), ("wire", ETH_P_IP, 0, 0, GROUP_MAC))


async def test_an_interface_that_is_made_anew_at_once_is_heard_again() -> None:
    """Links are looked at before the loss of the old one was noticed, and no more news of links comes."""
    heard: list[str] = []

    def take(event: Event) -> None:
        if isinstance(event, MasterHeard):
            heard.append(event.address)

    async def hears() -> None:
        heard.clear()
        async with asyncio.timeout(PATIENCE_S):
            while str(PEER) not in heard:
                say()
                await asyncio.sleep(0.05)

    with alone():
        wire = Wire(take, RivalWatch({}, take, lambda _: None), lambda _: False)
        wire.follow(Plan({"web": plan('virtual_ips = "10.0.0.10"\nmonitor_port = 0\n')}))
        await hears()
        ip("link", "del", "eth0")
        ip("link", "add", "eth0", "type", "veth", "peer", "name", "wire")
        for link in ("eth0", "wire"):
            ip("link", "set", link, "up")
        wire.listen()
        async with asyncio.timeout(PATIENCE_S):
            while heard[-1]:  # the master of before is forgotten first
                await asyncio.sleep(0.05)
        await hears()
        wire.close()
