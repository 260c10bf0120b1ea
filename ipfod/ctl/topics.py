"""What the manual says, by topic: `ipfoctl help` shows it, and the manual pages are made of it. Pure."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from ipfod.config.options import OPTIONS, Option, nearest_to
from ipfod.ctl.durations import ACCEPTED, SINCE_ACCEPTED
from ipfod.ctl.failures import CommandFailed, Exit
from ipfod.ctl.parser import EXITS, command_line
from ipfod.ctl.problems import PROBLEMS, Explained


class Kind(StrEnum):
    """The sorts of topics, as `ipfoctl help` heads its list of them."""

    COMMAND = "commands"
    OPTION = "options of ipfod.toml"
    PROBLEM = "problems"
    CONCEPT = "more"


@dataclass(frozen=True, slots=True)
class Topic:
    """One section: a title, paragraphs, then terms with what they mean."""

    name: str
    kind: Kind
    title: str
    paragraphs: tuple[str, ...]
    terms: tuple[tuple[str, str], ...] = ()


class NoTopic(CommandFailed):
    """Nothing is called like that."""

    exit_code = Exit.USAGE


CONCEPTS = (
    Topic(
        "exit-codes",
        Kind.CONCEPT,
        "Exit codes of ipfoctl",
        ("ipfod itself exits with 0 after a stop or a cleanup, 1 on failure, 2 on a wrong command line.",),
        tuple((f"{code:d}", means) for code, means in EXITS),
    ),
    Topic(
        "targets",
        Kind.CONCEPT,
        "What TARGET and NAME mean",
        (
            "The name of a failover (web), of a group (web_VIP_1), or a virtual IP, which stands for its "
            "group. "
            "A failover goes first where both have the same name. ipfoctl status lists them all.",
        ),
    ),
    Topic(
        "times",
        Kind.CONCEPT,
        "How times are written",
        ("Times of the day are local.",),
        (("TIME of --hold, --for, --timeout", ACCEPTED), ("TIME of --since", SINCE_ACCEPTED)),
    ),
    Topic(
        "json",
        Kind.CONCEPT,
        "Output for programs",
        (
            "Commands that only show something take --json: one document on standard output, or one object a "
            "line for what goes on and on (events, status --watch). Keys are the D-Bus properties in "
            "snake_case, "
            "times are microseconds since 1970-01-01 UTC. Errors and warnings go to standard error.",
        ),
    ),
    Topic(
        "permissions",
        Kind.CONCEPT,
        "Who may do what",
        (
            "Everybody may read. What changes something is for root, and for whom polkit lets. Others are "
            "asked "
            "for an administrator's password; a rule in /etc/polkit-1/rules.d can spare them that. Where "
            "polkit "
            "does not run, only root may.",
        ),
        (
            ("org.ipfod.Ipfod1.reload", "reload"),
            ("org.ipfod.Ipfod1.preemption", "preemption, to change it"),
            ("org.ipfod.Ipfod1.switchover", "step-down, take-over"),
            ("org.ipfod.Ipfod1.maintenance", "maintenance"),
        ),
    ),
    Topic(
        "grammar",
        Kind.CONCEPT,
        "Grammar of virtual_ips",
        (
            "A list of entries, or one text with commas between them. The network and the broadcast address of "
            "an IPv4 network are left out; name them to have them. No address may come twice.",
        ),
        (
            ("192.168.3.10", "an address"),
            ("192.168.3.10-12", "a range to a last part: three addresses"),
            ("192.168.3.250-192.168.4.5", "a range to an address: twelve"),
            ("2001:db8::1f39-1f3b", "an IPv6 range; the last part is hexadecimal: three"),
            ("192.168.3.64/29", "an IPv4 network: six"),
            ("2001:db8::10/124", "an IPv6 network: all sixteen"),
        ),
    ),
    Topic(
        "files",
        Kind.CONCEPT,
        "Files",
        (),
        (
            ("/etc/ipfod/NAME.toml", "a failover, the same file on every node; see ipfod.toml(5)"),
            ("/etc/ipfod/NAME.env", "a failover, with the variable names of OpenShift's IP failover"),
            ("/etc/sysconfig/ipfod", "the daemon's environment; in force after systemctl restart ipfod"),
            ("/run/ipfod", "what keepalived is given, and the last good version of each file"),
            ("/var/lib/ipfod/state.json", "what ipfod has taken from the host, orders, maintenance"),
            ("/var/lib/ipfod/history", "the last 1000 changes of state"),
            ("/usr/share/doc/ipfod/docs", "guides: installing, operating, monitoring, firewall, migrating"),
        ),
    ),
    Topic(
        "environment",
        Kind.CONCEPT,
        "Environment variables",
        (),
        (
            ("OPENSHIFT_HA_*, HA_EXCLUDED_VRRP_IDS", "of ipfod: one more failover; see ipfod.toml(5)"),
            ("IPFOD_METRICS_LISTEN", "of ipfod: ADDRESS:PORT that metrics for Prometheus are served on"),
            ("DBUS_SYSTEM_BUS_ADDRESS", "another bus than the system's"),
            ("NO_COLOR", "if set, ipfoctl writes no colour, also on a terminal"),
            ("IPFOD_DEBUG", "1 shows the traceback of an internal error"),
        ),
    ),
)


def topics() -> tuple[Topic, ...]:
    """All of them, in the order in which they are listed."""
    return (
        *(command_topic(parser, text) for parser, text in commands(command_line())),
        *map(option_topic, OPTIONS),
        *map(problem_topic, PROBLEMS),
        *CONCEPTS,
    )


def find(name: str) -> tuple[Topic, ...]:
    """Every topic of a name, or of a variable's name. Raises NoTopic, which names the nearest known one."""
    known = topics()
    wanted = next((option.key for option in OPTIONS if option.variable == name.upper()), name.lower())
    if found := tuple(topic for topic in known if topic.name == wanted):
        return found
    # nearest_to() takes - for _, and names here have either.
    near = {topic.name.replace("-", "_"): topic.name for topic in known}
    raise NoTopic(
        f"{name}: is no known topic; the nearest known one is {near[nearest_to(name, near)]}",
        hint="ipfoctl help lists them all",
    )


