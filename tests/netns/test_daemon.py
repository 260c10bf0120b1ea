"""The daemon's own life: crash, restart, reload, bad files, missing parts, an end that leaves nothing."""

from __future__ import annotations

import asyncio
import json
import signal
import sys

import pytest
from scenario import (
    PORT,
    configure,
    each_on_one,
    group,
    keepalived_pids,
    listed,
    no_traceback,
    on_node,
    problems,
    start,
    status,
    until,
)

from ipfod.errors import Failed
from ipfod.lab.lab import Lab

VIPS = ("192.168.3.10", "192.168.3.11")
IPFOD = (sys.executable, "-m", "ipfod")
WEB = 'virtual_ips = "192.168.3.10-11"\nmonitor_port = 0\npreemption = "preempt"\n'


async def test_kill_9_of_the_daemon_loses_no_echo_and_the_state_is_right_within_a_second(pair: Lab) -> None:
    configure(pair.nodes, WEB.replace("monitor_port = 0", f"monitor_port = {PORT}") + listed(pair))
    await start(pair.nodes, port=PORT)
    await each_on_one(pair, VIPS)
    await until(lambda: _even(pair), what="one VIP on each node")
    node = pair.nodes[0]
    before, pids = await status(node), await keepalived_pids(node)
    async with pair.meter(VIPS, interval_ms=5) as meter:
        for _ in range(3):
            await node.kill_ipfod(signal.SIGKILL)
            await asyncio.sleep(0.3)
            await node.start_ipfod()
            async with asyncio.timeout(1.0):
                while _states(await status(node)) != _states(before):
                    await asyncio.sleep(0.01)
    assert meter.result().lost == 0
    assert await keepalived_pids(node) == pids
    failover = (await status(node))["failovers"][0]
    assert failover["keepalived_state"] == "running"
    assert failover["keepalived_pid"] == pids[0]


def _states(document: dict[str, object]) -> list[tuple[object, ...]]:
    held = [(vip["address"], vip["state"], vip["master"], vip["held"]) for vip in document["virtual_ips"]]  # type: ignore[attr-defined]  # JSON
    return sorted(held)


async def _even(lab: Lab) -> bool:
    return [len(await node.addresses()) for node in lab.nodes] == [1, 1]


async def test_what_happened_while_the_daemon_was_down_is_known_afterwards(pair: Lab) -> None:
    first, second = pair.nodes
    configure(pair.nodes, WEB + listed(pair))
    await start(pair.nodes)
    await each_on_one(pair, VIPS)
    await first.kill_ipfod(signal.SIGKILL)
    await second.kill_ipfod(signal.SIGTERM)  # so the first node takes everything
    await on_node(pair, first, VIPS)
    await first.start_ipfod()
    assert {entry["state"] for entry in (await status(first))["failovers"][0]["groups"]} == {"master"}
    reasons = json.loads((await first.ipfoctl("history", "--json")).stdout)["history"]
    assert any("found so when ipfod started" in entry["reason"] for entry in reasons)


async def test_keepalived_that_died_while_the_daemon_was_down_is_started_again(pair: Lab) -> None:
    first, second = pair.nodes
    configure(pair.nodes, WEB + "priority = 200\n" + listed(pair))
    await start(pair.nodes)
    await each_on_one(pair, VIPS)
    await first.kill_ipfod(signal.SIGKILL)
    await first.run(["kill", "-KILL", *map(str, await keepalived_pids(first))], check=True)
    await first.start_ipfod()
    await each_on_one(pair, VIPS)

    async def well() -> bool:
        return len(await keepalived_pids(first)) == 2 and not await problems(first)

    await until(well, what="keepalived runs again")
    assert second.ipfod is not None


