"""The monitored service of a lab node: accepts TCP connections on a port and says nothing.

A program of its own, run by its path; its argument is the port, on all IPv4 and IPv6 addresses. To kill it
is the death of the service.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading


def attend(connection: socket.socket) -> None:
    """Keep a connection open until the other side ends it."""
    with connection, contextlib.suppress(OSError):
        while connection.recv(4096):
            pass


def main(port: int) -> None:
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    with socket.create_server(("", port), family=family, dualstack_ipv6=dual, backlog=128) as server:
        print("listening", flush=True)
        while True:
            connection, _ = server.accept()
            threading.Thread(target=attend, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]))
