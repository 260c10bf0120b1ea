"""Transitions and problems in the journal, for people and for programs; the history over reboots."""

from __future__ import annotations

import json

from scenario import on_node, until

from ipfod.journal import PROBLEM_CLEARED_ID, PROBLEM_RAISED_ID, TRANSITION_ID
from node.booted import BootedNode
from node.booted_lab import BootedLab
from node.installed import VIPS, run_on_both
from node.package import ROOT


async def entries(node: BootedNode, message_id: str) -> list[dict[str, str]]:
    await node.run(["journalctl", "--sync"], check=True)
    argv = ["journalctl", "--unit=ipfod", "--boot", "--output=json", f"MESSAGE_ID={message_id}"]
    done = await node.run(argv, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


async def test_a_transition_is_in_the_journal_with_fields_of_its_own(pair: BootedLab) -> None:
    owner, other = await run_on_both(pair)
    assert (await owner.ipfoctl("step-down", "web", "--hold", "1m")).returncode == 0
    await on_node(pair, other, VIPS)
    last = (await entries(owner, TRANSITION_ID))[-1]
    assert {key: last[key] for key in last if key.startswith("IPFOD_") and key != "IPFOD_USEC"} == {
        "IPFOD_FAILOVER": "web",
        "IPFOD_GROUP": "web_VIP_1",
        "IPFOD_OLD": "master",
        "IPFOD_NEW": "backup",
        "IPFOD_REASON": f"step-down by uid 0: advert from {other.own_addresses[0]} with priority 242",
    }
    assert last["MESSAGE"] == f"web_VIP_1: master -> backup: {last['IPFOD_REASON']}"
    assert (last["PRIORITY"], last["SYSLOG_IDENTIFIER"]) == ("6", "ipfod")
    history = json.loads((await owner.ipfoctl("history", "--limit", "1", "--json")).stdout)["history"]
    assert last["IPFOD_USEC"] == str(history[0]["usec"])
    assert "web_VIP_1: master -> backup: step-down by uid 0" in await owner.journal("ipfod")


def test_the_documentation_names_the_ids() -> None:
    document = (ROOT / "docs/ipfoctl.md").read_text()
    for message_id in (TRANSITION_ID, PROBLEM_RAISED_ID, PROBLEM_CLEARED_ID):
        assert f"\n| `{message_id}` |" in document


async def test_a_problem_and_its_end_are_in_the_journal_with_fields(pair: BootedLab) -> None:
    owner, _ = await run_on_both(pair)
    owner.write("/etc/ipfod/bad.toml", "virtual_ip = 1\n")
    await owner.ipfoctl("reload")
    [raised] = [each for each in await entries(owner, PROBLEM_RAISED_ID) if "bad.toml" in each["IPFOD_OBJECT"]]
    assert raised["IPFOD_PROBLEM"] == "configuration-invalid"
    assert "virtual_ip: is no known option" in raised["IPFOD_TEXT"]
    assert raised["IPFOD_HINT"]
    assert raised["PRIORITY"] == "4"
    await owner.run(["rm", "/etc/ipfod/bad.toml"], check=True)
    await owner.ipfoctl("reload")
    cleared = await entries(owner, PROBLEM_CLEARED_ID)
    assert [each["IPFOD_OBJECT"] for each in cleared if "bad.toml" in each["IPFOD_OBJECT"]]


async def test_the_history_outlives_reboot_and_power_cut(pair: BootedLab) -> None:
    owner, other = await run_on_both(pair)
    assert (await owner.ipfoctl("step-down", "web", "--hold", "1s")).returncode == 0
    await on_node(pair, owner, VIPS)
    assert await owner.reboot() == "running"
    await on_node(pair, owner, VIPS)
    assert "step-down by uid 0" in (await owner.ipfoctl("history", "web")).stdout
    await other.power_cut()
    assert await other.power_on() == "running"
    await until(lambda: knows(other), what="the node that lost its power knows what was before")


async def knows(node: BootedNode) -> bool:
    return "backup -> master" in (await node.ipfoctl("history", "192.168.3.10")).stdout
