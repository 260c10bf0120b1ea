"""What the units grant is what is needed: each capability, taken away, breaks what it is there for."""

from __future__ import annotations

import asyncio
import re
import stat
from pathlib import Path

import pytest
from scenario import configure, on_node, problems, until

from node.booted import BootedNode
from node.booted_lab import BootedLab
from node.installed import VIPS, is_master, run_on_both, web

ROOT = Path(__file__).parents[2]
KEEPALIVED = "ipfod-keepalived@web.service"
DROP_IN = "/run/systemd/system/{}.d/rights.conf"
SCRIPT = "/usr/local/libexec/ipfod-script"
SEEN = "/run/seen"
CAP_SYS_RESOURCE = 24  # linux/capability.h


def granted(unit: str) -> list[str]:
    text = (ROOT / "systemd" / unit).read_text()
    found = re.search(r"^CapabilityBoundingSet=(.*)", text, re.MULTILINE)
    assert found is not None
    return found[1].split()


async def override(node: BootedNode, unit: str, text: str) -> None:
    """Set properties of a unit's [Service], or none of them any more."""
    path = DROP_IN.format(unit)
    if text:
        node.write(path, f"[Service]\n{text}\n")
    else:
        await node.run(["rm", "-f", path], check=True)
    await node.systemctl("daemon-reload", check=True)


def without(unit: str, capability: str) -> str:
    rest = " ".join(each for each in granted(unit) if each != capability)
    return f"CapabilityBoundingSet=\nCapabilityBoundingSet={rest}"


# What is said, or is not so, when a capability is taken away; each one that is granted is here.
IPFOD = {
    "CAP_NET_ADMIN": "ipfod needs CAP_NET_ADMIN",
    "CAP_NET_RAW": "other hosts with a virtual IP cannot be heard: Operation not permitted",
}
KEEPALIVEDS = {
    "CAP_NET_ADMIN": "no address is set",
    "CAP_NET_RAW": "it does not start",
    "CAP_SETUID": "a notify script does not run as its user",
    "CAP_SETGID": "a notify script does not run as its user",
    "CAP_KILL": "a notify script that hangs is not killed",
}
CLEANUP = {
    "CAP_NET_ADMIN": "addresses stay",
    "CAP_SYS_MODULE": "modules stay: tests/vm/test_modules.py",
}


@pytest.mark.parametrize(
    ("unit", "needed"),
    [
        ("ipfod.service", IPFOD),
        ("ipfod-keepalived@.service", KEEPALIVEDS),
        ("ipfod-cleanup.service", CLEANUP),
    ],
)
def test_every_capability_that_is_granted_is_shown_to_be_needed(unit: str, needed: dict[str, str]) -> None:
    assert set(granted(unit)) == set(needed)


@pytest.fixture
def node(pair: BootedLab) -> BootedNode:
    """The first node, with a script that shows as whom and where it runs, and hangs."""
    node = pair.booted[0]
    node.write(SCRIPT, f"#!/bin/sh\nid -un >>{SEEN}/user\nenv >{SEEN}/env\npwd >{SEEN}/pwd\nexec sleep 1000\n")
    return node


async def run_with(lab: BootedLab, node: BootedNode, unit: str, capability: str, more: str = "") -> None:
    """Start ipfod on a node with one capability less."""
    await node.run(["chmod", "755", SCRIPT], check=True)
    await node.run(["sh", "-c", f"rm -rf {SEEN}; install -d -o daemon {SEEN}"], check=True)
    configure([node], web(lab, more))
    if capability:
        await override(node, unit.replace("@.", "@web."), without(unit, capability))
    await node.systemctl("start", "ipfod")


async def give_back(node: BootedNode, unit: str) -> None:
    await node.systemctl("stop", "ipfod")
    await override(node, unit.replace("@.", "@web."), "")
    await node.run(["pkill", "-x", "sleep"])
    await node.systemctl("reset-failed")


