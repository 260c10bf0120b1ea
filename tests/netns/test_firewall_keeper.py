"""Rules are put where they are wanted, once, and taken away again, in real rulesets."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re

import pytest
from firewall_lab import Lab, drop_all, keeper, lab, listing, nft, ours, run, wish

from ipfod.firewall.keeper import FirewallKeeper

pytestmark = [pytest.mark.netns, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]
__all__ = ["keeper", "lab"]  # fixtures

V4 = 'iifname "eth0" meta l4proto vrrp ip daddr 224.0.0.18 ip ttl 255 accept comment "ipfod:web"'
V6 = 'iifname "eth0" meta l4proto vrrp ip6 daddr ff02::12 ip6 hoplimit 255 accept comment "ipfod:web"'


def ruleset() -> str:
    """Everything there is, handles included."""
    return run("nft", "-a", "-s", "list", "ruleset")


async def test_the_rules_of_both_families_stand_at_the_head_of_the_chain(keeper: FirewallKeeper) -> None:
    drop_all("inet", "filter", "input")
    before = listing("inet filter input")
    report = await keeper.apply([wish()])
    assert listing("inet filter input") == [V4, V6, *before]
    assert [str(each) for each in report.placed] == [
        "chain inet filter input: VRRP to 224.0.0.18 on eth0 for web",
        "chain inet filter input: VRRP to ff02::12 on eth0 for web",
    ]
    assert report.inserted == report.placed
    assert not report.missing
    assert not report.errors
    assert not report.removed


async def test_applying_again_changes_nothing_at_all(keeper: FirewallKeeper) -> None:
    drop_all("inet", "filter", "input")
    await keeper.apply([wish()])
    before = ruleset()
    report = await keeper.apply([wish()])
    assert ruleset() == before
    assert len(report.placed) == 2
    assert not report.inserted


async def test_every_table_that_has_the_chain_gets_the_rules_of_its_family(keeper: FirewallKeeper) -> None:
    for family, table in (("inet", "one"), ("inet", "two"), ("ip", "filter"), ("ip6", "filter")):
        drop_all(family, table, "input")
    report = await keeper.apply([wish(chains=("input",))])
    assert len(report.placed) == 6
    assert ours("inet one input") == ours("inet two input") == [V4, V6]
    assert ours("ip filter input") == [V4]
    assert ours("ip6 filter input") == [V6]


async def test_a_missing_chain_is_reported_and_not_made(keeper: FirewallKeeper) -> None:
    drop_all("inet", "filter", "input")
    before = ruleset()
    report = await keeper.apply([wish(chains=("VRRP",)), wish("db", chains=("ip filter INPUT",))])
    assert report.missing == {"web": ("VRRP",), "db": ("ip filter INPUT",)}
    assert not report.errors
    assert ruleset() == before


async def test_on_a_host_without_any_ruleset_the_chain_is_missing_and_nothing_fails(
    keeper: FirewallKeeper,
) -> None:
    report = await keeper.apply([wish()])
    assert report.missing == {"web": ("INPUT",)}
    assert not report.errors
    assert ruleset() == ""
    assert await keeper.remove_all() == ()


async def test_a_regular_chain_is_filled_if_it_is_named_exactly(keeper: FirewallKeeper) -> None:
    nft("table ip filter { chain ALLOW { }; chain INPUT { type filter hook input priority 0; jump ALLOW; }; }")
    report = await keeper.apply([wish(chains=("ip filter ALLOW",))])
    assert not report.missing
    assert ours("ip filter ALLOW") == [V4]
    assert ours("ip filter INPUT") == []


async def test_an_output_chain_named_as_well_gets_rules_for_what_goes_out(keeper: FirewallKeeper) -> None:
    drop_all("inet", "filter", "input")
    nft("table inet filter { chain output { type filter hook output priority 0; policy drop; }; }")
    await keeper.apply([wish("web", "10.78.0.2", chains=("input", "output"))])
    assert (
        ours("inet filter input")[0]
        == 'iifname "eth0" meta l4proto vrrp ip saddr 10.78.0.2 accept comment "ipfod:web"'
    )
    assert ours("inet filter output") == [
        'oifname "eth0" meta l4proto vrrp ip daddr 10.78.0.2 accept comment "ipfod:web"',
        V6.replace("iifname", "oifname"),
    ]


async def test_two_failovers_share_a_chain_and_part_again(keeper: FirewallKeeper) -> None:
    drop_all("inet", "filter", "input")
    await keeper.apply([wish("web"), wish("web-2", interface="eth1")])
    assert len(ours("inet filter input")) == 4
    assert await keeper.remove("web") == (
        "chain inet filter input: removed the rule for VRRP to 224.0.0.18 on eth0 (ipfod:web)",
        "chain inet filter input: removed the rule for VRRP to ff02::12 on eth0 (ipfod:web)",
    )
    assert len(ours("inet filter input")) == 2
    assert all(rule.endswith('"ipfod:web-2"') for rule in ours("inet filter input"))
    assert await keeper.remove("web") == ()


async def test_another_interface_replaces_the_rules(keeper: FirewallKeeper) -> None:
    drop_all("inet", "filter", "input")
    await keeper.apply([wish()])
    report = await keeper.apply([wish(interface="bond0.7")])
    assert ours("inet filter input") == [V4.replace("eth0", "bond0.7"), V6.replace("eth0", "bond0.7")]
    assert len(report.removed) == 2


async def test_a_changed_list_of_peers_changes_only_the_rules_of_those_peers(keeper: FirewallKeeper) -> None:
    drop_all("inet", "filter", "input")
    await keeper.apply([wish("web", "10.78.0.2", "10.78.0.3")])
    report = await keeper.apply([wish("web", "10.78.0.3", "10.78.0.4")])
    assert [str(each.rule.address) for each in report.inserted] == ["10.78.0.4"]
    assert report.removed == (
        "chain inet filter input: removed the rule for VRRP from 10.78.0.2 on eth0 (ipfod:web)",
    )


async def test_a_chain_no_longer_named_is_left_without_a_trace(keeper: FirewallKeeper) -> None:
    drop_all("inet", "filter", "input")
    drop_all("ip", "other", "custom")
    before = ruleset()
    await keeper.apply([wish()])
    await keeper.apply([wish(chains=("custom",))])
    assert ours("inet filter input") == []
    assert len(ours("ip other custom")) == 1
    await keeper.apply([])
    assert ruleset() == before


async def test_a_new_keeper_takes_over_and_clears_what_an_old_one_left(keeper: FirewallKeeper) -> None:
    drop_all("inet", "filter", "input")
    drop_all("ip", "other", "custom")
    await keeper.apply([wish(), wish("old", chains=("custom",))])
    with contextlib.closing(FirewallKeeper()) as successor:
        report = await successor.apply([wish()])
    assert not report.inserted
    assert report.removed == (
        "chain ip other custom: removed the rule for VRRP to 224.0.0.18 on eth0 (ipfod:old)",
    )


async def test_foreign_rules_their_order_and_handles_stay_as_they_were(keeper: FirewallKeeper) -> None:
    drop_all("inet", "filter", "input")
    for port in (22, 80, 443):
        nft(f'add rule inet filter input tcp dport {port} ct state new counter accept comment "ipfo:{port}"')
    nft('insert rule inet filter input meta l4proto vrrp ip saddr 192.0.2.1 accept comment "not ipfod:web"')
    before = ruleset()
    await keeper.apply([wish(), wish("db", "10.78.0.2")])
    added = re.sub(r'.*comment "ipfod:.*\n', "", ruleset())
    assert added == before
    await keeper.remove_all()
    assert ruleset() == before


async def test_a_rule_that_stands_twice_or_was_altered_is_put_right(keeper: FirewallKeeper) -> None:
    drop_all("inet", "filter", "input")
    await keeper.apply([wish()])
    nft(f"insert rule inet filter input {V4}")
    nft('insert rule inet filter input meta l4proto vrrp accept comment "ipfod:web"')
    report = await keeper.apply([wish()])
    assert sorted(ours("inet filter input")) == [V4, V6]
    assert len(report.removed) == 2
    assert not report.inserted


async def test_removing_everything_needs_no_memory_and_finds_rules_anywhere(keeper: FirewallKeeper) -> None:
    drop_all("inet", "filter", "input")
    nft("table ip mine { chain hidden { }; }")
    before = ruleset()
    await keeper.apply([wish()])
    nft('add rule ip mine hidden accept comment "ipfod:gone"')
    with contextlib.closing(FirewallKeeper()) as cleaner:
        sentences = await cleaner.remove_all()
        assert await cleaner.remove_all() == ()
    assert "chain ip mine hidden: removed the rule for VRRP (ipfod:gone)" in sentences
    assert len(sentences) == 3
    assert ruleset() == before


async def test_rules_are_found_after_a_reload_has_given_them_other_handles(keeper: FirewallKeeper) -> None:
    drop_all("inet", "filter", "input")
    await keeper.apply([wish()])
    saved = run("nft", "list", "ruleset")
    nft("flush ruleset; table inet filter { chain first { }; }\n" + saved)
    assert not (await keeper.apply([wish()])).inserted
    assert len(await keeper.remove_all()) == 2


async def test_calls_that_overlap_leave_each_rule_once(keeper: FirewallKeeper) -> None:
    drop_all("inet", "filter", "input")
    await asyncio.gather(*(keeper.apply([wish()]) for _ in range(5)))
    assert ours("inet filter input") == [V4, V6]


async def test_the_loop_stays_responsive_while_a_chain_of_5000_rules_is_read(
    keeper: FirewallKeeper, lab: Lab
) -> None:
    drop_all("inet", "filter", "input")
    nft(
        "".join(
            f"add rule inet filter input ip saddr 10.0.0.1 tcp dport {port} accept\n" for port in range(1, 5001)
        )
    )
    await keeper.apply([wish()])
    loop = asyncio.get_running_loop()
    applying = asyncio.create_task(keeper.apply([wish()]))
    start = last = loop.time()
    longest = 0.0
    while not applying.done():
        await asyncio.sleep(0.001)
        longest, last = max(longest, loop.time() - last), loop.time()
    assert len((await applying).placed) == 2
    assert last - start > 0.04, "the list was too short to show anything"
    assert longest < (last - start) / 2
