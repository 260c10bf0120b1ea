"""Configuration files as people write them: most of them right, the others wrong in one or two places.

Made by a `Random`, not drawn by hypothesis value by value: that would take minutes for as many.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from ipfod.config.options import BY_KEY, OPTIONS

DAMAGED = 0.45  # the share of files that something is done to; not all of that makes a file unusable
NODES = ("10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::2", "fd00::3")  # the first is this node, see alone.py
WORD = "abcxyzABCXYZ0189_-"


@dataclass(frozen=True)
class Written:
    """A file's name and text."""

    name: str
    text: str


def word(random: Random, most: int = 12) -> str:
    return "".join(random.choices(WORD, k=random.randint(1, most)))


def plain(random: Random, most: int) -> str:
    """Printable ASCII without what options that go to keepalived refuse; its other special signs are there."""
    signs = [chr(code) for code in range(0x21, 0x7F) if chr(code) not in "\"'{}#!\\$"]
    return "".join(random.choices(signs, k=random.randint(1, most)))


def virtual_ips(random: Random) -> object:
    found = []
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        third, last = random.randrange(256), random.randrange(1, 240)
        found.append(
            random.choice(
                (
                    f"10.1.{third}.{last}",
                    f"10.1.{third}.{last}-{last + random.randrange(14)}",
                    f"10.1.{third}.{last & 0xF0}/28",
                    f"fd00::{third + 1:x}:{last:x}",
                    f"fd00::{third + 1:X}:{last:x}-{last + random.randrange(14):x}",
                    f"fe80::{third + 1:x}:{last:x}",
                )
            )
        )
    return random.choice((found, ",".join(found)))


def chains(random: Random) -> object:
    one = random.choice(("INPUT", "", "inet filter input", "ip filter INPUT", "VRRP-in", "a.b/c_d"))
    return random.choice((one, [one or "INPUT", "ip6 filter input"]))


def nodes(random: Random) -> object:
    """This node among them, or the plan is none."""
    others = random.sample(NODES[1:], random.randrange(len(NODES)))
    return [NODES[0], *others]


def script(random: Random) -> str:
    return f"/opt/{plain(random, 20).strip('/') or 'x'}"


# For each option what a file may say; the options that depend on others are made by `settings`.
VALUES: dict[str, Callable[[Random], object]] = {
    "name": lambda random: word(random, 64),
    "virtual_ips": virtual_ips,
    "vip_groups": lambda random: random.choice((1, 2, 3, 65536, "per-vip", "per-range")),
    "interface": lambda random: random.choice(
        ("eth0", "br-ex", "bond0.17", "veth+~x", "eth*", plain(random, 15))
    ),
    "vrrp_id_offset": lambda random: random.randint(0, 200),
    "excluded_vrrp_ids": lambda random: random.sample(range(1, 256), random.randrange(1, 6)),
    "monitor_port": lambda random: random.randint(0, 65535),
    "monitor_address": lambda random: random.choice(("node", "vip")),
    "check_script": script,
    "check_interval": lambda random: random.choice((1, 0.5, 30, 3600)),
    "check_timeout": lambda random: random.choice((1, 0.1, 2.5)),
    "check_rise": lambda random: random.randint(1, 1000),
    "check_fall": lambda random: random.randint(1, 1000),
    "notify_script": script,
    "script_user": lambda random: random.choice(("root", "nobody", "daemon", "u.-_9")),
    "preemption": lambda random: random.choice(
        ("preempt", "nopreempt", f"preempt_delay {random.randint(0, 1000)}", "preempt_nodelay 300")
    ),
    "replica_count": lambda random: random.randint(1, 252),
    "nodes": nodes,
    "priority": lambda random: random.randint(1, 254),
    "use_unicast": lambda random: random.random() < 0.5,
    "unicast_peers": lambda random: [*NODES[1:3], *NODES[3:][: random.randint(1, 2)]],
    "firewall_chain": chains,
    "kernel_modules": lambda random: random.choice(([], ["ip_vs"], ["dummy", "ip_vs"])),
    "vrrp_version": lambda random: random.choice((2, 3)),
    "advert_interval": lambda random: random.randint(1, 4000) / 100,
    "auth_pass": lambda random: plain(random, 8),
    "prefix_length": lambda random: random.randint(1, 32),
}


