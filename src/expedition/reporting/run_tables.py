"""Lists of runs: all of them by experiment, and the newest ones."""

from __future__ import annotations

import contextlib
import heapq
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from expedition.archive import Archive
from expedition.archive.rows import DAMAGED, FACT_BRANCH, RunRow
from expedition.archive.selection import FIRST_COLUMNS, check_columns, own_columns
from expedition.errors import DamagedError, ExperimentError, RecordNotFoundError
from expedition.reporting.better import better
from expedition.reporting.cells import Stored, format_cell
from expedition.reporting.durations import format_duration, format_when
from expedition.reporting.fitting import cut
from expedition.reporting.formats import (
    Table,
    check_format,
    render_each,
    render_table,
    render_tables,
)
from expedition.reporting.ordering import order_by
from expedition.reporting.points import Listing, Point, PointRows
from expedition.reporting.queries import Matching, NameCheck, RunQuery, query_rows
from expedition.reporting.row_cells import cell
from expedition.reporting.tables import constants_line
from expedition.reporting.tallies import count_text, status_text

ALL_FACTS = (
    *FIRST_COLUMNS,
    *(
        "stopped",
        "run",
        "key",
        "index",
        "replicate",
        "attempt",
        "seed",
        "sweep",
        "namespace",
        "folder",
        "version",
    ),
    *(
        "testing",
        "tags",
        "notes",
        "error",
        "error.message",
        "reason",
        "size",
        "files",
        "problem",
        "repeats",
        "code",
    ),
)
"""Columns of facts for programs, which get all there is."""

_DAMAGED_SHOWN = 10


def list_runs(archive: Archive, query: RunQuery, *, format: str = "table", width: int | None = None) -> str:
    """Return the runs that a query means, oldest sweep first.

    For people there is one table for each experiment: a row for each point of each sweep, replicates folded, what
    varies first, what does not in a line below; experiments with a single run share a table. With `query.columns`
    there is one table of these, a row for each run. JSON and CSV have a row for each run with all facts, parameters
    and stored values that are not long.

    :param width: columns of the terminal, None for any.

    Raises `ExperimentError` for a wrong format, limit, sort key or expression, and `RecordNotFoundError`, with near
    matches, for names that no run has.
    """
    check_format(format)
    query.check()
    if query.columns or format in ("json", "csv"):
        return _list_each(archive, query, format, width)
    matching = Matching(archive, query)
    known = NameCheck(query.order, archive.names)
    by_experiment: dict[tuple[str, str], list[RunRow]] = {}
    statuses: Counter[str] = Counter()
    damaged: list[RunRow] = []
    for row in known.watch(iter(matching)):
        by_experiment.setdefault((row.experiment, row.namespace), []).append(row)
        statuses[row.status] += 1
        if row.problem:
            damaged.append(row)
    known.check()
    if not by_experiment:
        return nothing(archive, query, matching.hidden)
    listings = [Listing(rows) for rows in by_experiment.values()]
    by_experiment.clear()
    lines = [(listing, point) for listing in listings for point in listing.points]
    if query.order:
        key = order_by(query.order, Point.value)
        lines.sort(key=lambda line: key(line[1]))
    count = len(listings)
    names = count_text(count, "experiment")
    of = f" of {names}" if count > 1 else ""
    total = f"{count_text(statuses.total(), 'run')}{of} in {archive.root}: {status_text(statuses)}"
    notes = [total]
    if query.limit is not None and query.limit < len(lines):
        notes.append(
            f"not shown: {count_text(len(lines) - query.limit, 'row')} beyond the limit of {query.limit}"
        )
        del lines[query.limit :]
    notes += [hidden_text(matching.hidden, query)] if matching.hidden else []
    notes += damage_lines(damaged)
    parts = _parts(lines, query, format, alone=count == 1)
    del listings, lines
    if len(parts) == 1:
        table = parts[0].table()
        return render_tables([replace(table, notes=[*table.notes, *notes])], format=format, width=width)
    texts = _rendered(parts, format, width)
    texts.append(render_tables([Table((), (), notes=notes)], format=format, width=width))
    return "\n\n".join(texts)


