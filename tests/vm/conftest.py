"""Fixtures for tests in a kernel with modules, and the conditions for running them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from node.conditions import impose
from node.package import build

from vm import kernel
from vm.installed import NETWORK, WEB
from vm.virtual import VirtualMachine

HERE = Path(__file__).parent
PROGRAMS = ("debootstrap", "cpio", "qemu-system-x86_64")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    impose(items, HERE, mark="vm", programs=PROGRAMS, is_made=kernel.is_made())


@pytest.fixture(scope="session")
def vm_kernel() -> kernel.Kernel:
    """What virtual machines boot from; a minute's work or two on a machine that has none yet."""
    return kernel.kernel()


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def machine(vm_kernel: kernel.Kernel) -> AsyncIterator[VirtualMachine]:
    """A virtual machine, the same for all tests of this directory."""
    async with VirtualMachine(vm_kernel) as machine:
        yield machine


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def installed(
    vm_kernel: kernel.Kernel, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[VirtualMachine]:
    """A virtual machine with the package installed, an interface, and a configuration."""
    package = Path(build(tmp_path_factory.mktemp("rpm")))
    files = {"/root/ipfod.rpm": package.read_bytes(), "/etc/ipfod/web.toml": WEB.encode()}
    async with VirtualMachine(vm_kernel, files=files) as machine:
        await machine.run(
            ["rpm", "-i", "--nodeps", "--force-debian", "/root/ipfod.rpm"], check=True, timeout_s=120
        )
        await machine.run(["sh", "-e"], stdin=NETWORK, check=True)
        yield machine
