"""Extends columns by rows: in place where the new cells fit the type of the column, else the column is made anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from expedition.trajectory.file import format as fmt
from expedition.trajectory.file.guarded import plain
from expedition.trajectory.file.store import Store
from expedition.trajectory.file.stored import StoredArray, StoredValue
from expedition.trajectory.growing.arrays import ArrayGrower
from expedition.trajectory.growing.growth import Growth, UnfitError, is_mixed
from expedition.trajectory.growing.new_rows import NewRows
from expedition.trajectory.growing.splice import mark_holes, prune, write_rows
from expedition.trajectory.growing.states import States
from expedition.trajectory.writing.gather import Cells
from expedition.trajectory.writing.heading import Schema
from expedition.trajectory.writing.leaves import LeafWriter
from expedition.values import encode, loads
from expedition.values.codecs import codecs_in
from expedition.values.columns import MISSING, ColumnData, build_column, restore

if TYPE_CHECKING:
    import h5py
    import numpy as np

    Array = np.ndarray[Any, Any]

_KINDS = frozenset({"bool", "int", "float", "complex", "datetime", "timedelta", "text", "json"})
_MEMBERS = frozenset(
    [
        *("kind", "python_type", "encoding", "values", "dtype", "codecs"),
        *("at", "name", "declared", "swept", "comment", "unit", "order"),
    ]
)
_TOLD = ("name", "declared", "swept", "comment", "unit")
"""Members of an entry that do not come from the cells."""
_TYPE_ATTRS = ("dtype_orig", "timezone", "units", "encoding")
_BLOCK = 256


class LeafGrower:
    """Extends the columns of a copy of `store`, whose file `leaves` writes into.

    Attributes
    ----------
    schema : the entries of the columns, kept up to date. remade : paths of the columns that were made anew.
    """

    def __init__(
        self, store: Store, schema: Schema, growth: Growth, leaves: LeafWriter, new: NewRows
    ) -> None:
        self._n_before = store.n_runs
        self._mixed = frozenset(growth.mixed)
        self._leaves = leaves
        self._writer = leaves.writer
        self._file = leaves.writer.file
        self._states = States(leaves.writer)
        self._arrays = ArrayGrower(store, schema, growth, leaves.writer, new, self._states)
        self.schema = schema
        self.remade: set[str] = set()

    @property
    def failed(self) -> list[tuple[int, str]]:
        """The cells of columns made anew that could not be read, and why."""
        return self._leaves.failed

    def first_rows(self, path: str, replaced: Array) -> tuple[int, int | None]:
        """Return the first row that had a cell, and the first of the rows not `replaced` that has one."""
        import numpy as np

        states = self._states.before(self.schema[path]["at"])
        has = np.ones(self._n_before, bool) if states is None else states != fmt.MISSING
        before = int(np.argmax(has))
        if not len(replaced):
            return before, before
        has = has.copy()
        has[replaced] = False
        return before, int(np.argmax(has)) if has.any() else None

    def grow(self, path: str, rows: Array, cells: list[Any]) -> None:
        """Give the ascending `rows` of a column the `cells`: tagged JSON, `StoredArray` or `MISSING`.

        Raises `UnfitError` for a column that only a whole compile gets right.
        """
        entry = self.schema[path]
        replaced = rows[rows < self._n_before]
        states = self._states.before(entry["at"])
        touched = bool(len(replaced)) and (states is None or bool((states[replaced] != fmt.MISSING).any()))
        kinds = set(map(type, cells))
        fresh = not kinds <= {type(MISSING)}
        if len(replaced) == len(rows) and not touched and not fresh:
            return
        if entry.keys() - _MEMBERS:
            raise UnfitError(f"{path} is described in a way that is not known here")
        if entry["kind"] == "array":
            self._arrays.grow(path, rows, cells, replaced)
        elif entry["kind"] in _KINDS and entry.get("encoding") in (None, "json"):
            arrays = not kinds.isdisjoint((dict, StoredArray, StoredValue)) and any(map(is_mixed, cells))
            if arrays or (path in self._mixed and (fresh or touched)):
                raise UnfitError(f"{path} has arrays among other cells")
            self._grow_plain(path, rows, cells, replaced, touched)
        else:
            raise UnfitError(f"{path} has the encoding {entry.get('encoding')}")

    def _grow_plain(self, path: str, rows: Array, cells: list[Any], replaced: Array, touched: bool) -> None:
        entry = self.schema[path]
        samples = self._samples(entry, replaced)
        if all(cell is MISSING for cell in (*samples, *cells)) and not path.startswith(fmt.PARAMETERS + "/"):
            raise UnfitError(f"no run has {path} any more")
        if entry["kind"] == "json" and touched and not self._stays_json(entry, replaced, cells):
            self._remake(path, rows, cells)
            return
        column = build_column([*samples, *cells])
        if column.kind == "json":
            self._note_texts(path, list(column.values[len(samples) :]), touched)
        if self._fits(entry, column, len(samples)):
            self._append(entry, rows, column, len(samples))
        else:
            self._remake(path, rows, cells)

    def _note_texts(self, path: str, texts: Sequence[Any], touched: bool) -> None:
        """Note the codecs of the user's that JSON cells name; refuse cells that refer to files."""
        entry = self.schema[path]
        codecs: dict[str, int] = dict(entry.get("codecs", {}))
        for text in texts:
            if '"file"' in text:
                raise UnfitError(f"{path} refers to files")
            if '"$":"custom"' in text:
                for name, version in codecs_in(loads(text)):
                    codecs[name] = max(version, codecs.get(name, 1))
        if codecs and touched:
            raise UnfitError(f"{path} may have lost a value of the user's own class")
        if codecs:
            entry["codecs"] = dict(sorted(codecs.items()))

    def _samples(self, entry: dict[str, Any], replaced: Array) -> list[Any]:
        """Return a cell of each type and state among the rows that stay; these decide the type of the column.

        A JSON column stays one whatever is added to it, so any list stands for its cells.
        """
        import numpy as np

        states = self._states.before(entry["at"])
        codes = np.full(self._n_before, fmt.VALUE, np.uint8) if states is None else states.copy()
        codes[replaced] = 255
        found: list[Any] = []
        for code in range(6):
            places = codes == code
            row = int(np.argmax(places))
            if not places[row]:
                continue
            if code == fmt.MISSING:
                found.append(MISSING)
            elif code == fmt.NONE:
                found.append(None)
            elif entry["kind"] == "json":
                found.append([])
            else:
                dataset = self._file[entry["at"]]
                raw = dataset[row : row + 1]
                found.append(encode(restore(entry["kind"], _type_attrs(dataset), raw, [code])[0]))
        return found

    def _stays_json(self, entry: dict[str, Any], replaced: Array, cells: list[Any]) -> bool:
        """Tell whether the cells that stay, with the new ones, fit no other type; most often the first few do not."""
        seen = list(cells)
        gone = frozenset(replaced.tolist())
        start, step = 0, _BLOCK
        while start < self._n_before:
            texts = self._file[entry["at"]].asstr()[start : start + step]
            seen.extend(loads(t) for row, t in enumerate(texts, start) if t and row not in gone)
            if build_column(seen).kind == "json":
                return True
            start, step = start + step, 2 * step
        return False

    def _fits(self, entry: dict[str, Any], column: ColumnData, skipped: int) -> bool:
        """Tell whether a column, decided over samples and new cells, is of the type that the file has."""
        dataset = self._file[entry["at"]]
        attrs = _type_attrs(dataset)
        if column.kind != entry["kind"] or any(column.attrs.get(n) != attrs.get(n) for n in _TYPE_ATTRS):
            return False
        if isinstance(column.values, list):
            # HDF5 cannot read text of which some is a fill value other than "" and some is written.
            constant = dataset.fillvalue.decode("utf-8")
            return not constant or set(column.values[skipped:]) == {constant}
        return bool(column.values.dtype == dataset.dtype)

    def _append(self, entry: dict[str, Any], rows: Array, column: ColumnData, skipped: int) -> None:
        import numpy as np

        dataset = self._file[entry["at"]]
        dataset.resize(self._writer.n_runs, axis=0)
        values, places = column.values[skipped:], rows
        if isinstance(values, list):
            values = np.array(values, dtype=object)
            # New rows have the fill value of the dataset already, at no cost; all rows when it is a text.
            fill = dataset.fillvalue.decode("utf-8")
            needed = (values != fill) | ((rows < self._n_before) & (fill == ""))
            values, places = values[needed], rows[needed]
        if len(places):
            write_rows(dataset, places, values)
        codes = column.state if column.state is not None else np.full(len(column.values), fmt.VALUE, np.uint8)
        self._states.put(entry["at"], rows, codes[skipped:])
        mark_holes(dataset, column.attrs)
        entry["python_type"] = column.python_type

    def _remake(self, path: str, rows: Array, cells: list[Any]) -> None:
        """Make a column anew from all its cells, those of the file included."""
        entry = self.schema[path]
        at, kind = entry["at"], entry["kind"]
        if kind == "json":
            merged = [loads(text) if text else MISSING for text in self._file[at].asstr()[:]]
        else:
            values = restore(kind, _type_attrs(self._file[at]), self._file[at][:], self._states.before(at))
            merged = [_tagged(value) for value in values]
        merged.extend([MISSING] * (self._writer.n_runs - len(merged)))
        for row, cell in zip(rows.tolist(), cells, strict=True):
            merged[row] = cell
        there = [row for row, cell in enumerate(merged) if cell is not MISSING]
        self._writer.remove(at)
        if self._states.before(at) is not None:
            self._writer.remove(f"{fmt.STATE}/{at}")
            prune(self._file, f"{fmt.STATE}/{at}")
        self.make(path, Cells(0, there, [merged[row] for row in there]), at=at)

    def make(self, path: str, column: Cells, *, at: str = "") -> None:
        """Make a column from the cells of all rows, at the HDF5 path that its name says, or at `at`."""
        branch, *segments = path.split("/")
        expected = at or fmt.natural_path(path)
        if any(f"{expected}_dim{axis}" in self._file for axis in range(1, 9)):
            raise UnfitError(f"a name beside {path} is taken")
        self._leaves.leaf(branch, segments, column)
        made = self._leaves.schema[path]
        if made["at"] != expected:
            raise UnfitError(f"the name of {path} is taken")
        told = {n: v for n, v in self.schema.get(path, {}).items() if n in _TOLD}
        self.schema[path] = {**made, **told}
        self.remade.add(path)

    # arrays ------------------------------------------------------------------------------------------------


def _type_attrs(dataset: h5py.Dataset) -> dict[str, Any]:
    """Return the attributes of a column that say how its raw values are to be read."""
    attrs = dataset.attrs
    return {name: plain(attrs[name]) for name in _TYPE_ATTRS if name in attrs}


def _tagged(value: Any) -> Any:
    plain = value is MISSING or value is None or type(value) in (bool, int, str)
    return value if plain else encode(value)
