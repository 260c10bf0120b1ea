"""What a shell offers on Tab: read off the parser of the command line, and of the daemon that runs.

`ipfoctl _complete WORD...` gets the words after the command's name, the last one being typed, maybe empty. It
prints a candidate a line, with what it is after a tab. A line of FILES or DIRECTORIES alone has the shell offer
those. The scripts in packaging/completion are all that differs between shells.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from ipfod.ctl.console import Console
from ipfod.ctl.failures import Exit
from ipfod.ctl.parser import command_line
from ipfod.ctl.preemption import RESET
from ipfod.errors import IpfodError

FILES, DIRECTORIES = ":files", ":directories"
ANSWER_S = 1.0  # whoever waits longer than that after Tab takes it for broken
POLICIES = ("preempt", "nopreempt", "preempt_delay", RESET)

Candidate = tuple[str, str]


def run(words: Sequence[str], console: Console) -> Exit:
    """Print what may stand in place of the last word, or nothing, whatever the reason."""
    typed = words[-1] if words else ""
    offered = candidates(command_line(), words[:-1], typed)
    for name, what in dict(offered).items():
        if name.startswith(typed) or name in (FILES, DIRECTORIES):
            console.stream.write(f"{name}\t{what}\n" if what else f"{name}\n")
    return Exit.DONE


def candidates(parser: argparse.ArgumentParser, before: Sequence[str], typed: str) -> Iterator[Candidate]:
    """What may follow the words `before`, given what is typed of it so far."""
    flags = {flag: action for action in parser._actions for flag in action.option_strings}
    positional = [action for action in parser._actions if not action.option_strings]
    given = 0  # how many positional arguments there are already
    waiting: argparse.Action | None = None  # a flag whose value comes next
    only_arguments = False
    for place, word in enumerate(before):
        if waiting is not None:
            waiting = None
        elif word == "--":
            only_arguments = True
        elif word in flags and not only_arguments:
            waiting = flags[word] if flags[word].nargs != 0 else None
        elif positional and isinstance(positional[0], argparse._SubParsersAction):
            if word in positional[0].choices:
                yield from candidates(positional[0].choices[word], before[place + 1 :], typed)
            return
        else:
            given += 1
    if waiting is not None:
        yield from _values(waiting)
    elif typed.startswith("-") and not only_arguments:
        yield from ((flag, action.help or "") for flag, action in flags.items() if flag not in before)
    elif (argument := _at(positional, given)) is not None:
        yield from _values(argument)


def _at(positional: Sequence[argparse.Action], given: int) -> argparse.Action | None:
    """The positional argument that comes after so many; the last one if it may be repeated."""
    if given < len(positional):
        return positional[given]
    return positional[-1] if positional and positional[-1].nargs == "*" else None


def _values(action: argparse.Action) -> Iterable[Candidate]:
    """What an argument takes: its choices, or what its metavar stands for."""
    if isinstance(action, argparse._SubParsersAction):
        return [(choice.dest, choice.help or "") for choice in action._choices_actions]
    if action.choices:
        return [(str(choice), "") for choice in action.choices]
    source = SOURCES.get(str(action.metavar))
    return source() if source else ()


def _targets() -> Iterable[Candidate]:
    """Failovers, groups and virtual IPs of the daemon; none if it does not run or does not answer soon."""
    from ipfod.ctl.client import connect
    from ipfod.ctl.description import Description, parse, read

    async def described() -> Description:
        async with asyncio.timeout(ANSWER_S), connect() as client:
            return read(parse(await client.call("Describe")))

    try:
        found = asyncio.run(described())
    except (IpfodError, TimeoutError):
        return
    for failover in found.failovers:
        yield failover.name, "failover"
        for group in failover.groups:
            yield group.name, f"{group.state}, {', '.join(group.virtual_ips[:2])}"
            yield from ((virtual_ip, f"of {group.name}") for virtual_ip in group.virtual_ips)


def _topics() -> Iterable[Candidate]:
    from ipfod.ctl.topics import topics

    return [(topic.name, str(topic.kind)) for topic in topics()]


SOURCES: Mapping[str, Callable[[], Iterable[Candidate]]] = {
    "TARGET": _targets,
    "NAME": _targets,
    "POLICY": lambda: [(policy, "") for policy in POLICIES],
    "TOPIC": _topics,
    "FILE": lambda: [(FILES, "")],
    "DIR": lambda: [(DIRECTORIES, "")],
}
