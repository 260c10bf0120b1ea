"""The RPM on booted nodes: units, restart without a blink, upgrade, reboot, and an end that leaves nothing."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from scenario import configure, each_on_one, group, never_on_two, on_node, problems, status, until

from node.booted import BootedNode
from node.booted_lab import BootedLab
from node.installed import VIPS, is_master, run_on_both, web

KEEPALIVED = "ipfod-keepalived@web.service"
# Contract: 15 ms for planned moves, 30 ms for a dead keepalived; tests allow for a busy machine.
QUICK_MS = 300.0
REBOOT_MS = 1000.0


async def test_restart_crash_reload_and_upgrade_lose_no_echo(
    pair: BootedLab, packages: tuple[Path, Path]
) -> None:
    owner, _ = await run_on_both(pair)
    pids = owner.processes("keepalived")
    async with pair.meter(VIPS, interval_ms=5) as meter:
        await owner.systemctl("restart", "ipfod", check=True)
        assert await is_master(owner)
        await owner.systemctl("kill", "--signal=KILL", "ipfod", check=True)
        await until(lambda: answers(owner), what="systemd has started ipfod again")
        assert await is_master(owner)
        await owner.systemctl("reload", "ipfod", check=True)
        await owner.install_rpm(packages[1], upgrade=True)
        await until(lambda: answers(owner), what="the new ipfod runs")
        assert await is_master(owner)
    assert meter.result().lost == 0
    assert owner.processes("keepalived") == pids
    assert (await owner.run(["rpm", "-q", "ipfod"])).stdout.startswith("ipfod-0.1.0-2")


async def answers(node: BootedNode) -> bool:
    return (await node.ipfoctl("status")).returncode == 0


async def test_stop_gives_the_vips_away_at_once(pair: BootedLab) -> None:
    owner, other = await run_on_both(pair)
    async with pair.meter(VIPS) as meter:
        await asyncio.sleep(0.2)
        await owner.systemctl("stop", "ipfod", check=True)
        await on_node(pair, other, VIPS)
        await asyncio.sleep(0.2)
    assert meter.result().longest_ms <= QUICK_MS
    assert owner.processes("keepalived") == []
    assert (await owner.properties(KEEPALIVED, "ActiveState"))["ActiveState"] == "inactive"
    assert "ipfod" not in (await owner.run(["nft", "list", "ruleset"], check=True)).stdout


@pytest.mark.parametrize("who", ["parent and child", "child", "parent"])
async def test_a_killed_keepalived_gives_its_vips_away_at_once(pair: BootedLab, who: str) -> None:
    owner, other = await run_on_both(pair, "advert_interval = 0.1\n")
    pids = owner.processes("keepalived")
    doomed = {"parent and child": pids, "child": pids[1:], "parent": pids[:1]}[who]
    async with pair.meter(VIPS) as meter:
        await asyncio.sleep(0.2)
        await owner.run(["kill", "-KILL", *map(str, doomed)], check=True)
        for _ in range(20):
            await never_on_two(pair, VIPS[0])
        await until(lambda: is_master(owner), what="the preferred node has the VIPs again")
        await asyncio.sleep(0.2)
    assert meter.result().longest_ms <= QUICK_MS
    assert "keepalived was killed or crashed" in (await owner.journal("ipfod"))
    assert other.processes("keepalived")


async def test_vips_leave_when_keepalived_dies_and_ipfod_is_down_too(pair: BootedLab) -> None:
    owner, other = await run_on_both(pair)
    await owner.systemctl("kill", "--signal=STOP", "ipfod", check=True)  # it looks on and does nothing
    # The child first: it would give its VIPs up by itself when it sees its parent die.
    await owner.run(["kill", "-KILL", *map(str, reversed(owner.processes("keepalived")))], check=True)
    await until(lambda: gone(owner), what="the unit takes the VIPs off", timeout_s=2.0)
    await owner.systemctl("kill", "--signal=CONT", "ipfod", check=True)
    await each_on_one(pair, VIPS)
    assert other.processes("keepalived")


async def gone(node: BootedNode) -> bool:
    return not await node.addresses()


async def test_a_blocked_daemon_is_restarted_by_the_watchdog_and_no_vip_moves(pair: BootedLab) -> None:
    owner, _ = await run_on_both(pair)
    before = await owner.properties("ipfod", "MainPID")
    async with pair.meter(VIPS) as meter:
        await owner.systemctl("kill", "--signal=STOP", "ipfod", check=True)

        async def restarted() -> bool:
            now = await owner.properties("ipfod", "MainPID", "ActiveState", "NRestarts")
            return now["ActiveState"] == "active" and now["MainPID"] != before["MainPID"]

        await until(restarted, what="the watchdog has ended the blocked daemon", timeout_s=40.0)
        await until(lambda: answers(owner), what="the new one answers")
    assert meter.result().lost == 0
    assert "Watchdog timeout" in await owner.journal("ipfod")


async def test_a_reboot_gives_the_vips_away_in_order_and_takes_them_back(pair: BootedLab) -> None:
    owner, other = await run_on_both(pair)
    async with pair.meter(VIPS) as meter:
        await asyncio.sleep(0.2)
        assert await owner.reboot() == "running"
        await until(lambda: answers(owner), what="ipfod runs after the boot")
        await until(lambda: is_master(owner), what="the preferred node has the VIPs again")
        await asyncio.sleep(0.2)
    assert meter.result().longest_ms <= QUICK_MS  # parting adverts left while there was a network
    assert other.processes("keepalived")


async def test_a_power_cut_moves_the_vips(pair: BootedLab) -> None:
    owner, other = await run_on_both(pair)
    async with pair.meter(VIPS) as meter:
        await asyncio.sleep(0.2)
        await owner.power_cut()
        await on_node(pair, other, VIPS)
        await asyncio.sleep(0.2)
    assert 0 < meter.result().longest_ms <= REBOOT_MS
    assert await owner.power_on() == "running"
    await until(lambda: is_master(owner), what="the preferred node has the VIPs again")
    await each_on_one(pair, VIPS)


async def test_a_bad_file_fails_the_reload_with_its_line_and_stops_nothing(pair: BootedLab) -> None:
    owner, _ = await run_on_both(pair)
    owner.write("/etc/ipfod/bad.toml", 'virtual_ips = "192.168.3.300"\n')
    done = await owner.systemctl("reload", "ipfod")
    assert done.returncode != 0
    assert "/etc/ipfod/bad.toml:1: virtual_ips: " in await owner.journal("ipfod")
    assert (await group(owner, "web_VIP_1"))["state"] == "master"
    assert "configuration-invalid" in await problems(owner)


async def test_an_ordinary_user_reads_and_cannot_change(pair: BootedLab) -> None:
    owner, _ = await run_on_both(pair)
    bus = ["busctl", "--system"]
    path = "/org/ipfod/Ipfod1"
    read = await owner.run(
        [
            *bus,
            "get-property",
            "org.ipfod.Ipfod1",
            f"{path}/failover/web/group/_31",
            "org.ipfod.Ipfod1.Group",
            "State",
        ],
        user="daemon",
    )
    assert read.stdout.strip() == 's "master"'
    change = await owner.run(
        [*bus, "call", "org.ipfod.Ipfod1", path, "org.ipfod.Ipfod1.Manager", "Reload"], user="daemon"
    )
    assert change.returncode != 0
    assert "ccess denied" in change.stderr
    assert (await owner.run(["ipfoctl", "reload"], user="daemon")).returncode == 4
    secret = await owner.run(["cat", "/run/ipfod/web/keepalived.conf"], user="daemon")
    assert secret.returncode != 0


async def test_polkit_decides_for_an_ordinary_user_and_root_needs_none(pair: BootedLab) -> None:
    owner, _ = await run_on_both(pair)
    await owner.systemctl("start", "polkit", check=True)
    manager = ["org.ipfod.Ipfod1", "/org/ipfod/Ipfod1", "org.ipfod.Ipfod1.Manager"]
    reload = ["busctl", "--system", "--allow-interactive-authorization=no", "call", *manager, "Reload"]

    async def code(user: str) -> int:
        return (await owner.run(["ipfoctl", "reload"], user=user)).returncode

    assert await code("daemon") == 4
    refused = await owner.run(reload, user="daemon")
    assert "a password is needed" in refused.stderr  # InteractiveAuthorizationRequired, busctl shows the text
    rule = "/etc/polkit-1/rules.d/10-ipfod.rules"
    owner.write(
        rule,
        "polkit.addRule(function(action, subject) {\n"
        '  if (action.id == "org.ipfod.Ipfod1.reload" && subject.user == "daemon") return polkit.Result.YES;\n'
        "});\n",
    )
    await owner.run(["chmod", "644", rule], check=True)
    await owner.systemctl("restart", "polkit", check=True)
    assert await code("daemon") == 0
    assert await code("games") == 4
    await owner.systemctl("mask", "--now", "polkit", check=True)
    assert await code("daemon") == 4
    assert await code("root") == 0
    await owner.systemctl("unmask", "polkit", check=True)
    await owner.run(["rm", rule], check=True)


async def test_asking_a_stopped_ipfod_does_not_start_it(pair: BootedLab) -> None:
    node = pair.booted[0]
    configure([node], web(pair))
    assert (await node.ipfoctl("status")).returncode == 3
    call = ["busctl", "--system", "call", "org.ipfod.Ipfod1", "/org/ipfod/Ipfod1"]
    assert (await node.run([*call, "org.ipfod.Ipfod1.Manager", "Describe"])).returncode != 0
    assert (await node.properties("ipfod", "ActiveState"))["ActiveState"] == "inactive"


async def test_the_distributions_own_keepalived_runs_beside_it_untouched(pair: BootedLab) -> None:
    owner, other = await run_on_both(pair)
    owner.write(
        "/etc/keepalived/keepalived.conf",
        "vrrp_instance own {\n state BACKUP\n interface eth0\n virtual_router_id 200\n priority 100\n"
        " advert_int 1\n virtual_ipaddress {\n 192.168.3.50/32\n }\n}\n",
    )
    await owner.run(["systemctl", "unmask", "keepalived"])
    await owner.systemctl("start", "keepalived", check=True)
    main = await owner.properties("keepalived", "MainPID")
    await until(lambda: holds(owner, "192.168.3.50"), what="the other keepalived has its own VIP")
    await owner.systemctl("stop", "ipfod", check=True)
    await on_node(pair, other, VIPS)
    await owner.systemctl("start", "ipfod-cleanup", check=True)
    assert await holds(owner, "192.168.3.50")
    assert await owner.properties("keepalived", "MainPID") == main
    await owner.systemctl("stop", "keepalived", check=True)
    await owner.run(["rm", "/etc/keepalived/keepalived.conf"], check=True)


async def holds(node: BootedNode, virtual_ip: str) -> bool:
    return virtual_ip in {str(address) for address in await node.addresses()}


async def test_a_check_script_sees_the_machine_and_runs_as_its_user(pair: BootedLab) -> None:
    node = pair.booted[0]
    node.write(
        "/usr/local/libexec/check",
        "#!/bin/sh\nid -un > /tmp/check.user\ngrep -q Cap /proc/1/status && test -e /tmp/service-is-up\n",
    )
    await node.run(["chmod", "755", "/usr/local/libexec/check"], check=True)
    await node.run(["touch", "/tmp/service-is-up"], check=True)
    script = 'check_script = "/usr/local/libexec/check"\ncheck_interval = 0.5\nscript_user = "nobody"\n'
    configure([node], web(pair, script))
    await node.systemctl("start", "ipfod", check=True)
    await on_node(pair, node, VIPS)
    assert node.read("/tmp/check.user").strip() == "nobody"
    await node.run(["rm", "/tmp/service-is-up"], check=True)
    await until(lambda: gone(node), what="the VIPs leave")
    assert "exit status 1" in (await problems(node))["check-failing"]
    assert "run-" not in await node.journal("ipfod")


async def test_cleanup_started_while_ipfod_runs_stops_it_and_leaves_nothing(pair: BootedLab) -> None:
    owner, other = await run_on_both(pair)
    began = asyncio.get_running_loop().time()
    await owner.systemctl("start", "ipfod-cleanup", check=True)
    assert asyncio.get_running_loop().time() - began < 5.0
    said = await owner.journal("ipfod-cleanup")
    for line in (
        "OpenShift IP Failover service terminating.",
        "  - Removing ip_vs module ...",
        "  - Cleaning up ...",
        "  - Releasing VIPs 192.168.3.10 192.168.3.11 (interface eth0) ...",
    ):
        assert line in said
    await nothing_left(owner)
    await on_node(pair, other, VIPS)
    await owner.systemctl("start", "ipfod-cleanup", check=True)
    assert "  - Releasing VIPs (interface eth0) ..." in await owner.journal("ipfod-cleanup")


async def nothing_left(node: BootedNode) -> None:
    assert not await node.addresses()
    assert node.processes("keepalived") == []
    assert "ipfod" not in (await node.run(["nft", "list", "ruleset"], check=True)).stdout
    units = await node.systemctl("list-units", "--plain", "--no-legend", "--state=active", "ipfod*.service")
    assert units.stdout == ""
    assert not node.inside("/run/ipfod").exists()
    assert await node.failed_units() == []


async def test_the_exposure_of_the_units_is_what_was_promised(pair: BootedLab) -> None:
    owner, _ = await run_on_both(pair)
    levels = {}
    for unit in ("ipfod.service", KEEPALIVED, "ipfod-cleanup.service"):
        done = await owner.run(["systemd-analyze", "security", "--no-pager", unit], check=True)
        levels[unit] = float(done.stdout.rpartition("level for")[2].split()[1])
    assert levels["ipfod.service"] <= 2.5
    assert levels[KEEPALIVED] <= 3.5
    assert levels["ipfod-cleanup.service"] <= 3.0


async def test_a_module_that_cannot_be_loaded_is_a_problem_as_long_as_it_is_wanted(pair: BootedLab) -> None:
    owner, _ = await run_on_both(pair)
    wanted = web(pair).replace("kernel_modules = []", 'kernel_modules = ["no_such_module"]')
    configure([owner], wanted)
    assert (await owner.ipfoctl("reload")).returncode == 0
    assert "no_such_module" in (await problems(owner))["module-failed"]
    await on_node(pair, owner, VIPS)
    configure([owner], web(pair))
    assert (await owner.ipfoctl("reload")).returncode == 0
    assert "module-failed" not in await problems(owner)


async def test_removal_leaves_no_vip_rule_unit_process_or_file(pair: BootedLab) -> None:
    owner, other = await run_on_both(pair)
    await owner.run(["rpm", "-e", "ipfod"], check=True, timeout_s=60)
    await on_node(pair, other, VIPS)
    await nothing_left(owner)
    assert owner.processes("python3") == []
    known = await owner.systemctl("list-unit-files", "--plain", "--no-legend", "ipfod*")
    assert known.stdout == ""
    left = await owner.run(["find", "/usr", "/run", "/var/lib", "/etc", "-name", "*ipfod*"], check=True)
    assert left.stdout.split() == ["/etc/ipfod"]
    assert owner.read("/etc/ipfod/web.toml") == web(pair)


async def test_status_is_the_same_for_json_and_the_bus(pair: BootedLab) -> None:
    owner, _ = await run_on_both(pair)
    document = await status(owner)
    said = await owner.run(
        [
            "busctl",
            "--system",
            "--json=short",
            "call",
            "org.ipfod.Ipfod1",
            "/org/ipfod/Ipfod1",
            "org.ipfod.Ipfod1.Manager",
            "Describe",
        ],
        check=True,
    )
    assert json.loads(json.loads(said.stdout)["data"][0]) == document
