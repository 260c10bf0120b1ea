"""Single values: each kind takes what a file says and gives exactly that value, or refuses it with a reason."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from ipfod.config.model import PREEMPTION_ACCEPTED, Grouping, Preemption

QUOTED_MAX = 60  # characters of a foreign value that a complaint repeats
NAME_MAX = 64
INTERFACE_MAX = 15  # IFNAMSIZ is 16 with the closing NUL (linux/if.h)
# keepalived 2.2.7 cuts a configuration line near 1024 bytes and reads the rest as a line of its own (measured:
# a path of 1000 bytes is taken, one of 1030 is torn); half of that leaves room for what stands around the path.
SCRIPT_PATH_MAX = 512
AUTH_PASS_MAX = 8  # the authentication field of VRRPv2 has eight octets (RFC 2338, 5.3.10)
VIP_GROUPS_MAX = 65536  # no more groups than virtual IPs, see ranges.ADDRESSES_MAX
# What keepalived does not read as itself: quotes, blocks, comments, escapes, and parameters (measured on 2.2.7:
# the password $_PWD became its working directory, a#b became a, and \b in quotes became a backspace).
KEEPALIVED_SPECIAL = "\"'{}#!\\$"
SPECIAL_ACCEPTED = f"none of {' '.join(KEEPALIVED_SPECIAL)}"
# What nftables does not read as itself in the name of an interface (measured on 1.0.6): eth* let VRRP in on all
# that begin with eth, @x meant a set.
NFT_SPECIAL = "*@"

_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]{0,8})")  # [0-9], never \d: int() takes the digits of every script
_DECIMAL_SECONDS = re.compile(r"(?:0|[1-9][0-9]{0,5})(?:\.[0-9]{1,6})?")
_NAME = re.compile(rf"[A-Za-z0-9_-]{{1,{NAME_MAX}}}")
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9._-]{0,31}")  # POSIX portable user names; 32 is useradd(8)'s limit
_MISPRINT = "preempt_nodelay"
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class Refused(ValueError):
    """A value that is not accepted. `faults` says what is wrong with it, one clause for each fault."""

    def __init__(self, *faults: str) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Reread:
    """A value that is read as something other than it says; the user is told by `warning`."""

    value: object
    warning: str


@dataclass(frozen=True, slots=True)
class Kind:
    """One sort of value: what is accepted, in words, and how it is read.

    `read` takes a value of TOML and returns what a field of `Failover` holds, or a `Reread`; raises `Refused`.
    `from_text` turns an environment variable's text into the TOML value it stands for, or leaves it as it is.
    """

    accepted: str
    read: Callable[[object], object]
    from_text: Callable[[str], object] = str


def quoted(value: object) -> str:
    """A foreign value as a complaint may repeat it: printable, on one line, not much over `QUOTED_MAX` long."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        # str() refuses integers of thousands of digits, which hexadecimal TOML can hold.
        return str(value) if value.bit_length() <= 128 else "a huge number"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, str):
        cut = value if len(value) <= QUOTED_MAX else value[:QUOTED_MAX] + "…"
        return '"' + "".join(map(_printable, cut)) + '"'
    if isinstance(value, list):
        return "a list"
    return "a table" if isinstance(value, dict) else "a date or time"


