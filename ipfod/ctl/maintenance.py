"""`ipfoctl maintenance on|off`: have this node give up everything, or take part again."""

from __future__ import annotations

from ipfod.ctl import client
from ipfod.ctl.client import Client
from ipfod.ctl.console import Console, complain
from ipfod.ctl.description import parse, read
from ipfod.ctl.failures import Exit
from ipfod.ctl.status import now_usec
from ipfod.ctl.text import USEC_PER_S, clock, count, line


def on(reason: str, for_s: int | None, timeout_s: int, console: Console) -> Exit:
    """Enter maintenance; groups that nobody has taken are warned of on standard error."""
    until_usec = now_usec() + for_s * USEC_PER_S if for_s is not None else 0

    async def once(connected: Client) -> Exit:
        before = read(parse(await connected.call("Describe")))
        held = [group for group in before.groups if group.state == "master"]
        with console.waiting(f"handing over {count(len(held), 'group')} ..."):
            warnings = await connected.call("EnterMaintenance", "st", reason, until_usec, timeout_s=timeout_s)
        moved = max(0, len(held) - len(warnings))  # it may have become master of more meanwhile
        why = f" ({reason})" if reason else ""
        end = f" until {clock(until_usec)[:16]}" if until_usec else ""
        given = f"{count(moved, 'group')} handed over" if held else "it held nothing"
        console.show([line(f"{before.node_name} is in maintenance{end}{why}: {given}.")])
        complain(*(f"warning: {warning}" for warning in warnings))
        return Exit.DONE

    return client.run(once)


def off(timeout_s: int, console: Console) -> Exit:
    """Leave maintenance."""

    async def once(connected: Client) -> Exit:
        await connected.call("LeaveMaintenance", timeout_s=timeout_s)
        described = read(parse(await connected.call("Describe")))
        text = f"{described.node_name} takes part again; the preemption policies say what it gets."
        console.show([line(text)])
        return Exit.DONE

    return client.run(once)
