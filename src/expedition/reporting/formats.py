"""Columns and rows as a table for the terminal, JSON, CSV, Markdown or LaTeX."""

from __future__ import annotations

import json
import re
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from expedition.errors import ExperimentError, near_matches
from expedition.reporting.cells import (
    GAP,
    RIGHT,
    Done,
    WithN,
    amount,
    format_cell,
    format_column,
    is_number,
    json_cell,
)
from expedition.reporting.csv_text import PART, csv_parts
from expedition.reporting.fitting import cut, cut_front, fit, is_plain, text_width, widest
from expedition.reporting.format_names import FORMATS
from expedition.reporting.latex import latex_cell, latex_table
from expedition.reporting.markdown import escape_markdown, markdown_table
from expedition.reporting.plain_text import printable_json
from expedition.trajectory.statistics import Interval

__all__ = [
    "FORMATS",
    "Columnar",
    "Table",
    "check_format",
    "dump_json",
    "render_each",
    "render_table",
    "render_tables",
    "wrapped",
]


class Columnar(Sequence[Mapping[str, object]]):
    """Rows that give all cells of a column at once, which for a long table takes less than one by one."""

    @abstractmethod
    def column(self, name: str) -> list[object]:
        """Return the cells of one column, None where a row lacks it."""


@dataclass(frozen=True)
class Table:
    """Rows under columns, with what is said above and below them.

    Attributes
    ----------
    rows : one mapping per row; what a row lacks is shown as ``–``.
    columns : the keys to show, in order.
    title : a line above. notes : lines below.
    headers : what to call columns, where not by their keys.
    drop : the columns that a narrow terminal goes without, the first of them first.
    whole : columns of texts that are of no use when they are cut.
    best : per column of numbers ``"low"`` or ``"high"``: which value LaTeX has in bold. unranked : rows that do not
        count for that.
    max_width : characters of a cell at most, however wide the terminal is.
    gap_at : the row before which a line of ``…`` says that some are left out.
    """

    columns: Sequence[str]
    rows: Sequence[Mapping[str, object]]
    title: str = ""
    notes: Sequence[str] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    drop: Sequence[str] = ()
    whole: Sequence[str] = ("run", "last run")
    best: Mapping[str, str] = field(default_factory=dict)
    unranked: Collection[int] = ()
    max_width: int | None = None
    gap_at: int | None = None

    def column(self, name: str) -> list[object]:
        """Return the cells of one column, None where a row lacks it."""
        if isinstance(self.rows, Columnar):
            return self.rows.column(name)
        return [row.get(name) for row in self.rows]


def render_table(
    rows: Sequence[Mapping[str, object]],
    columns: Sequence[str],
    *,
    format: str = "table",  # the name users know from --archive-format
    headers: Mapping[str, str] | None = None,
    max_width: int | None = None,
    width: int | None = None,
    drop: Sequence[str] = (),
) -> str:
    """Render rows as a table for a terminal, as JSON, CSV, Markdown or LaTeX.

    - ``table``: numbers are aligned at the decimal point; None and what a row lacks is ``–``.
    - ``json``: an array of one object per row, strict (NaN and other values outside of JSON in the tagged form of
      :func:`expedition.values.encode`), without the keys a row lacks.
    - ``csv``: RFC 4180 with a header, but with lines that end in LF; times as ISO 8601, missing values empty, lists and
      the like as JSON. A text that a spreadsheet would take for a formula has an apostrophe in front.
    - ``markdown``, ``latex``: as the table, with the signs escaped that mean something there.

    :param rows: one mapping per row.
    :param columns: the keys to show, in order.
    :param headers: what to call columns for people, where not by their keys.
    :param max_width: characters of a cell at most, for people; longer text is cut and ends in ``…``.
    :param width: columns of the terminal that the lines of ``table`` have to fit in; None for any.
    :param drop: the columns that a narrow terminal goes without, the first of them first.
    :raises ExperimentError: for another format.
    :raises UnstorableError: for a value that JSON cannot hold exactly.
    """
    table = Table(columns, rows, headers=headers or {}, max_width=max_width, drop=drop)
    return render_tables([table], format=format, width=width)


