"""Kernels, tables and rights that refuse: a sentence in the report, and the other chains are filled."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from firewall_lab import PATIENCE_S, drop_all, keeper, lab, ours, run, run_script, wish

from ipfod.firewall.keeper import FirewallKeeper

pytestmark = [pytest.mark.netns, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]
__all__ = ["keeper", "lab"]  # fixtures

ASK = """
import asyncio, contextlib
from ipfod.firewall.keeper import FirewallKeeper
from ipfod.firewall.nft import NftError
from ipfod.firewall.rule import FirewallWish

async def main():
    with contextlib.closing(FirewallKeeper()) as keeper:
        keeper.watch(lambda: None)
        silent = FirewallWish("db", "eth0", (4,), chains=())
        report = await keeper.apply([FirewallWish("web", "eth0", (4, 6)), silent])
        print(dict(report.errors), report.placed)
        try:
            print(await keeper.remove_all())
        except NftError as error:
            print("raised:", error)
"""
RUN = "asyncio.run(main())\n"

# Answers socket(AF_NETLINK, ..., NETLINK_NETFILTER) as a kernel without it does; see seccomp(2).
WITHOUT_NETFILTER = """
import ctypes, errno, platform, struct

SOCKET = {"x86_64": 41, "aarch64": 198}[platform.machine()]
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06  # linux/filter.h
program = b"".join(struct.pack("=HBBI", *step) for step in (
    (LOAD, 0, 0, 0), (EQUAL, 0, 5, SOCKET),  # struct seccomp_data: nr at 0, args from 16
    (LOAD, 0, 0, 16), (EQUAL, 0, 3, 16),  # AF_NETLINK
    (LOAD, 0, 0, 32), (EQUAL, 0, 1, 12),  # NETLINK_NETFILTER
    (RETURN, 0, 0, 0x00050000 | errno.EPROTONOSUPPORT), (RETURN, 0, 0, 0x7FFF0000),
))
libc, held = ctypes.CDLL(None), ctypes.create_string_buffer(program)
sock_fprog = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8, ctypes.addressof(held)))
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2  # linux/prctl.h, linux/seccomp.h
assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
assert libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, sock_fprog, 0, 0) == 0
"""

OWNER = """
import sys
from nftables import Nftables
nft = Nftables()
made = nft.cmd("add table inet owned { flags owner; }; "
               "add chain inet owned input { type filter hook input priority 0; policy drop; }")
print(made, flush=True)
sys.stdin.read()
"""


@pytest.mark.usefixtures("lab")
def test_without_the_capability_the_report_says_so() -> None:
    without = ("setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin")
    said = "nftables: the kernel does not answer: Operation not permitted (ipfod needs CAP_NET_ADMIN)"
    assert run_script(ASK + RUN, *without) == f"{ {'web': said} } ()\nraised: {said}\n"


@pytest.mark.usefixtures("lab")
def test_on_a_kernel_without_nf_tables_the_report_says_so_and_there_is_nothing_to_remove() -> None:
    errors, removed = run_script(ASK + WITHOUT_NETFILTER + RUN).splitlines()
    assert errors == "{'web': 'nftables: this kernel has no nf_tables (modprobe nf_tables)'} ()"
    assert removed == "()"


@pytest.mark.usefixtures("lab")
def test_without_a_file_descriptor_left_the_process_lives_on() -> None:
    # The thread is there and the library loaded; then every descriptor is taken.
    script = """
async def last():
    import resource
    with contextlib.closing(FirewallKeeper()) as keeper:
        await keeper.apply([])
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
        print(dict((await keeper.apply([FirewallWish("web", "eth0", (4, 6))])).errors))

asyncio.run(last())
"""
    assert run_script(ASK + script) == "{'web': 'nftables: the kernel does not answer: Too many open files'}\n"


@pytest.mark.usefixtures("lab")
def test_where_changes_cannot_be_watched_each_report_says_so_and_the_rules_are_set_all_the_same() -> None:
    drop_all("inet", "filter", "input")
    script = """
async def unwatched():
    import resource
    with contextlib.closing(FirewallKeeper()) as keeper:
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
        keeper.watch(lambda: None)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        report = await keeper.apply([FirewallWish("web", "eth0", (4, 6))])
        print(dict(report.errors), len(report.placed))
        keeper.watch(lambda: None)
        print(dict((await keeper.apply([FirewallWish("web", "eth0", (4, 6))])).errors))

asyncio.run(unwatched())
"""
    said = "nftables: changes cannot be watched: Too many open files"
    assert run_script(ASK + script) == f"{ {'web': said} } 2\n{{}}\n"


@pytest.fixture
def owned_table(lab: object) -> Iterator[None]:
    """`inet owned input` drops everything, and its table takes rules only from the process that made it."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout
        assert owner.stdout.readline() == "(0, '', '')\n"
        yield
        owner.communicate(timeout=PATIENCE_S)


@pytest.mark.usefixtures("owned_table")
async def test_a_table_with_another_owner_is_an_error_and_the_other_chains_are_filled(
    keeper: FirewallKeeper,
) -> None:
    drop_all("inet", "filter", "input")
    report = await keeper.apply([wish(), wish("other", chains=("inet filter input",))])
    assert list(report.errors) == ["web"]
    assert report.errors["web"].startswith(
        "chain inet owned input: the rule for VRRP could not be set: nftables: "
    )
    assert "Operation not permitted" in report.errors["web"]
    assert "`owner`" in report.errors["web"]
    assert {str(each.chain) for each in report.placed} == {"inet filter input"}
    assert len(ours("inet filter input")) == 4
    assert len(await keeper.remove_all()) == 4


@pytest.mark.usefixtures("owned_table")
def test_a_table_with_a_flag_does_no_harm_however_often_it_is_met() -> None:
    # libnftables 1.0.6 corrupts the heap whenever it lists such a table as JSON; 300 times were too many.
    drop_all("inet", "filter", "input")
    script = """
async def often():
    wish = FirewallWish("web", "eth0", (4, 6), chains=("inet filter input",))
    for _ in range(300):
        with contextlib.closing(FirewallKeeper()) as keeper:
            report = await keeper.apply([wish])
            assert len(report.placed) == 2 and not report.errors, report
    print("alive")

asyncio.run(often())
"""
    assert run_script(ASK + script) == "alive\n"


async def test_an_interface_name_that_cannot_be_is_an_error_and_changes_nothing(keeper: FirewallKeeper) -> None:
    drop_all("inet", "filter", "input")
    before = run("nft", "list", "ruleset")
    report = await keeper.apply([wish(interface="a-name-that-is-too-long")])
    assert "maximum length" in report.errors["web"]
    assert not report.placed
    assert run("nft", "list", "ruleset") == before


async def test_foreign_comments_need_not_be_text(keeper: FirewallKeeper) -> None:
    drop_all("inet", "filter", "input")
    _feed_nft(b'add rule inet filter input tcp dport 22 accept comment "caf\xe9"\n')
    assert len((await keeper.apply([wish()])).placed) == 2
    assert len(await keeper.remove_all()) == 2


def _feed_nft(script: bytes) -> None:
    subprocess.run(["nft", "-f", "-"], input=script, check=True, timeout=PATIENCE_S, capture_output=True)
