"""What docs/monitoring* says: its files, the metrics that they name; promtool judges, if it is installed."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs/monitoring.md"
CONFIGURATION = ROOT / "docs/monitoring/prometheus.yml"
ALERTS = ROOT / "docs/monitoring/alerts.yml"
DASHBOARD = ROOT / "docs/monitoring/grafana.json"
FILES = (DOCUMENT, CONFIGURATION, ALERTS, DASHBOARD)
# Said to be another exporter's.
FOREIGN = {"keepalived_vrrp_excluded_state"}

families: Callable[[str], Iterable[Metric]] = text_string_to_metric_families


def named(path: Path) -> set[str]:
    """The metrics that a file names."""
    return set(re.findall(r"\b(?:keepalived|ipfod)_[a-z_]+\b", path.read_text())) - FOREIGN


def exported(text: str) -> set[str]:
    """The names that queries can use after a scrape: of samples, and of a histogram as a whole."""
    found = list(families(text))
    histograms = {family.name for family in found if family.type == "histogram"}
    return histograms | {sample.name for family in found for sample in family.samples}


def ask_promtool(*question: str, stdin: str = "", directory: Path = ROOT) -> None:
    """Have `promtool` judge too, where there is one; what it complains of fails."""
    if (promtool := shutil.which("promtool")) is None:
        return
    done = subprocess.run(
        [promtool, *question], input=stdin, cwd=directory, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, f"{question}: {done.stdout}{done.stderr}"
