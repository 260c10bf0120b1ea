"""Whatever stands in the configuration files: a complaint that helps, or what keepalived itself accepts.

3,000 files in a normal run, 50,000 in `make soak`, alone and side by side in directories, as people might write
them. Every plan that comes of them is judged by keepalived, none is sampled.
"""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from alone import HERE, alone, prepared
from generated import VALUES, directory
from hypothesis import given, settings
from hypothesis import strategies as st

from ipfod.config.load import ENVIRONMENT, load_directory
from ipfod.config.model import Complaint, Failover
from ipfod.config.options import BY_KEY
from ipfod.keepalived.render import render
from ipfod.plan.conflicts import conflicts
from ipfod.plan.layout import PlanError
from ipfod.plan.model import FailoverPlan
from ipfod.plan.planning import plan_failover

SHORT, LONG = 3_000, 50_000
BATCH = 100  # directories, of 3.75 files on average; an example is a seed
ACCEPTED_SHARE = 0.4  # of the files; measured: 0.57
JUDGED_SHARE = 0.25  # of the files; what is accepted may still clash with what is beside it
JUDGES = 2
JUDGED_S = 60


class Judges:
    """Several `keepalived -t` at a time, in the network namespace that this was made in."""

    def __init__(self, where: Path) -> None:
        self._files = [prepared(where / f"judge{number}") for number in range(JUDGES)]
        self._free = list(range(JUDGES))
        self._pool = ThreadPoolExecutor(JUDGES)
        self.judged = 0

    def ask(self, plan: FailoverPlan) -> Future[str]:
        """What keepalived has against a plan, "" for nothing."""
        self.judged += 1
        return self._pool.submit(self._judge, plan)

    def _judge(self, plan: FailoverPlan) -> str:
        number = self._free.pop()
        files = self._files[number]
        try:
            text = render(plan, files)
            files.candidate.write_text(text)
            argv = ["keepalived", "-t", "-f", str(files.candidate)]
            done = subprocess.run(argv, capture_output=True, text=True, timeout=JUDGED_S)
            said = done.stdout + done.stderr
            return "" if done.returncode == 0 else f"status {done.returncode}: {said}\n{text}"
        finally:
            self._free.append(number)

    def close(self) -> None:
        self._pool.shutdown()


@pytest.fixture(scope="module")
def judges(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judges]:
    with alone():
        made = Judges(tmp_path_factory.mktemp("judges"))
        yield made
        made.close()


def helpful(complaint: Complaint, lines: dict[str, int]) -> None:
    """It names a file and a line that exist and a key, says what is wrong and what is accepted."""
    text = str(complaint)
    assert text.isprintable(), ascii(text)
    assert complaint.file in lines, text
    assert 1 <= complaint.line <= lines[complaint.file], text
    assert complaint.key, text
    assert complaint.what, text
    assert complaint.accepted, text
    assert text.startswith(f"{complaint.file}:{complaint.line}: {complaint.key}: "), text


def planned(failovers: Iterable[Failover]) -> tuple[list[FailoverPlan], list[Complaint]]:
    """What this node would run, and what is complained of."""
    plans, complaints = [], []
    for failover in failovers:
        try:
            # The interface that keepalived is told must be the file's, the addresses this node's.
            here = replace(HERE, interface=failover.interface or HERE.interface)
            plans.append(plan_failover(failover, here, {}))
        except PlanError as error:
            complaints.append(error.complaint)
    clashing = conflicts(plans)
    complaints += (each for found in clashing.values() for each in found)
    return [plan for plan in plans if plan.name not in clashing], complaints


def try_directory(random: Random, judges: Judges, seen: Counter[str]) -> list[Future[str]]:
    files, environ = directory(random)
    with TemporaryDirectory() as made:
        for each in files:
            Path(made, each.name).write_text(each.text, encoding="utf-8", newline="")
        loaded = load_directory(Path(made), environ)
    lines = {f"{made}/{each.name}": each.text.count("\n") + 1 for each in files}
    plans, complaints = planned(loaded.failovers)
    for complaint in (*loaded.complaints, *complaints):
        helpful(complaint, {**lines, ENVIRONMENT: 1})
    good = {failover.source.file for failover in loaded.failovers}
    faulty = {each.file for each in loaded.complaints if not each.warning}
    assert good | faulty == {*lines, *([ENVIRONMENT] if ENVIRONMENT in good | faulty else [])}
    assert not good & faulty
    seen["files"] += len(files)
    seen["accepted"] += len(good & lines.keys())
    seen["run"] += len(plans)
    return [judges.ask(plan) for plan in plans]


def try_files(number: int, judges: Judges) -> None:
    seen: Counter[str] = Counter()
    began = time.monotonic()

    @given(st.integers(0, 2**64))
    @settings(max_examples=number // (3 * BATCH), deadline=None)
    def batch(seed: int) -> None:
        random = Random(seed)
        asked = [each for _ in range(BATCH) for each in try_directory(random, judges, seen)]
        for each in asked:
            assert each.result() == ""

    while seen["files"] < number:
        batch()
    took_s = time.monotonic() - began
    print(f"{dict(seen)}, {judges.judged} judged by keepalived, {took_s:.1f} s")
    assert seen["accepted"] > ACCEPTED_SHARE * seen["files"], seen
    assert seen["run"] > JUDGED_SHARE * seen["files"], seen


def test_every_option_is_among_what_is_generated() -> None:
    assert VALUES.keys() == BY_KEY.keys()


def test_any_file_is_complained_of_with_what_is_accepted_or_taken_by_keepalived(judges: Judges) -> None:
    try_files(SHORT, judges)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_very_many_files(judges: Judges) -> None:
    try_files(LONG, judges)
