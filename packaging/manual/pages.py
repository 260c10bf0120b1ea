"""The pages, made of the topics of `ipfoctl help`, the daemon's command line and the D-Bus interfaces."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ipfod import __version__
from ipfod.__main__ import command_line as daemon_line
from ipfod.ctl.parser import command_line
from ipfod.ctl.topics import Kind, Topic, arguments, commands, find, spelled, topics
from manual import interfaces, roff

PAGES = ("ipfod(8)", "ipfoctl(1)", "ipfod.toml(5)", "org.ipfod.Ipfod1(5)")
OTHERS = {
    "ipfod(8)": ("keepalived(8)", "systemctl(1)", "journalctl(1)"),
    "ipfoctl(1)": ("busctl(1)", "journalctl(1)"),
    "ipfod.toml(5)": ("keepalived.conf(5)",),
    "org.ipfod.Ipfod1(5)": ("busctl(1)", "polkit(8)"),
}
DAEMON = (
    "ipfod keeps virtual IP addresses alive on a set of nodes: when a node, its keepalived or the monitored "
    "service fails, another node takes the addresses over. It reads the files of /etc/ipfod, decides which "
    "node "
    "prefers which addresses, runs one keepalived for each file, watches it, the service and the packet "
    "filter, "
    "and tells over D-Bus who holds what, and why. systemd runs it as ipfod.service; administrators use "
    "ipfoctl(1).",
    "A restart, a crash and an upgrade of ipfod move no virtual IP: keepalived goes on in units of its own, "
    "ipfod-keepalived@NAME.service. A stop hands the virtual IPs over to other nodes first. "
    "ipfod-cleanup.service "
    "runs ipfod cleanup.",
)
FILE = (
    "A file /etc/ipfod/NAME.toml describes one failover: a set of virtual IPs, and how the nodes share them. "
    "Every node that shares them has the same file. Only virtual_ips is required; there are no sections. A "
    "file "
    "NAME.env has the variables in place of the keys, a KEY=VALUE a line. Options without a variable can be "
    "set "
    "in .toml files only.",
    "ipfoctl check tells what is wrong with the files, ipfoctl plan what they mean, and ipfoctl reload has "
    "them "
    "read again. A bad file does not stop the others.",
)
INTERFACES = (
    "The service org.ipfod.Ipfod1 on the system bus. Everybody may read. What changes something is for root, "
    "and "
    "for whom polkit lets. All properties are read\u2010only. Times are microseconds since 1970-01-01 UTC.",
)
FILE_PLACES = ("/etc/ipfod/NAME.toml", "/etc/ipfod/NAME.env")
WEB = """
# /etc/ipfod/web.toml
virtual_ips = "192.168.3.10-15"
nodes = ["192.168.3.101", "192.168.3.102", "192.168.3.103"]
monitor_port = 443
"""
MOVES = """
ipfoctl status
ipfoctl step-down web_VIP_1 --hold 10m
ipfoctl maintenance on --reason "new memory" --for 2h
"""
CALL = """
busctl introspect org.ipfod.Ipfod1 /org/ipfod/Ipfod1
busctl get-property org.ipfod.Ipfod1 /org/ipfod/Ipfod1 \\
    org.ipfod.Ipfod1.Manager Problems
"""


def pages(sources: Path, date: str) -> dict[str, str]:
    """Every page by its file's name; `sources` is the checkout, `date` goes into the head of each."""
    makers: dict[str, Callable[[], list[str]]] = {
        "ipfod(8)": _daemon,
        "ipfoctl(1)": _control,
        "ipfod.toml(5)": _file,
        "org.ipfod.Ipfod1(5)": lambda: _bus(sources),
    }
    made = {}
    for page in PAGES:
        name, number = page.rstrip(")").split("(")
        others = [each for each in (*PAGES, *OTHERS[page]) if each != page]
        text = [
            '.\\" Made of the sources by packaging/manual: change those.',
            *roff.title(name.upper(), int(number), date, __version__),
            *makers[page](),
            *roff.section("see also"),
            *roff.see_also(others),
        ]
        made[f"{name}.{number}"] = "".join(f"{line}\n" for line in text)
    return made