async def test_reload_adds_a_vip_to_a_group_without_losing_an_echo(pair: Lab) -> None:
    one = 'virtual_ips = "192.168.3.10-11"\nvip_groups = 1\nmonitor_port = 0\n' + listed(pair)
    configure(pair.nodes, one)
    await start(pair.nodes)
    await each_on_one(pair, VIPS)
    pids = await keepalived_pids(pair.nodes[0])
    async with pair.meter(VIPS) as meter:
        for node in pair.nodes:  # one after the other, with longer than a master-down time between
            configure([node], one.replace("10-11", "10-12"))
            done = await node.ipfoctl("reload")
            assert done.returncode == 0, done.stderr
            await asyncio.sleep(1.0)
            await each_on_one(pair, VIPS)
        await each_on_one(pair, (*VIPS, "192.168.3.12"))
    assert meter.result().lost == 0
    assert await keepalived_pids(pair.nodes[0]) == pids
    assert (await group(pair.nodes[0], "web_VIP_1"))["virtual_ips"] == [*VIPS, "192.168.3.12"]


async def test_the_vip_in_the_adverts_stays_when_one_is_put_before_it(pair: Lab) -> None:
    one = 'virtual_ips = "192.168.3.10-11"\nvip_groups = 1\nmonitor_port = 0\n' + listed(pair)
    configure(pair.nodes, one)
    await start(pair.nodes)
    await each_on_one(pair, VIPS)
    configure(pair.nodes[:1], one.replace("10-11", "9-11"))
    async with pair.meter(VIPS) as meter:
        assert (await pair.nodes[0].ipfoctl("reload")).returncode == 0
        await asyncio.sleep(1.0)  # two masters would show within a master-down time
        await each_on_one(pair, VIPS)
        # The same after a restart of the daemon: the state file knows which VIP it was.
        await pair.nodes[0].kill_ipfod(signal.SIGKILL)
        await pair.nodes[0].start_ipfod()
        await asyncio.sleep(1.0)
        await each_on_one(pair, VIPS)
    assert meter.result().lost == 0


async def test_reload_without_a_file_releases_its_vips_and_nothing_else(pair: Lab) -> None:
    node = pair.nodes[0]
    configure([node], WEB + listed(pair))
    configure([node], 'virtual_ips = "192.168.3.20"\nmonitor_port = 0\nvrrp_id_offset = 50\n', name="db.toml")
    await start([node])
    await on_node(pair, node, (*VIPS, "192.168.3.20"))
    async with pair.meter(VIPS) as meter:
        await node.run(["rm", "/etc/ipfod/db.toml"], check=True)
        assert (await node.ipfoctl("reload")).returncode == 0
        await until(lambda: _released(pair, "192.168.3.20"), what="the VIP is released")
        await asyncio.sleep(0.5)
    assert meter.result().lost == 0
    assert [failover["name"] for failover in (await status(node))["failovers"]] == ["web"]
    assert (await node.run(["ls", "/run/ipfod"])).stdout.split() == ["accepted.d", "boot", "daemon.lock", "web"]


async def _released(lab: Lab, virtual_ip: str) -> bool:
    return not await lab.holders(virtual_ip)


async def test_a_bad_file_among_good_ones_is_reported_and_the_good_ones_run(pair: Lab) -> None:
    node = pair.nodes[0]
    configure([node], WEB)
    configure(
        [node], 'virtual_ips = "192.168.3.20"\nvrrp_id_offste = 50\npreemption = "maybe"\n', name="bad.toml"
    )
    await start([node])
    await on_node(pair, node, VIPS)
    text = (await problems(node))["configuration-invalid"]
    assert "/etc/ipfod/bad.toml:2: vrrp_id_offste: " in text
    assert "vrrp_id_offset" in text
    assert "/etc/ipfod/bad.toml:3: preemption: " in text
    shown = await node.ipfoctl("status")
    assert shown.returncode == 1
    assert "bad.toml:2" in shown.stdout
    done = await node.bus(
        "get-property", "org.ipfod.Ipfod1", "/org/ipfod/Ipfod1", "org.ipfod.Ipfod1.Manager", "Problems"
    )
    assert "configuration-invalid" in done.stdout


async def test_a_file_that_becomes_bad_does_not_stop_what_runs(pair: Lab) -> None:
    node = pair.nodes[0]
    configure([node], WEB)
    await start([node])
    await on_node(pair, node, VIPS)
    pids = await keepalived_pids(node)
    configure([node], WEB + 'interface = "a b"\n')
    done = await node.ipfoctl("reload")
    assert done.returncode == 1
    assert "/etc/ipfod/web.toml:4: interface: " in done.stderr
    assert no_traceback(done.stderr)
    await node.kill_ipfod(signal.SIGKILL)
    await node.start_ipfod()
    assert await keepalived_pids(node) == pids
    assert (await group(node, "web_VIP_1"))["state"] == "master"
    assert "configuration-invalid" in await problems(node)
    configure([node], WEB)
    assert (await node.ipfoctl("reload")).returncode == 0
    assert not await problems(node)
    assert await keepalived_pids(node) == pids


