"""Waits for a VRRP advert of a node and then for a while, so that something happens at a known phase of them.

A program of its own, run by its path: `phase.py INTERFACE ADDRESS SECONDS`. It prints `now` when it is time.
"""

from __future__ import annotations

import socket
import struct
import sys
import time

VRRP = 112  # the protocol's number, and 224.0.0.18 its group (RFC 9568)
GROUP = "224.0.0.18"
TIMEOUT_S = 10.0


def main(interface: str, address: str, wait_s: float) -> None:
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, VRRP)
    own = socket.if_nametoindex(interface)
    membership = struct.pack("=4s4si", socket.inet_aton(GROUP), bytes(4), own)
    raw.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
    raw.settimeout(TIMEOUT_S)
    print("listening", flush=True)
    while raw.recvfrom(2048)[1][0] != address:
        pass
    time.sleep(wait_s)
    print("now", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
