"""Orders on booted nodes: whom polkit lets give them, and what lasts over restart, reboot and power cut."""

from __future__ import annotations

import asyncio
import time

from orders import UNNOTICED_MS
from scenario import group, on_node, status, until

from node.booted import BootedNode
from node.booted_lab import BootedLab
from node.installed import VIPS, run_on_both

BUS = ("busctl", "--system", "--allow-interactive-authorization=no", "call", "org.ipfod.Ipfod1")
OBJECT = "/org/ipfod/Ipfod1"
WEB = f"{OBJECT}/failover/web"
GROUP = f"{WEB}/group/_31"
# Each change with the polkit action that it asks for; both nodes stay as they are when all of it is done.
CHANGES: dict[str, list[tuple[str, ...]]] = {
    "reload": [(OBJECT, "Manager", "Reload")],
    "preemption": [
        (WEB, "Failover", "SetPreemption", "s", "nopreempt"),
        (WEB, "Failover", "ResetPreemption"),
        (GROUP, "Group", "SetPreemption", "s", "nopreempt"),
        (GROUP, "Group", "ResetPreemption"),
    ],
    "switchover": [
        (GROUP, "Group", "SendGratuitousARP"),
        (GROUP, "Group", "StepDown", "u", "0"),
        (GROUP, "Group", "TakeOver"),
    ],
    "maintenance": [
        (OBJECT, "Manager", "EnterMaintenance", "st", "", "0"),
        (OBJECT, "Manager", "LeaveMaintenance"),
    ],
}
RULE = "/etc/polkit-1/rules.d/10-ipfod.rules"


async def change(node: BootedNode, user: str, path: str, interface: str, *call: str) -> str:
    """Have a user call a method; "" if it was done, else what busctl says."""
    done = await node.run([*BUS, path, f"org.ipfod.Ipfod1.{interface}", *call], user=user)
    return "" if done.returncode == 0 else done.stderr


async def allow(node: BootedNode, user: str, action: str) -> None:
    """A local rule, as an administrator writes it."""
    node.write(
        RULE,
        "polkit.addRule(function(action, subject) {\n"
        f'  if (action.id == "org.ipfod.Ipfod1.{action}" && subject.user == "{user}")\n'
        "    return polkit.Result.YES;\n"
        "});\n",
    )
    await node.run(["chmod", "644", RULE], check=True)
    await node.systemctl("restart", "polkit", check=True)


async def test_polkit_decides_on_each_kind_of_change_and_root_needs_none(pair: BootedLab) -> None:
    owner, _ = await run_on_both(pair)
    await owner.systemctl("start", "polkit", check=True)
    try:
        for call in (call for calls in CHANGES.values() for call in calls):
            assert "a password is needed" in await change(owner, "daemon", *call), call
        for action, calls in CHANGES.items():
            await allow(owner, "daemon", action)
            for call in calls:
                assert await change(owner, "daemon", *call) == "", call
                await as_before(pair, owner, call)
                assert "a password is needed" in await change(owner, "games", *call), call
            others = [call for other, calls in CHANGES.items() if other != action for call in calls]
            assert "a password is needed" in await change(owner, "daemon", *others[0])
        await owner.systemctl("mask", "--now", "polkit", check=True)
        for call in (call for calls in CHANGES.values() for call in calls):
            assert "Access denied" in await change(owner, "daemon", *call), call
            assert await change(owner, "root", *call) == "", call
            await as_before(pair, owner, call)
    finally:
        await owner.systemctl("unmask", "polkit")
        await owner.run(["rm", "-f", RULE])
    assert "Traceback" not in await owner.journal("ipfod")


async def as_before(pair: BootedLab, owner: BootedNode, call: tuple[str, ...]) -> None:
    """The VIPs are on the node that prefers them again, so that the next change finds what it needs."""
    [other] = [node for node in pair.booted if node is not owner]
    try:
        await on_node(pair, other if "EnterMaintenance" in call else owner, VIPS)
    except AssertionError as error:
        raise AssertionError(f"after {call}: {error}") from error


