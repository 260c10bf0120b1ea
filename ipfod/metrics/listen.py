"""Where metrics are served: the value of IPFOD_METRICS_LISTEN."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address

from ipfod.addresses import Address
from ipfod.config.values import quoted
from ipfod.errors import Failed

VARIABLE = "IPFOD_METRICS_LISTEN"
ACCEPTED = "write ADDRESS:PORT with an IP address of this node, such as 127.0.0.1:9650 or [::1]:9650"
PORT_MAX = 65535

_FORM = re.compile(r"(?:\[(?P<ipv6>[^\[\]]+)\]|(?P<ipv4>[^:\[\]]+)):(?P<port>[0-9]{1,5})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Listen:
    """An address and a TCP port of this node."""

    address: Address
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if self.address.version == 6 else f"{self.address}:{self.port}"


def parse(value: str) -> Listen:
    """Read the value of the variable. Raises Failed with what is accepted.

    Names of hosts are refused: to look one up may take longer than a virtual IP can wait.
    """
    found = _FORM.fullmatch(value.strip())
    if found is None:
        raise _refused(value)
    try:
        address = ip_address(found["ipv6"] or found["ipv4"])
    except ValueError:
        raise _refused(value) from None
    port = int(found["port"])
    if address.version != (6 if found["ipv6"] else 4) or not 1 <= port <= PORT_MAX:
        raise _refused(value)
    return Listen(address, port)


def _refused(value: str) -> Failed:
    return Failed(f"{VARIABLE}: {quoted(value)} is no address with a port", hint=ACCEPTED)
