"""Lines of keys and errors in TOML files, against tomllib as the judge of what is TOML."""

from __future__ import annotations

import json
import time
import tomllib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ipfod.config import toml
from ipfod.config.reading import UNREADABLE, Complaints, Reading


def read(text: str) -> tuple[Reading, list[str]]:
    complaints = Complaints("web.toml")
    reading = toml.read(text, complaints)
    return reading, [str(complaint) for complaint in complaints.in_line_order()]


def holds_table(value: object) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(map(holds_table, value)))


# Pieces that look like the ends of what they stand in.
NASTY = st.text(" ab#[]{}=,.'\"\\\t", max_size=8)
COMMENTS = st.one_of(st.just(""), NASTY.map(lambda text: f" # {text}"))


def multi_line(quote: str) -> st.SearchStrategy[str]:
    """Strings of three quotes, with line ends, single quotes and what else may be in them."""
    parts = st.lists(
        st.sampled_from(["\n", "a", "#", "[", "]", "{", "}", "= 1", quote + "b", quote * 2 + "b"]), max_size=6
    )
    escapes = ["\\\\", '\\"', "\\n", "\\\n  "] if quote == '"' else ["\\"]
    ends = st.sampled_from(["", quote, quote * 2])
    body = st.tuples(parts.map("".join), st.sampled_from(["", *escapes]), st.just("c"), ends).map("".join)
    return body.map(lambda text: quote * 3 + text + quote * 3)


SCALARS = st.one_of(
    st.integers(-1000, 1000).map(str),
    st.sampled_from(["true", "1.5", "1979-05-27", "inf", '""', "''", '""""""', "''''''"]),
    NASTY.map(json.dumps),
    NASTY.map(lambda text: "'" + text.replace("'", "") + "'"),
    multi_line('"'),
    multi_line("'"),
)


@st.composite
def arrays(draw: st.DrawFn) -> str:
    """Arrays over several lines, with comments between the values."""
    items = draw(st.lists(st.one_of(SCALARS, st.just("[]"), st.just("[ [1], ['#'] ]")), max_size=4))
    lines = [f"  {item},{draw(COMMENTS)}\n" for item in items]
    return f"[{draw(COMMENTS)}\n" + "".join(lines) + "]"


@st.composite
def documents(draw: st.DrawFn) -> str:
    """Valid documents without tables."""
    text = ""
    for number in range(draw(st.integers(0, 6))):
        key = draw(st.sampled_from([f"k{number}", f'"k {number}"', f"'#{number}'", f'"\\u0041={number}"']))
        text += draw(st.sampled_from(["", "\n", "# = [\n", " \t\n"]))
        text += (
            f"{draw(st.sampled_from(['', ' ']))}{key} = {draw(st.one_of(SCALARS, arrays()))}{draw(COMMENTS)}\n"
        )
    return text if draw(st.booleans()) else text.removesuffix("\n")


@settings(deadline=None, max_examples=200)
@given(documents())
def test_a_valid_file_gives_the_values_of_tomllib_and_the_line_of_each_key(text: str) -> None:
    expected = tomllib.loads(text)
    reading, complaints = read(text)
    assert complaints == []
    assert reading.complete
    assert {setting.key: repr(setting.value) for setting in reading.settings} == {
        k: repr(v) for k, v in expected.items()
    }
    lines = text.split("\n")
    for index, setting in enumerate(reading.settings):
        # What stands before a key's line is a document of its own, with exactly the keys before this one.
        before = tomllib.loads("\n".join(lines[: setting.line - 1]))
        assert list(before) == [earlier.key for earlier in reading.settings[:index]]
        assert lines[setting.line - 1].strip(" \t")[:1] not in {"", "#"}


