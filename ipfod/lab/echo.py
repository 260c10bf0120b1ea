"""The outage meter: sends ICMP echo requests at a steady pace and reports which were not answered.

A program of its own, run by its path: `echo.py INTERVAL_MS ADDRESS…`. It prints `started` after the first
round, goes on until SIGTERM, then prints one JSON document:

    {"interval_ms", "late_ms", "addresses": [{"address", "sent", "received", "slowest_ms",
     "gaps": [{"start", "lost", "ms", "open"}]}]}

A gap is a run of requests without an answer: `start` is when the first of them was sent (seconds since the
epoch), `ms` the time from there to the first request that was answered again; `open` if none was until the end.
So the resolution is the interval. `slowest_ms` is the slowest answer, `late_ms` the worst delay of a round
behind its time: both tell how far the figures can be trusted.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from array import array

LINGER_S = 0.2  # after the last request: longer than any answer takes on the lab's switch
RECEIVE_BUFFER = 4 << 20  # bytes
# Type, code, checksum, identifier, sequence (RFC 792, RFC 4443); then ours: token, target, index.
MESSAGE = struct.Struct("!BBHHH8sIQ")
IPV4 = {"request": 8, "reply": 0}  # RFC 792
IPV6 = {"request": 128, "reply": 129}  # RFC 4443 section 4
SOL_RAW, ICMP_FILTER = 255, 1  # linux/icmp.h: a set bit keeps the type away
ICMP6_FILTER = 1  # linux/icmpv6.h: likewise, 256 bits


class Target:
    """One address: when each request was sent (monotonic seconds), and whether it was answered."""

    def __init__(self, text: str) -> None:
        self.address = ipaddress.ip_address(text)
        self.sent = array("d")
        self.answered = bytearray()
        self.slowest_s = 0.0

    def report(self, epoch: float) -> dict[str, object]:
        return {
            "address": str(self.address),
            "sent": len(self.sent),
            "received": sum(self.answered),
            "slowest_ms": round(self.slowest_s * 1000, 3),
            "gaps": self.gaps(epoch),
        }

    def gaps(self, epoch: float) -> list[dict[str, object]]:
        """Runs of unanswered requests; `epoch` is what makes a monotonic time one since the epoch."""
        found: list[dict[str, object]] = []
        end = len(self.sent)
        start = self.answered.find(0)
        while start != -1:
            after = self.answered.find(1, start)
            closed = after != -1
            until = after if closed else end - 1
            ms = round((self.sent[until] - self.sent[start]) * 1000, 3)
            lost = until - start if closed else end - start
            found.append({"start": self.sent[start] + epoch, "lost": lost, "ms": ms, "open": not closed})
            start = self.answered.find(0, after) if closed else -1
        return found


def checksum(message: bytes) -> int:
    """RFC 1071, for a message with an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(message) // 2}H", message))
    total = (total >> 16) + (total & 0xFFFF)
    return 0xFFFF - ((total + (total >> 16)) & 0xFFFF)


class Meter:
    """The sockets and the loop."""

    def __init__(self, interval_s: float, addresses: list[str]) -> None:
        self.interval_s = interval_s
        self.targets = [Target(text) for text in addresses]
        self.late_s = 0.0
        self.stopping = False
        self.token = os.urandom(8)
        versions: set[int] = {target.address.version for target in self.targets}
        self.sockets = {version: self.open(version) for version in versions}

    def open(self, version: int) -> socket.socket:
        """A raw ICMP socket that gets echo replies only."""
        if version == 4:
            raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
            raw.setsockopt(SOL_RAW, ICMP_FILTER, struct.pack("=I", 0xFFFFFFFF & ~(1 << IPV4["reply"])))
        else:
            raw = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
            words = [0xFFFFFFFF] * 8
            words[IPV6["reply"] // 32] &= ~(1 << IPV6["reply"] % 32)
            raw.setsockopt(socket.IPPROTO_ICMPV6, ICMP6_FILTER, struct.pack("=8I", *words))
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        raw.setblocking(False)
        return raw

    def send_round(self) -> None:
        """One request to every address. One that cannot be sent counts as lost."""
        for number, target in enumerate(self.targets):
            index = len(target.sent)
            version = target.address.version
            kind = (IPV4 if version == 4 else IPV6)["request"]
            fields = (os.getpid() & 0xFFFF, index & 0xFFFF, self.token, number, index)
            message = MESSAGE.pack(kind, 0, 0, *fields)
            if version == 4:  # for IPv6 the kernel computes it (RFC 3542 section 3.1)
                message = MESSAGE.pack(kind, 0, checksum(message), *fields)
            target.answered.append(0)
            target.sent.append(time.monotonic())
            with contextlib.suppress(OSError):
                self.sockets[version].sendto(message, (str(target.address), 0))

    def receive(self, version: int) -> None:
        """Take all answers that have arrived."""
        with contextlib.suppress(BlockingIOError):
            while True:
                data = self.sockets[version].recv(2048)
                # IPv4 raw sockets hand out the IP header too (raw(7)); its length is in words of 4 bytes.
                start = (data[0] & 0x0F) * 4 if version == 4 else 0
                if len(data) - start != MESSAGE.size:
                    continue
                *_, token, number, index = MESSAGE.unpack_from(data, start)
                if token == self.token and number < len(self.targets):
                    self.note(self.targets[number], index)

    def note(self, target: Target, index: int) -> None:
        """Mark one request as answered."""
        if index < len(target.sent):
            target.answered[index] = 1
            target.slowest_s = max(target.slowest_s, time.monotonic() - target.sent[index])

    def listen_until(self, due: float) -> None:
        """Take answers until a monotonic time."""
        versions = {raw: version for version, raw in self.sockets.items()}
        while (left := due - time.monotonic()) > 0:
            for raw in select.select(versions, (), (), left)[0]:
                self.receive(versions[raw])

    def run(self) -> None:
        """Send and listen until told to stop."""
        due = time.monotonic()
        while not self.stopping:
            self.send_round()
            if len(self.targets[0].sent) == 1:
                print("started", flush=True)
            due += self.interval_s
            late = time.monotonic() - due
            if late > 0:  # no burst to catch up: the send times are what counts
                self.late_s = max(self.late_s, late)
                due += late
            for version in self.sockets:
                self.receive(version)
            self.listen_until(due)
        self.listen_until(time.monotonic() + LINGER_S)

    def stop(self, *_: object) -> None:
        self.stopping = True


def main(interval_ms: float, addresses: list[str]) -> None:
    with contextlib.suppress(OSError):  # better paced; where it is not allowed, `late_ms` tells what that cost
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    meter = Meter(interval_ms / 1000, addresses)
    signal.signal(signal.SIGTERM, meter.stop)
    epoch = time.time() - time.monotonic()
    meter.run()
    document = {
        "interval_ms": interval_ms,
        "late_ms": round(meter.late_s * 1000, 3),
        "addresses": [target.report(epoch) for target in meter.targets],
    }
    print(json.dumps(document), flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2:])
