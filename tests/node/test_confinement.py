"""What the units allow, measured: system calls and paths of all that ipfod does, as strace sees them."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest_asyncio
from scenario import configure, until

from ipfod.metrics.listen import VARIABLE
from node.booted import BootedNode
from node.booted_lab import BootedLab
from node.installed import is_master, web
from node.test_monitored import LINE, SETTINGS, scrape
from node.tracing import Tracing

ROOT = Path(__file__).parents[2]


@cache
def named(what: str) -> frozenset[str]:
    """The system calls of a set of systemd's, or the one that is named."""
    if not what.startswith("@"):
        return frozenset({what})
    done = subprocess.run(
        ["systemd-analyze", "syscall-filter", what], capture_output=True, text=True, check=True
    )
    words = [line.strip() for line in done.stdout.splitlines()[1:]]
    return frozenset().union(*(named(word) for word in words if word and not word.startswith("#")))


def allowed(unit: str) -> frozenset[str]:
    """What the SystemCallFilter= of a unit lets through."""
    found: frozenset[str] = frozenset()
    for line in re.findall(r"^SystemCallFilter=(.*)", (ROOT / "systemd" / unit).read_text(), re.MULTILINE):
        names = frozenset().union(*map(named, line.lstrip("~").split()))
        found = found - names if line.startswith("~") else found | names
    return found


METRICS = "127.0.0.1:9650"
SCRIPT = "/usr/local/libexec/fine"
EVERYTHING = (
    f'monitor_port = 8080\ncheck_script = "{SCRIPT}"\nnotify_script = "{SCRIPT}"\nscript_user = "daemon"\n'
)


@dataclass(frozen=True)
class Part:
    """How a unit is known, some of what it has to write, and where it may."""

    commands: tuple[str, ...]
    some: frozenset[str]
    writable: tuple[str, ...]


OWN = ("/run/ipfod", "/var/lib/ipfod", "/dev/null", "/proc/thread-self/comm")
PARTS = {
    "ipfod.service": Part(
        ("/usr/bin/ipfod", "/usr/bin/ipfoctl reload"),
        frozenset(
            {"/var/lib/ipfod/state.json", "/run/ipfod/web/track/web_VIP_1", "/run/ipfod/web/notify.fifo"}
        ),
        OWN,
    ),
    "ipfod-keepalived@.service": Part(
        (r"/usr/sbin/keepalived\b.*", r"\S*/ip\b.*"),
        frozenset({"/run/ipfod/web/vrrp.pid", "/run/ipfod/web/notify.fifo"}),
        ("/run/ipfod/web/", "/run/bfd.pid", "/dev/null", "/proc/self/oom_score_adj"),
    ),
    "ipfod-cleanup.service": Part(
        ("/usr/bin/ipfod cleanup",), frozenset({"/var/lib/ipfod/state.json", "/run/ipfod"}), OWN
    ),
}


@pytest_asyncio.fixture(loop_scope="session")
async def node(pair: BootedLab) -> AsyncIterator[BootedNode]:
    """The first node, with scripts and metrics; its peer runs ipfod."""
    node, other = pair.booted
    node.write(SCRIPT, "#!/bin/sh\nexit 0\n", mode=0o755)
    await node.start_service(8080)
    await node.run(["sed", "-i", "-E", f"s/{LINE}/{VARIABLE}={METRICS}/", SETTINGS], check=True)
    configure([other], web(pair))
    await other.systemctl("start", "ipfod", check=True)
    yield node
    await node.run(["sed", "-i", "-E", f"s/{LINE}/#{VARIABLE}={METRICS}/", SETTINGS], check=True)
    await node.stop_service(8080)
    await node.run(["rm", SCRIPT], check=True)


async def test_units_use_no_call_and_write_no_path_that_is_not_theirs(
    pair: BootedLab, node: BootedNode, tmp_path: Path
) -> None:
    assert node.pid is not None
    text = web(pair, EVERYTHING).replace("monitor_port = 0\n", "")
    async with Tracing(node.pid, tmp_path) as tracing:
        await all_that_ipfod_does(node, text)
    for unit, part in PARTS.items():
        use = tracing.of(*part.commands)
        assert part.some <= use.written, unit  # strace has seen it
        assert use.calls <= allowed(unit), unit
        assert use.refused == set(), unit
        assert {path for path in use.written if not path.startswith(part.writable)} == set(), unit


async def all_that_ipfod_does(node: BootedNode, text: str) -> None:
    """Each thing once, in an order in which the node is master whenever it has to be."""
    configure([node], text)
    await node.systemctl("start", "ipfod", check=True)
    await until(lambda: is_master(node), what="it serves", timeout_s=60)
    configure([node], text.replace("10-11", "10-12"))
    await node.systemctl("reload", "ipfod", check=True)
    await node.systemctl("reload", "nftables", check=True)
    await until(lambda: lets_vrrp_in(node), what="its rule is put back", timeout_s=60)
    assert "keepalived_up 1.0" in await scrape(node, METRICS)
    for order in (
        ["step-down", "web", "--hold", "1s"],
        ["maintenance", "on"],
        ["maintenance", "off"],
        ["history"],
    ):
        assert (await node.ipfoctl(*order)).returncode == 0, order
    await until(lambda: is_master(node), what="it serves again", timeout_s=60)
    await node.kill("keepalived", signal.SIGKILL)
    await node.systemctl("restart", "ipfod", check=True)
    await until(lambda: is_master(node), what="it serves after a restart", timeout_s=60)
    await node.systemctl("stop", "ipfod", check=True)
    await node.systemctl("start", "ipfod", check=True)
    await node.systemctl("start", "ipfod-cleanup", check=True)


async def lets_vrrp_in(node: BootedNode) -> bool:
    return "ipfod" in (await node.run(["nft", "list", "ruleset"], check=True)).stdout