def _head(name: str, what: str, synopsis: Iterable[str], about: Sequence[str]) -> list[str]:
    usage = [line for each in synopsis for line in (f".B {roff.bold(each)}", ".br")][:-1]
    return [
        *roff.section("name"),
        f"{roff.escaped(name)} \\- {roff.escaped(what)}",
        *roff.section("synopsis"),
        *usage,
        *roff.section("description"),
        *roff.paragraphs(about),
    ]


def _daemon() -> list[str]:
    parser = daemon_line()
    described = [term for parsed, text in commands(parser) for term in roff.term(parsed.prog, text)]
    return [
        *_head("ipfod", "keep virtual IP addresses alive", ("ipfod", "ipfod cleanup"), DAEMON),
        *roff.section("commands"),
        *described,
        *_flags(parser),
        *roff.section("problems"),
        *roff.paragraphs(
            (
                "What is wrong is in ipfoctl status, on D-Bus and in the journal, under these codes. Each is "
                "raised "
                "within a second unless it says otherwise, is there once, and goes when it is over.",
            )
        ),
        *_tagged(topic for topic in topics() if topic.kind is Kind.PROBLEM),
        *_concept("exit-codes", "exit status"),
        *_concept("files"),
        *_concept("environment"),
    ]


def _control() -> list[str]:
    parser = command_line()
    shown = [topic for topic in topics() if topic.kind is Kind.COMMAND]
    about = (
        "ipfoctl shows and steers IP failover on the node that it runs on. It talks to the daemon over the "
        "system "
        "bus, and never starts it; only check, plan, import, help and lab do without."
    )
    return [
        *_head("ipfoctl", "show and steer IP failover", ("ipfoctl COMMAND [ARGUMENT ...]",), (about,)),
        *roff.section("commands"),
        *(line for topic in shown for line in _subsection(topic)),
        *_flags(parser),
        *(
            line
            for name in ("targets", "times", "json", "permissions", "exit-codes", "environment", "files")
            for line in _concept(name, "exit status" if name == "exit-codes" else "")
        ),
        *roff.section("examples"),
        *roff.example(MOVES),
    ]


def _file() -> list[str]:
    options = [topic for topic in topics() if topic.kind is Kind.OPTION]
    return [
        *_head("ipfod.toml", "configuration of IP failover", FILE_PLACES, FILE),
        *roff.section("options"),
        *(line for topic in options for line in _subsection(topic)),
        *_concept("grammar"),
        *_concept("files"),
        *roff.section("examples"),
        *roff.example(WEB),
    ]


def _bus(sources: Path) -> list[str]:
    what = "D-Bus interface of ipfod"
    return [
        *_head("org.ipfod.Ipfod1", what, ("org.ipfod.Ipfod1", "/org/ipfod/Ipfod1"), INTERFACES),
        *interfaces.described(sorted((sources / "dbus").glob("*.xml"))),
        *roff.section("problems"),
        *roff.paragraphs(("The codes in Problems; ipfod(8) says what each means.",)),
        *_codes(),
        *interfaces.errors(),
        *_concept("permissions"),
        *roff.section("examples"),
        *roff.example(CALL),
    ]


def _codes() -> list[str]:
    codes = dict.fromkeys(topic.name for topic in topics() if topic.kind is Kind.PROBLEM)
    return [".PP", *roff.lines(f"{', '.join(codes)}.")]


def _flags(parser: argparse.ArgumentParser) -> list[str]:
    flags = [action for action in parser._actions if action.option_strings]
    assert {action.dest for action in arguments(parser)} <= {"version", "command"}
    described = [term for action in flags for term in roff.term(spelled(action), action.help or "")]
    return [*roff.section("options"), *described]


def _concept(name: str, heading: str = "") -> list[str]:
    [topic] = [topic for topic in find(name) if topic.kind is Kind.CONCEPT]
    return [*roff.section(heading or topic.title), *_body(topic)]


def _subsection(topic: Topic) -> list[str]:
    return [*roff.subsection(topic.title), *_body(topic)]


def _body(topic: Topic) -> list[str]:
    terms = [line for name, text in topic.terms for line in roff.term(name, text)]
    return [*roff.paragraphs(topic.paragraphs), *terms]


def _tagged(found: Iterable[Topic]) -> list[str]:
    return [line for topic in found for line in roff.term(topic.title, " ".join(topic.paragraphs))]
