"""`python3 -m manual DIRECTORY`: write the manual pages there, dated by SOURCE_DATE_EPOCH or today."""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from manual.pages import pages

SOURCES = Path(__file__).parents[2]


def main(directory: Path) -> None:
    moment = float(os.environ.get("SOURCE_DATE_EPOCH") or time.time())
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in pages(SOURCES, f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d}").items():
        (directory / name).write_text(text, encoding="ascii")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python3 -m manual DIRECTORY")
    main(Path(sys.argv[1]))
