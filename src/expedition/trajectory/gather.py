"""Gathers what the runs of a sweep stored into columns, from the commit logs alone."""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from expedition.archive.sweep import SweepFolder
from expedition.values import decode, encode

if TYPE_CHECKING:
    import numpy as np

_NUMERIC = re.compile(r"\|b1|\|[iu]1|[<>][iu][248]|[<>]f[248]|[<>]c(8|16)")
_SPOOLED = 8 << 20  # bytes of inline arrays kept in memory before they go to a temporary file


@dataclass(slots=True)
class Cells:
    """The cells of one leaf: tagged JSON or `StoredArray`, of the runs (row numbers) that have it."""

    order: int
    rows: list[int] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    has_arrays: bool = False

    def add(self, row: int, value: Any) -> None:
        """Take the cell of a run."""
        self.rows.append(row)
        self.values.append(value)
        self.has_arrays = self.has_arrays or value.__class__ is StoredArray


@dataclass(frozen=True, slots=True)
class StoredArray:
    """An array that is not in memory: in the spill file, or in a ``.npy`` file of its run folder."""

    dtype: Any
    """The dtype as in its tag: text, or a list of fields."""
    shape: tuple[int, ...]
    place: int | dict[str, Any]
    """Offset in the spill file, or the tag that refers to a file."""

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


class Spill:
    """A temporary file for inline arrays, so that memory does not grow with them."""

    def __init__(self, folder: Path) -> None:
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=_SPOOLED, dir=str(folder))  # noqa: SIM115
        self._end = 0

    def put(self, tag: dict[str, Any]) -> StoredArray | dict[str, Any]:
        """Move the array of a tag ``array`` to the file; a tag of another dtype is returned as it is."""
        if not tag["shape"] or not is_numeric(tag["dtype"]):
            return tag
        array = decode(tag)
        return StoredArray(tag["dtype"], array.shape, self.append(array.tobytes()))

    def append(self, data: bytes) -> int:
        """Write bytes; return their offset."""
        offset = self._end
        self._file.seek(offset)
        self._file.write(data)
        self._end += len(data)
        return offset

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset`."""
        self._file.seek(offset)
        return self._file.read(size)

    def tag(self, stored: StoredArray) -> dict[str, Any]:
        """Return the tag of an array again."""
        if isinstance(stored.place, dict):
            return stored.place
        tag = encode(self.array(stored))
        assert isinstance(tag, dict)
        return tag

    def array(self, stored: StoredArray) -> np.ndarray[Any, Any]:
        """Return an array that `put` moved."""
        import numpy as np

        assert isinstance(stored.place, int)
        dtype = np.dtype(stored.dtype)
        data = self.read(stored.place, stored.size * dtype.itemsize)
        return np.frombuffer(data, dtype=dtype).reshape(stored.shape)

    def close(self) -> None:
        """Remove the file."""
        self._file.close()


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
    results: dict[str, Cells] = field(default_factory=dict)
    derived: dict[str, Cells] = field(default_factory=dict)
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
    _add(table.results, row, line["data"], table.spill)
    # A member that would be empty is not written.
    _add(table.derived, row, line.get("derived", {}), table.spill)
    for name, about in line.get("series", {}).items():
        table.series.setdefault(name, {})[row] = about
    for path, note in line.get("annotations", {}).items():
        table.annotations.setdefault(path, {})[row] = note


def _add(columns: dict[str, Cells], row: int, data: dict[str, Any], spill: Spill) -> None:
    for path, cell in data.items():
        column = columns.get(path)
        if column is None:
            column = columns[path] = Cells(len(columns))
        if cell.__class__ is dict:
            column.add(row, compact(cell, spill))
        else:  # nearly all cells: without the cost of a call
            column.rows.append(row)
            column.values.append(cell)


def compact(cell: dict[str, Any], spill: Spill) -> Any:
    """Return a `StoredArray` for a tag of a numeric array, any other tag as it is."""
    kind = cell.get("$")
    if kind == "array":
        return spill.put(cell)
    if kind == "npy" and cell["shape"] and is_numeric(cell["dtype"]):
        return StoredArray(cell["dtype"], tuple(cell["shape"]), cell)
    return cell


def is_numeric(dtype: Any) -> bool:
    """Tell whether HDF5 columns keep the dtype of a tag: numbers up to 8 bytes, complex up to 16, bool."""
    return isinstance(dtype, str) and _NUMERIC.fullmatch(dtype) is not None


class _Group(dict[str, Any]):
    """A dict that stands for a group of keys, not for a value that some run stored."""


def merged(columns: dict[str, Cells], spill: Spill) -> dict[str, Cells]:
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
        columns[top].order = min(columns[top].order, columns[path].order)
    nested: dict[str, dict[int, _Group]] = {}
    for path, top in tops.items():
        keys = path[len(top) + 1 :].split("/")
        column = columns.pop(path)
        for row, value in zip(column.rows, column.values, strict=True):
            node = nested.setdefault(top, {}).setdefault(row, _Group())
            for key in keys[:-1]:
                node = node.setdefault(key, _Group())
            node[keys[-1]] = spill.tag(value) if isinstance(value, StoredArray) else value
    for top, cells in nested.items():
        columns[top].rows.extend(cells)
        columns[top].values.extend(tagged_dict(cell) for cell in cells.values())
    return dict(sorted(columns.items(), key=lambda item: (min(item[1].rows), item[1].order)))


def tagged_dict(group: _Group) -> dict[str, Any]:
    """Return the tagged JSON of a group of cells, which may have a key ``"$"``."""
    items = {k: tagged_dict(v) if isinstance(v, _Group) else v for k, v in group.items()}
    return {"$": "dict", "v": [[k, v] for k, v in items.items()]} if "$" in items else items


def json_cells(column: Cells, spill: Spill) -> Iterator[tuple[int, Any]]:
    """Yield (row, tagged JSON) of every cell of a column, arrays as their tags."""
    for row, value in zip(column.rows, column.values, strict=True):
        yield row, spill.tag(value) if isinstance(value, StoredArray) else value