@pytest.mark.parametrize("capability", IPFOD)
async def test_ipfod_without_a_capability_says_what_it_cannot_do(
    pair: BootedLab, node: BootedNode, capability: str
) -> None:
    await node.run(["journalctl", "--rotate"], check=True)
    try:
        await run_with(pair, node, "ipfod.service", capability)

        async def said() -> bool:
            return IPFOD[capability] in await node.journal("ipfod")

        await until(said, what=IPFOD[capability])
    finally:
        await give_back(node, "ipfod.service")


@pytest.mark.parametrize("capability", ["", *KEEPALIVEDS])
async def test_keepalived_without_a_capability_does_not_do_its_part(
    pair: BootedLab, node: BootedNode, capability: str
) -> None:
    unit = "ipfod-keepalived@.service"
    try:
        await run_with(pair, node, unit, capability, f'notify_script = "{SCRIPT}"\nscript_user = "daemon"\n')
        if capability == "CAP_NET_RAW":
            await until(lambda: never_master(node), what="keepalived does not run")
        elif capability == "CAP_NET_ADMIN":
            await until(lambda: reports(node, "vip-missing"), what="the addresses are not there")
        elif capability == "CAP_SETUID":
            await until(lambda: reports(node, "script-failing"), what="the script cannot be run")
            assert not node.inside(f"{SEEN}/user").exists()
        elif capability == "CAP_SETGID":  # keepalived itself cannot start the wrapper then
            await on_node(pair, node, VIPS)
            await asyncio.sleep(2.0)
            assert not node.inside(f"{SEEN}/user").exists()
        else:
            await on_node(pair, node, VIPS)
            await shortened_script_ends(node, killed=not capability)
    finally:
        await give_back(node, unit)


async def never_master(node: BootedNode) -> bool:
    log = await node.journal("ipfod")
    return not await node.addresses() and "keepalived ended" in log


async def reports(node: BootedNode, code: str) -> bool:
    return code in await problems(node)


async def shortened_script_ends(node: BootedNode, *, killed: bool) -> None:
    """The wrapper's 30 s are a test's second here. A script of another user takes CAP_KILL to end."""
    await node.run(["sed", "-i", "s/--kill-after=5 30/--kill-after=1 1/", "/run/ipfod/web/notify"], check=True)
    await node.run(["pkill", "-x", "sleep"], check=True)
    await node.run(["ipfoctl", "maintenance", "on"], check=True)  # backup: the script runs again

    async def runs() -> bool:
        # Runs that began before, some of them only now, are no part of this.
        await node.run(["pkill", "-f", "kill-after=5 30"])
        return (await node.run(["pgrep", "-x", "sleep"])).returncode == 0

    async def over() -> bool:
        return not await runs()

    await until(runs, what="the script hangs")
    if killed:
        await until(over, what="the script is killed")
    else:
        await asyncio.sleep(4.0)
        assert await runs()
    await node.run(["ipfoctl", "maintenance", "off"], check=True)


async def test_scripts_run_as_their_user_in_a_clean_environment(pair: BootedLab, node: BootedNode) -> None:
    try:
        await run_with(
            pair,
            node,
            "",
            "",
            f'notify_script = "{SCRIPT}"\ncheck_script = "{SCRIPT}"\nscript_user = "daemon"\n'
            "check_timeout = 0.5\n",
        )
        for kind in ("check", "notify"):
            await until(lambda: ran(node), what=f"the {kind} script runs")
            assert set(node.read(f"{SEEN}/user").split()) == {"daemon"}
            names = {line.partition("=")[0] for line in node.read(f"{SEEN}/env").splitlines()}
            # systemd sets the user's own and what names the unit; PWD, OLDPWD, SHLVL and _ are sh's.
            assert names <= {
                *("PATH", "LANG", "PWD", "OLDPWD", "SHLVL", "_"),
                *("HOME", "LOGNAME", "USER", "SHELL", "INVOCATION_ID", "SYSTEMD_EXEC_PID", "JOURNAL_STREAM"),
            }
            if kind == "notify":
                assert names <= {"PATH", "LANG", "PWD", "OLDPWD", "SHLVL", "_"}
            assert node.read(f"{SEEN}/pwd").strip() == "/"
            await node.run(["sh", "-c", f"rm {SEEN}/*"], check=True)
            if kind == "check":
                configure([node], web(pair, f'notify_script = "{SCRIPT}"\nscript_user = "daemon"\n'))
                assert (await node.ipfoctl("reload")).returncode == 0
                await node.run(["sh", "-c", f"rm -f {SEEN}/*"], check=True)
                await node.systemctl("restart", KEEPALIVED, check=True)
    finally:
        await give_back(node, "ipfod.service")


