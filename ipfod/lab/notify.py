"""The socket on which a daemon in the lab says that it is ready, as systemd's NOTIFY_SOCKET (sd_notify(3))."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path

MESSAGE_MAX = 4096  # bytes; ours have a few dozen


class NotifySocket:
    """Reads everything that is sent, as systemd does: a full queue would block the sender."""

    def __init__(self, path: Path) -> None:
        self.ready = asyncio.Event()
        self.messages: list[str] = []
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(str(path))
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while message := self._socket.recv(MESSAGE_MAX):
                lines = message.decode(errors="replace").splitlines()
                self.messages += lines
                if "READY=1" in lines:
                    self.ready.set()

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