@settings(deadline=None, max_examples=300)
@given(
    st.lists(
        st.sampled_from(
            [*"ab1=.,[]{}#'\"\\ \n\r\t\x01", '"""', "'''", "a=1\n", "b='x'\n", "[a]\n", "\u00a0", "é"]
        )
    ).map("".join)
)
@example("a = 1 b = 2")
@example("# \u00a0")
@example("a = {}")
@example("a = [{b = 1}]")
@example("a = '''\n''''")
@example("a = '''\n'''''\nb = 1")
@example('a = """\\\n"""""\nb = 1')
@example("a = ['''x'''']\nb = 1")
@example('a = ["""x""""]\nb = 1')
@example("a=1\r\n")
@example("\r\r\n")
def test_any_text_is_read_as_tomllib_reads_it_or_complained_of(text: str) -> None:
    reading, complaints = read(text.replace("\r\n", "\n"))
    try:
        expected = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        assert complaints
        return
    if any(map(holds_table, expected.values())):
        assert complaints
    else:
        assert complaints == []
        assert {setting.key: setting.value for setting in reading.settings} == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = 1\nvirtual_ips = 10.0.0.1\n", "web.toml:2: virtual_ips: is not TOML: "),
        ('a = 1\n\nb = """\n\n"""\nname = "x\n', "web.toml:6: name: is not TOML: "),
        ("nodes = [\n  1,\n  2\n  3\n]", "web.toml:4: nodes: is not TOML: "),
        ("\n\nwhat is this", "web.toml:3: syntax: is not TOML: "),
        ("a = 1\n[web]\nb = 2", "web.toml:2: web: is a section; one file is one failover"),
        ("a = 1\n[[web]]\n", "web.toml:2: web: is a section; "),
        ("\nweb.name = 'x'", "web.toml:2: web: is a dotted key; "),
        ("web = {name = 'x'}", "web.toml:1: web: is a table; "),
        ("nodes = [{a = 1}]", "web.toml:1: nodes: is a table; "),
        ("a = 1\nb = 2\n'a' = 3", "web.toml:3: a: is set twice, first on line 1; each key once"),
        ("a = " + "[" * 100000, "web.toml:1: a: is nested too deeply; "),
        ("a = " + "1" * 5000, "web.toml:1: a: has a value that is too long; "),
        ('"a\\nb" = 10.0.0.1', 'web.toml:1: "a\\nb": is not TOML: '),
    ],
)
def test_what_cannot_be_read_is_complained_of_with_its_line(text: str, expected: str) -> None:
    _, (complaint,) = read(text)
    assert complaint.startswith(expected)


def test_one_bad_statement_hides_no_other() -> None:
    reading, complaints = read("a = 1\nb = oops]\nc = 3\nd = 'x\ne = 5\na = 6\n")
    expected = [("a", 1, 1), ("b", UNREADABLE, 2), ("c", 3, 3), ("d", UNREADABLE, 4), ("e", 5, 5)]
    assert [(setting.key, setting.value, setting.line) for setting in reading.settings] == expected
    assert [complaint.split(": ")[0] for complaint in complaints] == ["web.toml:2", "web.toml:4", "web.toml:6"]
    assert reading.complete


@pytest.mark.parametrize("text", ["what is this\n", "a = [\nb = 1\n", 'a = """\nb = 1\n', "[web]\nb = 1\n"])
def test_a_file_with_parts_that_no_key_is_known_of_is_not_complete(text: str) -> None:
    assert not read(text)[0].complete


@pytest.mark.parametrize(
    "text",
    [
        "a." * 400_000 + "a = 1",
        "a = " + "{a = " * 200_000,
        '"' + "\\a" * 400_000 + '" = 1',
        'a = "' + "\\" * 900_000,
        "[" * 1_000_000,
        "'''" * 300_001,
        '"\\""' * 200_000,
        "a = [\n" * 150_000,
    ],
)
def test_a_hostile_file_of_a_megabyte_is_refused_within_seconds(text: str) -> None:
    started = time.monotonic()
    _, complaints = read(text)
    assert time.monotonic() - started < 10
    assert complaints
    assert max(map(len, complaints)) < 2000
