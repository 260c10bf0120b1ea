"""firewalld, and iptables of both kinds, on booted nodes: VRRP is let in, stays let in, and then no more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio
from scenario import configure, each_on_one, on_node, problems, until

from node.booted import BootedNode
from node.booted_lab import BootedLab
from node.package import build

VIPS = ("192.168.3.10", "fd00:9::10")
STATE = "/var/lib/ipfod/state.json"
RULES = (
    'rule priority="-112" family="ipv4" destination address="224.0.0.18" protocol value="112" accept',
    'rule priority="-112" family="ipv6" destination address="ff02::12" protocol value="112" accept',
)
PROTOCOL = 'protocol value="112" accept'
# So many that firewalld drops everything for longer than a backup waits while it reloads.
PORTS = "".join(f'<port port="{port}" protocol="tcp"/>' for port in range(2000, 2500))
MANY_RULES = f"<zone><short>Public</short>{PORTS}</zone>\n"
LONG_STOPPED_S = 30.0
PERMITTED = 'rule family="ipv4" destination address="224.0.0.18" protocol value="vrrp" accept'


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("one"), 1)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def borrowed(nodes: BootedLab) -> AsyncIterator[BootedLab]:
    """The nodes, given back as they were."""
    yield nodes
    for node in nodes.booted:
        await without_firewall(node)
        await node.run(["sh", "-c", "rm -rf /etc/ipfod/*"], check=True)
        await node.systemctl("start", "nftables", check=True)


@pytest_asyncio.fixture(loop_scope="session")
async def pair(borrowed: BootedLab, package: Path) -> AsyncIterator[BootedLab]:
    """Two nodes with the package installed, and no firewall but what the test starts."""
    for node in borrowed.booted:
        await without_firewall(node)
        if (await node.run(["rpm", "-q", "ipfod"])).returncode != 0:
            await node.install_rpm(package)
        await node.run(["sh", "-c", "rm -rf /etc/ipfod/*"], check=True)
        await node.systemctl("reset-failed")
    yield borrowed


async def without_firewall(node: BootedNode) -> None:
    if (await node.run(["rpm", "-q", "ipfod"])).returncode == 0:
        await node.systemctl("disable", "--now", "ipfod")
        await node.systemctl("start", "ipfod-cleanup", check=True)
    for unit in ("firewalld", "nftables"):
        await node.systemctl("stop", unit, check=True)
    await node.run(["sh", "-c", "rm -rf /etc/firewalld/zones/* /etc/firewalld/policies/*"], check=True)
    await node.run(["nft", "flush", "ruleset"], check=True)
    for program in ("iptables-legacy", "ip6tables-legacy"):
        await node.run([program, "-P", "INPUT", "ACCEPT"], check=True)
        await node.run([program, "-F"], check=True)


def web(more: str) -> str:
    return (
        'virtual_ips = "192.168.3.10, fd00:9::10"\nmonitor_port = 0\nkernel_modules = []\n'
        f'preemption = "preempt"\n{more}'
    )


async def run_on_both(lab: BootedLab, more: str = "") -> tuple[BootedNode, BootedNode]:
    """Start ipfod: the first node holds both VIPs."""
    first, second = lab.booted
    for node, priority in ((first, 254), (second, 244)):
        configure([node], web(f"priority = {priority}\n{more}"))
    await asyncio.gather(*(node.systemctl("start", "ipfod", check=True) for node in lab.booted))
    await on_node(lab, first, VIPS)
    return first, second


async def with_firewalld(lab: BootedLab, more: str = "") -> tuple[BootedNode, BootedNode]:
    await asyncio.gather(*(node.systemctl("start", "firewalld", check=True) for node in lab.booted))
    return await run_on_both(lab, more)


async def firewall_cmd(node: BootedNode, *words: str) -> str:
    return (await node.run(["firewall-cmd", *words], check=True)).stdout


async def rich_rules(node: BootedNode, zone: str = "public") -> list[str]:
    said = await firewall_cmd(node, f"--zone={zone}", "--list-rich-rules")
    return sorted(line for line in said.splitlines() if line)


async def has_ours(node: BootedNode, zone: str = "public") -> bool:
    return set(RULES) <= set(await rich_rules(node, zone))


async def exactly_one_throughout(lab: BootedLab, *commands: tuple[BootedNode, list[str]]) -> float:
    """Run commands while a client pings both VIPs; the longest outage in ms. No second master at any time."""
    before = [await lab.holders(vip) for vip in VIPS]
    transitions = [await history(node) for node in lab.booted]
    async with lab.meter(VIPS, interval_ms=5) as meter:
        for node, argv in commands:
            await node.run(argv, check=True, timeout_s=60)
            await until(partial(has_ours, node), what="the rules are back")
        await asyncio.sleep(0.5)
    assert [await lab.holders(vip) for vip in VIPS] == before
    assert [await history(node) for node in lab.booted] == transitions, "somebody became master meanwhile"
    return meter.result().longest_ms


async def history(node: BootedNode) -> str:
    done = await node.run(
        [
            "busctl",
            "call",
            "org.ipfod.Ipfod1",
            "/org/ipfod/Ipfod1",
            "org.ipfod.Ipfod1.Manager",
            "GetHistory",
            "u",
            "0",
        ]
    )
    return done.stdout


async def test_firewalld_lets_vrrp_in_through_its_own_api_and_nothing_else(pair: BootedLab) -> None:
    first, second = await with_firewalld(pair)
    for node in pair.booted:
        assert await rich_rules(node) == sorted(RULES)
        assert await problems(node) == {}
        assert "ipfod" not in (await node.run(["nft", "list", "ruleset"], check=True)).stdout
        assert await firewall_cmd(node, "--permanent", "--zone=public", "--list-rich-rules") == "\n"
    assert RULES[0].replace('"', '\\"') in first.read(STATE)
    await second.systemctl("stop", "ipfod", check=True)
    assert await rich_rules(second) == []


async def test_reload_and_restart_of_firewalld_make_no_second_master(pair: BootedLab) -> None:
    for node in pair.booted:
        node.write("/etc/firewalld/zones/public.xml", MANY_RULES)
    first, second = await with_firewalld(pair)
    for command in (["firewall-cmd", "--reload"], ["firewall-cmd", "--complete-reload"]):
        for node in (first, second):
            await exactly_one_throughout(pair, (node, command))
    for node in (first, second):
        await exactly_one_throughout(pair, (node, ["systemctl", "restart", "firewalld"]))
    both = [(node, ["firewall-cmd", "--reload"]) for node in pair.booted]
    await exactly_one_throughout(pair, *both)
    assert [await problems(node) for node in pair.booted] == [{}, {}]


async def test_a_firewalld_that_is_hit_moves_nothing(pair: BootedLab) -> None:
    first, _ = await with_firewalld(pair)
    for number in ("TERM", "KILL", "SEGV", "STOP"):
        hit = f"systemctl kill --signal={number} firewalld; "
        hit += "sleep 1; systemctl kill --signal=CONT firewalld" if number == "STOP" else "sleep 0.5"
        again = f"{hit}; systemctl reset-failed firewalld; systemctl start firewalld"
        await exactly_one_throughout(pair, (first, ["sh", "-c", again]))
        assert await problems(first) == {}, number
    assert "Traceback" not in await first.journal("ipfod")


@pytest.mark.soak
@pytest.mark.timeout(1200)
async def test_firewalld_and_polkit_are_hit_for_long(
    pair: BootedLab, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table is what docs/reliability.md has."""
    first, _ = await with_firewalld(pair)
    await first.systemctl("start", "polkit", check=True)
    rows = []
    for unit in ("firewalld", "polkit"):
        for number in ("TERM", "KILL", "SEGV", "STOP"):
            longest_ms, right_again_s = await hit(pair, first, unit, number)
            rows.append(f"| {unit} | {shown(number)} | {longest_ms:.0f} ms | {right_again_s:.1f} s |")
    with capsys.disabled():
        print("\n| process | signal | longest outage | right again after |\n|---|---|---|---|", *rows, sep="\n")
    assert "Traceback" not in await first.journal("ipfod")


