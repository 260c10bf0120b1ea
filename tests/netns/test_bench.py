"""The benchmark itself, with one run of a few rows: it measures what it should, and says how that went."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from bench import document
from bench.judge import shortfalls
from bench.model import IPFOD, ORIGINAL, PLAIN

TESTS = Path(__file__).parents[1]
ROWS = ("node-lost", "service-dies", "reload", "event", "rule-flushed")
TIMEOUT_S = 200.0


def test_a_few_rows_of_the_benchmark(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("bench.json", "bench.svg", "bench.md")]
    argv = [sys.executable, "-m", "bench", "--quick", "--runs", "1", "--only", *ROWS]
    argv += ["--json", str(files[0]), "--svg", str(files[1]), "--markdown", str(files[2])]
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    done = subprocess.run(
        argv, cwd=TESTS.parent, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert done.stderr == ""
    report = document.load(files[0].read_text())
    assert [row.name for row in report.rows] == list(ROWS)
    assert done.returncode == (1 if any(shortfalls(row) for row in report.rows) else 0), done.stdout
    assert ("Falls short" in done.stdout) == bool(done.returncode)
    lost, service, reload, event, rule = report.rows
    for row in (lost, service):
        assert {series.system for series in row.series} == {PLAIN, ORIGINAL, IPFOD}
    # A lost node is noticed by VRRP's timers, whoever runs keepalived: 3 intervals of 0.1 s, of 1 s.
    assert 150 < lost.samples(PLAIN)[0] < 2000
    assert 150 < lost.samples(IPFOD)[0] < 2000
    assert lost.samples(ORIGINAL)[0] > 2000
    assert service.samples(IPFOD)[0] > 0
    assert reload.samples(IPFOD) != ()
    assert event.samples(IPFOD)[0] > 0
    assert rule.samples(IPFOD)[0] > 0
    assert ElementTree.fromstring(files[1].read_text()).tag.endswith("svg")
    assert files[2].read_text().count("\n| ") == len(ROWS)
