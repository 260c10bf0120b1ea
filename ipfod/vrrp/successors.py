"""Hears at once who takes over the groups of a keepalived that died; the listener hears many in turns."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from ipfod.errors import Failed
from ipfod.host.datagrams import Datagrams
from ipfod.vrrp import capture
from ipfod.vrrp.packet import PRIORITY_LEAVING, PacketError, parse

_BATCHES = 32  # at most for one answer, 15 ms: there may be a flood of adverts


class Successors:
    """The socket is made ahead of time: later there may be no free descriptor. For one thread at a time.

    It hears what comes while `with` lasts, and is made anew after that.
    """

    def __init__(self, interface: str) -> None:
        """In the thread's network namespace. Raises Failed."""
        self._interface = interface
        self._batch: Datagrams | None = None
        try:
            self._socket = capture.make(interface)
        except OSError as error:
            raise Failed(f"{interface}: successors cannot be heard: {error.strerror}") from error

    def __enter__(self) -> Self:
        with contextlib.suppress(OSError):  # the interface is gone, or was closed: then nobody is heard
            capture.begin(self._socket, self._interface)
        self._batch = capture.batch()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._batch = None
        self._socket.close()
        with contextlib.suppress(OSError):
            self._socket = capture.make(self._interface)

    def heard(self) -> Iterator[tuple[tuple[int, int], bool]]:
        """The adverts since the last call: IP version and virtual router ID, and whether this node sent it."""
        assert self._batch is not None, "used without `with`"
        with contextlib.suppress(OSError):  # nothing waits any more; or there is no socket to hear with
            for _ in range(_BATCHES):
                for packet, outgoing in self._batch.receive(self._socket):
                    with contextlib.suppress(PacketError):
                        if (advert := parse(packet)).priority != PRIORITY_LEAVING:
                            yield (advert.ip_version, advert.virtual_router_id), outgoing

    def close(self) -> None:
        """May be called again."""
        self._socket.close()
