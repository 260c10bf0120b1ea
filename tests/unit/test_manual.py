"""The manual pages: judged by man and mandoc, and held against what they are made of and the documents."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from manual import interfaces, roff
from manual.pages import PAGES, pages

from ipfod.bus.authorization import Action
from ipfod.bus.errors import _NAMES, ERRORS
from ipfod.config.options import OPTIONS
from ipfod.ctl.parser import ABOUT, EXITS, command_line
from ipfod.ctl.problems import PROBLEMS
from ipfod.ctl.topics import Kind, arguments, commands, topics
from ipfod.lab import demonstration
from ipfod.node.model import ProblemCode

ROOT = Path(__file__).parents[2]
MADE = pages(ROOT, "2026-11-28")
INTERFACES = sorted((ROOT / "dbus").glob("*.xml"))
BUS_DOCUMENT = (ROOT / "docs/dbus.md").read_text()
COMMAND_DOCUMENT = (ROOT / "docs/ipfoctl.md").read_text()


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Every page as `man` shows it, on one line, once it has had no complaint."""
    directory = tmp_path_factory.mktemp("man")
    read = {}
    for name, text in MADE.items():
        (directory / name).write_text(text, encoding="ascii")
        argv = ["man", "-l", "--warnings", "-E", "UTF-8", "--nh", "--nj", str(directory / name)]
        env = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "MANWIDTH": "400", "MAN_KEEP_FORMATTING": ""}
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, env=env)
        assert (done.returncode, done.stderr) == (0, "")
        read[name] = " ".join(done.stdout.split())
    return read


