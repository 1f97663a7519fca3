"""Gathers what the runs of a sweep stored into columns, from the commit logs alone."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from expedition.archive.sweep import SweepFolder
from expedition.trajectory.file.stored import Spill, StoredArray, StoredValue, compact

_STORED = (StoredArray, StoredValue)


@dataclass(slots=True)
class Cells:
    """The cells of one leaf, of the runs (row numbers) that have it: tagged JSON, `StoredArray` or `StoredValue`.

    `order` is the position of the leaf in its first run, row `first`: columns stand in the order of the two.
    """

    order: int
    rows: list[int] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    has_arrays: bool = False
    first: int = sys.maxsize

    def add(self, row: int, value: Any) -> None:
        """Take the cell of a run."""
        self.rows.append(row)
        self.values.append(value)
        self.has_arrays = self.has_arrays or value.__class__ in _STORED


class Columns(dict[str, Cells]):
    """The columns of a branch while lines are taken in, which come in no order."""

    latest = -1
    """The highest row that is the first one of a column."""
    merged = False
    """Whether a name was leaf and group, and so columns became one."""

    def note_first(self, row: int, data: Iterable[str]) -> None:
        """Note the position of the leaves in the data of a run that is the first to have one of them."""
        for position, path in enumerate(data):
            column = self[path]
            if row < column.first:
                column.first, column.order = row, position
        self.latest = max(column.first for column in self.values())


class RunFolders:
    """The absolute run folder of every row, made when it is asked for: most rows are never opened."""

    def __init__(self, sweep: SweepFolder) -> None:
        self._root = sweep.path
        self._entries = sweep.entries

    def __getitem__(self, row: int) -> Path:
        return self._root / self._entries[row].folder


@dataclass(slots=True)
class Gathered:
    """What the commit logs of a sweep say, by column; every list of runs has one item per row."""

    n_runs: int
    spill: Spill
    results: Columns = field(default_factory=Columns)
    derived: Columns = field(default_factory=Columns)
    series: dict[str, dict[int, dict[str, Any]]] = field(default_factory=dict)
    """Per series the runs that have it, with what the commit line says of it."""
    annotations: dict[str, dict[int, dict[str, str]]] = field(default_factory=dict)
    status: list[str] = field(default_factory=list)
    start: list[int | None] = field(default_factory=list)
    stop: list[int | None] = field(default_factory=list)
    worker: list[str] = field(default_factory=list)
    seed: list[int | None] = field(default_factory=list)
    attempt: list[int] = field(default_factory=list)
    error: list[str] = field(default_factory=list)
    damaged: list[int] = field(default_factory=list)
    """Rows of which a file could not be read."""
    edited: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Parameters of the runs whose parameters were edited, as in their meta files."""


def gather(sweep: SweepFolder, lines: Iterable[dict[str, Any]]) -> Gathered:
    """Return the columns of `lines`, one commit line per run that was started.

    Memory grows with the number of scalars, not with the size of arrays and series.
    """
    n = len(sweep.entries)
    table = Gathered(
        n_runs=n,
        spill=Spill(sweep.path),
        status=["pending"] * n,
        start=[None] * n,
        stop=[None] * n,
        worker=[""] * n,
        seed=[None] * n,
        attempt=[0] * n,
        error=[""] * n,
    )
    try:
        for line in lines:
            _take(table, line)
    except BaseException:
        table.spill.close()
        raise
    table.results = merged(table.results, table.spill)
    table.derived = merged(table.derived, table.spill)
    # The lines of the workers come in no order; that of the runs makes the file a function of the folder.
    table.series = dict(sorted(table.series.items(), key=lambda item: (min(item[1]), item[0])))
    return table


def _take(table: Gathered, line: dict[str, Any]) -> None:
    """Sort one commit line into the columns."""
    row = line["index"]
    if not 0 <= row < table.n_runs:
        return
    table.status[row] = line["status"]
    table.start[row] = line["start"]
    table.stop[row] = line["stop"]
    table.worker[row] = line["worker"] or ""
    table.seed[row] = line["seed"]
    table.attempt[row] = line["attempt"]
    table.error[row] = line["error"] or ""
    if "parameters" in line:
        table.edited[row] = line["parameters"]
    _add(table.results, row, line["data"], table.spill)
    # A member that would be empty is not written.
    _add(table.derived, row, line.get("derived", {}), table.spill)
    for name, about in line.get("series", {}).items():
        table.series.setdefault(name, {})[row] = about
    for path, note in line.get("annotations", {}).items():
        table.annotations.setdefault(path, {})[row] = {name: file_text(text) for name, text in note.items()}


def file_text(text: str) -> str:
    """Return a text as the attributes and text columns of a file can hold it: UTF-8 without NUL."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _add(columns: Columns, row: int, data: dict[str, Any], spill: Spill) -> None:
    known = len(columns)
    for path, cell in data.items():
        column = columns.get(path)
        if column is None:
            column = columns[path] = Cells(len(columns))
        if cell.__class__ is dict:
            column.add(row, compact(cell, spill))
        else:  # nearly all cells: without the cost of a call
            column.rows.append(row)
            column.values.append(cell)
    if row < columns.latest or len(columns) > known:
        columns.note_first(row, data)


class _Group(dict[str, Any]):
    """A dict that stands for a group of keys, not for a value that some run stored."""


def merged(columns: Columns, spill: Spill) -> Columns:
    """Return the columns in the order of the runs, with every name that is leaf and group made one leaf.

    What one run stored as ``x`` and another as ``x/y`` becomes the column ``x`` with dicts for the latter.
    """
    tops: dict[str, str] = {}
    for path in columns:
        parts = path.split("/")
        for depth in range(1, len(parts)):
            prefix = "/".join(parts[:depth])
            if prefix in columns:
                tops[path] = prefix
                break
    for path, top in tops.items():
        earlier = min((columns[name].first, columns[name].order) for name in (top, path))
        columns[top].first, columns[top].order = earlier
    nested: dict[str, dict[int, _Group]] = {}
    for path, top in tops.items():
        keys = path[len(top) + 1 :].split("/")
        column = columns.pop(path)
        for row, value in zip(column.rows, column.values, strict=True):
            node = nested.setdefault(top, {}).setdefault(row, _Group())
            for key in keys[:-1]:
                node = node.setdefault(key, _Group())
            node[keys[-1]] = spill.tag(value) if value.__class__ in _STORED else value
    for top, cells in nested.items():
        columns[top].rows.extend(cells)
        columns[top].values.extend(tagged_dict(cell) for cell in cells.values())
    ordered = Columns(sorted(columns.items(), key=lambda item: (item[1].first, item[1].order)))
    ordered.merged = bool(tops)
    return ordered


def tagged_dict(group: _Group) -> dict[str, Any]:
    """Return the tagged JSON of a group of cells, which may have a key ``"$"``.

    Keys are in alphabetical order: which run stored which of them first is not to be seen in the runs after it.
    """
    items = {k: tagged_dict(v) if isinstance(v, _Group) else v for k, v in sorted(group.items())}
    return {"$": "dict", "v": [[k, v] for k, v in items.items()]} if "$" in items else items


def json_cells(column: Cells, spill: Spill) -> Iterator[tuple[int, Any]]:
    """Yield (row, tagged JSON) of every cell of a column, arrays as their tags."""
    for row, value in zip(column.rows, column.values, strict=True):
        yield row, spill.tag(value) if value.__class__ in _STORED else value
