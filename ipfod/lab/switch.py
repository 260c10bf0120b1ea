"""The lab's switch: a bridge in a namespace of its own, with one cable to each machine."""

from __future__ import annotations

from collections.abc import Sequence

from ipfod.lab.machine import Machine
from ipfod.lab.program import run_to_end

BRIDGE = "br0"
# Forward at once and everywhere: no spanning tree, no listening phase, no multicast snooping (nobody would be
# the querier).
BRIDGE_OPTIONS = "forward_delay 0 stp_state 0 mcast_snooping 0"
TIMEOUT_S = 20.0  # each takes a few ms


class Switch(Machine):
    """A machine that only holds a bridge."""

    async def start(self) -> None:
        await super().start()
        await ip(self, f"link add {BRIDGE} type bridge {BRIDGE_OPTIONS}", f"link set {BRIDGE} up")

    async def connect(self, machine: Machine, interface: str, addresses: Sequence[str]) -> None:
        """Give a machine an interface with addresses (`ADDRESS/LENGTH`), cabled to this switch."""
        port = self.port(machine)
        await ip(
            self,
            f"link add name {port} type veth peer name {interface} netns {machine.pid}",
            f"link set {port} master {BRIDGE} up",
        )
        await ip(
            machine,
            "link set lo up",
            *(
                f"address add {address} dev {interface}{' nodad' if ':' in address else ''}"
                for address in addresses
            ),
            f"link set {interface} up",
        )

    async def set_port(self, machine: Machine, state: str) -> None:
        """Switch a machine's port "up" or "down"; down takes the carrier from its interface."""
        await ip(self, f"link set {self.port(machine)} {state}")

    @staticmethod
    def port(machine: Machine) -> str:
        """The switch's end of a machine's cable, named after it. Interface names have 15 characters at most."""
        return f"to-{machine.name}"[:15]


async def ip(machine: Machine, *commands: str) -> None:
    """Run ip(8) commands in a machine's network namespace, and in no other of its namespaces.

    So process IDs in them are those of this side. Raises Failed with what ip(8) printed.
    """
    script = "".join(f"{command}\n" for command in commands)
    argv = machine.enter(["ip", "-batch", "-"], namespaces=("-n",))
    machine.check(await run_to_end(argv, stdin=script, env={}, timeout_s=TIMEOUT_S))