def list_parts(archive: Archive, query: RunQuery, *, format: str) -> Iterator[str]:
    """Yield the parts of what `list_runs` returns as JSON or CSV: all of a large archive would take much room.

    Raises the errors of `list_runs` before the first part.
    """
    check_format(format)
    rows = list(query_rows(archive, query).rows)
    check_columns(query.columns, rows, archive.names)
    yield from _each_part(rows, query.columns, format)


def tail_runs(
    archive: Archive, count: int, query: RunQuery, *, format: str = "table", width: int | None = None
) -> str:
    """Return the `count` newest of the runs that a query means, the newest first, or the first ones by `query.sort`.

    Each is shown with its error, times and description, and with the name to give to ``--archive-show``.

    Raises the errors of `list_runs`, and `ExperimentError` for a count below 1.
    """
    check_format(format)
    query.check()
    if count < 1:
        raise ExperimentError(f"the number of runs to show is 1 or more, not {count}")
    limit = count if query.limit is None else min(count, query.limit)
    if query.sort:
        found = query_rows(archive, replace(query, limit=limit))
        rows, hidden = list(found.rows), found.hidden
    else:
        matching = Matching(archive, query)
        rows = heapq.nlargest(limit, matching, key=lambda row: row.start)
        hidden = matching.hidden
    if query.columns:
        check_columns(query.columns, rows, archive.names)
        return _each(rows, query.columns, format, width)
    entries = [_entry(row) for row in rows]
    if format != "table":
        if not rows and format not in ("json", "csv"):
            return nothing(archive, query, hidden)
        return render_table(entries, _TAIL_COLUMNS, format=format)
    if not rows:
        return nothing(archive, query, hidden)
    cards = [
        "\n".join(_card(row, entry["description"], width)) for row, entry in zip(rows, entries, strict=True)
    ]
    note = [hidden_text(hidden, query)] if hidden else []
    return "\n\n".join([*cards, *note])


def nothing(archive: Archive, query: RunQuery, hidden: int) -> str:
    """Say that there are no runs: none in the archive, or none that a query means."""
    if query.select is not None:
        text = f"no runs in {archive.root} match {query.select}"
    else:
        text = f"no runs in {archive.root}"
    if hidden:
        text += f"; {hidden_text(hidden, query)}"
    return text


def hidden_text(hidden: int, query: RunQuery) -> str:
    """Say how many runs of the other mode are left out."""
    if query.testing:
        return f"{count_text(hidden, 'run')} that are not of testing mode are not listed"
    return f"{count_text(hidden, 'run')} of testing mode {'is' if hidden == 1 else 'are'} not listed: see --testing"


def damage_lines(rows: Sequence[RunRow]) -> list[str]:
    """Return a line for each of some runs that cannot be read, with the reason; of many the first ones.

    Where it is only the data file, the run counts with its own status, and the line says so.
    """
    lines = [
        f"{'damaged' if row.status == DAMAGED else 'data damaged'}: {row.reference} {row.experiment}[{row.id}]: "
        f"{row.problem.replace(f'{row.folder}/', '')}"
        for row in rows[:_DAMAGED_SHOWN]
    ]
    if len(rows) > _DAMAGED_SHOWN:
        lines.append(f"and {count_text(len(rows) - _DAMAGED_SHOWN, 'further damaged run')}")
    return lines


# --- one row per run ---------------------------------------------------------------------------------


def _list_each(archive: Archive, query: RunQuery, format: str, width: int | None) -> str:
    found = query_rows(archive, query)
    check_columns(query.columns, found.rows, archive.names)
    if format in ("json", "csv"):
        return _each(found.rows, query.columns, format, width)
    if not found.rows:
        return nothing(archive, query, found.hidden)
    statuses = Counter(row.status for row in found.rows)
    notes = [f"{count_text(len(found.rows), 'run')} in {archive.root}: {status_text(statuses)}"]
    if found.cut:
        notes.append(f"not shown: {count_text(found.cut, 'run')} beyond the limit of {query.limit}")
    notes += [hidden_text(found.hidden, query)] if found.hidden else []
    notes += damage_lines([row for row in found.rows if row.problem])
    return _each(found.rows, query.columns, format, width, notes)


