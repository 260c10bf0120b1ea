"""Checks and scripts that misbehave, with the whole daemon: each is told, none stops it, and each is mended."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from functools import partial

import pytest
from scenario import PORT, configure, each_on_one, group, listed, on_node, problems, start, status, until

from ipfod.lab.lab import Lab
from ipfod.lab.node import Node

VIPS = ("192.168.3.10", "192.168.3.11")
CHECK = "/etc/ipfod/check.sh"
NOTIFY = "/etc/ipfod/notify.sh"
GOOD = "#!/bin/sh\necho fine\n"
ENTRY_MAX = 400  # characters of a problem's text
NO_ANSWER = "no answer within 0.5 s"


async def put(node: Node, path: str, text: str, mode: str = "755") -> None:
    """Replace a script as an administrator should: in one step."""
    node.write(path + ".new", text)
    await node.run(["chmod", mode, path + ".new"], check=True)
    await node.run(["mv", path + ".new", path], check=True)


async def is_well(node: Node, state: str = "master") -> bool:
    return (await group(node, "web_VIP_1"))["state"] == state and not await problems(node)


async def reports(node: Node, code: str, text: str) -> bool:
    said = (await problems(node)).get(code, "")
    assert len(said) <= ENTRY_MAX
    return text in said


async def prefer_first(pair: Lab, more: str) -> tuple[Node, Node]:
    """Both nodes serve; the first one has the VIPs whenever it is fit for them."""
    first, second = pair.nodes
    configure(
        pair.nodes,
        f'virtual_ips = "192.168.3.10-11"\nvip_groups = 1\npreemption = "preempt"\n{listed(pair)}\n{more}',
    )
    return first, second


async def test_a_check_script_that_misbehaves_is_told_apart_from_a_service_that_is_down(pair: Lab) -> None:
    first, second = await prefer_first(
        pair, f'monitor_port = 0\ncheck_script = "{CHECK}"\ncheck_interval = 0.2\ncheck_timeout = 0.5\n'
    )
    for node in pair.nodes:
        await put(node, CHECK, GOOD)
    await start(pair.nodes)
    for code, said, text, mode in (
        ("check-failing", "exit status 3: no database", "#!/bin/sh\necho no database\nexit 3\n", "755"),
        ("script-failing", NO_ANSWER, "#!/bin/sh\nsleep 1000\n", "755"),
        ("script-failing", NO_ANSWER, "#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 1000; done\n", "755"),
        ("script-failing", NO_ANSWER, "#!/bin/sh\nexec yes\n", "755"),
        (
            "check-failing",
            "exit status 1: xxxx",
            "#!/bin/sh\nyes x | head -c 4M | tr -d '\\n'\nexit 1\n",
            "755",
        ),
        ("script-failing", "is not executable", GOOD, "644"),
        ("script-failing", "writable by others", GOOD, "777"),
        ("script-failing", "interpreter", "#!/nowhere/sh\n", "755"),
        ("script-failing", "killed by SIGSEGV", "#!/bin/sh\nkill -SEGV $$\n", "755"),
        ("script-failing", "does not exist", "", ""),
    ):
        await on_node(pair, first, VIPS)
        await until(partial(is_well, first), what=f"the first node is well before: {said}")
        if text:
            await put(first, CHECK, text, mode)
        else:
            await first.run(["rm", CHECK], check=True)
        await until(partial(reports, first, code, said), what=f"{code}: {said}")
        assert ("script-failing" in await problems(first)) is (code == "script-failing")
        await on_node(pair, second, VIPS)
        assert (await group(first, "web_VIP_1"))["state"] == "fault"
        await put(first, CHECK, GOOD)
    await on_node(pair, first, VIPS)
    left = await first.run(["pgrep", "-x", "sleep|yes"])
    assert left.stdout == "", "what a check script started is gone with it"
    assert not re.search("Traceback", first.log())


async def test_what_a_check_script_leaves_behind_holds_nothing_up(pair: Lab) -> None:
    first, _ = await prefer_first(pair, f'monitor_port = 0\ncheck_script = "{CHECK}"\ncheck_interval = 0.2\n')
    for node in pair.nodes:
        await put(node, CHECK, "#!/bin/sh\nsleep 1000 &\nsetsid sleep 1001 &\ndate >> /run/checked\nexit 0\n")
    try:
        await start(pair.nodes)
        await on_node(pair, first, VIPS)

        async def checked() -> bool:
            return len((await first.run(["cat", "/run/checked"])).stdout.splitlines()) >= 5

        await until(checked, what="the script is run again and again")
        assert await is_well(first)
        assert (
            await first.run(["pgrep", "-f", "sleep 1000"])
        ).stdout == ""  # one in a session of its own stays
    finally:
        for node in pair.nodes:
            await node.run(["pkill", "-KILL", "-x", "sleep"])


@pytest.mark.parametrize(
    ("monitor", "vip"), [("node", "192.168.3.10"), ("node", "fd00:9::10"), ("vip", "192.168.3.10")]
)
async def test_a_service_is_missed_at_once_and_found_again_soon(monitor: str, vip: str) -> None:
    async with Lab(nodes=2, virtual_ips=(vip,)) as lab:
        first, second = lab.nodes
        configure(
            lab.nodes,
            f'virtual_ips = "{vip}"\nmonitor_port = {PORT}\nmonitor_address = "{monitor}"\n'
            f'check_interval = 60\npreemption = "preempt"\n{listed(lab)}\n',
        )
        if monitor == "vip":
            for node in lab.nodes:
                await answer_locally(node, vip)
        await start(lab.nodes, port=PORT)
        await on_node(lab, first, [vip])
        await first.stop_service(PORT)
        await on_node(lab, second, [vip])
        assert f"port {PORT} on {vip if monitor == 'vip' else ''}" in (await problems(first))["check-failing"]
        await first.start_service(PORT)
        await on_node(lab, first, [vip])  # long before the next check
        await until(partial(is_well, first), what="the service is found again")


async def answer_locally(node: Node, vip: str) -> None:
    """A node that takes what is sent to the VIP also while it does not hold it, as behind a director."""
    await node.run(["sysctl", "-qw", "net.ipv4.conf.all.arp_ignore=1"], check=True)
    await node.run(["ip", "route", "add", "local", vip, "dev", "lo"], check=True)


async def test_rise_fall_and_timeout_count(pair: Lab) -> None:
    first, second = await prefer_first(
        pair,
        f"monitor_port = {PORT}\ncheck_interval = 1\ncheck_timeout = 0.1\ncheck_fall = 2\ncheck_rise = 3\n",
    )
    await start(pair.nodes, port=PORT)
    await on_node(pair, first, VIPS)
    # It hangs: its host answers nothing any more.
    await first.run(["nft", "add table ip test"], check=True)
    hook = "type filter hook input priority -300"
    await first.run(["nft", f"add chain ip test input {{ {hook}; }}"], check=True)
    await first.run(["nft", f"add rule ip test input iif lo tcp dport {PORT} drop"], check=True)
    await until(
        partial(reports, first, "check-failing", "no answer within 0.1 s"), what="a port that hangs is told"
    )
    await on_node(pair, second, VIPS)
    await first.run(["nft", "delete table ip test"], check=True)
    seen: list[str] = []

    async def passed_twice() -> bool:
        [web] = (await status(first))["failovers"]  # in one answer: the third check comes soon
        if found := "(2 of 3 in a row)" in web["check_text"]:
            seen.append(web["groups"][0]["state"])
        return found

    await until(passed_twice, what="two good checks are told")
    assert seen == ["fault"]
    await on_node(pair, first, VIPS)
    await until(partial(is_well, first), what="three are")


CLOSES = """
import socket
server = socket.create_server(("", {port}), reuse_port=True)
print("listening", flush=True)
while True:
    server.accept()[0].close()
