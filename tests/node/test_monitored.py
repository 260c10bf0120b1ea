"""Metrics of an installed node: turned on as docs/monitoring.md says, in the unit's own narrow confines."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
from scenario import problems, until

from ipfod.metrics.listen import VARIABLE
from node.booted import BootedNode
from node.booted_lab import BootedLab
from node.installed import VIPS, is_master, run_on_both

SETTINGS = "/etc/sysconfig/ipfod"
LINE = f"^#?{VARIABLE}=.*"
GET = """
import sys, urllib.request
sys.stdout.write(urllib.request.urlopen(f"http://{sys.argv[1]}/metrics", timeout=10).read().decode())
"""


@pytest_asyncio.fixture(loop_scope="session")
async def untouched(pair: BootedLab) -> AsyncIterator[BootedLab]:
    """The nodes; the daemon's environment is again as the package has it afterwards."""
    yield pair
    for node in pair.booted:
        await node.run(["sed", "-i", "-E", f"s/{LINE}/#{VARIABLE}=127.0.0.1:9650/", SETTINGS], check=True)
        await node.systemctl("restart", "ipfod")


async def listen_on(node: BootedNode, where: str) -> None:
    """Uncomment the line that the package brings, as an administrator would."""
    await node.run(["sed", "-i", "-E", f"s/{LINE}/{VARIABLE}={where}/", SETTINGS], check=True)
    await node.systemctl("restart", "ipfod", check=True)


async def scrape(node: BootedNode, where: str) -> str:
    done = await node.run(["python3", "-I", "-c", GET, where])
    return done.stdout


async def test_metrics_are_turned_on_and_no_virtual_ip_moves(untouched: BootedLab) -> None:
    owner, _ = await run_on_both(untouched)
    async with untouched.meter(VIPS, interval_ms=5) as meter:
        for where in (f"{owner.own_addresses[0]}:9650", "[::1]:9650", "0.0.0.0:9650"):
            await listen_on(owner, where)
            text = await scrape(owner, where)
            for vip in VIPS:
                assert f'ip_address="{vip}"' in text
            assert "keepalived_up 1.0" in text
            assert await problems(owner) == {}
    assert meter.result().lost == 0
    assert "Traceback" not in await owner.journal("ipfod")


async def test_a_port_that_the_unit_may_not_have_is_reported_and_virtual_ips_are_served(
    untouched: BootedLab,
) -> None:
    owner, _ = await run_on_both(untouched)
    async with untouched.meter(VIPS, interval_ms=5) as meter:
        await listen_on(owner, "127.0.0.1:80")
        assert await problems(owner) == {
            "metrics-failed": "metrics cannot be served on 127.0.0.1:80: Permission denied"
        }
        checked = await owner.ipfoctl("check")
        assert checked.returncode == 0, checked.stdout
        await listen_on(owner, "9650")
        assert "no address with a port" in (await problems(owner))["metrics-failed"]
        assert "warning: IPFOD_METRICS_LISTEN" in (await owner.ipfoctl("check")).stdout
        await listen_on(owner, "")
        await until(lambda: is_master(owner), what="all is well without metrics")
    assert meter.result().lost == 0
