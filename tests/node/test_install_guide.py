"""docs/install.md and the README, done word for word on two booted nodes: their commands do what they say."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio
from scenario import each_on_one, on_node, problems, until

from ipfod.lab.program import Finished
from node.booted import BootedNode
from node.booted_lab import BootedLab
from node.package import ROOT, build

GUIDE = (ROOT / "docs/install.md").read_text()
README = (ROOT / "README.md").read_text()
VIPS = ("192.168.3.10", "192.168.3.11", "192.168.3.12")  # those of the file in the guide; the README has more
DNF = "dnf install ./ipfod-[!c]*.noarch.rpm"
DNF_PAGE = "dnf install cockpit ./ipfod-cockpit-*.noarch.rpm"
BUILD = ["make rpm"]  # the fixture `packages` stands for it
DESCRIBE = "--dest org.ipfod.Ipfod1 --object-path /org/ipfod/Ipfod1 --method org.ipfod.Ipfod1.Manager.Describe"
WEB_SERVER = "web-server"  # a unit: what listens on port 80, which the guide takes for granted
ASK_COCKPIT = """
import ssl, urllib.request
url = "https://127.0.0.1:9090/ipfod"
print(urllib.request.urlopen(url, context=ssl._create_unverified_context()).status)
"""


def commands(block: str) -> Iterator[str]:
    """The commands of an indented block; a here-document is part of its command."""
    lines = iter(block.splitlines())
    for line in lines:
        command = [line]
        if "<<'END'" in line:
            while command[-1] != "END":
                command.append(next(lines))
        yield "\n".join(command)


def by_section(text: str) -> dict[str, list[str]]:
    """The commands under each heading, in order; sections without any are left out."""
    found = {}
    for section in text.split("\n## ")[1:]:
        title, _, body = section.partition("\n")
        blocks = re.findall(r"(?:^ {4}.*\n)+", body, re.MULTILINE)
        found[title] = [each for block in blocks for each in commands(re.sub("^ {4}", "", block, flags=re.M))]
    return {title: listed for title, listed in found.items() if listed}


def column(heading: str) -> list[str]:
    """What stands as code in one column of the one table that has it."""
    [table] = [each for each in re.findall(r"(?:^\|.*\n)+", GUIDE, re.MULTILINE) if f"| {heading} |" in each]
    rows = [[cell.strip() for cell in row.split("|")] for row in table.splitlines()]
    return [code for row in rows for code in re.findall("`([^`]+)`", row[rows[0].index(heading)])]


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The package, and one of a higher release."""
    return build(tmp_path_factory.mktemp("one"), 1), build(tmp_path_factory.mktemp("two"), 2)


@pytest_asyncio.fixture(loop_scope="session")
async def bare(nodes: BootedLab) -> AsyncIterator[BootedLab]:
    """Two nodes that never heard of ipfod, with a service on port 80; afterwards without ipfod again."""
    assert [str(node.own_addresses[0]) for node in nodes.booted] == ["192.168.3.101", "192.168.3.102"]
    for node in nodes.booted:
        await without_ipfod(node)
        await node.systemctl("start", "firewalld", check=True)  # as on Fedora and RHEL
        await serve(node)
    yield nodes
    for node in nodes.booted:
        await without_ipfod(node)
        await node.systemctl("stop", WEB_SERVER, "firewalld", check=True)
        await node.systemctl("reset-failed")


async def serve(node: BootedNode) -> None:
    server = ["python3", "-m", "http.server", "80", "--directory", "/usr/share/doc"]
    await node.run(["systemd-run", f"--unit={WEB_SERVER}", *server], check=True)
    await until(partial(listens, node), what="the service on port 80 listens")


async def without_ipfod(node: BootedNode) -> None:
    for package in ("ipfod-cockpit", "ipfod"):
        if (await node.run(["rpm", "-q", package])).returncode == 0:
            await node.run(["rpm", "-e", package], check=True, timeout_s=60)
    await node.run(["rm", "-rf", "/etc/ipfod"], check=True)


async def listens(node: BootedNode) -> bool:
    return "0.0.0.0:80" in (await node.run(["ss", "-Hltn"], check=True)).stdout


async def shell(node: BootedNode, command: str, *, expected: int = 0) -> Finished:
    """Type a command of the guide at a node."""
    done = await node.run(["bash", "-c", command], timeout_s=60)
    assert done.returncode == expected, f"{node.name}: {command}: {done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr
    return done


async def holder(lab: BootedLab) -> tuple[BootedNode, BootedNode]:
    """The node that has the first VIP, and the other one."""
    [found] = await lab.holders(VIPS[0])
    [owner] = [node for node in lab.booted if node is found]
    [other] = [node for node in lab.booted if node is not found]
    return owner, other


@asynccontextmanager
async def no_vip_moves(lab: BootedLab) -> AsyncIterator[None]:
    before = [await lab.holders(vip) for vip in VIPS]
    async with lab.meter(VIPS) as meter:
        yield
    assert meter.result().lost == 0
    assert [await lab.holders(vip) for vip in VIPS] == before