"""


async def test_a_port_that_accepts_and_closes_passes_and_is_doubtful(pair: Lab) -> None:
    first, _ = await prefer_first(pair, f"monitor_port = {PORT}\ncheck_interval = 0.2\n")
    await start(pair.nodes, port=PORT)
    await on_node(pair, first, VIPS)
    await until(partial(is_well, first), what="the service is well")
    await first.stop_service(PORT)
    odd = await first.spawn([sys.executable, "-I", "-S", "-c", CLOSES.format(port=PORT)], name="closes")
    await on_node(pair, first, VIPS)
    await until(partial(reports, first, "check-doubtful", "closes at once"), what="it is doubtful")
    assert (await status(first))["failovers"][0]["check_state"] == "passing"
    await odd.signal(signal.SIGKILL)
    await odd.wait()
    await first.start_service(PORT)
    await on_node(pair, first, VIPS)
    await until(partial(is_well, first), what="nothing is doubtful any more")


async def test_when_every_node_fails_each_says_so_and_no_node_has_the_vips(pair: Lab) -> None:
    await prefer_first(pair, f"monitor_port = {PORT}\ncheck_interval = 0.2\n")
    await start(pair.nodes, port=PORT)
    await each_on_one(pair, VIPS)
    for node in pair.nodes:
        await node.stop_service(PORT)

    async def nobody() -> bool:
        return not any([await pair.holders(vip) for vip in VIPS])

    await until(nobody, what="no node has the VIPs")
    for node in pair.nodes:
        await until(partial(reports, node, "check-failing", "refused"), what=f"{node.name} says why")
        await until(
            partial(reports, node, "vip-missing", "no node"), what=f"{node.name} says that nobody serves"
        )
    await pair.nodes[1].start_service(PORT)
    await on_node(pair, pair.nodes[1], VIPS)
    await until(partial(is_well, pair.nodes[1]), what="one node is well again")


# ---------------------------------------------------------------- notify_script


async def test_a_notify_script_that_fails_is_a_problem_and_moves_nothing(pair: Lab) -> None:
    first, second = await prefer_first(
        pair, f'monitor_port = 0\nnotify_script = "{NOTIFY}"\nscript_user = "daemon"\n'
    )
    for node in pair.nodes:
        await put(node, NOTIFY, '#!/bin/sh\necho "$(id -un) $*" >> /run/heard/notified\n')
        await node.run(["install", "-d", "-o", "daemon", "/run/heard"], check=True)
    await start(pair.nodes)
    await on_node(pair, first, VIPS)
    await until(partial(heard, first, "daemon INSTANCE web_VIP_1 MASTER "), what="the script is run as daemon")
    for text, said in (
        ("#!/bin/sh\nexit 4\n", "ended with status 4 (web_VIP_1)"),
        ("#!/nowhere/sh\n", "interpreter"),
        ("", "does not exist"),
    ):
        await until(partial(is_well, first), what=f"the first node is well before: {said}")
        if text:
            await put(first, NOTIFY, text)
        else:
            await first.run(["rm", NOTIFY], check=True)
        await move(first, second)
        await until(partial(reports, first, "script-failing", said), what=said)
        await on_node(pair, first, VIPS)
        await put(first, NOTIFY, "#!/bin/sh\nexit 0\n")
        await move(first, second)
    await until(partial(is_well, first), what="the first node is well again")


async def test_a_notify_script_that_hangs_holds_nothing_up(pair: Lab) -> None:
    first, second = await prefer_first(pair, f'monitor_port = 0\nnotify_script = "{NOTIFY}"\n')
    for node in pair.nodes:
        await put(node, NOTIFY, "#!/bin/sh\nexec sleep 1000\n")
    await start(pair.nodes)
    await on_node(pair, first, VIPS)
    for _ in range(3):
        await move(first, second)
    assert "30" in (await first.run(["pgrep", "-a", "timeout"])).stdout
    assert await first.kill_ipfod(signal.SIGTERM) == 0
    await on_node(pair, second, VIPS)
    await until(partial(nothing_runs, first), what="what hung is gone with the daemon", timeout_s=40.0)


async def nothing_runs(node: Node) -> bool:
    return not (await node.run(["pgrep", "-x", "sleep|timeout"])).stdout


async def heard(node: Node, line: str) -> bool:
    return line in (await node.run(["cat", "/run/heard/notified"])).stdout


async def move(first: Node, second: Node) -> None:
    """The VIPs to the second node and back again."""
    for node in (second, first):
        done = await node.ipfoctl("take-over", "web")
        assert done.returncode == 0, done.stderr
        await asyncio.sleep(0.1)