def _each(
    rows: Sequence[RunRow], columns: Sequence[str], format: str, width: int | None, notes: Sequence[str] = ()
) -> str:
    """Render a row for each run under columns that the user chose, or under all."""
    if format in ("json", "csv"):
        return "".join(_each_part(list(rows), columns, format))
    cells = [{name: cell(row, name) for name in columns} for row in rows]
    return render_tables([Table(columns, cells, notes=notes)], format=format, width=width)


def _each_part(rows: list[RunRow], columns: Sequence[str], format: str) -> Iterator[str]:
    """Yield rows for programs, a part of the text at a time; `rows` is empty after that."""
    names = ({}, {}) if columns else own_columns(rows)
    heads = columns or [*ALL_FACTS, *names[0].values(), *names[1].values()]
    rows.reverse()
    taken = (rows.pop() for _ in range(len(rows)))  # what is read of a row to be written goes with it
    cells = (_chosen(row, columns) if columns else _whole(row, *names) for row in taken)
    yield from render_each(cells, heads, format=format)


def all_as_csv(rows: Sequence[RunRow], columns: Sequence[str] = ()) -> str:
    """Return some runs as CSV, under `columns` or with all facts, parameters and stored values that are not long."""
    return "".join(_each_part(list(rows), columns, "csv"))


def _chosen(row: RunRow, columns: Sequence[str]) -> dict[str, object]:
    cells: dict[str, object] = {}
    for name in columns:
        with contextlib.suppress(LookupError):
            cells[name] = Stored(row.tagged(name))
    return cells


def _whole(row: RunRow, parameters: Mapping[str, str], stored: Mapping[str, str]) -> dict[str, object]:
    """Return all that a row has; the mappings give the columns of its parameters and stored values."""
    # The names of some facts yield to what the run itself calls so: here they are the facts
    facts = _chosen(row, [f"{FACT_BRANCH}.{name}" for name in ALL_FACTS])
    cells = {name.removeprefix(f"{FACT_BRANCH}."): value for name, value in facts.items()}
    cells |= {parameters[name]: Stored(tagged) for name, tagged in row.parameters.items()}
    cells |= {stored[name]: Stored(tagged) for name, tagged in row.stored.items()}
    return cells


# --- a table for each experiment ---------------------------------------------------------------------


@dataclass
class _Part:
    """A table that is made when it is rendered, so that the cells of one experiment exist at a time."""

    size: int
    table: Callable[[], Table]


def _parts(
    lines: Sequence[tuple[Listing, Point]], query: RunQuery, format: str, *, alone: bool
) -> list[_Part]:
    groups: dict[int, tuple[Listing, list[Point]]] = {}
    for listing, point in lines:
        groups.setdefault(id(listing), (listing, []))[1].append(point)
    names = Counter(listing.experiment for listing, _ in groups.values())
    single = [listing for listing, _ in groups.values() if len(listing.rows) == 1]
    gathered = {id(listing) for listing in single} if len(single) > 1 else set()
    parts: list[_Part] = []
    for listing, points in groups.values():
        if id(listing) not in gathered:
            title = "" if alone else _title(listing, points, names)
            parts.append(_Part(len(points), partial(_table, listing, points, query, format, title)))
    if gathered:
        parts.append(_Part(len(single), partial(_table_of_single_runs, single)))
    return parts


def _rendered(parts: list[_Part], format: str, width: int | None) -> list[str]:
    """Return the texts of some tables in their order; `parts` is empty after that."""
    texts = [""] * len(parts)
    # The largest last: by then the rows of all others are gone
    waiting = sorted(enumerate(parts), key=lambda one: one[1].size, reverse=True)
    parts.clear()
    while waiting:
        place, part = waiting.pop()
        texts[place] = render_tables([part.table()], format=format, width=width)
    return texts