async def hit(lab: BootedLab, node: BootedNode, unit: str, number: str) -> tuple[float, float]:
    """Send a signal to a unit and start it again; the longest outage in ms, and s until all was right."""
    before = [await history(each) for each in lab.booted]

    async def right() -> bool:
        return await has_ours(node) and (await node.ipfoctl("preemption", "web")).returncode == 0

    async with lab.meter(VIPS, interval_ms=5) as meter:
        await node.systemctl("kill", f"--signal={number}", unit, check=True)
        await asyncio.sleep(LONG_STOPPED_S if number == "STOP" else 0.5)
        clock = time.monotonic()
        if number == "STOP":
            await node.systemctl("kill", "--signal=CONT", unit, check=True)
        await node.systemctl("reset-failed", unit)
        await node.systemctl("start", unit, check=True)
        await until(right, what=f"all is right after {number} to {unit}", timeout_s=60)
        right_again_s = time.monotonic() - clock
        await asyncio.sleep(0.5)
    assert [await history(each) for each in lab.booted] == before, "somebody became master meanwhile"
    assert await problems(node) == {}
    return meter.result().longest_ms, right_again_s


def shown(number: str) -> str:
    return f"SIGSTOP for {LONG_STOPPED_S:g} s" if number == "STOP" else f"SIG{number}"