def render_tables(tables: Sequence[Table], *, format: str = "table", width: int | None = None) -> str:
    """Render tables one below the other, with their titles and notes, as `render_table` does one.

    JSON is one array of the rows of all of them, CSV one table with the columns of the first; both go without titles
    and notes.
    """
    check_format(format)
    match format:
        case "json" | "csv":
            columns = tables[0].columns if tables else ()
            if format == "json":
                columns = list(dict.fromkeys(name for table in tables for name in table.columns))
            each = (row for table in tables for row in table.rows)
            return "".join(render_each(each, columns, format=format))
        case "markdown":
            return "\n\n".join(map(_markdown, tables))
        case "latex":
            return "\n\n".join(map(_latex, tables))
    return "\n\n".join("\n".join(_lines(table, width)) for table in tables)


def render_each(
    rows: Iterable[Mapping[str, object]], columns: Sequence[str], *, format: str
) -> Iterator[str]:
    """Yield rows as JSON or CSV, a part of the text at a time: `rows` may be made as they are asked for.

    Raises `UnstorableError` for a value that JSON cannot hold exactly.
    """
    if format == "csv":
        yield from csv_parts(columns, rows)
        return
    lines: list[str] = []
    size, between = 0, "[\n"
    # A line for each object: such text is written ten times as fast as an indented one
    for row in rows:
        cells = {name: json_cell(row[name], name) for name in columns if name in row}
        lines.append(between + printable_json(json.dumps(cells, ensure_ascii=False, allow_nan=False)))
        size, between = size + len(lines[-1]), ",\n"
        if size > PART:
            yield "".join(lines)
            lines, size = [], 0
    yield "".join([*lines, "[]" if between == "[\n" else "\n]"])


def check_format(format: str) -> None:
    """Raise `ExperimentError`, with near matches, for a format there is not."""
    if format not in FORMATS:
        raise ExperimentError(
            f"unknown table format {format!r}{near_matches(format, FORMATS)}; there are {', '.join(FORMATS)}"
        )


def dump_json(content: object) -> str:
    """Return strict JSON text for programs, with escapes for what cannot be seen."""
    return printable_json(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False))


# --- text for the terminal ---------------------------------------------------------------------------


def _lines(table: Table, width: int | None) -> list[str]:
    lines = wrapped(format_cell(table.title), width) if table.title else []
    notes = [*table.notes]
    if table.columns:
        text, left_out = _layout(table, width)
        lines.append(text)
        if left_out:
            notes.append(f"no room for: {', '.join(left_out)}")
    return [*lines, *(line for note in notes for line in wrapped(note, width))]


def _layout(table: Table, width: int | None) -> tuple[str, list[str]]:
    columns = list(table.columns)
    heads = _heads(table)
    texts: list[list[str]] = []  # by column
    align: list[str] = []
    for name in columns:
        values = table.column(name)
        align.append(_alignment(values))
        cells = format_column(values, table.max_width)
        texts.append(_at_point(cells) if align[-1] == "decimal" else cells)
        if table.gap_at is not None:
            texts[-1].insert(table.gap_at, GAP)
    widths: Sequence[int | None] = [
        max(text_width(head), widest(cells)) for head, cells in zip(heads, texts, strict=True)
    ]
    if width is not None:
        drop = [columns.index(name) for name in table.drop if name in columns]
        cuttable = {
            index for index, name in enumerate(columns) if align[index] == "left" and name not in table.whole
        }
        widths = fit(heads, texts, cuttable=cuttable, drop=drop, width=width)
    lines = [""] * (len(texts[0]) + 2)
    for place, wide in enumerate(widths):
        # Of a long table the cells take much room: they go as the lines grow
        cells, texts[place] = texts[place], []
        if wide is not None:
            side = str.ljust if align[place] == "left" else str.rjust
            padded = _padded([cut_front(heads[place], wide), "-" * wide, *cells], wide, side)
            lines = [f"{line}  {text}" for line, text in zip(lines, padded, strict=True)]
    text = "\n".join([line[2:].rstrip() for line in lines])
    return text, [name for name, wide in zip(columns, widths, strict=True) if wide is None]


