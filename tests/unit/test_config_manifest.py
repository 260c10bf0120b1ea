"""Manifests are read as the text that stands there, with lines, and nothing in them can do harm."""

from __future__ import annotations

import time

import pytest

from ipfod.config.manifest import DEPTH_MAX, MANIFEST_MAX, VALUES_MAX, Fields, Items, Scalar, Unreadable, read

HARM_S = 20.0  # the slowest of what follows takes 1.5 s on two busy cores


def refused(text: str | bytes) -> Unreadable:
    with pytest.raises(Unreadable) as caught:
        read(text if isinstance(text, bytes) else text.encode())
    assert str(caught.value.what).isprintable()
    return caught.value


@pytest.mark.parametrize(
    "written", ["80", "080", "0x50", "1_000", "true", "yes", "1.10", "12:30", "2001-01-01", ".inf", "1.1.1.1-2"]
)
def test_a_value_is_the_text_that_was_written(written: str) -> None:
    assert read(f"- {written}\n- '{written}'\n- !!str {written}\n".encode()) == (
        Items((Scalar(written, 1), Scalar(written, 2), Scalar(written, 3)), 1),
    )


@pytest.mark.parametrize("null", ["", "~", "null", "Null", "NULL"])
def test_a_null_is_empty_unless_it_is_in_quotes(null: str) -> None:
    assert read(f"- {null}\n- '{null}'\n".encode()) == (Items((Scalar("", 1), Scalar(null, 2)), 1),)


def test_keys_and_values_know_their_lines() -> None:
    [document] = read(b"# comment\na: 1\n\nb:\n  - x\n  - y\n")
    assert document == Fields(
        {"a": Scalar("1", 2), "b": Items((Scalar("x", 5), Scalar("y", 6)), 5)}, {"a": 2, "b": 4}, 2
    )


def test_documents_come_one_by_one_and_empty_ones_not_at_all() -> None:
    assert read(b"---\n---\na\n---\n# nothing\n---\nb\n...\n") == (Scalar("a", 3), Scalar("b", 7))
    assert read(b"") == ()


def test_json_is_yaml() -> None:
    [document] = read(b'{"a": ["b", 1, true, null, "\\u00e9"]}')
    assert isinstance(document, Fields)
    assert document.fields["a"] == Items(tuple(Scalar(text, 1) for text in ("b", "1", "true", "", "é")), 1)


def test_a_byte_order_mark_and_windows_line_ends_do_not_matter() -> None:
    assert read("\ufeffa: b\r\nc: d\r\n".encode()) == read(b"a: b\nc: d\n")


def test_a_key_that_is_set_twice_is_refused_with_both_lines() -> None:
    fault = refused("a: 1\nb: 2\na: 3\n")
    assert (fault.line, fault.what) == (3, 'sets "a" twice, first on line 1')


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("a: [1, 2\nb: 3\n", 2, "is not YAML"),
        ("name: web\n  spec:\n", 2, "is not YAML"),
        ("a: b\n\tc: d\n", 2, "is not YAML"),
        ('a: "\\UFFFFFFFF"\n', 1, "too large"),
        ("%YAML 1." + "1" * 5000 + "\n--- a\n", 1, "too large"),
        ("a\n\x00b", 2, "does not allow"),
        (b"a: b\nc: \xff\n", 2, "0xff"),
        ("? [a]\n: b\n", 1, "for a key"),
        ("a: !!python/object/apply:os.getcwd []\n", 1, "tag"),
        ("a: !!binary aGk=\n", 1, "tag"),
        ("a: !mine b\n", 1, "tag"),
        ("a: &x 1\nb: *x\n", 2, "anchor"),
    ],
)
def test_what_is_no_plain_manifest_is_refused_with_its_line(text: str | bytes, line: int, word: str) -> None:
    fault = refused(text)
    assert fault.line == line
    assert word in fault.what


BILLION_LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{after}: &{after} [{', '.join(['*' + before] * 9)}]\n"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)
FULL = MANIFEST_MAX  # bytes: as much of the same as a file may have


@pytest.mark.parametrize(
    "text",
    [
        BILLION_LAUGHS,
        "&a [*a]",
        "&a {*a : *a}",
        "[" * FULL,
        "{a: " * (FULL // 4),
        "- " * (FULL // 2),
        "? " * (FULL // 2),
        "- a\n" * (FULL // 4),
        "---\n" * (FULL // 4),
        "".join(f"k{number}: v\n" for number in range(FULL // 12)),
        "a" * (FULL + 1),
    ],
    ids=[
        "laughs",
        "loop",
        "loop-key",
        "lists",
        "maps",
        "items",
        "questions",
        "flat",
        "documents",
        "keys",
        "size",
    ],
)
def test_bombs_are_refused_before_they_cost_much(text: str) -> None:
    began = time.monotonic()
    refused(text)
    assert time.monotonic() - began < HARM_S


def test_the_bounds_themselves_are_allowed() -> None:
    assert read(b"[" * DEPTH_MAX + b"]" * DEPTH_MAX)
    assert refused("[" * (DEPTH_MAX + 1)).what == "is nested too deeply"
    [document] = read(b"- a\n" * (VALUES_MAX - 1))
    assert isinstance(document, Items)
    assert len(document.items) == VALUES_MAX - 1
    assert read(b"a" * MANIFEST_MAX)
