"""What every test may rely on."""

from __future__ import annotations

import signal

# A shell that runs the tests in the background has SIGINT ignored, and the programs that tests start and
# interrupt would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
