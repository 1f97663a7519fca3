"""Pages: reports that are made of several parts, for terminals and as markdown."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from expedition.errors import ExperimentError, near_matches
from expedition.reporting.fitting import cut, text_width
from expedition.reporting.format_names import PAGE_FORMATS
from expedition.reporting.markdown import escape_markdown, markdown_table
from expedition.reporting.plain_text import fold, pad, plain

__all__ = [
    "MOST_ROWS",
    "Facts",
    "Grid",
    "Lines",
    "Page",
    "check_page_format",
    "more_rows",
    "render_page",
]

MOST_ROWS = 60
"""Rows of a table on a terminal."""

_INDENT = "  "
_BETWEEN = "  "
_LEAST = 12  # columns that a text keeps as long as there is something else to be cut
_FEWEST = 4
_WIDEST = 60  # columns up to which cells are aligned where there is no width to keep to
_MOST_FOLDS = 8  # lines on a terminal that one line of a text may take


@dataclass(frozen=True)
class Facts:
    """Names and texts; a long text goes on below its beginning.

    Those of the names in `whole` stay in one line, however long it is: a path that is broken cannot be copied.
    """

    title: str
    pairs: Sequence[tuple[str, str]]
    whole: Collection[str] = ()


@dataclass(frozen=True)
class Grid:
    """Rows of cells below `heads`, with `notes` beneath.

    Columns at the positions `right` are aligned to the right; these and those at `firm` are cut last.
    """

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    right: Collection[int] = ()
    firm: Collection[int] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Lines:
    """Lines that stand as they are, in the `language` that markdown calls them by, with a `note` above."""

    title: str
    lines: Sequence[str]
    note: str = ""
    language: str = "text"


@dataclass(frozen=True)
class Page:
    """A heading, parts, and a line at the end. Texts may hold anything: each is shown by `plain` in one line."""

    heading: str
    parts: Sequence[Facts | Grid | Lines]
    end: str = ""


def check_page_format(format: str, what: str) -> None:
    """Raise `ExperimentError` unless `what` may be had in the format: it is more than one table."""
    if format in PAGE_FORMATS:
        return
    if format in ("csv", "latex"):
        raise ExperimentError(
            f"{what} is more than one table, which {format} has no place for: take the format table, json or markdown"
        )
    raise ExperimentError(
        f"unknown format {format!r}{near_matches(format, PAGE_FORMATS)}: {what} has the formats "
        f"{', '.join(PAGE_FORMATS)}"
    )


def render_page(page: Page, *, format: str = "table", width: int | None = None) -> str:
    """Return a page as text.

    :param format: ``"table"``, or ``"markdown"``, in which nothing is cut.
    :param width: columns of the terminal; long cells are cut then, other texts folded, and of long tables only the
        beginning is shown. None: nothing is cut.
    """
    page = _plain_page(page)
    if format == "markdown":
        return "\n".join(_markdown(page))
    return "\n".join(line.rstrip() for line in _text(page, width))


def _plain_page(page: Page) -> Page:
    parts: list[Facts | Grid | Lines] = []
    for part in page.parts:
        title = plain(part.title)
        match part:
            case Facts():
                pairs = [(plain(name), plain(text)) for name, text in part.pairs]
                parts.append(replace(part, title=title, pairs=pairs))
            case Grid():
                rows = [[plain(text) for text in row] for row in part.rows]
                parts.append(replace(part, title=title, rows=rows))
            case Lines():
                parts.append(replace(part, title=title, lines=[plain(line) for line in part.lines]))
    return Page(plain(page.heading), parts, plain(page.end))


def more_rows(count: int) -> str:
    """Return the line that stands for `count` rows for which a terminal has no place."""
    return f"… {count} more: see --archive-format json, or a pipe"


# --- for terminals -----------------------------------------------------------------------------------


def _text(page: Page, width: int | None) -> Iterator[str]:
    yield from fold(page.heading, width)
    for part in page.parts:
        if part.title:
            yield ""
            yield from fold(part.title, width)
        match part:
            case Facts():
                yield from _facts(part, width)
            case Grid():
                yield from _grid(part, width)
            case Lines():
                yield from _lines(part, width)
    if page.end:
        yield ""
        yield from fold(page.end, width)


def _facts(part: Facts, width: int | None) -> Iterator[str]:
    names = max((text_width(name) for name, _ in part.pairs), default=0)
    names = names if width is None else min(names, width // 3)
    room = None if width is None else max(width - len(_INDENT) - names - len(_BETWEEN), 10)
    for name, text in part.pairs:
        head = cut(name, names) if width is not None else name
        for line in fold(text, None if name in part.whole else room):
            yield f"{_INDENT}{pad(head, names)}{_BETWEEN}{line}"
            head = ""


def _grid(part: Grid, width: int | None) -> Iterator[str]:
    rows = list(part.rows)
    notes = list(part.notes)
    if width is not None and len(rows) > MOST_ROWS:
        notes.insert(0, more_rows(len(rows) - MOST_ROWS))
        rows = rows[:MOST_ROWS]
    shown = [list(part.heads), *rows] if any(part.heads) else rows
    # A column in which nothing stands below its title tells nothing.
    used = [at for at in range(len(part.heads)) if any(row[at] for row in rows)]
    widths = [max(text_width(row[at]) for row in shown) for at in used]
    if width is None:
        widths = [min(column, _WIDEST) for column in widths]
    else:
        room = width - len(_INDENT) - len(_BETWEEN) * (len(widths) - 1)
        fixed = [at in part.right or at in part.firm for at in used]
        widths = _shrunk(widths, fixed, room)
    for row in shown:
        cells = []
        for at, column in zip(used, widths, strict=True):
            text = row[at] if width is None else cut(row[at], column)
            cells.append(pad(text, column, right=at in part.right))
        yield _INDENT + _BETWEEN.join(cells)
    for note in notes:
        for line in fold(note, None if width is None else width - len(_INDENT)):
            yield _INDENT + line


def _shrunk(widths: Sequence[int], fixed: Sequence[bool], room: int) -> list[int]:
    """Widths of columns that fit: the widest lose most, those that are `fixed` only where the others are short."""
    found = list(widths)
    texts = [not flag for flag in fixed]
    everything = [True] * len(found)
    for losing, least in ((texts, _LEAST), (everything, _LEAST), (everything, _FEWEST)):
        columns = [at for at, flag in enumerate(losing) if flag and found[at] > least]
        target = sum(found[at] for at in columns) - (sum(found) - room)
        if sum(found) <= room or not columns:
            continue
        cap = max(found[at] for at in columns)
        while cap > least and sum(min(found[at], cap) for at in columns) > target:
            cap -= 1
        spare = max(target - sum(min(found[at], cap) for at in columns), 0)
        for at in columns:
            grown = min(spare, 1) if found[at] > cap else 0
            spare -= grown
            found[at] = min(found[at], cap + grown)
    return found


def _lines(part: Lines, width: int | None) -> Iterator[str]:
    room = None if width is None else width - len(_INDENT)
    if part.note:
        for line in fold(part.note, room):
            yield _INDENT + line
    for text in part.lines:
        if room is not None and len(text) > room * _MOST_FOLDS:
            text = cut(text, room * _MOST_FOLDS)
        for line in fold(text, room):
            yield _INDENT + line


# --- markdown ----------------------------------------------------------------------------------------


def _markdown(page: Page) -> Iterator[str]:
    yield f"# {escape_markdown(page.heading)}"
    for part in page.parts:
        yield ""
        if part.title:
            yield f"## {escape_markdown(part.title)}"
            yield ""
        match part:
            case Facts():
                yield from _used_columns(["", ""], part.pairs, ())
            case Grid():
                yield from _used_columns(part.heads, part.rows, part.right)
                for note in part.notes:
                    yield ""
                    yield escape_markdown(note)
            case Lines():
                if part.note:
                    yield escape_markdown(part.note)
                    yield ""
                fence = "`" * max(3, 1 + max(map(_backticks, part.lines), default=0))
                yield f"{fence}{part.language}"
                yield from part.lines
                yield fence
    if page.end:
        yield ""
        yield escape_markdown(page.end)


def _used_columns(
    heads: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int]
) -> Iterator[str]:
    """The lines of a table without the columns in which nothing stands."""
    used = [at for at in range(len(heads)) if any(row[at] for row in rows)]
    yield from markdown_table(
        [heads[at] for at in used],
        [[row[at] for at in used] for row in rows],
        [number for number, at in enumerate(used) if at in right],
    )


def _backticks(line: str) -> int:
    return max((len(found) for found in re.findall("`+", line)), default=0)
