"""Writes the leaves of a branch: as typed columns, arrays, values of several arrays, or JSON."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from expedition.trajectory.file import format as fmt
from expedition.trajectory.file.array_source import ArraySource
from expedition.trajectory.file.stored import Spill, StoredArray, StoredValue, compact
from expedition.trajectory.writing.gather import Cells, json_cells
from expedition.trajectory.writing.inline import is_reference, json_text, whole_tree
from expedition.trajectory.writing.stored_leaves import StoredLeaf
from expedition.trajectory.writing.writer import FileWriter
from expedition.values import dumps, loads
from expedition.values.codecs import codecs_in
from expedition.values.columns import MISSING, ColumnData, build_column

if TYPE_CHECKING:
    import numpy as np

_STORED = (StoredArray, StoredValue)
_INDEXED = frozenset({fmt.PARAMETERS, fmt.CONFIG})
"""Branches in which each distinct array is stored once, however many there are."""


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
        entry = None
        if not column.has_arrays:
            cells: list[Any] = [MISSING] * self.writer.n_runs
            for row, value in zip(column.rows, column.values, strict=True):
                cells[row] = value
            built = build_column(cells)
            if built.kind != "json" or not any('"file"' in text for text in built.values):
                entry = self._typed(path, built, cells)
        else:
            always = branch in _INDEXED
            entry = StoredLeaf(self.writer, self.source, path, self.failed, always=always).write(column)
        self.schema["/".join([branch, *segments])] = {**(entry or self._json(path, column)), "at": path}

    def constant(self, branch: str, segments: Sequence[str], cell: Any) -> None:
        """Write a leaf that all runs share."""
        import numpy as np

        n = self.writer.n_runs
        if type(cell) is dict:
            cell = compact(cell, self.spill)
        if isinstance(cell, _STORED):
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
        rows: list[dict[str, Any]] = [{} for _ in range(self.writer.n_runs)]
        for name, column in columns.items():
            for row, cell in json_cells(column, self.spill):
                rows[row][name] = cell
        path = self.writer.place([fmt.TAIL, branch])
        self.writer.text(path, [dumps(cells) if cells else "" for cells in rows], {"encoding": "json"})
        for name, column in columns.items():
            entry = {"kind": "json", "encoding": "tail", "at": path}
            codecs = _codecs([dumps(cell) for _, cell in json_cells(column, self.spill)])
            self.schema[f"{branch}/{name}"] = {**entry, "codecs": codecs} if codecs else entry

    def _typed(self, path: str, column: ColumnData, cells: Sequence[Any]) -> dict[str, Any]:
        attrs = dict(column.attrs)
        entry: dict[str, Any] = {"kind": column.kind, "python_type": column.python_type}
        if column.kind == "json" and _are_references(cells):
            attrs["encoding"] = "reference"
        if column.kind == "json" and (codecs := _codecs(column.values)):
            entry["codecs"] = codecs
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
        """Write cells as JSON, a part at a time; what stands in small files of the run folders becomes part of it."""
        import numpy as np

        states = np.full(self.writer.n_runs, fmt.MISSING, np.uint8)
        states[column.rows] = fmt.VALUE
        cells = sorted(zip(column.rows, column.values, strict=True), key=lambda cell: cell[0])
        states[[row for row, value in cells if value is None]] = fmt.NONE
        codecs: dict[str, int] = {}
        others = [False]  # whether some value does not stand in a file

        def texts() -> Iterator[tuple[int, str]]:
            for row, value in cells:
                tree = None if value is None else whole_tree(self.source, row, value)
                others[0] = others[0] or not (tree is None or is_reference(tree))
                text = json_text(tree)
                for name, version in _codecs([text]).items():
                    codecs[name] = max(version, codecs.get(name, 1))
                yield row, text

        dataset = self.writer.texts(path, texts(), {})
        encoding = dataset.attrs["encoding"] = "json" if others[0] else "reference"
        self.writer.state(path, states)
        entry: dict[str, Any] = {"kind": "json", "python_type": "json", "encoding": encoding}
        return {**entry, "codecs": dict(sorted(codecs.items()))} if codecs else entry


def _are_references(cells: Sequence[Any]) -> bool:
    """Tell whether all cells that are there refer to files of the run folders, and there is one."""
    given = [cell for cell in cells if cell is not MISSING and cell is not None]
    return bool(given) and all(map(is_reference, given))


def _codecs(texts: Sequence[str] | np.ndarray[Any, Any]) -> dict[str, int]:
    """Return the latest version of every codec that the JSON text of some cells names."""
    found: dict[str, int] = {}
    for text in texts:
        if '"$":"custom"' in text:  # a text of the user's has the quotes escaped
            for name, version in codecs_in(loads(text)):
                found[name] = max(version, found.get(name, 1))
    return dict(sorted(found.items()))


def warn_of_arrays(failed: list[tuple[int, str]]) -> None:
    """Warn of cells, given as row and reason, that could not be read."""
    if failed:
        row, reason = failed[0]
        more = f" (and {len(failed) - 1:,} more)" if len(failed) > 1 else ""
        warnings.warn(
            f"the array of run {row} cannot be read and stays empty in the trajectory: {reason}{more}",
            UserWarning,
            stacklevel=2,
        )
