"""No value of a configuration is to keepalived, nftables or a shell anything but itself."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
from dataclasses import replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from alone import HERE, alone, prepared, until
from firewall_lab import run
from generated import STRANGE, plain, word
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ipfod.config.load import load_text
from ipfod.config.model import Failover
from ipfod.firewall.keeper import FirewallKeeper
from ipfod.firewall.rule import FirewallWish
from ipfod.keepalived.files import KeepalivedFiles
from ipfod.keepalived.notify import wrapper
from ipfod.keepalived.render import render
from ipfod.plan.model import FailoverPlan, Here
from ipfod.plan.planning import plan_failover

FILES = KeepalivedFiles(Path("/run/ipfod/web"))
# What stands for each option whose value goes into keepalived.conf as it was written. A name goes there three
# times, and as NAME_VIP_1, with _ for each -.
WRITTEN = {"name": "NAMED", "interface": "faced0", "auth_pass": "passed"}
# Those of which nothing goes there: they are paths, users, chains and modules.
ELSEWHERE = {
    "check_script": "/opt/check.sh",
    "notify_script": "/opt/notify.sh",
    "script_user": "daemon",
    "firewall_chain": "inet filter input",
    "kernel_modules": "ip_vs",
}
# Those that are read: addresses and policies.
READ = {
    "virtual_ips": "10.1.0.9",
    "unicast_peers": "10.0.0.2",
    "nodes": "10.0.0.1",
    "preemption": "preempt_delay 3",
    "vip_groups": "per-vip",
}
BASE = {**WRITTEN, **ELSEWHERE, **READ}
LISTS = {"kernel_modules"}


def changed(word: str) -> st.SearchStrategy[str]:
    """A good value with something strange in it, at its place or instead of it; and any text."""
    places = st.tuples(st.integers(0, len(word)), st.sampled_from(STRANGE), st.integers(0, 2))
    strange = places.map(lambda given: word[: given[0]] + given[1] + word[given[0] + given[2] :])
    ascii_text = st.text(st.characters(codec="ascii"), min_size=1, max_size=16)
    return strange | ascii_text | st.text(max_size=16) | st.just(word)


def toml(found: dict[str, str]) -> bytes:
    lines = ["vrrp_version = 2", "use_unicast = true", "unicast_peers = ['10.0.0.7']"]
    lines = [line for line in lines if line.partition(" ")[0] not in found]
    lines += [f"{key} = {json.dumps([value] if key in LISTS else value)}" for key, value in found.items()]
    return "\n".join(lines).encode(errors="replace")


def accepted(found: dict[str, str]) -> Failover | None:
    failover, complaints = load_text(toml(found), "web.toml", "web", "toml")
    assert (failover is None) == any(not each.warning for each in complaints)
    return failover


def planned(failover: Failover) -> FailoverPlan:
    return plan_failover(failover, Here(failover.interface or "eth0", HERE.addresses), {})


def tokens(text: str) -> list[list[str]]:
    """The words of each line as keepalived splits them: at blanks but in quotes; ! and # begin a comment.

    Written from keepalived.conf(5) alone. All else with a meaning there is an error: nothing of it is ours.
    """
    found = []
    for line in text.split("\n"):
        assert line.isascii(), line
        assert line.isprintable(), line
        words = re.findall(r'"[^"]*"|[!#].*|[^\s"!#]+', line)
        words = [word for word in words if word[0] not in "!#"]
        if not words:
            continue
        assert words[0][0] not in "@$~", line
        assert words[0] not in ("include", "includer", "includem", "includew", "includeb"), line
        assert "$" not in line, line
        assert "\\" not in line, line
        assert all(word in "{}" or not set(word) & set("{}") for word in words), line
        found.append([word.strip('"') for word in words])
    return found


PLAIN = tokens(render(planned(failover), FILES)) if (failover := accepted(BASE)) else []


def expected(failover: Failover, changes: dict[str, str]) -> list[list[str]]:
    """The words of the plain file with those that stand for a value replaced, and nothing else."""
    group = f"{failover.name.replace('-', '_')}_VIP_1"
    words = {
        "NAMED": failover.name,
        "NAMED_VIP_1": group,
        "/run/ipfod/web/track/NAMED_VIP_1": f"/run/ipfod/web/track/{group}",
    }
    words |= {WRITTEN[key]: value for key, value in changes.items() if key in WRITTEN and key != "name"}
    return [[words.get(word, word) for word in line] for line in PLAIN]


def test_the_plain_file_has_every_value_that_is_looked_for() -> None:
    words = {each for line in PLAIN for each in line}
    assert {*WRITTEN.values(), "NAMED_VIP_1", "10.1.0.9/32", "10.0.0.2"} <= words
    assert ["preempt_delay", "3"] in PLAIN


@pytest.mark.parametrize("key", [*WRITTEN, *ELSEWHERE])
def test_a_value_that_is_accepted_is_one_word_of_keepalived_conf_or_none(key: str) -> None:
    seen = {True: 0, False: 0}

    @settings(deadline=None, max_examples=250)
    @given(changed(BASE[key]))
    @example(BASE[key])
    def check(value: str) -> None:
        failover = accepted({**BASE, key: value})
        seen[failover is not None] += 1
        if failover is not None:
            found = tokens(render(planned(failover), FILES))
            assert found == expected(failover, {key: value}), value

    check()
    assert min(seen.values()) > 10, seen


@pytest.mark.parametrize("key", [*READ])
def test_a_value_that_is_read_is_written_as_what_was_read(key: str) -> None:
    """Addresses come out as numbers and dots, policies as one of three words, never as the text given."""

    @settings(deadline=None, max_examples=250)
    @given(changed(BASE[key]))
    def check(value: str) -> None:
        failover = accepted({**BASE, key: value})
        if failover is None or (key == "nodes" and HERE.addresses[0] not in failover.nodes):
            return
        lines = {tuple(line) for line in tokens(render(planned(failover), FILES))}
        rest = lines - {tuple(line) for line in PLAIN}
        words = {word for line in rest for word in line}
        addresses = {str(address) for address in (*failover.virtual_ips, *failover.unicast_peers)}
        numbers = {word for word in words if re.fullmatch(r"[0-9]+", word, re.ASCII)}
        known = {"preempt_delay", "nopreempt", "virtual_router_id", "priority", "preferred_lft"}
        assert {word.split("/")[0] for word in words} <= addresses | numbers | known | names(failover), value

    check()


def names(failover: Failover) -> set[str]:
    """Words of the lines that further groups add."""
    prefix = failover.name.replace("-", "_")
    groups = {f"{prefix}_VIP_{index}" for index in range(1, len(failover.virtual_ips) + 1)}
    return groups | {"vrrp_instance", "track_file", "file", "version", "{", ""}


# ---------------------------------------------------------------- keepalived's own word


SEED = 4711
INSTANCES = 200
SPECIAL_NAMES = ("@x", "~SEQ(a,1,2)", "~LST(a,b)", "include", "eth0%eth1", "^x", "a=b", "x,y", "@^x", "-", "no")


def interface_names() -> st.SearchStrategy[str]:
    return st.sampled_from(SPECIAL_NAMES) | st.text(st.characters(codec="ascii"), min_size=1, max_size=15)


async def dumped(text: str, files: KeepalivedFiles, ended: str) -> str:
    """What keepalived says that it has read: its dump at the start, killed when that has come."""
    files.configuration.write_text(text)
    os.mkfifo(files.fifo)
    argv = ["keepalived", "--dump-conf", "-n", "-l", "-P", "-G", "-D", "-f", str(files.configuration)]
    argv += ["-p", str(files.pid), "-r", str(files.vrrp_pid)]
    with files.log.open("w") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True)
    try:
        await until(lambda: ended in files.log.read_text(), f"{ended} in {files.log}")
        return files.log.read_text()
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        files.fifo.unlink()


def together(failovers: list[Failover], files: KeepalivedFiles) -> str:
    """One file with the instances of many failovers: a keepalived for each would take minutes."""
    texts = [render(planned(failover), files) for failover in failovers]
    head, _, _ = texts[0].partition("track_file ")
    return head + "".join("track_file " + text.partition("track_file ")[2] for text in texts)


async def test_keepalived_has_read_each_value_as_it_was_written() -> None:
    """No hypothesis: it would start keepalived for minutes to make a failing list shorter."""
    random = Random(SEED)
    with alone(), TemporaryDirectory() as made:
        files = prepared(Path(made, "run"))
        failovers, said = [], {}
        for number in range(1, INSTANCES + 1):
            interface, password = text_of(random, 15, SPECIAL_NAMES), text_of(random, 8, ())
            name = f"{word(random, 50)}_{number}"
            changes = {"name": name, "interface": interface, "auth_pass": password}
            changes |= {"virtual_ips": f"10.1.1.{number}"}
            if failover := accepted({**BASE, **changes}):
                failovers.append(replace(failover, vrrp_id_offset=number))
                said[f"{name.replace('-', '_')}_VIP_1"] = [interface, password, f"10.1.1.{number}"]
        assert len(said) > INSTANCES / 4
        log = await dumped(together(failovers, files), files, "------< Interfaces >------")
        assert "(Line " not in log, log  # where keepalived did not understand
        assert read_back(log) == said


def text_of(random: Random, most: int, special: tuple[str, ...]) -> str:
    """Printable ASCII of every sign, those that keepalived has a use for rarely, or something special."""
    if special and random.random() < 0.3:
        return random.choice(special)
    if random.random() < 0.8:
        return plain(random, most)
    return "".join(chr(random.randrange(0x20, 0x7F)) for _ in range(random.randint(1, most)))


def read_back(log: str) -> dict[str, list[str]]:
    """Interface, password and virtual IP of each instance in keepalived's dump."""
    topology = log.partition("------< VRRP Topology >------")[2].partition("------< VRRP Track")[0]
    found = {}
    for part in re.split(r" VRRP Instance = ", topology)[1:]:
        name = part.partition("\n")[0]
        values = [re.search(rf" {key} = (.*)", part) for key in ("Interface", "Password")]
        virtual_ip = re.search(r"Virtual IP \(1\):\n.*?: +(\S+) dev ", part)
        found[name] = [each[1] if each else "" for each in (*values, virtual_ip)]
    return {name: [values[0].removesuffix(" (deleted)"), *values[1:]] for name, values in found.items()}


