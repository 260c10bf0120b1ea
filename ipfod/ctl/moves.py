"""`ipfoctl step-down` and `ipfoctl take-over`: move virtual IPs by order, group by group."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ipfod.ctl import client
from ipfod.ctl.addresses import shortened
from ipfod.ctl.client import GROUP, Client
from ipfod.ctl.console import Console
from ipfod.ctl.description import Group, parse, read
from ipfod.ctl.failures import CommandFailed, Exit
from ipfod.ctl.targets import Target, find, path_of
from ipfod.ctl.text import line

ADDRESSES_SHOWN = 2


def step_down(name: str, hold_s: int, timeout_s: int, console: Console) -> Exit:
    """Have other nodes take what this one is master of."""

    async def once(connected: Client) -> Exit:
        target = find(read(parse(await connected.call("Describe"))), name)
        for group in _chosen(target, [group for group in target.groups if group.state == "master"]):
            path = path_of(target.failover, group)
            began = time.monotonic()
            with console.waiting(f"{group.name}: handing over ..."):
                await connected.call("StepDown", "u", hold_s, path=path, interface=GROUP, timeout_s=timeout_s)
            took_ms = (time.monotonic() - began) * 1000
            master = await connected.get(path, GROUP, "Master")
            console.show([line(f"{_addresses(group)} moved to {master or 'another node'} in {took_ms:.0f} ms")])
        return Exit.DONE

    return client.run(once)


def take_over(name: str, timeout_s: int, console: Console) -> Exit:
    """Make this node master of what it is not."""

    async def once(connected: Client) -> Exit:
        described = read(parse(await connected.call("Describe")))
        target = find(described, name)
        others = [group for group in target.groups if group.state != "master"]
        if not others:
            console.show([line(f"{target.name}: {described.node_name} is its master already")])
        for group in others:
            path = path_of(target.failover, group)
            began = time.monotonic()
            with console.waiting(f"{group.name}: taking over ..."):
                await connected.call("TakeOver", path=path, interface=GROUP, timeout_s=timeout_s)
            took_ms = (time.monotonic() - began) * 1000
            came = f" from {group.master}" if group.master else ""
            console.show([line(f"{_addresses(group)} moved here{came} in {took_ms:.0f} ms")])
        return Exit.DONE

    return client.run(once)


def _chosen(target: Target, groups: Sequence[Group]) -> Sequence[Group]:
    """A group that was named is asked for in any case: ipfod says best why it cannot be moved."""
    if target.group is not None:
        return (target.group,)
    if not groups:
        raise CommandFailed(
            f"{target.name}: this node is master of none of its groups", hint="step down on the node that is"
        )
    return groups


def _addresses(group: Group) -> str:
    return shortened(group.virtual_ips, most=ADDRESSES_SHOWN)