async def test_a_client_that_leaves_while_a_password_is_asked_for_costs_nothing(pair: BootedLab) -> None:
    owner, _ = await run_on_both(pair)
    await owner.systemctl("start", "polkit", check=True)
    # An agent that asks on the terminal for the process that becomes busctl; nobody types anything.
    call = f"busctl --system call org.ipfod.Ipfod1 {OBJECT} org.ipfod.Ipfod1.Manager Reload"
    agent = f"pkttyagent --process $$ & sleep 1; exec {call}"
    script = ["runuser", "-u", "user", "--", "script", "--quiet", "--flush", "--command", agent, "/tmp/typed"]
    for _ in range(3):
        asking = await owner.spawn(script)
        await until(lambda: asks(owner), what="the agent asks for a password")
        for name in ("busctl", "pkttyagent"):
            await owner.run(["pkill", "-KILL", "-x", name])
        await asking.wait()
        await owner.run(["rm", "-f", "/tmp/typed"], check=True)
    began = time.monotonic()
    assert (await owner.ipfoctl("reload")).returncode == 0
    assert time.monotonic() - began < 10.0  # far less than the 120 s that a password may take
    matches = await owner.run(
        [
            *("busctl", "--system", "call", "org.freedesktop.DBus", "/org/freedesktop/DBus"),
            *("org.freedesktop.DBus.Debug.Stats", "GetAllMatchRules"),
        ]
    )
    assert "NameOwnerChanged',arg0=':" not in matches.stdout
    assert "Traceback" not in await owner.journal("ipfod")


async def asks(node: BootedNode) -> bool:
    done = await node.run(["cat", "/tmp/typed"])
    return "assword" in done.stdout


async def test_a_stop_and_a_reboot_of_the_owner_are_not_noticed(pair: BootedLab) -> None:
    owner, other = await run_on_both(pair)
    async with pair.meter(VIPS) as meter:
        await asyncio.sleep(0.1)
        await owner.systemctl("stop", "ipfod", check=True)
        await on_node(pair, other, VIPS)
        await owner.systemctl("start", "ipfod", check=True)
        await on_node(pair, owner, VIPS)
        assert await owner.reboot() == "running"
        await on_node(pair, owner, VIPS)
    assert meter.result().longest_ms <= UNNOTICED_MS


async def test_maintenance_outlives_reboot_and_power_cut_and_other_orders_do_not(pair: BootedLab) -> None:
    owner, other = await run_on_both(pair)
    assert (await owner.ipfoctl("preemption", "web", "nopreempt")).returncode == 0
    done = await owner.ipfoctl("maintenance", "on", "--reason", "new memory", "--for", "1h")
    assert (done.returncode, done.stderr) == (0, "")
    assert "(new memory): 1 group handed over." in done.stdout
    await on_node(pair, other, VIPS)
    assert await owner.reboot() == "running"
    await in_maintenance(owner)
    assert (await status(owner))["failovers"][0]["preemption"] == "preempt"
    await owner.power_cut()
    assert await owner.power_on() == "running"
    await in_maintenance(owner)
    await on_node(pair, other, VIPS)
    async with pair.meter(VIPS) as meter:
        assert (await owner.ipfoctl("maintenance", "off")).returncode == 0
        await on_node(pair, owner, VIPS)
    assert meter.result().longest_ms <= UNNOTICED_MS


async def in_maintenance(node: BootedNode) -> None:
    async def so() -> bool:
        found = await status(node)
        return bool(found["maintenance"]) and (await group(node, "web_VIP_1"))["state"] == "fault"

    await until(so, what=f"{node.name} is in maintenance")
    assert (await status(node))["maintenance_reason"] == "new memory"


async def test_groups_move_by_order_while_systemd_runs_keepalived(pair: BootedLab) -> None:
    owner, other = await run_on_both(pair, "")
    for node in (owner, other):
        assert (await node.ipfoctl("preemption", "web", "nopreempt")).returncode == 0
    async with pair.meter(VIPS) as meter:
        await asyncio.sleep(0.1)
        for node in (other, owner):
            done = await node.ipfoctl("take-over", "web")
            assert done.returncode == 0, done.stderr
            await on_node(pair, node, VIPS)
        done = await owner.ipfoctl("step-down", VIPS[0], "--hold", "1")
        assert done.returncode == 0, done.stderr
        await on_node(pair, other, VIPS)
    assert meter.result().longest_ms <= UNNOTICED_MS
    for node in (owner, other):
        assert (await node.ipfoctl("preemption", "web", "reset")).returncode == 0
