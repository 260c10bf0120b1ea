"""`python -m ipfod.lab`: the demonstration."""

from __future__ import annotations

import sys

from ipfod.lab import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