@pytest.mark.parametrize("name", MADE)
def test_mandoc_has_no_complaint(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(MADE[name], encoding="ascii")
    argv = ["mandoc", "-T", "lint", "-W", "all", str(tmp_path / name)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_there_is_a_page_for_each_thing_that_has_a_name(shown: dict[str, str]) -> None:
    assert set(shown) == {"ipfod.8", "ipfoctl.1", "ipfod.toml.5", "org.ipfod.Ipfod1.5"}
    for name, text in shown.items():
        for page in PAGES:
            assert page in text or page == "{}({})".format(*name.rsplit(".", 1))


def test_every_option_is_there_with_variable_default_and_help(shown: dict[str, str]) -> None:
    for option in OPTIONS:
        variable = option.variable or "none: in .toml files only"
        terms = f"variable {variable} default {option.default} accepted {option.accepted}"
        assert f" {option.key} {option.help} {terms}" in shown["ipfod.toml.5"]


def test_every_command_and_flag_is_there_and_in_the_document(shown: dict[str, str]) -> None:
    documented = set(re.findall(r"^\| \[`([a-z-]+)`\]", COMMAND_DOCUMENT, re.MULTILINE))
    names = [parser.prog.partition(" ")[2] for parser, _ in commands(command_line())]
    assert documented == set(names)
    assert set(ABOUT) <= documented
    for parser, _ in commands(command_line()):
        assert f" {parser.prog}" in shown["ipfoctl.1"]
        assert str(parser.description) in shown["ipfoctl.1"]
        for action in arguments(parser):
            for flag in action.option_strings:
                assert f" {flag} " in shown["ipfoctl.1"]
                assert flag in COMMAND_DOCUMENT, flag
            assert " ".join((action.help or "").split()) in shown["ipfoctl.1"]


def test_lab_takes_what_the_command_line_says() -> None:
    [ours] = [parser for parser, _ in commands(command_line()) if parser.prog == "ipfoctl lab"]

    def said(parser: argparse.ArgumentParser) -> list[object]:
        return [(a.option_strings, a.metavar, a.help) for a in arguments(parser)]

    assert said(ours) == said(demonstration._parser())


def test_every_exit_code_is_there_and_in_the_document(shown: dict[str, str]) -> None:
    for code, means in EXITS:
        assert f" {code:d} {means} " in shown["ipfoctl.1"]
        assert f"\n| {code:d} | {means}" in COMMAND_DOCUMENT


def test_every_problem_is_there_and_in_the_document_in_the_same_words(shown: dict[str, str]) -> None:
    table = BUS_DOCUMENT.partition("## Problems")[2]
    rows = re.findall(r"^\| `([a-z-]+)` \| ([^|]+) \| (.+) \|$", table, re.M)
    plain = [
        tuple(re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", cell).replace("`", "") for cell in row) for row in rows
    ]
    assert plain == [(row.code, row.object, row.text) for row in PROBLEMS]
    assert {row.code for row in PROBLEMS} == set(ProblemCode)
    for row in PROBLEMS:
        assert f"{row.code} (of: {row.object}) {row.text}" in shown["ipfod.8"]
        assert re.search(rf" {row.code}[,.]", shown["org.ipfod.Ipfod1.5"])


def members() -> Iterator[tuple[str, ElementTree.Element]]:
    for file in INTERFACES:
        for interface in ElementTree.parse(file).getroot().findall("interface"):
            yield from ((interface.attrib["name"], member) for member in interface)


def test_every_member_of_the_bus_is_there_with_its_arguments(shown: dict[str, str]) -> None:
    found = list(members())
    assert len(found) > 40
    for interface, member in found:
        text = shown["org.ipfod.Ipfod1.5"].partition(f" {interface} ")[2]
        if member.tag == "property":
            assert f" {member.attrib['name']} (property, {member.attrib['type']}) " in text
        else:
            assert re.search(rf" {member.attrib['name']}\([^)]*\)[^()]*\({member.tag}\) ", text)
            for arg in member.findall("arg"):
                assert f"{arg.attrib['type']} {arg.attrib['name']}" in text


def test_every_member_of_the_bus_is_in_the_document() -> None:
    for interface, member in members():
        section = BUS_DOCUMENT.partition(f"\n## {interface}\n")[2].partition("\n## ")[0]
        name = member.attrib["name"]
        assert re.search(rf"`{name}[(`]", section), f"{interface}: {name}"


def test_every_error_and_permission_is_there_and_in_the_document(shown: dict[str, str]) -> None:
    assert set(_NAMES.values()) <= {name for name, _ in ERRORS}
    for name, means in ERRORS:
        assert f" {name} {means} " in shown["org.ipfod.Ipfod1.5"]
        assert f"`{name}`" in BUS_DOCUMENT or f"`{name.rpartition('.')[2]}`" in BUS_DOCUMENT
    [permissions] = [topic for topic in topics() if topic.name == "permissions"]
    assert {name for name, _ in permissions.terms} == set(Action)


def test_the_grammar_is_that_of_the_document(shown: dict[str, str]) -> None:
    [grammar] = [topic for topic in topics() if topic.name == "grammar"]
    document = (ROOT / "docs/configuration.md").read_text().partition("## The grammar")[2]
    assert [f"`{term}`" for term, _ in grammar.terms] == re.findall(r"^\| [^|]+ \| (`\S+`) \|", document, re.M)


def test_every_topic_is_in_a_page(shown: dict[str, str]) -> None:
    everything = " ".join(shown.values()).lower()
    for topic in topics():
        if topic.kind is Kind.CONCEPT and topic.name != "exit-codes":
            assert topic.title.lower() in everything
        for paragraph in topic.paragraphs:
            assert " ".join(paragraph.split()).lower() in everything


def test_the_pages_need_the_standard_library_alone(tmp_path: Path) -> None:
    """They are made where the package is built, and nothing that ipfod needs has to be there."""
    env = {"PYTHONPATH": f"{ROOT / 'packaging'}:{ROOT}", "SOURCE_DATE_EPOCH": "0", "PATH": os.environ["PATH"]}
    argv = [sys.executable, "-S", "-B", "-m", "manual", str(tmp_path)]
    subprocess.run(argv, check=True, timeout=60, env=env)
    assert {file.name for file in tmp_path.iterdir()} == set(MADE)
    assert '"1970-01-01"' in (tmp_path / "ipfod.8").read_text()


@pytest.mark.parametrize("text", [".TH x", "'br", r"a\fBb\n", '"quoted" `x^~', "-1 \u2013 \u2026", "\\&.x"])
def test_text_is_shown_as_it_is(text: str, tmp_path: Path) -> None:
    page = tmp_path / "x.1"
    head = [*roff.title("X", 1, "2026-11-28", "0"), *roff.section("name"), "x \\- y", *roff.section("text")]
    page.write_text("\n".join([*head, *roff.lines(text), *roff.example(text), ""]), encoding="ascii")
    done = subprocess.run(
        ["mandoc", "-T", "utf8", str(page)], capture_output=True, text=True, timeout=60, check=True
    )
    lines = re.sub(".\b", "", done.stdout).splitlines()
    assert len([line for line in lines if line.strip() == text]) == 2


@pytest.mark.parametrize("comment", ["", "<!-- Other: x -->", "<!-- Go:\n@nothing: x\n\nText. -->"])
def test_a_member_without_its_comment_is_refused(comment: str, tmp_path: Path) -> None:
    file = tmp_path / "x.xml"
    about = "<!-- org.x\n@short_description: y -->"
    file.write_text(f'<node>{about}<interface name="org.x">{comment}<method name="Go"/></interface></node>')
    with pytest.raises(interfaces.Undocumented, match="Go"):
        interfaces.described([file])
