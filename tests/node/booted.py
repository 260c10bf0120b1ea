"""A booted node: a container on the lab's switch with the distribution's own systemd, bus and journal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from ipfod.errors import Failed
from ipfod.lab import ruleset
from ipfod.lab.machine import Machine
from ipfod.lab.node import SERVICE, Node
from ipfod.lab.program import Finished, Program, children
from ipfod.lab.switch import Switch, ip
from node.control_group import HIERARCHY, ControlGroup

INTERFACE = "eth0"
DISK = "/run/lab/disk"  # in the case: `root` below it is what the node sees as its /
CARD = "echo $$; exec sleep infinity"  # holds the network namespace of one boot
NSPAWN = ("systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", "--console=pipe")
NOT_OF_THE_HOST = ("--resolv-conf=off", "--timezone=off", "--link-journal=no")
CAPABILITIES = "--capability=CAP_NET_ADMIN,CAP_NET_RAW,CAP_SYS_MODULE"  # beside those that every container has
NSPAWN_ENVIRONMENT = {
    "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network",  # /proc/sys/net: keepalived and systemd-sysctl write there
    "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
    "PYTHONPATH": "",
}
# In the node there is no checkout.
ENVIRONMENT = {"PYTHONPATH": "", "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0"}
PYTHON = "/usr/bin/python3"
SERVICE_INSIDE = "/usr/local/lib/monitored-service.py"
RPM_INSIDE = "/root/package.rpm"

BOOT_TIMEOUT_S = 90.0  # two nodes take 3 s, side by side on two idle cores
SHUTDOWN_TIMEOUT_S = 120.0  # systemd gives a unit 90 s to stop
GONE_TIMEOUT_S = 20.0  # the end of a PID namespace takes 0.1 s
POLL_S = 0.05
BOOTED = ("running", "degraded")
REBOOT = 133  # systemd-nspawn with --keep-unit: the node asks to be started again


class BootedNode(Node):
    """A node with power, disk and network card; what is started on it, systemd starts.

    The disk is an overlay on the image, in memory, and outlives power cuts. It, and everything that runs, is in
    the namespaces of `_case`, so all of it vanishes with this process. Each boot has a network namespace of its
    own: as on a real node no address and no rule is left of the boot before. `pid` is systemd's.
    """

    def __init__(self, name: str, *, image: Path, switch: Switch, addresses: Sequence[str]) -> None:
        super().__init__(name, switch=switch, interface=INTERFACE, addresses=addresses)
        self._image = image
        self._case = Machine(f"{name}-case")
        self._group = ControlGroup(name)
        self._hardware_address = "02" + "".join(f":{byte:02x}" for byte in uuid.uuid4().bytes[:5])
        self._card: Program | None = None
        self._system: Program | None = None

    # ---------------------------------------------------------------- power

    async def start(self) -> None:
        """Make the node and switch it on; `until_booted()` waits for its systemd."""
        await self._case.start()
        await self._group.start()
        await self._make_disk()
        await self.switch_on()

    async def _make_disk(self) -> None:
        root = f"{DISK}/root"
        layers = f"lowerdir={self._image},upperdir={DISK}/upper,workdir={DISK}/work"
        for argv in (
            ["mount", "-t", "cgroup2", "cgroup2", HIERARCHY],
            ["mkdir", DISK],
            ["mount", "-t", "tmpfs", "-o", "mode=755", "disk", DISK],
            ["mkdir", root, f"{DISK}/upper", f"{DISK}/work"],
            ["mount", "-t", "overlay", "-o", layers, "disk", root],
        ):
            await self._case.run(argv, check=True)
        self._case.write(f"{root}/etc/hostname", f"{self.name}\n")
        self._case.write(f"{root}/etc/machine-id", f"{uuid.uuid4().hex}\n", mode=0o444)
        self._case.write(f"{root}/etc/nftables.conf", f"flush ruleset\n{ruleset.ruleset()}")

    async def switch_on(self) -> None:
        """Put the network card in, cable it and start systemd; returns as soon as systemd runs."""
        if self.pid is not None:
            raise Failed(f"{self.name}: it is on already")
        self._card = await self._case.spawn(["unshare", "--net", "sh", "-c", CARD], name="card", lines=True)
        card = await self._card.line()
        self.pid = await self._card.pid()  # whose network namespace the switch is to be connected to
        await self._connect()
        join = f'echo $$ > {self._group.path}/cgroup.procs; exec "$@"'
        argv = [*NSPAWN, *NOT_OF_THE_HOST, CAPABILITIES, f"--directory={DISK}/root", f"--machine={self.name}"]
        argv += [f"--network-namespace-path=/proc/{card}/ns/net"]
        self._system = await self._case.spawn(
            ["sh", "-ec", join, "sh", *argv], name="systemd-nspawn", env=NSPAWN_ENVIRONMENT
        )
        self.pid = await self._leader(self._system)

    async def _connect(self) -> None:
        """Cable the new card to the switch. It has the hardware address of the last one, which others know."""
        await self._switch.connect(self, self.interface, self._configured)
        await ip(
            self,
            f"link set {self.interface} address {self._hardware_address}",
            f"address flush dev {self.interface} scope link",  # it was made of the address that veth chose
            f"link set {self.interface} addrgenmode none",
            f"address add {self._link_local()}/64 dev {self.interface} scope link nodad",
        )

    def _link_local(self) -> str:
        """The link-local address that belongs to the hardware address: RFC 4291, appendix A."""
        _, *rest = self._hardware_address.split(":")
        return "fe80::{}:{}ff:fe{}:{}{}".format(*rest)

    async def _leader(self, system: Program) -> int:
        """The process ID of the node's systemd, as seen from outside, once it is systemd."""
        nspawn = await system.pid()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BOOT_TIMEOUT_S):
                while system.returncode is None:
                    for child in children(nspawn):
                        with contextlib.suppress(OSError):  # it was one of systemd-nspawn's helpers
                            if Path(f"/proc/{child}/comm").read_text() == "systemd\n":
                                return child
                    await asyncio.sleep(0.005)
        raise Failed(f"{self.name}: systemd does not start: {system.output().strip()}")

    async def until_booted(self) -> str:
        """Wait until systemd has started everything; returns "running", or "degraded" if a unit failed."""
        state = ""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BOOT_TIMEOUT_S):
                while self._system is not None and self._system.returncode is None:
                    state = (await self.systemctl("is-system-running")).stdout.strip()
                    if state in BOOTED:
                        return state
                    await asyncio.sleep(POLL_S)
        raise Failed(f"{self.name}: does not boot: {state or 'it is off'}: {self.console().strip()}")

    async def power_on(self) -> str:
        """Switch the node on and wait until it has booted; returns as `until_booted()` does."""
        await self.switch_on()
        return await self.until_booted()

    async def power_cut(self) -> None:
        """Kill everything on the node at once; returns when it is gone, with its network card."""
        if self.pid is not None and self._system is not None and self._system.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)  # and the kernel kills the rest of the PID namespace
        await super().power_cut()
        await self._pull_out()

    async def poweroff(self) -> None:
        """Shut the node down in good order. Raises TimeoutError, and Failed when systemd does not end well."""
        await self._shut_down("poweroff", expected=0)

    async def reboot(self) -> str:
        """Shut the node down in good order and boot it again; returns as `until_booted()` does."""
        await self._shut_down("reboot", expected=REBOOT)
        return await self.power_on()

    async def _shut_down(self, verb: str, *, expected: int) -> None:
        system = self._system
        if self.pid is None or system is None:
            raise Failed(f"{self.name}: cannot {verb}: the machine is off")
        await self.systemctl("--no-block", verb)
        code = await system.wait(timeout_s=SHUTDOWN_TIMEOUT_S)
        self.pid = None
        await self._pull_out()
        if code != expected:
            raise Failed(f"{self.name}: {verb}: systemd-nspawn: exit code {code}: {system.output().strip()}")

    async def _pull_out(self) -> None:
        """Take the cable and the network card of the last boot away."""
        if self._card is None:
            return
        with contextlib.suppress(Failed):  # its other end, in a dying namespace, may have taken it along
            await ip(self._switch, f"link delete {self._switch.port(self)}")
        await self._card.close()
        if self._system is not None:
            await self._system.wait(timeout_s=GONE_TIMEOUT_S)
            await self._system.close()
        for program in self._programs:
            await program.close()
        self._card = None

    async def close(self) -> None:
        """End everything and leave nothing, whatever state the node is in."""
        try:
            await super().close()
        finally:
            try:
                await self._case.close()
            finally:
                await self._group.close()

    def console(self) -> str:
        """What systemd, and systemd-nspawn around it, printed since the node was switched on."""
        return self._system.output() if self._system is not None else ""

    # ---------------------------------------------------------------- programs

    async def run(
        self,
        argv: Sequence[str],
        *,
        user: str = "",
        timeout_s: float = 30.0,
        stdin: str = "",
        env: Mapping[str, str] | None = None,
        check: bool = False,
    ) -> Finished:
        """Run a program to its end, as root or a user of the node, in no session of logind; see `Machine`."""
        if user:
            argv = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--", *argv]
        inside = {**ENVIRONMENT, **(env or {})}
        return await super().run(argv, timeout_s=timeout_s, stdin=stdin, env=inside, check=check)

    async def spawn(
        self, argv: Sequence[str], *, name: str = "", env: Mapping[str, str] | None = None, lines: bool = False
    ) -> Program:
        """Start a program that goes on, beside systemd; see `Machine`."""
        return await super().spawn(argv, name=name, env={**ENVIRONMENT, **(env or {})}, lines=lines)

    async def systemctl(self, *args: str, check: bool = False, timeout_s: float = 90.0) -> Finished:
        """Run systemctl; it waits for the jobs that it starts. Raises as `run` does."""
        return await self.run(["systemctl", *args], check=check, timeout_s=timeout_s)

    async def properties(self, unit: str, *names: str) -> dict[str, str]:
        """Properties of a unit, as `systemctl show` prints them."""
        done = await self.systemctl("show", f"--property={','.join(names)}", unit, check=True)
        return dict(line.split("=", 1) for line in done.stdout.splitlines())

    async def failed_units(self) -> list[str]:
        """Names of the units that have failed."""
        done = await self.systemctl("list-units", "--failed", "--plain", "--no-legend", check=True)
        return [line.split()[0] for line in done.stdout.splitlines()]

    async def journal(self, unit: str = "", *, boot: int = 0) -> str:
        """The messages of a unit, or of all, oldest first; since the last boot, or -1: of the one before."""
        await self.run(["journalctl", "--sync"], check=True)
        argv = ["journalctl", "--quiet", "--no-pager", "--output=cat", f"--boot={boot}"]
        return (await self.run([*argv, f"--unit={unit}"] if unit else argv, check=True)).stdout

    async def install_rpm(self, path: Path, *, upgrade: bool = False) -> Finished:
        """Install an RPM file of this machine, or upgrade to it. Raises Failed with what rpm(8) printed.

        Without its dependencies: this rpm does not know of the distribution's own packages. Debian's asks
        whether RPM files are meant.
        """
        self.put(path, RPM_INSIDE)
        argv = ["rpm", "-U" if upgrade else "-i", "--nodeps", "--force-debian", RPM_INSIDE]
        return await self.run(argv, check=True)

    def put(self, source: Path, path: str, *, mode: int = 0o644) -> None:
        """Copy a file of this machine to the node; its directory is made if need be."""
        target = self.inside(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
        target.chmod(mode)

    # ---------------------------------------------------------------- service and ipfod

    async def start_service(self, port: int) -> None:
        """Start what listens on the monitored port, and let it be reached from outside."""
        self.put(SERVICE, SERVICE_INSIDE)
        await self.run(["nft", *ruleset.accept_port(port)], check=True)
        service = await self.spawn([PYTHON, "-I", "-S", SERVICE_INSIDE, str(port)], name="service")
        self._services[port] = service
        await self._until(service, lambda: "listening" in service.output())

    async def start_ipfod(self, *_: str, **__: object) -> NoReturn:
        """Raises Failed: systemd does that here."""
        raise Failed(f"{self.name}: systemd starts ipfod here", hint="systemctl('start', 'ipfod')")

    async def kill_ipfod(self, number: signal.Signals = signal.SIGKILL, *, timeout_s: float = 20.0) -> NoReturn:
        """Raises Failed: systemd does that here."""
        raise Failed(f"{self.name}: systemd ends ipfod here", hint="systemctl('kill', '--signal=…', 'ipfod')")

    async def ipfoctl(self, *args: str, timeout_s: float = 30.0) -> Finished:
        """Run the ipfoctl that is installed on the node."""
        return await self.run(["ipfoctl", *args], timeout_s=timeout_s)