async def test_what_was_permitted_already_stays_permitted(pair: BootedLab) -> None:
    for node in pair.booted:
        await node.systemctl("start", "firewalld", check=True)
        await firewall_cmd(node, f"--add-rich-rule={PERMITTED}")
        await firewall_cmd(node, f"--add-rich-rule={RULES[0]}")
    first, second = await run_on_both(pair)
    assert await has_ours(first)
    assert RULES[0].replace('"', '\\"') not in first.read(STATE)
    for node in (first, second):
        await node.systemctl("stop", "ipfod", check=True)
        assert await rich_rules(node) == sorted([PERMITTED, RULES[0]])


async def test_rules_follow_the_interface_into_another_zone_and_are_put_back_if_removed(
    pair: BootedLab,
) -> None:
    first, _ = await with_firewalld(pair)
    await firewall_cmd(first, "--zone=drop", "--change-interface=eth0")
    await until(partial(has_ours, first, "drop"), what="the rules are in the other zone")
    await until(partial(has_none, first, "public"), what="and no longer in the old one")
    await firewall_cmd(first, "--zone=drop", f"--remove-rich-rule={RULES[0]}")
    await until(partial(has_ours, first, "drop"), what="the rule is back")
    await on_node(pair, first, VIPS)
    # A node that speaks from a zone of its own: what counts then is not the interface.
    await firewall_cmd(first, "--zone=internal", "--add-source=192.168.3.0/24")
    await until(partial(has, first, "internal", RULES[0]), what="the rule is where the source leads")
    await first.systemctl("stop", "ipfod", check=True)
    for zone in ("drop", "internal", "public"):
        assert await rich_rules(first, zone) == []


async def has(node: BootedNode, zone: str, rule: str) -> bool:
    return rule in await rich_rules(node, zone)


async def has_none(node: BootedNode, zone: str) -> bool:
    return not await rich_rules(node, zone)


async def test_rules_of_an_ipfod_that_was_killed_are_taken_over_and_removed(pair: BootedLab) -> None:
    first, second = await with_firewalld(pair)
    await first.systemctl("kill", "--signal=KILL", "ipfod", check=True)
    await until(partial(answers, first), what="systemd has started ipfod again")
    assert await rich_rules(first) == sorted(RULES)
    await first.systemctl("kill", "--signal=KILL", "ipfod", check=True)
    await first.systemctl("start", "ipfod-cleanup", check=True)
    assert await rich_rules(first) == []
    assert "removed rule priority" in await first.journal("ipfod-cleanup")
    await second.run(["rpm", "-e", "ipfod"], check=True, timeout_s=60)
    assert await rich_rules(second) == []


async def answers(node: BootedNode) -> bool:
    return (await node.ipfoctl("status")).returncode == 0


async def test_unicast_lets_the_peers_in_and_follows_their_list(pair: BootedLab) -> None:
    peers = ", ".join(f'"{address}"' for node in pair.booted for address in node.own_addresses)
    more = f"use_unicast = true\nunicast_peers = [{peers}]\n"
    first, second = await with_firewalld(pair, more)
    wanted = [
        f'rule priority="-112" family="ipv{address.version}" source address="{address}" {PROTOCOL}'
        for address in second.own_addresses
    ]
    assert await rich_rules(first) == sorted(wanted)
    longer = more.replace("unicast_peers = [", 'unicast_peers = ["192.168.3.9", ')
    configure([first], web(f"priority = 254\n{longer}"))
    await first.systemctl("reload", "ipfod", check=True)
    added = wanted[0].replace(str(second.own_addresses[0]), "192.168.3.9")
    assert await rich_rules(first) == sorted([*wanted, added])
    await on_node(pair, first, VIPS)


