"""keepalived itself accepts every configuration that ipfod writes, and ipfod hears of those it does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from alone import alone, plan, prepared
from hypothesis import given, settings
from hypothesis import strategies as st

from ipfod.errors import Failed
from ipfod.keepalived import launcher
from ipfod.keepalived.files import KeepalivedFiles
from ipfod.keepalived.render import render

SCRIPT = "/usr/bin/true"
UNICAST = "use_unicast = true\nunicast_peers = "


@pytest.fixture(scope="module", autouse=True)
def node() -> Iterator[None]:
    with alone():
        yield


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> KeepalivedFiles:
    return prepared(tmp_path_factory.mktemp("run") / "web")


async def judge(text: str, files: KeepalivedFiles) -> None:
    """Let keepalived test a configuration. Raises Failed if it refuses it."""
    files.candidate.write_text(text)
    await launcher.test_configuration(files)


@pytest.mark.parametrize(
    "toml",
    [
        'virtual_ips = "10.1.0.1"',
        'virtual_ips = "10.1.0.1-9"\nvip_groups = 3',
        'virtual_ips = "10.1.0.1-9"\nvrrp_version = 2',
        'virtual_ips = "10.1.0.1-9"\nvrrp_version = 2\nauth_pass = "x@%~&*()"',
        'virtual_ips = "10.1.0.1-10.1.1.44"\nvip_groups = 1',
        'virtual_ips = "10.1.0.1-10.1.1.44"\nvip_groups = 1\nvrrp_version = 2',
        'virtual_ips = "fd00::1:1-12c"\nvip_groups = 1',
        'virtual_ips = "fd00::1:1-12c"\nvip_groups = 1\nvrrp_version = 2',
        'virtual_ips = "fe80::99"',
        'virtual_ips = ["10.1.0.1-2", "fd00::1:1-2"]\nvip_groups = "per-range"',
        'virtual_ips = ["10.1.0.1-2", "fd00::1:1-2"]\nvrrp_version = 2',
        f'virtual_ips = "10.1.0.1"\n{UNICAST} ["10.0.0.1", "10.0.0.2", "192.168.7.7"]',
        f'virtual_ips = "10.1.0.1"\nvrrp_version = 2\n{UNICAST} ["10.0.0.2"]',
        f'virtual_ips = "fd00::1:1"\n{UNICAST} ["fd00::2"]',
        f'virtual_ips = "fd00::1:1"\n{UNICAST} ["fe80::2"]',
        f'virtual_ips = ["10.1.0.1", "fd00::1:1"]\n{UNICAST} ["10.0.0.2", "fd00::2"]',
        'virtual_ips = "10.1.0.1"\npreemption = "preempt"',
        'virtual_ips = "10.1.0.1"\npreemption = "nopreempt"',
        'virtual_ips = "10.1.0.1"\npreemption = "preempt_delay 0"',
        'virtual_ips = "10.1.0.1"\npreemption = "preempt_delay 1000"',
        'virtual_ips = "10.1.0.1"\nprefix_length = 1',
        'virtual_ips = ["10.1.0.1", "fd00::1:1"]\nprefix_length = 24',
        'virtual_ips = "10.1.0.1"\nadvert_interval = 0.01',
        'virtual_ips = "10.1.0.1"\nadvert_interval = 40',
        'virtual_ips = "10.1.0.1"\nadvert_interval = 40\nvrrp_version = 2',
        'virtual_ips = "10.1.0.1"\npriority = 1',
        'virtual_ips = "10.1.0.1"\npriority = 254',
        'virtual_ips = "10.1.0.1"\ninterface = "absent0"',
        'virtual_ips = "10.1.0.1"\nscript_user = "nobody"',
        f'virtual_ips = "10.1.0.1-3"\nnotify_script = "{SCRIPT}"',
        f'virtual_ips = "10.1.0.1-3"\nnotify_script = "{SCRIPT}"\nscript_user = "nobody"',
        'name = "----"\nvirtual_ips = "10.1.0.1"\nvrrp_version = 2',
    ],
)
async def test_keepalived_accepts_configurations_of_every_kind(toml: str, files: KeepalivedFiles) -> None:
    planned = plan(toml)
    text = render(planned, files)
    interface = planned.failover.interface or "eth0"
    await judge(text.replace("interface eth0", f"interface {interface}"), files)


async def test_keepalived_accepts_255_groups_of_16_vips(files: KeepalivedFiles) -> None:
    toml = 'virtual_ips = "10.1.0.0-10.1.15.239"\nvip_groups = 255\nvrrp_id_offset = 0'
    await judge(render(plan(toml), files), files)


async def test_keepalived_accepts_a_long_name_in_a_long_directory(tmp_path: Path) -> None:
    deep = prepared(tmp_path / ("d" * 200) / ("e" * 100))
    await judge(render(plan(f'name = "{"n" * 64}"\nvirtual_ips = "10.1.0.1-2"'), deep), deep)


# ---------------------------------------------------------------- whatever the reader lets through

QUOTED = "\"'{}#!\\$"  # what the options that go into keepalived.conf do not accept
PLAIN = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in QUOTED)


def sometimes(line: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.just("") | line


def texts(*, alphabet: str, most: int) -> st.SearchStrategy[str]:
    return st.text(alphabet, min_size=1, max_size=most)


OPTIONS = st.tuples(
    sometimes(st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True).map('name = "{}"'.format)),
    sometimes(st.sampled_from(["1", "2", "9", '"per-vip"', '"per-range"']).map("vip_groups = {}".format)),
    sometimes(st.integers(0, 200).map("vrrp_id_offset = {}".format)),
    sometimes(st.lists(st.integers(1, 50), unique=True, max_size=5).map("excluded_vrrp_ids = {}".format)),
    sometimes(st.integers(0, 1000).map('preemption = "preempt_delay {}"'.format))
    | st.sampled_from(['preemption = "nopreempt"', 'preemption = "preempt"']),
    sometimes(st.integers(1, 254).map("priority = {}".format)),
    sometimes(st.integers(1, 32).map("prefix_length = {}".format)),
    st.integers(1, 4000).map(lambda hundredths: f"advert_interval = {hundredths / 100}")
    | st.integers(1, 40).map("vrrp_version = 2\nadvert_interval = {}".format)
    | texts(alphabet=PLAIN, most=8).map('vrrp_version = 2\nauth_pass = "{}"'.format),
    sometimes(st.sampled_from(["10.0.0.2", "192.168.7.7"]).map(lambda one: f"{UNICAST} ['{one}', 'fd00::2']")),
    sometimes(
        st.sampled_from(["root", "nobody"]).map(f'notify_script = "{SCRIPT}"\nscript_user = "{{}}"'.format)
    ),
)
VIPS = st.sampled_from(
    [
        "10.1.0.1",
        "10.1.0.1-7",
        "fd00::1:1-7",
        "10.1.0.1-3,fd00::1:A",
        "10.1.0.0/28,10.1.1.1",
        "fe80::9,10.1.0.9",
    ]
)


@settings(deadline=None, max_examples=150)
@given(vips=VIPS, options=OPTIONS)
async def test_keepalived_accepts_whatever_the_reader_lets_through(
    vips: str, options: tuple[str, ...], files: KeepalivedFiles
) -> None:
    toml = "\n".join([f'virtual_ips = "{vips}"', *options])
    await judge(render(plan(toml), files), files)


@settings(deadline=None, max_examples=40)
@given(
    name=texts(alphabet="".join(c for c in PLAIN if c not in "/:*@"), most=15).filter(
        lambda n: n not in (".", "..")
    )
)
async def test_keepalived_takes_any_interface_name_as_one_word(name: str, files: KeepalivedFiles) -> None:
    planned = plan(f'virtual_ips = "10.1.0.1"\ninterface = "{name}"')
    text = render(planned, files).replace("interface eth0", f"interface {name}")
    await judge(text, files)


# ---------------------------------------------------------------- what it refuses

ONE_GROUP = 'virtual_ips = "10.1.0.1-2"\nvip_groups = 1\nvrrp_version = 2'


@pytest.mark.parametrize(
    ("good", "bad", "complaint"),
    [
        ("vrrp_instance", "vrrp_instanze", "Unknown keyword"),
        ("priority 230", "priority 999", "Priority not valid"),
        ("10.1.0.2/32", "fd00::1:1/128", "address family"),
        ("    version 2\n", "    version 2\n    use_magic\n", "Unknown keyword"),
    ],
)
async def test_a_refusal_says_what_keepalived_said(
    good: str, bad: str, complaint: str, files: KeepalivedFiles
) -> None:
    text = render(plan(ONE_GROUP), files)
    assert good in text
    with pytest.raises(Failed, match=f"(?s)keepalived refuses its configuration .*{complaint}"):
        await judge(text.replace(good, bad), files)
