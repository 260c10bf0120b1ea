"""PID 1 of a lab machine: builds the machine's private mounts, then only reaps children.

A program of its own, run by its path in fresh namespaces (`unshare --mount --uts --net --pid --ipc --fork`), so
it imports nothing of ipfod. Its only argument is the host name. When the machine is ready it prints its process
ID as the starting side sees it. SIGTERM ends it; SIGKILL is the power cut. Either way the kernel kills
everything else in the PID namespace.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import sys
import uuid
from pathlib import Path

PRIVATE = Path("/run/lab")  # on the machine's own /run: sockets and overlay layers of the lab


def mount(source: str, target: str, kind: str, options: str = "") -> None:
    """mount(2). Raises OSError that names the mount point."""
    libc = ctypes.CDLL(None, use_errno=True)
    done = libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(0), options.encode())
    if done != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot mount {kind}: {os.strerror(number)}", target)


def overlay(directory: str) -> None:
    """Make a directory of the host writable for this machine only: what is written stays in memory."""
    layers = PRIVATE / directory.strip("/").replace("/", "-")
    for layer in ("upper", "work"):
        (layers / layer).mkdir(parents=True)
    mount(
        "overlay", directory, "overlay", f"lowerdir={directory},upperdir={layers}/upper,workdir={layers}/work"
    )


def build_mounts() -> None:
    """Give the machine what ipfod and keepalived write to, empty, without a trace on the host."""
    mount("tmpfs", "/run", "tmpfs", "mode=755")
    for directory in ("dbus", "lock", "lab"):
        (Path("/run") / directory).mkdir()
    for parent in ("/etc", "/var/lib"):  # the host may lack the mount points /etc/ipfod and /var/lib/ipfod
        overlay(parent)
        own = f"{parent}/ipfod"
        Path(own).mkdir(exist_ok=True)
        mount("tmpfs", own, "tmpfs", "mode=755")
    if Path("/lib/modules").is_dir():  # a rehearsal must not load modules into the host's kernel
        mount("tmpfs", "/lib/modules", "tmpfs")
    mount("sysfs", "/sys", "sysfs")  # shows the interfaces of this network namespace
    mount("proc", "/proc", "proc")


def build_identity(name: str) -> None:
    """Give the machine a host name and a machine ID of its own (dbus-daemon asks for the latter)."""
    socket.sethostname(name)
    for path, text in (("/etc/hostname", name), ("/etc/machine-id", uuid.uuid4().hex)):
        # Replaced, not overwritten: in a container these may be mounts of their own.
        with contextlib.suppress(OSError):
            Path(path).unlink()
        Path(path).write_text(text + "\n")


def set_up_ipv6() -> None:
    """Make IPv6 addresses usable at once: duplicate address detection would hold them back for 1 s or more."""
    for key, value in (("disable_ipv6", "0"), ("accept_dad", "0"), ("dad_transmits", "0")):
        for which in ("all", "default"):
            path = Path(f"/proc/sys/net/ipv6/conf/{which}/{key}")
            if path.exists():
                path.write_text(value)


def reap_until_told() -> None:
    """Reap whatever is handed to PID 1, until SIGTERM."""
    while signal.sigwait({signal.SIGCHLD, signal.SIGTERM}) != signal.SIGTERM:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0] != 0:
                pass


def main(name: str) -> None:
    # Blocked first: a child that ends, or SIGTERM, before sigwait() must not be missed.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGTERM})
    pid = os.readlink("/proc/self")  # still the /proc of the starting side
    build_mounts()
    build_identity(name)
    set_up_ipv6()
    print(pid, flush=True)
    reap_until_told()


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except OSError as error:
        sys.exit(f"lab machine {sys.argv[1]}: {error.filename}: {error.strerror}")
