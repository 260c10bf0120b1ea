"""systemd-networkd and NetworkManager on the interface of the virtual IPs: what they take off is soon back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest_asyncio
from scenario import each_on_one, group, problems

from node.booted import BootedNode
from node.booted_lab import BootedLab
from node.installed import VIPS, run_on_both

BACK_S = 1.0
NETWORK = "/etc/systemd/network/10-eth0.network"
PROFILE = "/etc/NetworkManager/system-connections/eth0.nmconnection"


@pytest_asyncio.fixture(loop_scope="session")
async def managed(pair: BootedLab) -> AsyncIterator[BootedLab]:
    """Two nodes on which neither manager runs afterwards."""
    yield pair
    for node in pair.booted:
        await node.systemctl("stop", "systemd-networkd.socket", "systemd-networkd", "NetworkManager")
        await node.run(["rm", "-f", NETWORK, PROFILE], check=True)
        for address in own(node):  # what a manager may have taken with it
            await node.run(["ip", "address", "replace", address, "dev", node.interface], check=True)


def own(node: BootedNode) -> list[str]:
    """A node's own addresses with their prefix lengths, IPv4 first."""
    ordered = sorted(node.own_addresses, key=lambda address: address.version)
    return [f"{each}/{24 if each.version == 4 else 64}" for each in ordered]


async def stay(lab: BootedLab, owner: BootedNode, *orders: list[str]) -> None:
    """Each order to a manager leaves each VIP on one node within a second, and so it stays."""
    before = (await group(owner, "web_VIP_1"))["since"]
    for order in orders:
        await owner.run(order, check=True)
        await asyncio.sleep(BACK_S)
        await each_on_one(lab, VIPS, timeout_s=BACK_S)
        wrong = {code: text for code, text in (await problems(owner)).items() if code[:4] in ("vip-", "spli")}
        assert not wrong, f"after {order}: {wrong}\n{(await owner.ipfoctl('status')).stdout}"
    assert (await group(owner, "web_VIP_1"))["since"] > before  # something was taken off, or this shows nothing


async def test_networkd_takes_no_vip_away_for_long(managed: BootedLab) -> None:
    owner, _ = await run_on_both(managed)
    lines = "".join(f"Address={each}\n" for each in own(owner))
    owner.write(NETWORK, f"[Match]\nName={owner.interface}\n[Network]\n{lines}")
    await stay(
        managed,
        owner,
        ["systemctl", "start", "systemd-networkd"],
        ["networkctl", "reconfigure", owner.interface],
        ["systemctl", "restart", "systemd-networkd"],
        ["networkctl", "reload"],
    )
    assert owner.interface in (await owner.run(["networkctl", "list", "--no-pager"], check=True)).stdout


async def test_network_manager_takes_no_vip_away_for_long(managed: BootedLab) -> None:
    owner, _ = await run_on_both(managed)
    ipv4, ipv6 = own(owner)
    owner.write(
        PROFILE,
        f"[connection]\nid=eth0\ntype=ethernet\ninterface-name={owner.interface}\n"
        f"[ipv4]\nmethod=manual\naddress1={ipv4}\n[ipv6]\nmethod=manual\naddress1={ipv6}\n",
        mode=0o600,
    )
    await stay(
        managed,
        owner,
        ["systemctl", "start", "NetworkManager"],
        ["nmcli", "connection", "up", "eth0"],
        ["nmcli", "device", "reapply", owner.interface],
        ["systemctl", "restart", "NetworkManager"],
    )
    shown = await owner.run(["nmcli", "-t", "-f", "DEVICE,STATE", "device"], check=True)
    assert f"{owner.interface}:connected" in shown.stdout
