"""Extends columns of arrays by rows, with arrays of the same dtype and layout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from expedition.trajectory.file import format as fmt
from expedition.trajectory.file.dtypes import storage
from expedition.trajectory.file.store import Store
from expedition.trajectory.file.stored import StoredArray
from expedition.trajectory.growing.growth import Growth, UnfitError, count_distinct
from expedition.trajectory.growing.new_rows import NewRows
from expedition.trajectory.growing.splice import (
    RaggedPlan,
    StackRows,
    copy_stack,
    fill_stack,
    grow_index,
    mark_holes,
    renew_scale,
    write_rows,
)
from expedition.trajectory.growing.states import States
from expedition.trajectory.writing.arrays import as_kept
from expedition.trajectory.writing.gather import Cells
from expedition.trajectory.writing.heading import Schema
from expedition.trajectory.writing.repeats import is_worth
from expedition.trajectory.writing.writer import FileWriter
from expedition.values.columns import MISSING

if TYPE_CHECKING:
    import h5py
    import numpy as np

    Array = np.ndarray[Any, Any]

_PARTS = frozenset({"value", "shape", "obs_start", "obs_count", "index"})
_FEW = 64
"""Distinct arrays of a parameter that new ones are compared with, one by one."""


class ArrayGrower:
    """Extends the columns of arrays of a copy of `store`, whose file `writer` writes into."""

    def __init__(
        self, store: Store, schema: Schema, growth: Growth, writer: FileWriter, new: NewRows, states: States
    ) -> None:
        self._store = store
        self._n_before = store.n_runs
        self._schema = schema
        self._growth = growth
        self._writer = writer
        self._file = writer.file
        self._new = new
        self._states = states

    def grow(self, path: str, rows: Array, cells: list[Any], replaced: Array) -> None:
        """Give the ascending `rows` of a column the `cells`; some of the rows are `replaced`.

        Raises `UnfitError` where only a whole compile gets the column right.
        """
        entry = self._schema[path]
        self._check_parts(path, entry)
        if entry.get("encoding") == "indexed":
            self._grow_index(path, rows, cells)
        else:
            self._grow_values(path, rows, cells, replaced)

    def _grow_values(self, path: str, rows: Array, cells: list[Any], replaced: Array) -> None:
        import numpy as np

        entry = self._schema[path]
        there = {row: cell for row, cell in zip(rows.tolist(), cells, strict=True) if cell is not MISSING}
        codes = np.array([fmt.MISSING if cell is MISSING else fmt.NONE for cell in cells], np.uint8)
        made: dict[str, Any] | None = None
        if any(cell is not None for cell in there.values()):
            made = self._make_apart(path, entry, there)
            codes = self._apart_states(made["at"], rows)
        before = self._states.before(entry["at"])
        states = self._states.put(entry["at"], rows, codes)
        self._check_repeats(path, before, states, list(there.values()), replaced)
        if entry.get("encoding") is None:
            self._grow_stack(entry, made, rows, codes, holes=bool((states != fmt.VALUE).any()))
        else:
            self._grow_ragged(path, made, rows, codes, states)

    def _check_parts(self, path: str, entry: dict[str, Any]) -> None:
        """Refuse a layout that is not known here."""
        at, encoding = entry["at"], entry.get("encoding")
        if encoding in ("ragged", "indexed"):
            name = at.rpartition("/")[2]
            parts = {part for part in self._file[at] if not part.startswith((f"{name}_", "value_dim"))}
            if parts <= _PARTS and (encoding == "ragged" or entry.get("values") == "stacked"):
                return
        elif encoding is None:
            return
        raise UnfitError(f"{path} has a layout that is not known here")

    def _check_repeats(
        self, path: str, before: Array | None, after: Array, cells: list[Any], replaced: Array
    ) -> None:
        """Refuse arrays that may repeat so often by now that a whole compile would store each once."""
        lost = len(replaced) if before is None else int((before[replaced] == fmt.VALUE).sum())
        least = max(self._growth.distinct.get(path, 0) - lost, count_distinct(cells))
        count = int((after == fmt.VALUE).sum())
        if not count:
            raise UnfitError(f"no run has an array as {path} any more")
        most = self._nbytes(self._schema[path]) + sum(cell.nbytes for cell in cells if cell is not None)
        if is_worth(least, count, most):
            raise UnfitError(f"the arrays of {path} may be few different ones by now")
        self._growth.distinct[path] = least

    def _nbytes(self, entry: dict[str, Any]) -> int:
        """Return the bytes of the arrays that a column had, or a few more."""
        at = entry["at"]
        values = self._store.dataset(at if entry.get("encoding") is None else f"{at}/value")
        return int(values.size * values.dtype.itemsize)

    def _grow_index(self, path: str, rows: Array, cells: list[Any]) -> None:
        """Extend a column of which each distinct array is stored once, by rows that have one of these."""
        import numpy as np

        at = self._schema[path]["at"]
        values = self._file[f"{at}/value"]
        if (rows < self._n_before).any() or len(values) > _FEW:
            raise UnfitError(f"{path} has each array once, and rows with other ones")
        known = {values[number].tobytes(): number for number in range(len(values))}
        index = np.full(len(rows), -1, np.int64)
        codes = np.full(len(rows), fmt.MISSING, np.uint8)
        numbers: dict[int, int] = {}
        for place, cell in enumerate(cells):
            if cell is None:
                codes[place] = fmt.NONE
            elif cell is not MISSING:
                if id(cell) not in numbers:
                    numbers[id(cell)] = self._find(path, cell, values, known)
                index[place], codes[place] = numbers[id(cell)], fmt.VALUE
        dataset = self._file[f"{at}/index"]
        dataset.resize(self._writer.n_runs, axis=0)
        write_rows(dataset, rows, index)
        self._states.put(at, rows, codes)

    def _find(self, path: str, cell: Any, values: h5py.Dataset, known: dict[bytes, int]) -> int:
        import numpy as np

        fits = type(cell) is StoredArray and isinstance(cell.place, int) and cell.shape == values.shape[1:]
        if fits and np.dtype(cell.dtype).str == self._schema[path]["dtype"]:
            number = known.get(as_kept(self._new.table.spill.array(cell), values.dtype).tobytes())
            if number is not None:
                return number
        raise UnfitError(f"{path} has an array that is new")

    def _make_apart(self, path: str, entry: dict[str, Any], there: dict[int, Any]) -> dict[str, Any]:
        """Write the new arrays of a column into the file of the new rows; return their entry."""
        if not all(cell is None or type(cell) is StoredArray for cell in there.values()):
            raise UnfitError(f"{path} has other cells than arrays now")
        places = [self._new.places[row] for row in there]
        branch, *segments = path.split("/")
        self._new.leaves.leaf(branch, segments, Cells(0, places, list(there.values()), has_arrays=True))
        made = self._new.leaves.schema[path]
        if made["kind"] != "array" or made["dtype"] != entry["dtype"]:
            raise UnfitError(f"{path} has arrays of another kind now")
        if made.get("encoding") not in (None, entry.get("encoding")):
            raise UnfitError(f"{path} has arrays of other shapes now")
        if entry.get("encoding") == "ragged":
            stored = [cell for cell in there.values() if cell is not None]
            itemsize = self._file[f"{entry['at']}/value"].dtype.itemsize
            if any(cell.size * itemsize > fmt.INLINE_LIMIT for cell in stored):
                raise UnfitError(f"{path} has arrays now that are too large for the file")
        return made

    def _apart_states(self, at: str, rows: Array) -> Array:
        """Return the states of the new arrays, which are missing where a file could not be read."""
        import numpy as np

        path = f"{fmt.STATE}/{at}"
        file = self._new.file
        states = file[path][:] if path in file else np.full(len(self._new.rows), fmt.VALUE, np.uint8)
        return states[np.searchsorted(self._new.rows, rows)]

    def _grow_stack(
        self, entry: dict[str, Any], made: dict[str, Any] | None, rows: Array, codes: Array, *, holes: bool
    ) -> None:
        import numpy as np

        target = self._file[entry["at"]]
        target.resize(self._writer.n_runs, axis=0)
        dtype, fill, attrs = storage(entry["dtype"], holes)
        if holes and dtype.kind != "c":
            attrs["_FillValue"] = fill
        values = codes == fmt.VALUE
        if made is not None:
            source = self._new.file[made["at"]]
            if source.shape[1:] != target.shape[1:] or source.dtype != target.dtype:
                raise UnfitError(f"{entry['at']} has arrays of another shape now")
            copy_stack(source, np.searchsorted(self._new.rows, rows[values]), target, rows[values])
        missing = rows[~values]
        if _same(target.fillvalue, fill):  # new rows have it already
            missing = missing[missing < self._n_before]
        fill_stack(target, missing, fill)
        mark_holes(target, attrs)

    def _grow_ragged(
        self, path: str, made: dict[str, Any] | None, rows: Array, codes: Array, states: Array
    ) -> None:
        import numpy as np

        entry = self._schema[path]
        at, file, n_runs = entry["at"], self._file, self._writer.n_runs
        values = codes == fmt.VALUE
        places = np.searchsorted(self._new.rows, rows)
        shape = file[f"{at}/shape"]
        sizes = np.zeros((len(rows), shape.shape[1]), np.int64)
        source: Any = None
        if made is not None and made.get("encoding") == "ragged":
            source = self._new.file[f"{made['at']}/value"]
            sizes[values] = self._new.file[f"{made['at']}/shape"][:][places[values]]
        elif made is not None:
            stack = self._new.file[made["at"]]
            source = StackRows(stack, places[values])
            sizes[values] = stack.shape[1:]
        if sizes.shape[1] != shape.shape[1]:
            raise UnfitError(f"{path} has arrays of another number of axes now")
        counts = np.where(values, sizes.prod(axis=1), 0)
        plan = RaggedPlan.make(file[f"{at}/obs_count"][:], n_runs, rows, counts)
        shape.resize(n_runs, axis=0)
        write_rows(shape, rows, sizes)
        if len(np.unique(shape[:][states == fmt.VALUE], axis=0)) == 1:
            raise UnfitError(f"the arrays of {path} are all of one shape now")
        grow_index(self._writer, at, plan)
        target = file[f"{at}/value"]
        target.resize((plan.total,))
        plan.merge(self._store.dataset(f"{at}/value"), source, target)
        renew_scale(self._writer, [target], plan.total)


def _same(one: Any, other: Any) -> bool:
    """Tell whether two fill values are the same, NaN included."""
    return bool(one == other or (one != one and other != other))
