"""A node of its own for a test: a network namespace that the test itself enters, with one interface, eth0.

The namespace has no name and vanishes with its last process. What the test starts inside of it, programs and
threads, is inside as well; /proc and the file system stay the test's own.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Self

from ipfod.config.load import load_text
from ipfod.config.model import Failover
from ipfod.keepalived.files import KeepalivedFiles, write_atomically
from ipfod.keepalived.render import render
from ipfod.plan.model import FailoverPlan, Here
from ipfod.plan.planning import plan_failover

CLONE_NEWNET = 0x40000000  # linux/sched.h
PATIENCE_S = 15.0  # for anything that must happen; far more than any of it takes
OWN = tuple(ip_address(text) for text in ("10.0.0.1", "fe80::1", "fd00::1"))
HERE = Here("eth0", OWN)

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


class Namespace:
    """A network namespace with nothing in it but loopback."""

    def __init__(self) -> None:
        self._descriptor = -1

    def __enter__(self) -> Self:
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _check(_libc.unshare(CLONE_NEWNET))
            self._descriptor = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            _check(_libc.setns(before, CLONE_NEWNET))
        finally:
            os.close(before)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """This thread, and all that it starts in this block, is in the namespace."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        _check(_libc.setns(self._descriptor, CLONE_NEWNET))
        try:
            yield
        finally:
            _check(_libc.setns(before, CLONE_NEWNET))
            os.close(before)

    def connect(self, link: str, number: int) -> None:
        """Take a link of the namespace that this thread is in as eth0, with the addresses of node `number`."""
        ip("link", "set", link, "netns", f"/proc/{os.getpid()}/fd/{self._descriptor}")
        with self.inside():
            ip("link", "set", "lo", "up")
            ip("link", "set", link, "name", "eth0", "addrgenmode", "none")
            _set_up("eth0", number)


def _set_up(interface: str, number: int) -> None:
    ip("link", "set", interface, "up")
    ip("address", "add", f"10.0.0.{number}/24", "dev", interface)
    for network in ("fe80::", "fd00::"):
        ip("address", "add", f"{network}{number}/64", "dev", interface, "nodad")


@contextmanager
def alone() -> Iterator[None]:
    """Be a node whose eth0 has the addresses `OWN`, on a wire with nobody else."""
    with Namespace() as namespace, namespace.inside():
        ip("link", "set", "lo", "up")
        ip("link", "add", "eth0", "type", "veth", "peer", "name", "wire")
        for link in ("eth0", "wire"):
            ip("link", "set", link, "addrgenmode", "none")
        ip("link", "set", "wire", "up")
        _set_up("eth0", 1)
        yield


def ip(*arguments: str) -> str:
    """Run ip(8) in the namespace that this thread is in."""
    return run("ip", *arguments)


def run(*argv: str) -> str:
    """Run a program in the namespace that this thread is in."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr}"
    return done.stdout


def held(interface: str = "eth0") -> set[str]:
    """Addresses on an interface beside those that were there from the beginning."""
    words = ip("-oneline", "address", "show", "dev", interface).split()
    found = {words[place + 1].split("/")[0] for place, word in enumerate(words) if word in ("inet", "inet6")}
    return found - {str(address) for address in OWN}


async def until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, f"not in {PATIENCE_S:g} s: {what}"
        await asyncio.sleep(0.01)


def failover(toml: str) -> Failover:
    """A failover called web, from a configuration text that has no fault."""
    found, complaints = load_text(toml.encode(), "/etc/ipfod/web.toml", "web", "toml")
    assert found is not None, complaints
    return found


def plan(toml: str, *, here: Here = HERE) -> FailoverPlan:
    return plan_failover(failover(toml), here, {})


def configure(files: KeepalivedFiles, toml: str, *, here: Here = HERE) -> FailoverPlan:
    """Put a configuration where keepalived will read it."""
    planned = plan(toml, here=here)
    write_atomically(files.configuration, render(planned, files))
    return planned


def prepared(directory: Path) -> KeepalivedFiles:
    files = KeepalivedFiles(directory)
    files.prepare()
    return files
