"""`ipfoctl reload`: have the daemon read its configuration again."""

from __future__ import annotations

from ipfod.ctl import client
from ipfod.ctl.client import Client
from ipfod.ctl.console import Console
from ipfod.ctl.description import parse, read
from ipfod.ctl.failures import Exit
from ipfod.ctl.text import count, line

RELOAD_TIMEOUT_S = 90.0  # every file is checked with keepalived -t; systemd gives a reload as long by default


def run(console: Console) -> Exit:
    """Reload and say what runs now. Raises ConfigurationRefused with every complaint."""

    async def once(connected: Client) -> Exit:
        await connected.call("Reload", timeout_s=RELOAD_TIMEOUT_S)
        described = read(parse(await connected.call("Describe")))
        failovers = count(len(described.failovers), "failover")
        groups = count(len(described.groups), "group")
        console.show([line(f"ipfod has read its configuration again and runs {failovers} with {groups}.")])
        return Exit.DONE

    return client.run(once)