def commands(parser: argparse.ArgumentParser) -> Iterator[tuple[argparse.ArgumentParser, str]]:
    """The parser of each command, and the one line that says what it does."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            texts = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, added in action.choices.items():
                yield added, texts[name]


def command_topic(parser: argparse.ArgumentParser, text: str) -> Topic:
    """A command as its own --help has it."""
    terms = tuple((spelled(action), action.help or "") for action in arguments(parser))
    about = parser.description or text
    return Topic(parser.prog.rpartition(" ")[2], Kind.COMMAND, usage(parser), (about,), terms)


def arguments(parser: argparse.ArgumentParser) -> tuple[argparse.Action, ...]:
    """What a command takes, without --help, which every one has."""
    return tuple(action for action in parser._actions if action.dest != "help")


def usage(parser: argparse.ArgumentParser) -> str:
    """One line; argparse's own depends on the terminal and on the version of Python."""
    flags = [f"[{spelled(action)}]" for action in arguments(parser) if action.option_strings]
    rest = [
        f"[{spelled(action)}]" if action.nargs in ("?", "*") else spelled(action)
        for action in arguments(parser)
        if not action.option_strings
    ]
    return " ".join([parser.prog, *flags, *rest])


def spelled(action: argparse.Action) -> str:
    """An argument as one types it: "--since TIME", "FILE ...", "on|off"."""
    value = action.metavar if isinstance(action.metavar, str) else "|".join(action.choices or ())
    if action.option_strings:
        return " ".join([", ".join(action.option_strings), *([] if action.nargs == 0 else [value])])
    return f"{value} ..." if action.nargs == "*" else value


def option_topic(option: Option) -> Topic:
    """An option of configuration files."""
    terms = (
        ("variable", option.variable or "none: in .toml files only"),
        ("default", option.default),
        ("accepted", option.accepted),
    )
    return Topic(option.key, Kind.OPTION, option.key, (option.help,), terms)


def problem_topic(row: Explained) -> Topic:
    """A problem that ipfod reports."""
    return Topic(row.code, Kind.PROBLEM, f"{row.code} (of: {row.object})", (f"{row.text.removesuffix('.')}.",))
