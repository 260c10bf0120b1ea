"""Does harm to the packet filter, and waits until a rule of ipfod stands again: how long?

A program of its own, run by its path on a node: `flush.py RULES`, with an nft script on standard input. It
prints the milliseconds from the end of that script until the chain `inet filter input` has as many of ipfod's.
"""

from __future__ import annotations

import sys
import time

from nftables import Nftables

CHAIN = "list chain inet filter input"
MARK = 'comment "ipfod:'
TIMEOUT_S = 10.0
PAUSE_S = 0.0005  # between two looks, each of which takes about as long


def main(rules: int, script: str) -> None:
    nft = Nftables()
    code, _, error = nft.cmd(script)
    start = time.monotonic()
    if code != 0:
        sys.exit(error)
    while nft.cmd(CHAIN)[1].count(MARK) < rules:
        if time.monotonic() > start + TIMEOUT_S:
            sys.exit(f"not back within {TIMEOUT_S:g} s")
        time.sleep(PAUSE_S)
    print(round((time.monotonic() - start) * 1000, 3))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.stdin.read())