def _printable(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")


def text(value: object) -> str:
    """A text without control characters, line breaks and the like. Raises Refused."""
    if not isinstance(value, str):
        raise Refused(f"{quoted(value)} is not text in quotes")
    if not value.isprintable():
        raise Refused(f"{quoted(value)} contains a character that cannot be printed")
    return value


def _decimal(value: str) -> object:
    return int(value) if _DECIMAL.fullmatch(value) else value


def whole_number(low: int, high: int) -> Kind:
    """Whole numbers from `low` to `high`."""

    def read(value: object) -> int:
        if isinstance(value, str) and _DECIMAL.fullmatch(value):
            raise Refused(f"{quoted(value)} is text: leave the quotes off")
        if isinstance(value, bool) or not isinstance(value, int):
            raise Refused(f"{quoted(value)} is not a whole number")
        if not low <= value <= high:
            raise Refused(f"{quoted(value)} is out of range")
        return value

    return Kind(f"a whole number from {low} to {high}", read, _decimal)


def _decimal_seconds(value: str) -> object:
    return float(value) if _DECIMAL_SECONDS.fullmatch(value) else value


def seconds(low: float, high: float) -> Kind:
    """Seconds from `low` to `high`, whole or decimal; read as float."""

    def read(value: object) -> float:
        if isinstance(value, str) and _DECIMAL_SECONDS.fullmatch(value):
            raise Refused(f"{quoted(value)} is text: leave the quotes off")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Refused(f"{quoted(value)} is not a number of seconds")
        if not low <= value <= high:  # also refuses nan
            raise Refused(f"{quoted(value)} is out of range")
        return float(value)

    return Kind(f"seconds from {low:g} to {high:g}", read, _decimal_seconds)


def advert_interval(low: float, high: float) -> Kind:
    """Seconds between advertisements; VRRPv3 carries hundredths of a second (RFC 5798, 5.2.7)."""
    plain = seconds(low, high)

    def read(value: object) -> float:
        interval_s = plain.read(value)
        assert isinstance(interval_s, float)
        hundredths = round(interval_s * 100)
        if not math.isclose(interval_s * 100, hundredths, abs_tol=1e-6):
            raise Refused(f"{quoted(value)} is not a multiple of 0.01 s")
        return hundredths / 100

    accepted = f"{plain.accepted} in steps of 0.01; with vrrp_version 2 whole seconds"
    return Kind(accepted, read, plain.from_text)


def boolean() -> Kind:
    """true or false; variables may also say yes, no, 1, 0."""

    def read(value: object) -> bool:
        if not isinstance(value, bool):
            raise Refused(f"{quoted(value)} is neither true nor false")
        return value

    accepted = "true or false (a variable also takes yes, no, 1 and 0)"
    return Kind(accepted, read, lambda value: _BOOLEANS.get(value.lower() if value.isascii() else "", value))


def choice(words: type[StrEnum]) -> Kind:
    """One of the words of an enumeration."""
    accepted = " or ".join(f'"{word}"' for word in words)

    def read(value: object) -> StrEnum:
        try:
            return words(text(value))
        except Refused:
            raise
        except ValueError:
            raise Refused(f"{quoted(value)} is not one of the words it may be") from None

    return Kind(accepted, read)


def vip_groups() -> Kind:
    """A number of groups or a word of `Grouping`."""
    number, word = whole_number(1, VIP_GROUPS_MAX), choice(Grouping)
    accepted = f'{number.accepted}, "per-vip" or "per-range"'

    def read(value: object) -> object:
        return (word if isinstance(value, str) and not _DECIMAL.fullmatch(value) else number).read(value)

    return Kind(accepted, read, number.from_text)


def name() -> Kind:
    """A failover's name: it becomes part of paths, unit names and VRRP instance names."""

    def read(value: object) -> str:
        if not _NAME.fullmatch(text(value)):
            raise Refused(f"{quoted(value)} is not a name")
        return str(value)

    return Kind(f"1 to {NAME_MAX} of the characters A-Z a-z 0-9 _ -", read)


def interface() -> Kind:
    """An interface's name by the kernel's rule (dev_valid_name), in ASCII, safe for keepalived and nftables."""

    def read(value: object) -> str:
        device = text(value)
        if not 1 <= len(device) <= INTERFACE_MAX:
            raise Refused(f"{quoted(value)} has {len(device)} characters")
        if (
            not device.isascii()
            or device in {".", ".."}
            or any(c in " /:" + NFT_SPECIAL + KEEPALIVED_SPECIAL for c in device)
        ):
            raise Refused(f"{quoted(value)} is not the name of an interface")
        return device

    accepted = f"1 to {INTERFACE_MAX} ASCII characters, no space, / : * or @, {SPECIAL_ACCEPTED}"
    return Kind(accepted, read)


def script() -> Kind:
    """The absolute path of a script, without arguments. Whether it exists is not looked at here."""

    def read(value: object) -> Path:
        path = text(value)
        if not path.startswith("/") or path.endswith("/"):
            raise Refused(f"{quoted(value)} is not the absolute path of a file")
        if any(c.isspace() for c in path):
            raise Refused(f"{quoted(value)} contains a space: arguments are not accepted")
        if any(c in KEEPALIVED_SPECIAL for c in path):
            raise Refused(f"{quoted(value)} contains a character with a meaning to keepalived")
        if len(path.encode()) > SCRIPT_PATH_MAX:
            raise Refused(f"{quoted(value)} is longer than {SCRIPT_PATH_MAX} bytes")
        return Path(path)

    accepted = (
        f"an absolute path without spaces and arguments, at most {SCRIPT_PATH_MAX} bytes, {SPECIAL_ACCEPTED}"
    )
    return Kind(accepted, read)


def user() -> Kind:
    """The name of a user, by POSIX's portable rule."""

    def read(value: object) -> str:
        if not _USER.fullmatch(text(value)):
            raise Refused(f"{quoted(value)} is not the name of a user")
        return str(value)

    return Kind("1 to 32 of the characters A-Z a-z 0-9 . _ -, the first a letter or _", read)


def preemption() -> Kind:
    """A preemption policy. `preempt_nodelay`, misprinted in the OpenShift documentation, gives a warning."""

    def read(value: object) -> object:
        words = text(value).split()
        misprinted = words[:1] == [_MISPRINT]
        meant = " ".join(["preempt_delay", *words[1:]]) if misprinted else text(value)
        try:
            policy = Preemption.parse(meant)
        except ValueError:
            raise Refused(f"{quoted(value)} is not a preemption policy") from None
        return Reread(policy, f'{quoted(value)} is a misprint, read as "{policy}"') if misprinted else policy

    return Kind(PREEMPTION_ACCEPTED, read)


def auth_pass() -> Kind:
    """The password of VRRPv2. Complaints do not repeat it: they are readable by everyone."""

    def read(value: object) -> str:
        if not isinstance(value, str):
            raise Refused("is not text in quotes")
        if not 1 <= len(value) <= AUTH_PASS_MAX:
            raise Refused(f"has {len(value)} characters")
        if not all("!" < c <= "~" and c not in KEEPALIVED_SPECIAL for c in value):
            raise Refused("contains a character that is not accepted")
        return value

    return Kind(f"1 to {AUTH_PASS_MAX} printable ASCII characters, no space, {SPECIAL_ACCEPTED}", read)
