"""`ipfoctl help`: topics by name, the list of them, and the way to the nearest one."""

from __future__ import annotations

import pytest

from ipfod.config.options import OPTIONS
from ipfod.ctl.__main__ import main
from ipfod.ctl.topics import Topic, topics


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert main(["help", *arguments]) == code
    out, err = capsys.readouterr()
    assert (err == "") == (code == 0)
    return " ".join((err if code else out).split())


def test_without_a_topic_it_lists_all_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    listed = said(capsys).split()
    assert {topic.name for topic in topics()} <= set(listed)


@pytest.mark.parametrize("topic", topics(), ids=lambda topic: f"{topic.name}")
def test_every_topic_is_shown_with_all_of_its_text(topic: Topic, capsys: pytest.CaptureFixture[str]) -> None:
    shown = said(capsys, topic.name)
    for text in (topic.title, *topic.paragraphs, *(part for term in topic.terms for part in term)):
        assert " ".join(text.split()) in shown


def test_a_name_that_means_several_things_shows_each(capsys: pytest.CaptureFixture[str]) -> None:
    shown = said(capsys, "preemption")
    assert "ipfoctl preemption [--json]" in shown
    assert "OPENSHIFT_HA_PREEMPTION" in shown


def test_a_variable_stands_for_its_option(capsys: pytest.CaptureFixture[str]) -> None:
    for option in OPTIONS:
        if option.variable:
            assert option.help in said(capsys, option.variable)


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [
        ("monitor-port", "monitor_port"),
        ("stepdown", "step-down"),
        ("split_brain", "split-brain"),
        ("EXIT", "exit-codes"),
    ],
)
def test_an_unknown_topic_names_the_nearest(
    wrong: str, nearest: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(capsys, wrong, code=2) == (
        f"ipfoctl: {wrong}: is no known topic; the nearest known one is {nearest} "
        "-> ipfoctl help lists them all"
    )


def test_what_cannot_be_shown_upsets_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert "\x1b" not in said(capsys, "\x1b[2Jx", code=2)