def _table(listing: Listing, points: Sequence[Point], query: RunQuery, format: str, title: str) -> Table:
    constants = {name: Stored(tagged) for name, tagged in listing.constants.items()}
    best = {name: which for name in listing.results if (which := better(name))}
    best |= {name: "high" if descending else "low" for name, descending in query.order.items()}
    return Table(
        _shown_columns(listing, points, format),
        PointRows(listing, points),
        title=title,
        notes=[line for line in [constants_line(constants)] if line],
        drop=listing.drop,
        best={name: which for name, which in best.items() if name in listing.results},
        unranked={number for number, point in enumerate(points) if not point.done},
    )


def _table_of_single_runs(listings: Sequence[Listing]) -> Table:
    return Table(
        ["experiment", "results", "status", "started", "duration", "run"],
        [_single(listing) for listing in listings],
        title="single runs",
        drop=["started", "duration", "results", "run"],
    )


def _shown_columns(listing: Listing, points: Sequence[Point], format: str) -> list[str]:
    """Return the columns of a table; one for a document tells what came out, and not where and when."""
    absent = set()
    if listing.is_folded and not any(point.others for point in points):
        absent.add("not done")
    if format == "latex":
        absent |= {"started", "duration", "run"}
        if all(point.done for point in points):
            absent.add("status")
    return [name for name in listing.columns if name not in absent]


def _title(listing: Listing, points: Sequence[Point], names: Counter[str]) -> str:
    name = listing.experiment
    if names[name] > 1 and listing.rows[0].namespace != name:
        name += f" ({listing.rows[0].namespace})"
    rows = [row for point in points for row in point.rows]
    sweeps = len({row.sweep_path for row in rows})
    size = count_text(len(rows), "run")
    if listing.is_folded:
        size += f" at {count_text(len(points), 'point')}"
    if sweeps > 1:
        size += f" of {count_text(sweeps, 'sweep')}"
    return f"{name}: {size}, {status_text(Counter(row.status for row in rows))}"


def _single(listing: Listing) -> dict[str, object]:
    cells = listing.cells(listing.points[0])
    results = ", ".join(
        f"{name}={format_cell(cells[name])}" for name in listing.results if cells[name] is not None
    )
    return {
        **{name: cells[name] for name in ("status", "started", "duration", "run")},
        "experiment": listing.experiment,
        "results": results or None,
    }


# --- tail --------------------------------------------------------------------------------------------

_TAIL_COLUMNS = (
    *(
        "experiment",
        "id",
        "status",
        "error",
        "message",
        "started",
        "stopped",
        "duration",
        "description",
        "run",
    ),
)


def _entry(row: RunRow) -> dict[str, Any]:
    return {
        **{name: cell(row, name) for name in ("experiment", "id", "status", "started", "stopped", "run")},
        "duration": cell(row, "duration"),
        "error": row.error_type or None,
        "message": _first_line(row) or None,
        "description": _description(row) or None,
    }


def _card(row: RunRow, description: str | None, width: int | None) -> Iterator[str]:
    name = f"{row.experiment}[{row.id}]" if row.id else row.experiment
    head = f"{row.status:<11} {row.reference}  {name}"
    yield head if width is None else cut(head, width)
    times = format_when(row.started)
    if row.stopped is not None:
        end = format_when(row.stopped)
        same_day = end.partition(" ")[0] == times.partition(" ")[0]
        if end != times:
            times += f" – {end.partition(' ')[2] if same_day else end}"
        times += f", {format_duration(row.duration)}"
    elif row.started is not None:
        times += " – no end"
    lines = [times] if row.started is not None else []
    if message := _first_line(row):
        lines.append(f"{row.error_type}: {message}" if row.error_type else message)
    elif row.error_type:
        lines.append(row.error_type)
    lines += [description] if description else []
    for line in lines:
        text = " " * 12 + format_cell(line)
        yield text if width is None else cut(text, width)


def _first_line(row: RunRow) -> str:
    lines = (row.error_message or row.reason or row.problem).strip().splitlines()
    return lines[0] if lines else ""


def _description(row: RunRow) -> str:
    """Return the first line of the experiment's description, which rows do not have."""
    try:
        text = str(row.record().meta["experiment"].get("description") or "")
    except (DamagedError, RecordNotFoundError):
        return ""
    lines = text.strip().splitlines()
    return lines[0] if lines else ""