def settings(random: Random) -> dict[str, object]:
    """Values by key that go together."""
    free = [key for key in VALUES if key not in ("virtual_ips", "auth_pass")]
    keys = ["virtual_ips", *random.sample(free, random.randrange(len(free)))]
    random.shuffle(keys)
    found = {key: VALUES[key](random) for key in keys}
    if found.get("use_unicast"):
        found.setdefault("unicast_peers", VALUES["unicast_peers"](random))
    if found.get("vrrp_version") == 2:
        if "advert_interval" in found:
            found["advert_interval"] = random.randint(1, 40)
        if random.random() < 0.5:
            found["auth_pass"] = VALUES["auth_pass"](random)
    return found


def as_toml(found: dict[str, object]) -> list[str]:
    return [f"{key} = {json.dumps(value)}" for key, value in found.items()]


def as_env(found: dict[str, object]) -> list[str]:
    """What variables can say of it."""
    lines = []
    for key, value in found.items():
        if (variable := BY_KEY[key].variable) is None:
            continue
        between = " " if key == "excluded_vrrp_ids" else ","
        shown = between.join(map(str, value)) if isinstance(value, list) else str(value)
        lines.append(f'{variable}="{shown.lower() if isinstance(value, bool) else shown}"')
    return lines


STRANGE = (
    *("\0", "\x1b[2J", "\r", "\ufeff", "\u202e", "\uff11", "\u0131", "\u2028", "\ud7ff", "é", "٣"),
    *("'", '"', '"""', "\\", "$(id)", "`id`", "${_PWD}", "#", "!", "{", "}", "[", "]", "@x ", "~SEQ(a,1,2)"),
    *("include /etc/passwd", "../..", "%n", "-1", "1e999", "nan", "0x7f", "1_0", " ", "\t", "\n", "=", ","),
    *("99999999999999999999", "true", "2026-01-01", "192.168.1.256", "::/0", "224.0.0.1", "10.0.0.1"),
)


def with_piece(random: Random, lines: list[str]) -> None:
    """Something strange in some place of some line, or instead of what is there."""
    number = random.randrange(len(lines))
    place = random.randrange(len(lines[number]) + 1)
    end = place + random.choice((0, 0, 0, 1, 4))
    lines[number] = lines[number][:place] + random.choice(STRANGE) + lines[number][end:]


def with_value(random: Random, lines: list[str]) -> None:
    """A value of another kind, of another option, or out of range."""
    number = random.randrange(len(lines))
    key, sign, _ = lines[number].partition("=")
    other = random.choice(lines).partition("=")[2]
    values = (other, " 0", " -1", " 70000", ' ""', " []", " true", " 1.5", f" {random.choice(STRANGE)}")
    lines[number] = key + sign + random.choice(values)


def with_key(random: Random, lines: list[str]) -> None:
    """A key that does not exist, is written otherwise, or belongs to the other form."""
    number = random.randrange(len(lines))
    key, sign, value = lines[number].partition("=")
    option = random.choice(OPTIONS)
    keys = (key.upper(), key.lower(), key.replace("_", "-"), key[:-2], option.key, option.variable or "X")
    lines[number] = random.choice(keys) + sign + value


def with_line_twice(random: Random, lines: list[str]) -> None:
    lines.append(random.choice(lines))


def without_line(random: Random, lines: list[str]) -> None:
    del lines[random.randrange(len(lines))]


def cut(random: Random, lines: list[str]) -> None:
    lines[-1] = lines[-1][: random.randrange(len(lines[-1]) + 1)]


def with_foreign_line(random: Random, lines: list[str]) -> None:
    foreign = ("[web]", "# a comment", "", "; x", "export A=b", "interface eth0", "}", "include x", "\ufeff#")
    lines.insert(random.randrange(len(lines) + 1), random.choice(foreign))


DAMAGES = (with_piece, with_value, with_key, with_line_twice, without_line, cut, with_foreign_line)


def file(random: Random, number: int) -> Written:
    """One file: four of five in TOML, one with OpenShift's variables."""
    toml = random.random() < 0.8
    lines = (as_toml if toml else as_env)(settings(random))
    if random.random() < DAMAGED:
        for _ in range(random.choice((1, 1, 2))):
            if lines:
                random.choice(DAMAGES)(random, lines)
    return Written(f"f{number}.{'toml' if toml else 'env'}", "\n".join(lines) + random.choice(("\n", "\n", "")))


def directory(random: Random) -> tuple[list[Written], dict[str, str]]:
    """The files of one node, and the variables that its daemon is started with."""
    files = [file(random, number) for number in range(random.choice((1, 2, 4, 8)))]
    environ = {}
    if random.random() < 0.2:
        for line in as_env(settings(random)):
            key, _, value = line.partition("=")
            environ[key] = value.strip('"') if random.random() < 0.9 else random.choice(STRANGE[1:])
    return files, environ
