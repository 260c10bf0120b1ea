"""A node that gives a group up goes on answering for its VIPs until its successor has announced them.

keepalived's new master sends its first advert before it adds the addresses, and the old one takes them off at
that advert: for about a millisecond they would be nowhere. So the old node has them on its loopback interface
as well, from before the move until a moment after it. It tells nobody: clients go to the new master at its
gratuitous ARP. The kernel takes them off by itself when ipfod does not renew them, so an ipfod that is killed
in between leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ipfod.addresses import Address, InterfaceAddress
from ipfod.errors import Failed
from ipfod.host.addressing import AddressRequests

log = logging.getLogger(__name__)

LOOPBACK = "lo"
LENT_S, RENEWED_S = 2, 0.75  # the kernel counts in seconds
# From the new master's advert until it has added and announced the addresses: 0.5 ms for one of them, about
# 1 ms for 16 (measured, keepalived 2.2.7); and what a busy machine adds to it.
LINGER_S, LINGER_FOR_EACH_S = 0.004, 0.0001


class Overlap:
    """Lends VIPs to the loopback interface. A failure costs only the millisecond, and is logged."""

    def __init__(self) -> None:
        # A thread of its own: on that of `Netlink` it would wait for dumps of thousands of addresses.
        self._worker = ThreadPoolExecutor(1, "overlap")
        self._requests: AddressRequests
        self._loans: dict[tuple[Address, ...], _Loan] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        """Open the socket, for as long as this lives: later there may be no free descriptor. Raises Failed."""
        try:
            self._requests = AddressRequests()
        except OSError as error:
            raise Failed(f"routing socket: it cannot be opened: {error.strerror}") from error

    async def begin(self, addresses: tuple[Address, ...]) -> None:
        """Lend a group's VIPs. One that is on the loopback interface already is not touched, now or later."""
        entries = tuple(lent(each) for each in addresses)
        codes = await self._ask(lambda requests: requests.lend(entries, LENT_S, again=False))
        taken = tuple(entry for entry, code in zip(entries, codes, strict=False) if not code)
        for code in {*codes} - {0, errno.EEXIST}:
            log.info("virtual IPs cannot be lent to %s: %s", LOOPBACK, os.strerror(code))
        if taken:
            self._loans[addresses] = _Loan(taken, asyncio.create_task(self._renew(taken), name="loan"))

    async def end(self, addresses: tuple[Address, ...], *, linger: bool) -> None:
        """Take back what `begin` lent: at once, or a moment later, for which nobody waits."""
        if (loan := self._loans.pop(addresses, None)) is None:
            return
        if linger:
            task = asyncio.create_task(self._take_back(loan, _linger_s(len(addresses))), name="end of a loan")
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)
        else:
            await self._take_back(loan, 0.0)

    async def close(self) -> None:
        """Wait for what is still to be taken back; the kernel takes back what has not ended."""
        await asyncio.gather(*self._leaving)
        for loan in self._loans.values():
            loan.renewing.cancel()
        self._worker.shutdown()
        self._requests.close()

    async def _renew(self, entries: tuple[InterfaceAddress, ...]) -> None:
        while True:
            await asyncio.sleep(RENEWED_S)
            await self._ask(lambda requests: requests.lend(entries, LENT_S, again=True))

    async def _take_back(self, loan: _Loan, after_s: float) -> None:
        await asyncio.sleep(after_s)
        loan.renewing.cancel()
        await self._ask(lambda requests: requests.remove(loan.entries))

    async def _ask(self, function: Callable[[AddressRequests], tuple[int, ...]]) -> tuple[int, ...]:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._worker, function, self._requests)
        except OSError as error:
            log.info("virtual IPs cannot be lent to %s: %s", LOOPBACK, error.strerror or error)
            return ()


@dataclass(frozen=True, slots=True)
class _Loan:
    entries: tuple[InterfaceAddress, ...]
    renewing: asyncio.Task[None]


def lent(address: Address) -> InterfaceAddress:
    """Where a VIP is while it is lent."""
    return InterfaceAddress(LOOPBACK, address, address.max_prefixlen)


def _linger_s(count: int) -> float:
    return LINGER_S + LINGER_FOR_EACH_S * count
