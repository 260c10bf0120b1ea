"""docs/monitoring*: the files are what Prometheus and Grafana read, and name what there is and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from monitoring import ALERTS, CONFIGURATION, DASHBOARD, DOCUMENT, FILES, ROOT, ask_promtool, exported, named
from plans import planned
from prometheus_client import CollectorRegistry, generate_latest

from ipfod.metrics.collector import NodeCollector
from ipfod.metrics.listen import VARIABLE, parse
from ipfod.metrics.snapshot import snapshot
from ipfod.metrics.tally import Tally
from ipfod.node.events import PlanApplied
from ipfod.node.model import ProblemCode
from ipfod.node.node import Node

ALERT_TESTS = Path(__file__).with_name("alerts.yml")
LABELS = {"job", "instance", "iname", "ip_address", "code"}


def scraped() -> str:
    node = Node("node1")
    node.apply(PlanApplied(planned('name = "web"\nvirtual_ips = "10.1.0.1"')), 1)
    registry = CollectorRegistry()
    registry.register(NodeCollector(lambda: snapshot(node, Tally())))
    return generate_latest(registry).decode()


def rules() -> list[dict[str, Any]]:
    [group] = yaml.safe_load(ALERTS.read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def targets() -> Iterator[dict[str, Any]]:
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        yield from panel["targets"]


# ---------------------------------------------------------------- names


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_metric_that_is_named_exists(path: Path) -> None:
    assert named(path) <= exported(scraped())


def test_the_table_has_every_metric_with_its_labels() -> None:
    rows = re.findall(r"^\| `([a-z_]+)` \| ([^|]*) ?\|", DOCUMENT.read_text(), re.MULTILINE)
    table = {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}
    node = {
        name: set(re.findall(r'(\w+)="', labels)) - {"le"}
        for name, labels in re.findall(r"^([a-z_]+)(?:\{(.*)\})? \S+$", scraped(), re.MULTILINE)
    }
    told = {re.sub("_(bucket|count|sum)$", "", name): labels for name, labels in node.items()}
    assert table == told


def test_the_dashboard_shows_every_metric() -> None:
    bare = {re.sub("_(bucket|count|sum)$", "", name) for name in exported(scraped())}
    assert bare == {re.sub("_(bucket|count|sum)$", "", name) for name in named(DASHBOARD)}


def test_every_problem_has_its_row_in_the_documentation() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| [^|]+ \|", (ROOT / "docs/dbus.md").read_text(), re.MULTILINE)
    assert {str(code) for code in ProblemCode} <= set(rows)


def test_the_values_that_are_shown_are_accepted() -> None:
    for path in (DOCUMENT, ROOT / "packaging/ipfod.sysconfig"):
        shown = re.findall(rf"^ *#?{VARIABLE}=(\S+)$", path.read_text(), re.MULTILINE)
        assert shown, path
        for value in shown:
            parse(value)
    for value in re.findall(r"`(\S+:9650)`", DOCUMENT.read_text()):
        parse(value)


# ---------------------------------------------------------------- Prometheus


def test_the_example_configuration_scrapes_nodes_and_has_the_rules() -> None:
    document = yaml.safe_load(CONFIGURATION.read_text())
    assert document["rule_files"] == [ALERTS.name]
    [job] = document["scrape_configs"]
    assert job["job_name"] == "ipfod"
    [static] = job["static_configs"]
    assert len({parse(target) for target in static["targets"]}) == 3
    ask_promtool("check", "config", str(CONFIGURATION))


def test_each_rule_says_what_is_and_what_to_do() -> None:
    for rule in rules():
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}, rule
        assert rule["labels"]["severity"] in {"critical", "warning"}
        annotations = rule["annotations"]
        assert set(annotations) == {"summary", "description"}
        assert re.search('"(ipfoctl|systemctl) ', annotations["description"]), rule["alert"]
        used = set(re.findall(r"\$labels\.(\w+)", "".join(annotations.values())))
        assert used <= LABELS, rule["alert"]
    ask_promtool("check", "rules", str(ALERTS))


def test_the_table_of_alerts_is_that_of_the_rules() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (critical|warning) \|", DOCUMENT.read_text(), re.MULTILINE)
    assert rows == [(rule["alert"], rule["labels"]["severity"]) for rule in rules()]


def test_each_rule_speaks_when_it_should_and_is_silent_otherwise() -> None:
    """The cases are for promtool; that there is one for each rule is seen without it."""
    cases = yaml.safe_load(ALERT_TESTS.read_text())["tests"]
    [silence] = [case for case in cases if case["name"] == "a move is no alarm"]
    names = {rule["alert"] for rule in rules()}
    assert {test["alertname"] for test in silence["alert_rule_test"]} == names
    expected = [
        sample["labels"]
        for case in cases
        for test in case.get("promql_expr_test", ())
        for sample in test["exp_samples"]
    ]
    assert {found for labels in expected for found in re.findall(r'alertname="(\w+)"', labels)} == names
    ask_promtool("test", "rules", ALERT_TESTS.name, directory=ALERT_TESTS.parent)


def test_promtool_has_nothing_to_say_against_a_scrape() -> None:
    assert scraped().endswith("\n")
    ask_promtool("check", "metrics", stdin=scraped())


# ---------------------------------------------------------------- Grafana


def test_the_dashboard_asks_the_data_source_that_is_chosen() -> None:
    board = json.loads(DASHBOARD.read_text())
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    asked = [panel["datasource"] for panel in board["panels"]] + [target["datasource"] for target in targets()]
    assert {(source["type"], source["uid"]) for source in asked} == {("prometheus", "${datasource}")}
    used = set(re.findall(r"\$\{?(\w+)", DASHBOARD.read_text())) - {"__rate_interval", "__all"}
    assert used == set(variables)
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    assert "state-timeline" in {panel["type"] for panel in board["panels"]}


def test_the_queries_of_the_dashboard_are_ones_of_prometheus(tmp_path: Path) -> None:
    queries = [re.sub(r"\$__rate_interval", "1m", target["expr"]) for target in targets()]
    assert len(queries) > 8
    for left, right in ("()", "{}", "[]"):
        assert [query for query in queries if query.count(left) != query.count(right)] == []
    recorded = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries)]
    rule_file = tmp_path / "queries.yml"
    rule_file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": recorded}]}))
    ask_promtool("check", "rules", str(rule_file))
