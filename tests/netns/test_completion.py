"""Completion in real bash, zsh and fish, with the targets of an ipfod that runs and of one that does not."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from scenario import configure, start, status, until

from ipfod.ctl.completion import POLICIES
from ipfod.ctl.parser import command_line
from ipfod.ctl.topics import commands, topics
from ipfod.lab.lab import Lab
from ipfod.lab.node import Node

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "packaging/completion"
TERMINAL = str(Path(__file__).with_name("terminal.py"))
WEB = 'virtual_ips = "192.168.3.10-11,fd00:1bf0:3::10"\nmonitor_port = 0\nkernel_modules = []\n'
TARGETS = ("web", "web_VIP_1", "web_VIP_2", "web_VIP_3", "192.168.3.10", "192.168.3.11", "fd00:1bf0:3::10")
WAIT_S = 40


@dataclass(frozen=True)
class Shell:
    """How a shell is started without anybody's settings, and made to complete as the package has it."""

    argv: tuple[str, ...]
    setup: str
    tabs: str


SHELLS = {
    "bash": Shell(
        ("bash", "--norc", "--noprofile", "-i"),
        "cd /run/files; bind 'set page-completions off'; bind 'set enable-bracketed-paste off'; "
        "PS1='ready''> '; "
        f". {SCRIPTS}/ipfoctl.bash",
        "\t\t",
    ),
    "zsh": Shell(
        ("zsh", "-f", "-i"),
        f"cd /run/files; unsetopt PROMPT_SP; fpath=({SCRIPTS} $fpath); "
        "autoload -Uz compinit; compinit -u -D; PS1='ready''> '",
        "\t",
    ),
}


@pytest.fixture
async def node(single: Lab) -> Node:
    [node] = single.nodes
    configure([node], WEB)
    node.write("/run/bin/ipfoctl", f'#!/bin/sh\nexec {sys.executable} -m ipfod.ctl "$@"\n', mode=0o755)
    node.write("/run/files/alpha beta.toml", "")
    node.write("/run/files/alpine/x", "")
    return node


async def typed(node: Node, name: str, line: str, *expected: str) -> str:
    """What an interactive shell shows after a line and its Tabs."""
    shell = SHELLS[name]
    argv = [sys.executable, TERMINAL, str(WAIT_S), shell.setup, line + shell.tabs, *expected, "--", *shell.argv]
    done = await node.run(argv, env=path(), timeout_s=3 * WAIT_S)
    return done.stdout


def path() -> dict[str, str]:
    return {"PATH": "/run/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


async def fish(node: Node, line: str) -> list[str]:
    """What fish offers for a line."""
    script = f"source {SCRIPTS}/ipfoctl.fish; cd /run/files; complete -C '{line}'"
    done = await node.run(["fish", "--no-config", "-c", script], env=path(), timeout_s=WAIT_S)
    assert (done.returncode, done.stderr) == (0, "")
    return [each.partition("\t")[0] for each in done.stdout.splitlines()]


async def offered(node: Node, *words: str) -> list[str]:
    """What ipfoctl offers to any shell."""
    done = await node.ipfoctl("_complete", *words)
    assert (done.returncode, done.stderr) == (0, "")
    return [each.partition("\t")[0] for each in done.stdout.splitlines()]


async def run_web(node: Node) -> None:
    await start([node])

    async def there() -> bool:
        return len((await status(node))["virtual_ips"]) == 3

    await until(there, what="ipfod has its virtual IPs")


@pytest.mark.parametrize("shell", SHELLS)
async def test_a_shell_offers_the_live_targets(node: Node, shell: str) -> None:
    await run_web(node)
    seen = await typed(node, shell, "ipfoctl step-down ", *TARGETS)
    for target in TARGETS:
        assert target in seen
    seen = await typed(node, shell, "ipfoctl step-down web_VIP_", "web_VIP_1", "web_VIP_3")
    assert "web_VIP_2" in seen
    # Colons are where bash splits words.
    assert "step-down fd00:1bf0:3::10 " in await typed(node, shell, "ipfoctl step-down fd00:1b", "3::10 ")
    assert "check alpha\\ beta.toml" in await typed(node, shell, "ipfoctl check alph", "beta.toml")


async def test_fish_offers_the_live_targets(node: Node) -> None:
    await run_web(node)
    assert set(await fish(node, "ipfoctl step-down ")) == set(TARGETS)
    assert await fish(node, "ipfoctl status web fd00:1b") == ["fd00:1bf0:3::10"]
    assert set(await fish(node, "ipfoctl check al")) == {"alpha beta.toml", "alpine/"}
    assert set(await fish(node, "ipfoctl import -o al")) == {"alpine/"}
    assert await fish(node, "ipfoctl step-down --ho") == ["--hold"]


async def test_without_a_daemon_there_are_no_targets_and_no_words_about_it(node: Node) -> None:
    assert await fish(node, "ipfoctl step-down ") == []
    assert await offered(node, "step-down", "") == []
    for shell in SHELLS:
        seen = await typed(node, shell, "ipfoctl step-dow", "step-down ")
        assert "step-down " in seen
        assert "not running" not in seen


async def test_what_is_offered_is_what_the_parser_takes(node: Node) -> None:
    known = [parser for parser, _ in commands(command_line())]
    names = [parser.prog.partition(" ")[2] for parser in known]
    assert await offered(node, "") == names
    for name, parser in zip(names, known, strict=True):
        flags = {flag for action in parser._actions for flag in action.option_strings}
        assert set(await offered(node, name, "-")) == flags
    assert set(await offered(node, "help", "")) == {topic.name for topic in topics()}
    assert await offered(node, "preemption", "web", "") == list(POLICIES)
    assert await offered(node, "maintenance", "o") == ["on", "off"]
    assert await offered(node, "maintenance", "on", "") == []
    assert await offered(node, "history", "--limit", "") == []
    assert await offered(node, "lab", "--config", "") == [":files"]
    assert await offered(node, "check", "--", "-") == [":files"]
    assert await offered(node, "nonsense", "") == []
