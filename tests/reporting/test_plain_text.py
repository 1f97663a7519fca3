"""Texts of unknown origin: nothing of them reaches the terminal that is no plain character."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expedition.reporting.fitting import text_width
from expedition.reporting.plain_text import fold, log_line, plain, plain_lines, printable_json


@given(st.text())
def test_all_is_printable(text: str) -> None:
    assert plain(text).isprintable()
    assert log_line(text).isprintable()
    assert all(line.isprintable() for line in plain_lines(text))


def test_what_cannot_be_seen_is_written_out() -> None:
    assert plain("a\nb\t\x1b[2J\x9b\u202e\U000e0001ü🎉") == "a\\nb\\t\\x1b[2J\\x9b\\u202e\\U000e0001ü🎉"
    assert plain("שלום") == "שלום"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("\x1b[1;31mred\x1b[0m and \x1b[Kplain", "red and plain"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b31mred", "red"),
        ("10 %\r50 %\r100 %", "100 %"),
        ("windows\r", "windows"),
        ("a\tb", "a       b"),
        ("bell\x07", "bell\\x07"),
        ("turned \u202etxt", "turned \\u202etxt"),
        ("\x1b", ""),
    ],
)
def test_lines_of_a_log_are_as_a_terminal_would_leave_them(line: str, shown: str) -> None:
    assert log_line(line) == shown


@given(st.text(st.characters(exclude_categories=["C", "Z"], include_characters=" ")), st.integers(2, 20))
def test_folding_fits_and_loses_nothing(text: str, width: int) -> None:
    lines = list(fold(text, width))
    assert all(text_width(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_folding_breaks_at_blanks() -> None:
    assert list(fold("one two three", 8)) == ["one two", "three"]
    assert list(fold("abcdefghij", 4)) == ["abcd", "efgh", "ij"]
    assert list(fold("漢字漢字", 5)) == ["漢字", "漢字"]
    assert list(fold("one two three", None)) == ["one two three"]


@given(st.dictionaries(st.text(), st.text()))
def test_json_keeps_its_meaning(content: dict[str, str]) -> None:
    text = printable_json(json.dumps(content, ensure_ascii=False, indent=1))
    assert json.loads(text) == content
    assert all(c == "\n" or c.isprintable() for c in text)