async def test_a_new_file_cannot_take_vips_or_ids_from_one_that_runs(pair: Lab) -> None:
    node = pair.nodes[0]
    configure([node], WEB)
    await start([node])
    await on_node(pair, node, VIPS)
    configure([node], 'virtual_ips = "192.168.3.11-12"\nmonitor_port = 0\n', name="aaa.toml")
    done = await node.ipfoctl("reload")
    assert done.returncode == 1
    for words in ("192.168.3.11", "virtual router ID", "/etc/ipfod/aaa.toml", "/etc/ipfod/web.toml"):
        assert words in done.stderr
    await on_node(pair, node, VIPS)
    assert [failover["name"] for failover in (await status(node))["failovers"]] == ["web"]


async def test_an_interface_that_is_missing_is_waited_for(pair: Lab) -> None:
    node = pair.nodes[0]
    configure([node], WEB + 'interface = "eth7"\n')
    await start([node])
    assert "eth7 is missing" in (await problems(node))["interface-missing"]
    assert (await group(node, "web_VIP_1"))["state"] == "stopped"
    await node.run(["ip", "link", "add", "eth7", "type", "veth", "peer", "name", "eth8"], check=True)
    await node.run(["ip", "address", "add", "192.168.3.77/24", "dev", "eth7"], check=True)
    await node.run(["ip", "link", "set", "eth8", "up"], check=True)
    await node.run(["ip", "link", "set", "eth7", "up"], check=True)

    async def master() -> bool:
        return (await group(node, "web_VIP_1"))["state"] == "master" and not await problems(node)

    await until(master, what="the failover runs on the new interface")


async def test_no_bus_is_a_sentence_and_an_exit_code(pair: Lab) -> None:
    node = pair.nodes[0]
    configure([node], WEB)
    done = await node.run(["env", "DBUS_SYSTEM_BUS_ADDRESS=unix:path=/run/none", *IPFOD])
    assert done.returncode == 1
    assert no_traceback(done.stderr)
    assert "bus" in done.stderr


async def test_no_keepalived_is_a_sentence_and_an_exit_code(pair: Lab) -> None:
    node = pair.nodes[0]
    configure([node], WEB)
    await node.run(["mount", "--bind", "/etc/hostname", "/usr/sbin/keepalived"], check=True)  # not executable
    done = await node.run(IPFOD)
    assert done.returncode == 1
    assert done.stderr.strip().endswith("apt install keepalived)")
    assert no_traceback(done.stderr)


async def test_two_daemons_do_not_run_on_one_node(pair: Lab) -> None:
    node = pair.nodes[0]
    configure([node], WEB)
    await start([node])
    done = await node.run(IPFOD)
    assert done.returncode == 1
    assert "runs already" in done.stderr


async def test_a_damaged_state_file_is_set_aside_and_nothing_is_lost(pair: Lab) -> None:
    node = pair.nodes[0]
    configure([node], WEB)
    await start([node])
    await on_node(pair, node, VIPS)
    await node.kill_ipfod(signal.SIGKILL)
    node.write("/var/lib/ipfod/state.json", node.read("/var/lib/ipfod/state.json")[:50])
    async with pair.meter(VIPS) as meter:
        await node.start_ipfod()
        await asyncio.sleep(0.3)
    assert meter.result().lost == 0
    assert "state.json.damaged" in (await problems(node))["state-damaged"]
    assert {vip["held"] for vip in (await status(node))["virtual_ips"]} == {True}
    assert len(node.read("/var/lib/ipfod/state.json.damaged")) == 50