async def test_firewalld_that_is_started_or_stopped_later_is_noticed(pair: BootedLab) -> None:
    first, second = await run_on_both(pair)
    await exactly_one_throughout(pair, (second, ["systemctl", "start", "firewalld"]))
    await second.systemctl("stop", "firewalld", check=True)
    await asyncio.sleep(0.5)
    await on_node(pair, first, VIPS)
    # The bus would start it if it were called by its name; it was stopped on purpose.
    assert (await second.properties("firewalld", "ActiveState"))["ActiveState"] == "inactive"
    assert await problems(second) == {}


async def test_a_drop_beside_firewalld_is_opened_or_named(pair: BootedLab) -> None:
    first, second = await with_firewalld(pair)
    table = "table inet other { chain input { type filter hook input priority 20; policy drop; }; }"
    rest = "table inet third { chain shut { type filter hook input priority 30; meta l4proto 112 drop; }; }"
    await second.run(["nft", "-f", "-"], stdin=table, check=True)
    await asyncio.sleep(1.0)
    await on_node(pair, first, VIPS)
    assert "ipfod:web" in (await second.run(["nft", "list", "table", "inet", "other"], check=True)).stdout
    await second.run(["nft", "-f", "-"], stdin=rest, check=True)
    await until(partial(names, second, "chain inet third shut drops them"), what="the problem is told")
    await second.run(["nft", "delete", "table", "inet", "third"], check=True)
    await on_node(pair, first, VIPS)
    await second.run(["firewall-cmd", "--panic-on"], check=True)
    await until(partial(names, second, "chain inet firewalld_policy_drop raw_prerouting"), what="panic is told")
    await second.run(["firewall-cmd", "--panic-off"], check=True)
    await on_node(pair, first, VIPS)
    await until(partial(well, second), what="the problem is over")


async def names(node: BootedNode, text: str) -> bool:
    return text in (await problems(node)).get("firewall-blocking", "")


async def well(node: BootedNode) -> bool:
    return await problems(node) == {}


async def test_an_empty_firewall_chain_leaves_firewalld_alone_and_the_drop_is_told(pair: BootedLab) -> None:
    for node in pair.booted:
        await node.systemctl("start", "firewalld", check=True)
        priority = 254 if node is pair.booted[0] else 244
        configure([node], web(f'priority = {priority}\nfirewall_chain = ""\n'))
        await node.systemctl("start", "ipfod", check=True)
    for node in pair.booted:
        await until(partial(names, node, "chain inet firewalld filter_IN"), what="the zone's chain is named")
        assert await rich_rules(node) == []


async def test_iptables_nft_keeps_its_shape_and_lets_vrrp_in(pair: BootedLab) -> None:
    for node in pair.booted:
        for program in ("iptables-nft", "ip6tables-nft"):
            for rule in ("-P INPUT DROP", "-A INPUT -p icmp -j ACCEPT", "-A INPUT -p ipv6-icmp -j ACCEPT"):
                await node.run([program, *rule.split()], check=True)
    _, second = await run_on_both(pair)
    said = (await second.run(["iptables-nft-save"], check=True)).stdout
    assert (
        '-A INPUT -d 224.0.0.18/32 -i eth0 -p vrrp -m ttl --ttl-eq 255 -m comment --comment "ipfod:web"' in said
    )
    restore = "iptables-nft-save > /run/saved && iptables-nft -F && iptables-nft-restore < /run/saved"
    async with pair.meter(VIPS, interval_ms=5) as meter:
        await second.run(["sh", "-c", restore], check=True)
        await asyncio.sleep(1.0)
    assert meter.result().lost == 0
    assert [await problems(node) for node in pair.booted] == [{}, {}]
    await second.systemctl("stop", "ipfod", check=True)
    assert "ipfod" not in (await second.run(["iptables-nft-save"], check=True)).stdout


async def test_a_table_of_the_old_iptables_that_drops_is_told_with_the_way_out(pair: BootedLab) -> None:
    first, second = await run_on_both(pair)
    for rule in ("-A INPUT -p icmp -j ACCEPT", "-P INPUT DROP"):
        await second.run(["iptables-legacy", *rule.split()], check=True)
    await until(partial(names, second, "iptables filter (legacy) may drop them"), what="the drop is told")
    assert "table filter of iptables-legacy" in (await problems(second))["firewall-chain-missing"]
    await second.run(
        ["iptables-legacy", "-t", "filter", "-I", "INPUT", "-p", "vrrp", "-j", "ACCEPT"], check=True
    )
    await until(partial(well, second), what="the way out led out")
    await each_on_one(pair, VIPS)
    await on_node(pair, first, VIPS)