async def ran(node: BootedNode) -> bool:
    return all(node.inside(f"{SEEN}/{name}").exists() for name in ("user", "env", "pwd"))


async def test_files_are_roots_and_closed_and_nobody_else_can_plant_one(pair: BootedLab) -> None:
    owner, _ = await run_on_both(pair, 'vrrp_version = 2\nadvert_interval = 1\nauth_pass = "secret77"\n')
    seen = set()
    for top in ("/run/ipfod", "/var/lib/ipfod"):
        for path in [owner.inside(top), *owner.inside(top).rglob("*")]:
            found = path.lstat()
            assert (found.st_uid, found.st_gid) == (0, 0), path
            assert not found.st_mode & 0o022, path
            if stat.S_ISREG(found.st_mode):
                assert stat.S_IMODE(found.st_mode) == 0o600 or "secret77" not in path.read_text(), path
            seen.add(path.name)
    assert {"keepalived.conf", "notify.fifo", "track", "state.json", "daemon.lock", "accepted.d"} <= seen
    assert "secret77" in owner.read("/run/ipfod/web/keepalived.conf")
    for planted in ("/run/ipfod/x", "/run/ipfod/web/x", "/run/ipfod/web/track/x", "/var/lib/ipfod/x"):
        for argv in (["touch", planted], ["mkfifo", planted], ["ln", "-s", "/etc/passwd", planted]):
            done = await owner.run(argv, user="daemon")
            assert done.returncode != 0
            assert "Permission denied" in done.stderr
    assert (await owner.run(["cat", "/run/ipfod/web/keepalived.conf"], user="daemon")).returncode != 0


async def test_others_are_killed_first_when_memory_runs_out(pair: BootedLab) -> None:
    owner, _ = await run_on_both(pair)
    # Only who has this right may say so; systemd goes on without, in a container for one.
    rights = int(re.findall(r"^CapEff:\t(\w+)$", owner.read("/proc/1/status"), re.MULTILINE)[0], 16)
    may = bool(rights >> CAP_SYS_RESOURCE & 1)
    names = ("OOMScoreAdjust", "OOMPolicy", "ManagedOOMPreference", "MainPID")
    adjusted = []
    for unit, preference in ((KEEPALIVED, "omit"), ("ipfod.service", "avoid")):
        found = await owner.properties(unit, *names)
        assert found["OOMPolicy"] == "continue"
        assert found["ManagedOOMPreference"] == preference
        adjusted.append(int(found["OOMScoreAdjust"]))
        really = int(owner.read(f"/proc/{found['MainPID']}/oom_score_adj"))
        assert really == (adjusted[-1] if may else 0)
    assert -1000 < adjusted[0] < adjusted[1] < 0  # keepalived is the last


async def answers_as_master(node: BootedNode) -> bool:
    return (await node.ipfoctl("status")).returncode == 0 and await is_master(node)


async def test_cleanup_needs_its_rights_and_ends_an_ipfod_outside_of_systemd(pair: BootedLab) -> None:
    owner, _ = await run_on_both(pair)
    unit = "ipfod-cleanup.service"
    try:
        await override(owner, unit, without(unit, "CAP_NET_ADMIN"))
        assert (await owner.systemctl("start", unit)).returncode != 0
    finally:
        await override(owner, unit, "")
        await owner.systemctl("reset-failed")
    alone = await owner.spawn(["/usr/bin/ipfod"])
    await until(lambda: answers_as_master(owner), what="an ipfod that systemd does not know serves")
    assert alone.returncode is None
    await owner.systemctl("start", unit, check=True)
    assert await alone.wait(timeout_s=20) == 0
    assert not await owner.addresses()
