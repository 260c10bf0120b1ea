"""What the benchmark writes: the table, bench.json and the plot."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree

import pytest
from bench import document, svg, table
from bench.model import Limit, Report, Row, Series
from bench_rows import row

LOST = row(
    [249.0, 251.5, 301.0],
    [250.0, 252.0, 300.0],
    [3224.0],
    limit=Limit(at_most=400.0, ratio=1.05),
    theory=305.5,
    notes=("a note",),
)
MEMORY = Row("memory", "memory", "255 x 16", "MiB", (Series("ipfod", (65.25,)),), Limit(at_most=64.0))
REPORT = Report(("Linux 6", "2 CPUs"), 3, (LOST, MEMORY))
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.1234, "0.12"), (5.978, "5.98"), (10.04, "10.0"), (99.96, "100.0"), (3224.4, "3224")],
)
def test_numbers_have_the_digits_that_count(value: float, text: str) -> None:
    assert table.number(value) == text


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        (Limit(), "-"),
        (Limit(at_most=0.0), "≤ 0"),
        (Limit(at_most=400.0, ratio=1.05), "≤ 400, ≤ 1.05 x plain"),
        (Limit(at_most=15.0, ratio=1.05, relative=True), "≤ 15 or ≤ 1.05 x plain"),
        (Limit(at_most=5.0, typical=True), "≤ 5 (median)"),
    ],
)
def test_limits_are_told_in_words(limit: Limit, text: str) -> None:
    assert table.limit(row([1.0], limit=limit)) == text


def test_the_table_has_a_line_for_each_row_and_the_notes_below() -> None:
    head, lost, memory, blank, note = table.text(REPORT.rows)
    assert head.split() == list(table.HEAD)
    assert "249 / 252 / 301" in lost
    assert "3224 / 3224 / 3224" in lost
    assert lost.endswith("  1.00  ≤ 400, ≤ 1.05 x plain  ok")
    assert head.index("LIMIT") == lost.index("≤ 400") == memory.index("≤ 64")
    assert memory.endswith("SHORT: 65.25 > 64 MiB")
    assert (blank, note) == ("", "node lost (1 x 1): a note")
    assert len(table.text([MEMORY])) == 2


def test_the_table_for_documents_is_markdown() -> None:
    lines = table.markdown(REPORT).splitlines()
    assert {line.count("|") for line in lines[:4]} == {len(table.HEAD) + 1}
    assert lines[0].startswith("| scenario | size |")
    assert lines[2].startswith("| node lost | 1 x 1 | ms | 306 | 250 / 252 / 300 |")
    assert lines[4:] == ["", "- node lost (1 x 1): a note"]


def test_the_document_comes_back_as_it_was() -> None:
    text = document.dump(REPORT)
    assert document.load(text) == REPORT
    rows = json.loads(text)["rows"]
    assert [entry["verdict"] for entry in rows] == ["ok", "SHORT: 65.25 > 64 MiB"]
    assert rows[0]["samples"]["ipfod"] == [249.0, 251.5, 301.0]


def test_a_document_of_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match="format 2, not 1"):
        document.load('{"format": 2}')


def test_the_scale_is_logarithmic_and_nothing_leaves_the_plot() -> None:
    left, right = svg.position(svg.LOW_MS), svg.position(svg.HIGH_MS)
    assert left == svg.LEFT
    assert right == pytest.approx(svg.WIDTH - svg.RIGHT)
    assert svg.position(100.0) == pytest.approx((left + right) / 2)
    assert svg.position(0.0) == left
    assert svg.position(1e9) == right


def test_the_plot_has_a_bar_for_each_system_of_an_outage_and_nothing_else() -> None:
    text = svg.plot(REPORT.rows, title="Outages <of> VIPs")
    root = ElementTree.fromstring(text)
    assert root.findtext(f"{SVG}title") == "Outages <of> VIPs"
    legend, *bars = (one for one in root.iter(f"{SVG}rect") if float(one.attrib["x"]) == svg.LEFT)
    assert legend.attrib["class"] == "plain"
    assert [one.attrib["class"] for one in bars] == ["plain", "original", "ipfod"]
    texts = [one.text for one in root.iter(f"{SVG}text")]
    assert "252 ms" in texts
    assert "node lost, 1 x 1" in texts
    assert not any("memory" in (one or "") for one in texts)
    assert "prefers-color-scheme: dark" in text


def test_an_outage_of_nothing_is_still_seen() -> None:
    root = ElementTree.fromstring(svg.plot([row([0.0])], title="none"))
    [bar] = [one for one in root.iter(f"{SVG}rect") if one.attrib["class"] == "ipfod"][1:]
    assert float(bar.attrib["width"]) > 0
    assert "0" in [one.text for one in root.iter(f"{SVG}text")]
