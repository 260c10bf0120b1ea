"""Telling systemd how the service is doing, sd_notify(3). Does nothing when not run by systemd."""

from __future__ import annotations

import os
import time

from sdnotify import SystemdNotifier


def watchdog_interval_s() -> float | None:
    """How often to answer the watchdog, with a margin; None if there is none. See sd_watchdog_enabled(3)."""
    usec = os.environ.get("WATCHDOG_USEC", "")
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()) or not usec.isdecimal():
        return None
    return int(usec) / 1e6 / 3


class Notifier:
    """The service manager's notification socket."""

    def __init__(self) -> None:
        self._notifier = SystemdNotifier()

    def ready(self) -> None:
        self._send("READY=1")

    def reloading(self) -> None:
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={text}")

    def alive(self) -> None:
        """Answer the watchdog."""
        self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        # sdnotify encodes latin-1 and drops the whole message if it cannot.
        self._notifier.notify(message.encode("ascii", "replace").decode("ascii"))