# ---------------------------------------------------------------- nftables


async def test_nft_lists_names_and_interfaces_as_they_were_put() -> None:
    interfaces: list[tuple[str, str]] = []
    put = 0

    @settings(deadline=None, max_examples=300)
    @given(interface_names() | changed("eth0"), st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True))
    def collect(interface: str, name: str) -> None:
        failover = accepted({**BASE, "interface": interface, "name": name})
        if failover is not None:
            interfaces.append((name, interface))

    collect()
    with alone():
        ruleset = "table inet filter { chain input { type filter hook input priority 0; policy drop; }; }"
        run("nft", "-f", "-", stdin=ruleset)
        keeper = FirewallKeeper()
        for name, interface in dict.fromkeys(interfaces):
            wish = FirewallWish(name, interface, (4,), (), ("inet filter input",))
            report = await keeper.apply([wish])
            assert not report.errors, interface
            assert not report.missing
            listed = json.loads(run("nft", "-j", "list", "chain", "inet", "filter", "input"))["nftables"]
            [rule] = [each["rule"] for each in listed if "rule" in each]
            assert rule["comment"] == f"ipfod:{name}"
            assert rule["expr"][0]["match"]["right"] == interface
            assert rule["expr"][-1] == {"accept": None}
            assert await keeper.remove(name)
            put += 1
    assert put > 20


