"""Writes the leaves of a branch: as typed columns, stacked or ragged arrays, references or JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from expedition.trajectory import format as fmt
from expedition.trajectory.arrays import ArraySource, write_ragged, write_stacked
from expedition.trajectory.gather import Cells, Spill, StoredArray, compact
from expedition.trajectory.writer import FileWriter
from expedition.values import dumps
from expedition.values.columns import MISSING, ColumnData, build_column

_FILE_TAGS = frozenset({"npy", "npz", "masked", "sparse", "frame"})


@dataclass
class LeafWriter:
    """Writes leaves and keeps what the schema says of them.

    `schema` maps logical paths to entries, `failed` lists (row, reason) of cells that could not be read.
    """

    writer: FileWriter
    spill: Spill
    source: ArraySource
    schema: dict[str, dict[str, Any]] = field(default_factory=dict)
    failed: list[tuple[int, str]] = field(default_factory=list)

    def leaf(self, branch: str, segments: Sequence[str], column: Cells) -> None:
        """Write the cells of one leaf below a branch."""
        path = self.writer.place([branch, *segments])
        if not column.has_arrays:
            cells: list[Any] = [MISSING] * self.writer.n_runs
            for row, value in zip(column.rows, column.values, strict=True):
                cells[row] = value
            entry = self._typed(path, build_column(cells), cells)
        elif (how := _array_layout(column.values)) == "json":
            entry = self._json(path, column)
        else:
            entry = self._arrays(path, column, how)
        self.schema["/".join([branch, *segments])] = {**entry, "at": path}

    def constant(self, branch: str, segments: Sequence[str], cell: Any) -> None:
        """Write a leaf that all runs share."""
        import numpy as np

        n = self.writer.n_runs
        if type(cell) is dict:
            cell = compact(cell, self.spill)
        if type(cell) is StoredArray:
            self.leaf(branch, segments, Cells(0, list(range(n)), [cell] * n, has_arrays=True))
            return
        path = self.writer.place([branch, *segments])
        one = build_column([cell])
        values = [one.values[0]] * n if isinstance(one.values, list) else np.repeat(one.values, n)
        states = None if one.state is None else np.repeat(one.state, n)
        column = ColumnData(one.kind, values, one.fill, states, one.python_type, one.attrs)
        self.schema["/".join([branch, *segments])] = {**self._typed(path, column, [cell]), "at": path}

    def tail(self, branch: str, columns: dict[str, Cells]) -> None:
        """Write leaves beyond the limit as one JSON object per run: logical path below the branch → cell."""
        from expedition.trajectory.gather import json_cells

        rows: list[dict[str, Any]] = [{} for _ in range(self.writer.n_runs)]
        for name, column in columns.items():
            for row, cell in json_cells(column, self.spill):
                rows[row][name] = cell
        path = self.writer.place([fmt.TAIL, branch])
        self.writer.text(path, [dumps(cells) if cells else "" for cells in rows], {"encoding": "json"})
        for name in columns:
            self.schema[f"{branch}/{name}"] = {"kind": "json", "encoding": "tail", "at": path}

    def _typed(self, path: str, column: ColumnData, cells: Sequence[Any]) -> dict[str, Any]:
        attrs = dict(column.attrs)
        entry: dict[str, Any] = {"kind": column.kind, "python_type": column.python_type}
        if column.kind == "json" and _all_files(cells):
            attrs["encoding"] = "reference"
        if "encoding" in attrs:
            entry["encoding"] = attrs["encoding"]
        if isinstance(column.values, list):
            self.writer.text(path, column.values, attrs)
        else:
            self.writer.column(path, column.values, attrs, fill=attrs.pop("_FillValue", None))
        if column.state is not None:
            self.writer.state(path, column.state)
        return entry

    def _json(self, path: str, column: Cells) -> dict[str, Any]:
        cells: list[Any] = [MISSING] * self.writer.n_runs
        for row, value in zip(column.rows, column.values, strict=True):
            cells[row] = self.spill.tag(value) if isinstance(value, StoredArray) else value
        return self._typed(path, build_column(cells), cells)

    def _arrays(self, path: str, column: Cells, how: str) -> dict[str, Any]:
        import numpy as np

        cells = [(r, v) for r, v in zip(column.rows, column.values, strict=True) if type(v) is StoredArray]
        states = np.full(self.writer.n_runs, fmt.MISSING, np.uint8)
        states[column.rows] = fmt.NONE
        states[[row for row, _ in cells]] = fmt.VALUE
        holes = len(cells) < self.writer.n_runs
        entry = {"kind": "array", "dtype": np.dtype(cells[0][1].dtype).str}
        if how == "stacked":
            failed = write_stacked(self.writer, path, cells, self.source, holes)
        else:
            failed = write_ragged(self.writer, path, cells, self.source)
            entry["encoding"] = "ragged"
        self.failed.extend(failed)
        states[[row for row, _ in failed]] = fmt.MISSING
        self.writer.state(path, states)
        return entry


def _array_layout(values: Sequence[Any]) -> str:
    """Return ``stacked``, ``ragged`` or ``json`` for a leaf with arrays."""
    import numpy as np

    arrays = [v for v in values if type(v) is StoredArray]
    first = arrays[0]
    if any(type(v) is not StoredArray and v is not None for v in values):
        return "json"
    if any(a.dtype != first.dtype or len(a.shape) != len(first.shape) for a in arrays):
        return "json"
    if all(a.shape == first.shape for a in arrays):
        return "stacked" if first.size else "json"
    itemsize = np.dtype(first.dtype).itemsize
    return "json" if any(a.size * itemsize > fmt.INLINE_LIMIT for a in arrays) else "ragged"


def _all_files(cells: Sequence[Any]) -> bool:
    """Tell whether all cells that are there refer to files of the run folders, and there is one."""
    found = False
    for cell in cells:
        if type(cell) is dict and cell.get("$") in _FILE_TAGS and "file" in cell:
            found = True
        elif cell is not MISSING and cell is not None:
            return False
    return found