def _padded(cells: Sequence[str], width: int, side: Callable[[str, int], str]) -> list[str]:
    padded: list[str] = []
    if is_plain("".join(cells)) and max(map(len, cells)) <= width:
        return [side(text, width) for text in cells]
    for text in cells:
        if not text.isascii() or len(text) > width:
            text = cut(text, width)
            padded.append(side(text, width + len(text) - text_width(text)))
        else:
            padded.append(side(text, width))
    return padded


def _at_point(cells: Sequence[str]) -> list[str]:
    """Return numbers with blanks behind them, so that their decimal points stand below each other; nan has none."""
    behind = [len(text) - _point(text) if text[-1].isdigit() else None for text in cells]
    longest = max((after for after in behind if after is not None), default=0)
    return [
        text if after is None else text + " " * (longest - after)
        for text, after in zip(cells, behind, strict=True)
    ]


def _point(text: str) -> int:
    """Return where the point of a number is, or would be."""
    place = text.find(".")
    if place < 0 and "e" in text:
        place = text.find("e")
    return place if place >= 0 else len(text)


def _heads(table: Table) -> list[str]:
    return [format_cell(table.headers.get(name, name)) for name in table.columns]


def _alignment(values: Sequence[object]) -> str:
    present = [value for value in values if value is not None]
    if present and all(map(is_number, present)):
        return "decimal"
    numeric = all(is_number(value) or isinstance(value, RIGHT) for value in present)
    return "right" if present and numeric else "left"


_NUMBER_OF = re.compile(r"(?<=\d) (?=[^\W\d])")


def wrapped(text: str, width: int | None, *, indent: int = 2) -> list[str]:
    """Return a line of prose as lines that fit in the terminal; it stays one where the width is None.

    Lines after the first are indented. Words are never broken, nor is a number parted from its noun.
    """
    if width is None or len(text) <= width:
        return [text]
    import textwrap

    lines = textwrap.wrap(
        _NUMBER_OF.sub("\u00a0", text),
        max(width, 20),
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace("\u00a0", " ") for line in lines]


# --- text for documents ------------------------------------------------------------------------------


def _markdown(table: Table) -> str:
    parts = [f"### {escape_markdown(table.title)}"] if table.title else []
    if table.columns:
        values = list(zip(*map(table.column, table.columns), strict=True))
        right = [at for at in range(len(table.columns)) if _alignment([row[at] for row in values]) != "left"]
        rows = [[format_cell(value, table.max_width) for value in row] for row in values]
        if table.gap_at is not None:
            rows.insert(table.gap_at, [GAP] * len(table.columns))
        parts.append("\n".join(markdown_table(_heads(table), rows, right)))
    return "\n\n".join([*parts, *map(escape_markdown, table.notes)])


def _latex(table: Table) -> str:
    names = list(table.columns)
    if not names:
        return "\n".join(f"% {format_cell(note)}" for note in table.notes)
    columns = [table.column(name) for name in names]
    values = list(zip(*columns, strict=True))
    best = [
        _best(
            [_size(column[row]) for row in range(len(values)) if row not in table.unranked],
            table.best.get(name),
        )
        for name, column in zip(names, columns, strict=True)
    ]
    rows = [
        [
            latex_cell(
                format_cell(value, table.max_width),
                numeric=is_number(value) or isinstance(value, Interval | WithN | Done),
                bold=mark is not None and number not in table.unranked and _size(value) == mark,
            )
            for value, mark in zip(row, best, strict=True)
        ]
        for number, row in enumerate(values)
    ]
    if table.gap_at is not None:
        rows.insert(table.gap_at, [latex_cell(GAP, numeric=False)] * len(names))
    right = [_alignment(column) != "left" for column in columns]
    return latex_table(_heads(table), rows, right, caption=table.title, notes=table.notes)


def _best(sizes: Sequence[float | None], which: str | None) -> float | None:
    """Return the best of some numbers, None where none is better than others."""
    known = {size for size in sizes if size is not None}
    if which is None or len(known) < 2:
        return None
    return min(known) if which == "low" else max(known)


def _size(value: object) -> float | None:
    """Return the number a cell is compared by, None when it is none."""
    size: Any = amount(value)
    return size if is_number(size) and size == size else None
