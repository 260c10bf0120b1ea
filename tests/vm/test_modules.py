"""Kernel modules, in a kernel that has some: ipfod has them loaded, and cleanup removes only those."""

from __future__ import annotations

import asyncio

import pytest_asyncio

from vm.installed import WEB
from vm.virtual import VirtualMachine


@pytest_asyncio.fixture(loop_scope="session")
async def machine(installed: VirtualMachine) -> VirtualMachine:
    return installed


async def loaded(machine: VirtualMachine) -> set[str]:
    lines = (await machine.run(["lsmod"], check=True)).stdout.splitlines()[1:]
    return {line.split()[0] for line in lines}


async def start(machine: VirtualMachine) -> None:
    await machine.run(["systemctl", "start", "ipfod"], check=True, timeout_s=120)


async def clean_up(machine: VirtualMachine) -> str:
    await machine.run(["systemctl", "start", "ipfod-cleanup"], check=True, timeout_s=120)
    await machine.run(["journalctl", "--sync"], check=True)
    unit = ["journalctl", "--quiet", "--no-pager", "--output=cat", "--unit=ipfod-cleanup"]
    said = (await machine.run(unit, check=True)).stdout
    return said.rpartition("OpenShift IP Failover service terminating.")[2]


async def test_a_module_is_loaded_and_removed_by_cleanup(machine: VirtualMachine) -> None:
    assert "ip_vs" not in await loaded(machine)
    await start(machine)
    assert {"ip_vs", "dummy"} <= await loaded(machine)
    said = await clean_up(machine)
    assert "  - Removing ip_vs module ... removed" in said
    assert not {"ip_vs", "dummy"} & await loaded(machine)


async def test_a_module_that_was_there_before_stays(machine: VirtualMachine) -> None:
    await machine.run(["modprobe", "ip_vs"], check=True)
    await start(machine)
    said = await clean_up(machine)
    assert "  - Removing ip_vs module ... not loaded by ipfod, left alone" in said
    assert "  - Removing dummy module ... removed" in said
    assert "ip_vs" in await loaded(machine)
    await machine.run(["modprobe", "-r", "ip_vs"], check=True)


async def test_a_module_in_use_stays_and_that_is_no_failure(machine: VirtualMachine) -> None:
    await start(machine)
    await machine.run(["modprobe", "ip_vs_rr"], check=True)
    said = await clean_up(machine)
    assert "  - Removing ip_vs module ... in use, left alone" in said
    assert "ip_vs" in await loaded(machine)
    await machine.run(["modprobe", "-r", "ip_vs_rr"], check=True)


async def test_what_ipfod_had_loaded_is_known_after_a_crash(machine: VirtualMachine) -> None:
    assert "ip_vs" not in await loaded(machine)
    await start(machine)
    await machine.run(["systemctl", "kill", "--signal=KILL", "ipfod"], check=True)
    await asyncio.sleep(3)  # it is started again, and finds the module there
    said = await clean_up(machine)
    assert "  - Removing ip_vs module ... removed" in said


async def test_built_in_and_unknown_modules_are_sentences(machine: VirtualMachine) -> None:
    text = WEB.replace("dummy", "no_such_module").replace("ip_vs", "tcp_cubic")
    await machine.run(["sh", "-c", "cat > /etc/ipfod/web.toml"], stdin=text, check=True)
    await start(machine)
    status = (await machine.run(["ipfoctl", "status"])).stdout
    assert "no_such_module: this kernel module cannot be loaded" in status
    assert "tcp_cubic" not in status
    said = await clean_up(machine)
    assert "  - Removing no_such_module module ... not loaded by ipfod, left alone" in said