@pytest.mark.parametrize("name", ["eth*", "*", "@web", "et*h0"])
def test_what_nftables_takes_for_many_interfaces_is_no_interface(name: str) -> None:
    assert accepted({**BASE, "interface": name}) is None


# ---------------------------------------------------------------- the shell


@settings(deadline=None, max_examples=60)
@given(changed("/notify-me"))
@example("/;touch hit;")
@example("/a&b|c>d")
@example("/-n")
@example("/*")
@example("/~root")
@example("/é(1)")
def test_the_wrapper_runs_the_script_itself_whatever_it_is_called(value: str) -> None:
    """It is written and run by the real sh; what it wrote shows what it was run as."""
    with TemporaryDirectory() as made:
        found = {**BASE, "script_user": "root", "notify_script": made + value}
        failover = accepted(found)
        if failover is None or failover.notify_script is None:
            return
        script, ran = failover.notify_script, Path(made, "ran", "once")
        try:
            script.resolve().relative_to(Path(made).resolve())
            script.parent.mkdir(parents=True, exist_ok=True)
            script.write_text(f'#!/bin/sh\nprintf "%s\\n" "$0" "$@" >>{ran}\n')
        except (OSError, ValueError):
            return  # `..`, or a directory: the administrator may name any path, also one that is not there
        script.chmod(stat.S_IRWXU)
        ran.parent.mkdir()
        os.chmod(made, stat.S_IRWXU)
        text = wrapper(failover, KeepalivedFiles(Path(made, "run dir'$(x)")))
        Path(made, "wrapper").write_text(text)
        subprocess.run(
            ["/bin/sh", f"{made}/wrapper", "INSTANCE", "web_VIP_1", "MASTER", "1"], check=False, cwd=made
        )
        assert ran.read_text().splitlines() == [str(script), "INSTANCE", "web_VIP_1", "MASTER", "1"]
        top = script.relative_to(made).parts[0]
        assert {each.name for each in Path(made).iterdir()} == {"ran", "wrapper", top}
