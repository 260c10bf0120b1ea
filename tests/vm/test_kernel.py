"""The virtual machine has what this machine's kernel may lack: modules that come and go."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ipfod.errors import Failed
from ipfod.lab.program import children
from vm.archive import archive
from vm.kernel import Kernel
from vm.virtual import VirtualMachine

VICTIM = """
import asyncio
from vm.kernel import kernel
from vm.virtual import VirtualMachine

async def main():
    async with VirtualMachine(kernel()):
        await asyncio.sleep(600)

asyncio.run(main())
"""


def name_of(pid: int) -> str:
    """The kernel name of a process, "" if it has ended."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


async def modules(machine: VirtualMachine) -> dict[str, int]:
    """Loaded modules, and how many use each."""
    lines = (await machine.run(["lsmod"], check=True)).stdout.splitlines()[1:]
    return {line.split()[0]: int(line.split()[2]) for line in lines}


async def test_a_module_is_loaded_and_removed(machine: VirtualMachine) -> None:
    assert "ip_vs" not in await modules(machine)
    await machine.run(["modprobe", "ip_vs"], check=True)
    assert (await modules(machine))["ip_vs"] == 0
    await machine.run(["modprobe", "-r", "ip_vs"], check=True)
    assert "ip_vs" not in await modules(machine)


async def test_a_module_that_another_uses_stays(machine: VirtualMachine) -> None:
    await machine.run(["modprobe", "ip_vs_rr"], check=True)
    assert (await modules(machine))["ip_vs"] > 0
    with pytest.raises(Failed, match=r"rmmod ip_vs: exit code 1: .*in use by: ip_vs_rr"):
        await machine.run(["rmmod", "ip_vs"], check=True)
    await machine.run(["modprobe", "-r", "ip_vs_rr"], check=True)
    assert "ip_vs" not in await modules(machine)


async def test_systemd_loads_modules(machine: VirtualMachine) -> None:
    await machine.run(["systemctl", "start", "modprobe@ip_vs.service"], check=True)
    assert "ip_vs" in await modules(machine)
    await machine.run(["modprobe", "-r", "ip_vs"], check=True)


async def test_it_has_the_nodes_system_and_no_network_but_what_it_makes(machine: VirtualMachine) -> None:
    names = (await machine.run(["busctl", "list", "--no-legend"], check=True)).stdout
    assert "org.freedesktop.PolicyKit1" in names
    await machine.run(["keepalived", "--version"], check=True)
    assert (await machine.run(["ls", "/sys/class/net"])).stdout.split() == ["lo"]
    await machine.run(["ip", "link", "add", "eth0", "type", "dummy"], check=True)
    await machine.run(["ip", "link", "delete", "eth0"], check=True)


async def test_programs_are_given_input_and_killed_when_their_time_is_up(machine: VirtualMachine) -> None:
    text = "".join(f"{number}\n" for number in range(5000))
    assert (await machine.run(["cat"], stdin=text)).stdout == text
    with pytest.raises(TimeoutError):
        await machine.run(["sleep", "100"], timeout_s=0.5)
    assert (await machine.run(["no-such-program"])).returncode == 127
    assert (await machine.run(["cat", "/proc/sys/kernel/hostname"])).stdout == "virtual\n"


async def test_nothing_is_left_when_the_test_run_itself_is_killed(vm_kernel: Kernel) -> None:
    path = os.pathsep.join([str(Path(__file__).parents[1]), str(Path(__file__).parents[2])])
    victim = await asyncio.create_subprocess_exec(
        *[sys.executable, "-c", VICTIM], stdin=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": path}
    )
    try:
        async with asyncio.timeout(30):
            while not (qemu := [pid for pid in children(victim.pid) if "qemu" in name_of(pid)]):
                await asyncio.sleep(0.01)
    finally:
        victim.kill()
        await victim.wait()
    async with asyncio.timeout(30):
        while "qemu" in name_of(qemu[0]):
            await asyncio.sleep(0.01)


def test_an_archive_has_the_directories_before_the_files() -> None:
    data = archive({"/root/a/b": b"content", "/etc/c": b""})
    places = [data.index(name) for name in (b"etc\0", b"root\0", b"root/a\0", b"root/a/b\0", b"TRAILER!!!\0")]
    assert places == sorted(places)
    assert data.count(b"070701") == 6
    assert len(data) % 4 == 0
