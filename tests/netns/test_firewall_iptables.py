"""In tables that iptables-nft manages: shown as it is, and found again after save and restore."""

from __future__ import annotations

import asyncio
import contextlib
import os

import pytest
from firewall_lab import Advert, Lab, keeper, lab, listing, ours, run, wish, works

from ipfod.firewall.keeper import FirewallKeeper

pytestmark = [pytest.mark.netns, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]
__all__ = ["keeper", "lab"]  # fixtures

TAIL = '-m comment --comment "ipfod:web" -j ACCEPT'
PROGRAMS = ("iptables-nft", "ip6tables-nft")


@pytest.fixture
def iptables(lab: Lab) -> None:
    """INPUT and OUTPUT chains that drop, of both families, made by iptables itself."""
    for program, address in zip(PROGRAMS, ("127.0.0.1", "::1"), strict=True):
        foreign = ("-p", "vrrp", "-d", address, "-m", "comment", "--comment", "foreign", "-j", "ACCEPT")
        for chain in ("INPUT", "OUTPUT"):
            run(program, "-P", chain, "DROP")
            run(program, "-A", chain, *foreign)


def saved() -> list[str]:
    """What iptables-save makes of our rules, both families."""
    lines = [line for program in PROGRAMS for line in run(f"{program}-save").splitlines()]
    assert not [line for line in lines if "incompatible" in line]
    return [line for line in lines if "ipfod" in line]


@pytest.mark.usefixtures("iptables")
async def test_iptables_shows_the_multicast_rules_as_they_are(keeper: FirewallKeeper) -> None:
    await keeper.apply([wish(chains=("INPUT", "OUTPUT"))])
    assert saved() == [
        f"-A INPUT -d 224.0.0.18/32 -i eth0 -p vrrp -m ttl --ttl-eq 255 {TAIL}",
        f"-A OUTPUT -d 224.0.0.18/32 -o eth0 -p vrrp -m ttl --ttl-eq 255 {TAIL}",
        f"-A INPUT -d ff02::12/128 -i eth0 -p vrrp -m hl --hl-eq 255 {TAIL}",
        f"-A OUTPUT -d ff02::12/128 -o eth0 -p vrrp -m hl --hl-eq 255 {TAIL}",
    ]


@pytest.mark.usefixtures("iptables")
async def test_iptables_shows_the_unicast_rules_as_they_are(keeper: FirewallKeeper) -> None:
    await keeper.apply([wish("web", "10.78.0.2", "10.78.0.3", "fd78::2")])
    assert saved() == [
        f"-A INPUT -s 10.78.0.2/32 -i eth0 -p vrrp {TAIL}",
        f"-A INPUT -s 10.78.0.3/32 -i eth0 -p vrrp {TAIL}",
        f"-A INPUT -s fd78::2/128 -i eth0 -p vrrp {TAIL}",
    ]


@pytest.mark.usefixtures("iptables")
async def test_iptables_goes_on_working_on_the_table(lab: Lab, keeper: FirewallKeeper) -> None:
    await keeper.apply([wish()])
    run("iptables-nft", "-I", "INPUT", "1", "-p", "tcp", "--dport", "22", "-j", "ACCEPT")
    assert "--dport 22" in run("iptables-nft", "-S", "INPUT")
    assert lab.arrives(Advert("224.0.0.18"))
    assert not (await keeper.apply([wish()])).inserted


@pytest.mark.usefixtures("iptables")
@pytest.mark.parametrize("peers", [(), ("10.78.0.2", "fd78::2")])
async def test_rules_that_iptables_restore_rewrote_are_found_and_replaced(
    keeper: FirewallKeeper, peers: tuple[str, ...]
) -> None:
    await keeper.apply([wish("web", *peers)])
    before = saved()
    native = ours("ip filter INPUT")
    for program in PROGRAMS:
        run(f"{program}-restore", stdin=run(f"{program}-save"))
    assert ours("ip filter INPUT") == [], (
        "restored rules have no comment that nft shows: the reason for this test"
    )
    assert saved() == before
    report = await keeper.apply([wish("web", *peers)])
    assert (len(report.removed), len(report.inserted)) == (2, 2)
    assert ours("ip filter INPUT") == native
    assert saved() == before


@pytest.mark.usefixtures("iptables")
async def test_rules_that_iptables_restore_brought_back_are_removed_without_memory(
    keeper: FirewallKeeper,
) -> None:
    before = {chain: listing(chain) for chain in ("ip filter INPUT", "ip6 filter INPUT")}
    await keeper.apply([wish()])
    kept = {program: run(f"{program}-save") for program in PROGRAMS}
    await keeper.remove_all()
    for program in PROGRAMS:
        run(f"{program}-restore", stdin=kept[program])
    assert len(saved()) == 2
    with contextlib.closing(FirewallKeeper()) as cleaner:
        assert len(await cleaner.remove_all()) == 2
    assert saved() == []
    assert {chain: listing(chain) for chain in before} == before


async def test_tables_of_the_old_iptables_are_named(keeper: FirewallKeeper) -> None:
    assert (await keeper.apply([wish()])).legacy == ()
    if not works("iptables-legacy", "-P", "INPUT", "DROP"):
        pytest.skip("this kernel has no legacy tables")
    report = await keeper.apply([wish()])
    assert report.legacy == ("iptables filter",)
    assert report.missing == {"web": ("INPUT",)}


async def test_a_long_table_of_the_old_iptables_holds_nothing_up(keeper: FirewallKeeper) -> None:
    """20000 rules: the event loop went without its turn for seconds."""
    rules = "".join(f"-A INPUT -p tcp --dport {port} -j ACCEPT\n" for port in range(1, 20001))
    table = f"*filter\n:INPUT DROP [0:0]\n{rules}COMMIT\n"
    if not works("iptables-legacy", "-P", "INPUT", "ACCEPT"):
        pytest.skip("this kernel has no legacy tables")
    run("iptables-legacy-restore", stdin=table)
    loop = asyncio.get_running_loop()
    applying = asyncio.create_task(keeper.apply([wish()]))
    longest_s = 0.0
    while not applying.done():
        before_s = loop.time()
        await asyncio.sleep(0.001)
        longest_s = max(longest_s, loop.time() - before_s)
    assert (await applying).legacy == ("iptables filter",)
    assert longest_s < 0.5  # 0.01 s on an idle machine
