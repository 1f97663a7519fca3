"""Lazy columns of arrays: stacked over runs, ragged, or each distinct array once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from expedition.errors import NameNotFoundError, SelectionError
from expedition.trajectory.file import format as fmt
from expedition.trajectory.file.raw import row_number, show_holes
from expedition.trajectory.file.store import Store
from expedition.trajectory.reading.column import Column, TailColumn
from expedition.trajectory.reading.composite_column import CompositeColumn
from expedition.trajectory.reading.series_column import SeriesColumn
from expedition.trajectory.reading.stored_column import ObjectColumn, StoredColumn, span
from expedition.values.columns import State, number_dtype

if TYPE_CHECKING:
    import numpy as np

_COMPOSITES = frozenset({"sparse", "frame", "masked", "structured"})


class ArrayColumn(StoredColumn):
    """Arrays of one dtype."""

    def _original(self, raw: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return an array in the dtype that it was stored with."""
        try:
            return raw.astype(number_dtype(self._entry["dtype"]), copy=False)
        except (KeyError, TypeError, ValueError) as error:
            raise self._store.damaged(f"/{self._at} is not of the dtype that it names", error) from error


class StackedColumn(ArrayColumn):
    """Arrays that have the same shape in all runs: ``col[5, 10:20]`` reads only that part of run 5."""

    @property
    def _data(self) -> str:
        return f"{self._at}/value" if self._is_indexed else self._at

    def _slot(self, row: int) -> int:
        slot = super()._slot(row)
        if self._is_indexed and slot >= len(self._store.dataset(self._data)):
            raise self._store.damaged(f"/{self._at}/index leads out of the arrays")
        return slot

    @property
    def shape(self) -> tuple[int, ...]:
        data = self._store.dataset(self._data) if self._is_indexed else self._store.column(self._data)
        return (len(self), *data.shape[1:])

    def __getitem__(self, key: Any) -> Any:
        import numpy as np

        first, rest = (key[0], key[1:]) if isinstance(key, tuple) and key else (key, ())
        if sum(map(_is_list, (first, *rest))) > 1:
            raise SelectionError(
                f"{self.path}: two lists of indices in one subscript may mean their pairs or all their "
                "combinations; index one after the other: col[runs][:, inner]"
            )
        number = None if first is Ellipsis else row_number(first)
        if number is not None:
            row = self._row(number)
            state = self._state(row)
            if state == State.MISSING:
                raise self._absent(number)
            if state == State.NONE:
                return None
            if not _is_simple(rest):  # HDF5 takes no arrays that do not rise
                return self._fitting(self._at_slot(self._slot(row)), rest)
            part = self._store.read(self._data, (self._slot(row), *rest))
            return self._original(np.asarray(part))[()]
        if first is Ellipsis:
            return self._fitting(self._many(slice(None), ()), key)
        if self._rows is None and isinstance(first, slice) and _is_simple(rest):
            return show_holes(self._read(first, rest), self._holes(first))
        return self._fitting(self._many(first, ()), (slice(None), *rest))

    def _fitting(self, values: np.ndarray[Any, Any], key: Any) -> Any:
        """Return a part of arrays that were read."""
        try:
            return values[key]
        except (IndexError, TypeError, ValueError) as error:
            raise SelectionError(f"{self.path} of shape {self.shape}: {error}") from None

    def _read(self, rows: slice, rest: tuple[Any, ...]) -> np.ndarray[Any, Any]:
        """Return part of the arrays of some rows, in the dtype of the column."""
        import numpy as np

        dataset = self._store.dataset(self._data) if self._is_indexed else self._store.column(self._data)
        row_size = dataset.size // max(len(dataset), 1) * dataset.dtype.itemsize
        chosen = range(*rows.indices(self._store.n_runs))
        self._store.check_size(self._data, len(chosen) * row_size)
        if self._is_indexed:
            self._store.numbers(f"{self._at}/index")
            return self._picked(np.asarray(self._store.read(f"{self._at}/index", ...))[rows], rest)
        if rows.step is not None and rows.step < 0:
            return self._natural(self._store.read(self._data, (slice(None), *rest))[rows])
        return self._natural(np.asarray(self._store.read(self._data, (rows, *rest))))

    def _picked(self, numbers: np.ndarray[Any, Any], rest: tuple[Any, ...]) -> np.ndarray[Any, Any]:
        """Return the distinct arrays of these numbers, the fill for -1."""
        import numpy as np

        from expedition.trajectory.file.dtypes import storage

        wanted, places = np.unique(numbers[numbers >= 0], return_inverse=True)
        if len(wanted) and wanted[-1] >= len(self._store.dataset(self._data)):
            raise self._store.damaged(f"/{self._at}/index leads out of the arrays")
        which: Any = wanted if len(wanted) else slice(0, 0)
        part = np.asarray(self._store.read(self._data, (which, *rest)))
        if (numbers >= 0).all():
            return self._natural(part)[places]
        kept, fill, _ = storage(self._entry["dtype"], holes=True)
        out = np.full((len(numbers), *part.shape[1:]), fill, kept)
        out[numbers >= 0] = part[places]
        return self._original(out)

    @property
    def _attrs(self) -> dict[str, Any]:
        return self._store.node_attrs(self._data)

    @property
    def _needs_state(self) -> bool:
        return super()._needs_state or (not self._is_indexed and "_FillValue" in self._attrs)

    def _typed(self, rows: slice) -> np.ndarray[Any, Any]:
        return self._read(rows, ())

    def _at_slot(self, slot: int) -> Any:
        import numpy as np

        return self._original(np.asarray(self._store.read(self._data, slot)))


