"""Runs in a virtual machine: takes commands from its second serial port, one JSON document a line, and answers.

A program of its own. Request: {"argv", "stdin", "timeout_s"}; answer: {"code", "stdout", "stderr"}, code null
if the program was killed because its time was up. The first line says that it is ready.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tty
from typing import Any


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Run one program to its end. What cannot be started has the code that a shell would give."""
    try:
        done = subprocess.run(
            request["argv"],
            input=request["stdin"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=request["timeout_s"],
        )
    except subprocess.TimeoutExpired as expired:
        return {"code": None, "stdout": "", "stderr": str(expired)}
    except OSError as error:
        return {"code": 127, "stdout": "", "stderr": str(error)}
    return {"code": done.returncode, "stdout": done.stdout, "stderr": done.stderr}


def main(port: str) -> None:
    with open(port, "rb", buffering=0) as requests, open(port, "wb", buffering=0) as answers:
        tty.setraw(requests.fileno())
        answers.write(b"ready\n")
        for line in requests:
            answers.write(json.dumps(answer(json.loads(line))).encode() + b"\n")


if __name__ == "__main__":
    main(sys.argv[1])