async def test_the_guide_does_what_it_says_from_install_to_remove(
    bare: BootedLab, packages: tuple[Path, Path]
) -> None:
    guide = by_section(GUIDE)
    assert guide.pop("Build the package") == BUILD
    assert guide.pop("Install it") == [DNF]
    for node in bare.booted:
        await node.install_rpm(packages[0])
        await shell(node, "systemctl is-active ipfod", expected=3)
    for title in ("Say which addresses", "Start it"):
        listed = guide.pop(title)
        for node in bare.booted:
            for command in listed:
                await type_at(bare, node, command)
    await each_on_one(bare, VIPS)
    await move(bare, guide.pop("See it move"))
    await rows_of_tables(bare)
    assert guide.pop("Upgrade") == [DNF]
    async with no_vip_moves(bare):
        for node in bare.booted:
            await node.install_rpm(packages[1], upgrade=True)
            assert "ipfod-0.1.0-2" in (await shell(node, "rpm -q ipfod")).stdout
            await until(partial(check_passes, node), what="the new ipfod runs")
    assert guide.pop("Remove it") == ["dnf remove ipfod"]
    owner, other = await holder(bare)
    await shell(owner, "rpm -e ipfod")
    await on_node(bare, other, VIPS)
    assert owner.read("/etc/ipfod/web.toml")
    assert not guide, "a section with commands that this test does not know"


async def type_at(lab: BootedLab, node: BootedNode, command: str) -> None:
    """Run one command where the guide says, for as long as a reader would."""
    if command.startswith("ping "):
        await each_on_one(lab, VIPS)
        argv = ["timeout", "--preserve-status", "--signal=INT", "1", *command.split()]
        await lab.client.run(argv, check=True)
    elif command == "ipfoctl status":
        await until(partial(check_passes, node), what="the check passes")
        found = set(await problems(node))
        assert found <= {"module-failed"}  # the kernel may have no ip_vs
        await shell(node, command, expected=1 if found else 0)
    else:
        await shell(node, command)


async def check_passes(node: BootedNode) -> bool:
    return "check passing" in (await node.ipfoctl("status")).stdout


async def move(lab: BootedLab, listed: list[str]) -> None:
    """What "See it move" says: the VIPs leave with stop, and start brings the node back as a backup."""
    stop, start = listed
    owner, other = await holder(lab)
    await shell(owner, stop)
    await on_node(lab, other, VIPS)
    refused = await shell(owner, f"gdbus call --system {DESCRIBE}", expected=1)
    assert "ServiceUnknown" in refused.stderr
    await shell(owner, "ipfoctl status", expected=3)
    await shell(owner, start)
    await asyncio.sleep(1.0)
    await on_node(lab, other, VIPS)


async def rows_of_tables(lab: BootedLab) -> None:
    """Commands and paths in tables: each command works on a node where ipfod runs, each path is there."""
    node = lab.booted[0]
    for pattern in column("path"):
        await shell(node, f"ls -d {pattern}")
    async with no_vip_moves(lab):
        for code in column("what to do"):
            if code.startswith(("systemctl ", "ipfoctl ", "journalctl ")):
                await shell(node, code)
        for each in lab.booted:
            await shell(each, "ipfoctl reload && systemctl reload ipfod && systemctl restart ipfod")
    for command in (*column("command"), "true"):
        await node.systemctl("reset-failed", "ipfod")  # systemd allows five starts in ten seconds
        await shell(node, "systemctl start ipfod")
        await shell(node, command)
    await each_on_one(lab, VIPS)


async def test_the_readme_leads_to_a_virtual_ip_that_survives_its_node_a_maintenance_and_the_page(
    bare: BootedLab, packages: tuple[Path, Path]
) -> None:
    install, *write, judge, start, maintenance, step_down, page, cockpit = by_section(README)["Use it"]
    assert (install, page) == (DNF, DNF_PAGE)
    for node in bare.booted:
        await node.install_rpm(packages[0])
        for command in (*write, judge):
            await shell(node, command)
        begun = await node.run(["bash", "-c", start])
        assert begun.returncode in (0, 1), begun.stderr  # 1: its first check is still to come
        await until(partial(check_passes, node), what="the check passes")
    await each_on_one(bare, VIPS)
    first, second = bare.booted
    await on_node(bare, first, VIPS)
    await shell(first, maintenance)
    await on_node(bare, second, VIPS)
    await shell(first, "ipfoctl maintenance off")
    moved = await shell(second, step_down)
    assert moved.stdout.startswith("192.168.3.10 moved to 192.168.3.101")

    await second.install_rpm(next(packages[0].parent.glob("ipfod-cockpit-*.rpm")))
    await shell(second, cockpit)
    assert (await shell(second, f"python3 -c '{ASK_COCKPIT}'")).stdout == "200\n"
    await second.systemctl("disable", "--now", "cockpit.socket", "cockpit.service")

    await first.power_cut()
    await on_node(bare, second, VIPS)
    assert await first.power_on() == "running"
    await serve(first)