async def test_stopping_the_daemon_gives_everything_back(pair: Lab) -> None:
    node = pair.nodes[0]
    configure([node], WEB)
    await start([node])
    await on_node(pair, node, VIPS)
    assert await node.kill_ipfod(signal.SIGTERM) == 0
    assert not await node.addresses()
    assert not await keepalived_pids(node)
    assert "ipfod" not in (await node.run(["nft", "list", "ruleset"], check=True)).stdout


async def test_loss_of_the_bus_ends_the_daemon_and_moves_no_vip(pair: Lab) -> None:
    node = pair.nodes[0]
    configure([node], WEB)
    await start([node])
    await on_node(pair, node, VIPS)
    assert node.ipfod is not None
    async with pair.meter(VIPS) as meter:
        await node.run(["pkill", "-x", "dbus-daemon"], check=True)  # inside the node's own process namespace
        assert await node.ipfod.wait(timeout_s=10) == 1
        await asyncio.sleep(0.5)
    assert meter.result().lost == 0
    assert "the system bus is gone" in node.log()
    assert no_traceback(node.log())


async def test_a_port_that_nobody_listens_on_keeps_the_vips_away(pair: Lab) -> None:
    node = pair.nodes[0]
    configure([node], WEB.replace("monitor_port = 0", f"monitor_port = {PORT}"))
    await start([node])
    await asyncio.sleep(1.5)  # it would have become master in 0.3 s
    assert not await node.addresses()
    assert (await group(node, "web_VIP_1"))["state"] == "fault"
    assert f"port {PORT}" in (await problems(node))["check-failing"]
    await node.start_service(PORT)
    await on_node(pair, node, VIPS)


async def test_every_node_answers_busctl_and_gdbus(pair: Lab) -> None:
    node = pair.nodes[0]
    configure([node], WEB)
    await start([node])
    await on_node(pair, node, VIPS)
    found = await node.bus(
        "call",
        "org.ipfod.Ipfod1",
        "/org/ipfod/Ipfod1",
        "org.ipfod.Ipfod1.Manager",
        "FindVirtualIP",
        "s",
        VIPS[0],
    )
    assert found.stdout.strip() == 'o "/org/ipfod/Ipfod1/vip/_3192_2e168_2e3_2e10"'
    path = "/org/ipfod/Ipfod1/failover/web/group/_31"
    state = await node.bus("get-property", "org.ipfod.Ipfod1", path, "org.ipfod.Ipfod1.Group", "State")
    assert state.stdout.strip() == 's "master"'
    call = ["gdbus", "call", "--system", "--dest", "org.ipfod.Ipfod1", "--object-path", "/org/ipfod/Ipfod1"]
    objects = await node.run([*call, "--method", "org.freedesktop.DBus.ObjectManager.GetManagedObjects"])
    assert objects.returncode == 0
    for interface in ("Failover", "Group", "VirtualIP"):
        assert f"'org.ipfod.Ipfod1.{interface}'" in objects.stdout


async def test_a_daemon_that_fails_to_start_says_so_in_its_log(pair: Lab) -> None:
    node = pair.nodes[0]
    configure([node], WEB)
    await node.run(["rm", "-rf", "/run/ipfod"], check=True)
    node.write("/run/ipfod", "in the way")
    with pytest.raises(Failed, match="/run/ipfod"):
        await node.start_ipfod()
    assert no_traceback(node.log())


async def test_a_missing_chain_is_a_problem_only_where_something_filters(pair: Lab) -> None:
    node = pair.nodes[0]
    configure([node], WEB + 'firewall_chain = "OS_FIREWALL_ALLOW"\n')
    await start([node])
    assert "OS_FIREWALL_ALLOW" in (await problems(node))["firewall-chain-missing"]
    await node.run(["nft", "flush", "ruleset"], check=True)

    async def no_problem() -> bool:
        return not await problems(node)

    await until(no_problem, what="no firewall, no problem")


async def test_a_rule_that_somebody_flushed_is_back_at_once(pair: Lab) -> None:
    node = pair.nodes[0]
    configure([node], WEB)
    await start([node])
    await node.run(["nft", "flush", "chain", "inet", "filter", "input"], check=True)

    async def back() -> bool:
        return 'comment "ipfod:web"' in (await node.run(["nft", "list", "ruleset"], check=True)).stdout

    await until(back, what="the rule is back")