def _is_list(part: Any) -> bool:
    """Tell whether a part of a subscript is an array of indices, or a mask."""
    import numpy as np

    return part is not None and part is not Ellipsis and not isinstance(part, slice) and np.ndim(part) > 0


def _is_simple(rest: tuple[Any, ...]) -> bool:
    """Tell whether HDF5 itself makes this selection of the inner axes."""
    return all(type(part) is int or (isinstance(part, slice) and (part.step or 1) > 0) for part in rest)


class RaggedColumn(ArrayColumn, ObjectColumn):
    """Arrays of one dtype whose shape differs from run to run; several of them are an object array."""

    def _at_slot(self, slot: int) -> Any:
        values = span(self._store, self._at, slot, indexed=self._is_indexed)
        raw = self._store.read(f"{self._at}/value", values)
        shape = self._store.read(f"{self._at}/shape", slot).tolist()
        try:
            return self._original(raw).reshape(shape)
        except ValueError as error:
            raise self._store.damaged(f"an array in /{self._at} is not whole", error) from error


def column_at(store: Store, path: str, rows: np.ndarray[Any, Any] | None = None) -> Column:
    """Return the lazy column at a logical path of the schema.

    Raises `NameNotFoundError` when it was there only in the file that was open before.
    """
    entry = store.schema.get(path)
    if entry is None:
        raise NameNotFoundError(
            f"{path} is not there any more in {store.path}, which was opened again: take the group anew"
        )
    return make_column(store, path, entry, rows)


def make_column(
    store: Store, path: str, entry: dict[str, Any], rows: np.ndarray[Any, Any] | None = None
) -> Column:
    """Return the lazy column for an entry of the schema."""
    if path.startswith(fmt.SERIES + "/"):
        return SeriesColumn(store, path, entry, rows)
    encoding, kind = entry.get("encoding"), entry["kind"]
    if encoding == "tail":
        return TailColumn(store, path, entry, rows)
    if kind in _COMPOSITES:
        return CompositeColumn(store, path, entry, rows)
    if kind != "array":
        return Column(store, path, entry, rows)
    layout = entry.get("values") if encoding == "indexed" else encoding
    return (RaggedColumn if layout == "ragged" else StackedColumn)(store, path, entry, rows)
