"""Run inside of a node: types into a program on a terminal of its own and prints what that shows.

`terminal.py SECONDS SETUP LINE EXPECTED... -- PROGRAM...`: waits for the prompt "ready> " that SETUP
makes, types LINE with its Tabs, and ends when all EXPECTED are on the screen, or after so many seconds.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable

PROMPT = "ready> "


def main(deadline: float, setup: str, line: str, expected: list[str], program: list[str]) -> str:
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm"
        os.execvp(program[0], program)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
    os.write(terminal, f"{setup}\n".encode())
    # The setup is echoed, with the prompt in quotes; the prompt itself begins a line.
    seen = until(terminal, deadline, lambda text: f"\n{PROMPT}" in text or f"\r{PROMPT}" in text)
    os.write(terminal, line.encode())
    seen = until(terminal, deadline, lambda text: all(word in text for word in expected))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return seen


def until(terminal: int, deadline: float, shown: Callable[[str], bool]) -> str:
    seen = b""
    while time.monotonic() < deadline and not shown(plain(seen)):
        if select.select([terminal], [], [], 0.1)[0]:
            seen += os.read(terminal, 65536)
    return plain(seen)


def plain(seen: bytes) -> str:
    """Without what moves the cursor and changes colours."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]", "", seen.decode(errors="replace"))


if __name__ == "__main__":
    seconds, setup, line, *rest = sys.argv[1:]
    cut = rest.index("--")
    print(main(time.monotonic() + float(seconds), setup, line, rest[:cut], rest[cut + 1 :]))
