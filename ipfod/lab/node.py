"""A node of the lab: a machine with a system bus, a packet filter, a service to be monitored, and ipfod."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address, ip_interface
from pathlib import Path

from ipfod.addresses import Address
from ipfod.errors import Failed
from ipfod.lab import bus, ruleset
from ipfod.lab.machine import Machine
from ipfod.lab.notify import NotifySocket
from ipfod.lab.program import Finished, Program
from ipfod.lab.switch import Switch

SERVICE = Path(__file__).with_name("service.py")
NOTIFY_SOCKET = "/run/lab/notify"
BUS_CONFIGURATION = "/run/lab/bus.conf"
START_TIMEOUT_S = 20.0  # a generous bound for dbus-daemon (20 ms) and the service (30 ms) on a loaded machine


class Node(Machine):
    """A machine that ipfod runs on. `Lab` makes it and gives it its place on the switch."""

    def __init__(
        self, name: str, *, switch: Switch, interface: str, addresses: Sequence[str], chains: Sequence[str] = ()
    ) -> None:
        super().__init__(name)
        self.interface = interface
        self.own_addresses: tuple[Address, ...] = tuple(ip_interface(address).ip for address in addresses)
        self.ipfod: Program | None = None
        self._switch = switch
        self._configured = tuple(addresses)
        self._chains = tuple(chains)
        self._notify: NotifySocket | None = None
        self._services: dict[int, Program] = {}

    async def start(self) -> None:
        await super().start()
        await self._switch.connect(self, self.interface, self._configured)
        await self.run(["nft", "-f", "-"], stdin=ruleset.ruleset(self._chains), check=True)
        self.write(BUS_CONFIGURATION, bus.configuration())
        daemon = await self.spawn(
            ["dbus-daemon", f"--config-file={BUS_CONFIGURATION}", "--nofork", "--nopidfile"]
        )
        await self._until(daemon, self.inside(bus.SOCKET).exists)

    async def power_cut(self) -> None:
        await super().power_cut()
        if self._notify is not None:
            self._notify.close()
            self._notify = None

    async def _until(self, program: Program, condition: Callable[[], bool]) -> None:
        """Wait for what a program does when it is ready. Raises Failed with its output when it ends before."""
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                while not condition():
                    if program.returncode is not None:
                        raise Failed(f"{self.name}: {program.name} ended: {program.output().strip()}")
                    await asyncio.sleep(0.002)
        except TimeoutError:
            raise Failed(f"{self.name}: {program.name} is not ready: {program.output().strip()}") from None

    # ---------------------------------------------------------------- the network

    async def addresses(self) -> set[Address]:
        """The virtual IPs on the interface: what is there beside the node's own and link-local addresses."""
        done = await self.run(["ip", "-json", "address", "show", "dev", self.interface], check=True)
        found = {
            ip_address(info["local"])
            for link in json.loads(done.stdout)
            for info in link.get("addr_info", ())
            if "local" in info
        }
        return {address for address in found if not address.is_link_local} - set(self.own_addresses)

    async def unplug(self) -> None:
        """Pull the cable: the interface loses its carrier."""
        await self._switch.set_port(self, "down")

    async def plug(self) -> None:
        """Put the cable back."""
        await self._switch.set_port(self, "up")

    # ---------------------------------------------------------------- the monitored service

    async def start_service(self, port: int) -> None:
        """Start what listens on the monitored port, and let it be reached from outside."""
        rule = " ".join(ruleset.accept_port(port, self._chains))
        if f"tcp dport {port} accept" not in (await self.run(["nft", "list", "ruleset"], check=True)).stdout:
            await self.run(["nft", rule], check=True)
        service = await self.spawn([sys.executable, "-I", "-S", str(SERVICE), str(port)], name="service")
        self._services[port] = service
        await self._until(service, lambda: "listening" in service.output())

    async def stop_service(self, port: int) -> None:
        """Kill the service: its socket closes, connections are refused from then on."""
        service = self._services.pop(port)
        await service.signal(signal.SIGKILL)
        await service.wait()

    # ---------------------------------------------------------------- ipfod

    async def start_ipfod(self, *args: str, env: Mapping[str, str] | None = None) -> Program:
        """Start the daemon and wait until it says READY. Raises Failed with its log when it does not."""
        if self.ipfod is not None and self.ipfod.returncode is None:
            raise Failed(f"{self.name}: ipfod is running already")
        if self._notify is not None:
            self._notify.close()
        self._notify = notify = NotifySocket(self.inside(NOTIFY_SOCKET))
        argv = [sys.executable, "-m", "ipfod", *args]
        self.ipfod = await self.spawn(argv, name="ipfod", env={"NOTIFY_SOCKET": NOTIFY_SOCKET, **(env or {})})
        await self._until(self.ipfod, notify.ready.is_set)
        return self.ipfod

    async def kill_ipfod(self, number: signal.Signals = signal.SIGKILL, *, timeout_s: float = 20.0) -> int:
        """Send the daemon a signal and wait for its end; returns its exit code (negative: the signal)."""
        if self.ipfod is None:
            raise Failed(f"{self.name}: ipfod was not started")
        await self.ipfod.signal(number)
        return await self.ipfod.wait(timeout_s=timeout_s)

    def log(self) -> str:
        """What the daemon that was started last has logged."""
        return self.ipfod.output() if self.ipfod is not None else ""

    async def ipfoctl(self, *args: str, timeout_s: float = 30.0) -> Finished:
        """Run ipfoctl."""
        return await self.run([sys.executable, "-m", "ipfod.ctl", *args], timeout_s=timeout_s)

    async def bus(self, *args: str) -> Finished:
        """Run busctl on the node's system bus."""
        return await self.run(["busctl", "--system", *args])
