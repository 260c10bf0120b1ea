"""`ipfoctl step-down` and `ipfoctl take-over`: move virtual IPs by order, group by group."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence

from ipfod.ctl import client
from ipfod.ctl.addresses import shortened
from ipfod.ctl.client import GROUP, Client
from ipfod.ctl.console import Console, complain, complain_of
from ipfod.ctl.description import Group, parse, read
from ipfod.ctl.failures import CommandFailed, Exit, Refused
from ipfod.ctl.targets import Target, find, path_of
from ipfod.ctl.text import line

ADDRESSES_SHOWN = 2


def step_down(name: str, hold_s: int, timeout_s: int, console: Console) -> Exit:
    """Have other nodes take what this one is master of."""

    async def once(connected: Client) -> Exit:
        target = find(read(parse(await connected.call("Describe"))), name)

        async def move(group: Group) -> str:
            path = path_of(target.failover, group)
            with console.waiting(f"{group.name}: handing over ..."):
                await connected.call("StepDown", "u", hold_s, path=path, interface=GROUP, timeout_s=timeout_s)
            master = await connected.get(path, GROUP, "Master")
            return f"moved to {master or 'another node'}"

        masters = [group for group in target.groups if group.state == "master"]
        return await _each(target, _chosen(target, masters), move, console)

    return client.run(once)


def take_over(name: str, timeout_s: int, console: Console) -> Exit:
    """Make this node master of what it is not."""

    async def once(connected: Client) -> Exit:
        described = read(parse(await connected.call("Describe")))
        target = find(described, name)

        async def move(group: Group) -> str:
            path = path_of(target.failover, group)
            with console.waiting(f"{group.name}: taking over ..."):
                await connected.call("TakeOver", path=path, interface=GROUP, timeout_s=timeout_s)
            return f"moved here from {group.master}" if group.master else "moved here"

        others = [group for group in target.groups if group.state != "master"]
        if not others:
            console.show([line(f"{target.name}: {described.node_name} is its master already")])
        return await _each(target, others, move, console)

    return client.run(once)


async def _each(
    target: Target, groups: Sequence[Group], move: Callable[[Group], Awaitable[str]], console: Console
) -> Exit:
    """Move groups one after the other, and tell of each what `move` says.

    A group that ipfod does not move keeps no other from its turn: why is told at the end, the same reason once,
    and the command has failed. Raises CommandFailed for what no group would come through.
    """
    refused: list[Refused] = []
    try:
        for group in groups:
            began = time.monotonic()
            try:
                moved = await move(group)
            except Refused as error:
                refused.append(error)
                continue
            took_ms = (time.monotonic() - began) * 1000
            console.show([line(f"{_addresses(group)} {moved} in {took_ms:.0f} ms")])
    finally:
        for reason in {str(each): each for each in refused}.values():
            complain_of(reason)
        if refused and len(groups) > 1:
            complain(f"ipfoctl: {target.name}: {len(refused)} of {len(groups)} groups not moved")
    return Exit.FAILED if refused else Exit.DONE


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
