"""Outlines and tables for notebooks: HTML without scripts, in which every text is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from expedition.trajectory.reading.outline import Entry

_FRAME = "font-family: sans-serif; font-size: 90%"
_TABLE = "border-collapse: collapse; margin: 0.2em 0 0.4em 1em"
_CELL = "text-align: left; padding: 0.1em 0.8em 0.1em 0; vertical-align: top"
_QUIET = "color: gray"


def outline_html(title: str, entries: Sequence[Entry], facts: Iterable[tuple[str, str]] = ()) -> str:
    """Return an outline as nested ``<details>``, the outermost open; `facts` stand above it."""
    inside = "".join(_entry(entry, is_open=True) for entry in entries)
    return _framed(title, _rows(facts) + inside)


def values_html(
    title: str,
    sections: Iterable[tuple[str, Sequence[tuple[str, str]], int]],
    facts: Iterable[tuple[str, str]] = (),
) -> str:
    """Return sections of names and values, each with the number of those that are not shown."""
    inside = "".join(
        f"<details open><summary>{escape(name)}</summary>{_rows(pairs)}{_hidden(hidden)}</details>"
        for name, pairs, hidden in sections
        if pairs
    )
    return _framed(title, _rows(facts) + inside)


def table_html(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]], hidden: int = 0) -> str:
    """Return a table of texts, with the number of rows that are not shown."""
    head = "".join(f'<th style="{_CELL}">{escape(text)}</th>' for text in heads)
    return _framed(
        title,
        f'<table style="{_TABLE}"><thead><tr>{head}</tr></thead><tbody>'
        + "".join(_row(row) for row in rows)
        + f"</tbody></table>{_hidden(hidden)}",
    )


def _framed(title: str, inside: str) -> str:
    return f'<div style="{_FRAME}"><strong>{escape(title)}</strong>{inside}</div>'


def _entry(entry: Entry, *, is_open: bool) -> str:
    if entry.kind:
        return _leaves([entry])
    inside = ""
    leaves: list[Entry] = []
    for child in entry.entries:
        if child.kind:
            leaves.append(child)
            continue
        inside += _leaves(leaves) + _entry(child, is_open=False)
        leaves = []
    inside += _leaves(leaves) + _hidden(entry.hidden)
    opened = " open" if is_open else ""
    unit = f" [{escape(entry.unit)}]" if entry.unit else ""
    said = f' <span style="{_QUIET}">{escape(entry.comment)}</span>' if entry.comment else ""
    summary = f"<summary>{escape(entry.name)}{unit}{said}</summary>"
    return f'<details{opened} style="margin-left: 1em">{summary}{inside}</details>'


def _leaves(entries: Sequence[Entry]) -> str:
    if not entries:
        return ""
    rows = (
        (entry.name, f"{entry.kind} [{entry.unit}]" if entry.unit else entry.kind, entry.brief, entry.comment)
        for entry in entries
    )
    return f'<table style="{_TABLE}">{"".join(map(_row, rows))}</table>'


def _rows(pairs: Iterable[tuple[str, str]]) -> str:
    rows = "".join(map(_row, pairs))
    return f'<table style="{_TABLE}">{rows}</table>' if rows else ""


def _row(cells: Iterable[str]) -> str:
    inside = "".join(f'<td style="{_CELL}">{escape(cell)}</td>' for cell in cells)
    return f"<tr>{inside}</tr>"


def _hidden(count: int) -> str:
    return f'<div style="{_QUIET}">… {count:,} more</div>' if count else ""
