"""Lazy columns of arrays: stacked over runs, or ragged."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from expedition.archive.record import SeriesValues
from expedition.recording import layout
from expedition.trajectory import format as fmt
from expedition.trajectory.column import Column, _index, natural
from expedition.trajectory.store import Store
from expedition.values import decode, loads
from expedition.values.columns import MISSING, State

if TYPE_CHECKING:
    import numpy as np


class ArrayColumn(Column):
    """Arrays of one dtype."""

    def _original(self, raw: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return an array in the dtype that it was stored with."""
        import numpy as np

        try:
            return raw.astype(np.dtype(self._entry["dtype"]), copy=False)
        except (KeyError, TypeError, ValueError) as error:
            raise self._store.damaged(f"/{self._at} is not of the dtype that it names", error) from error

    def _cells(self) -> list[Any]:
        rows = range(self._store.n_runs) if self._rows is None else self._rows.tolist()
        return [self._exact(row) for row in rows]


class StackedColumn(ArrayColumn):
    """Arrays that have the same shape in all runs: ``col[5, 10:20]`` reads only that part of run 5."""

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self._store.column(self._at).shape[1:])

    def __getitem__(self, key: Any) -> Any:
        import numpy as np

        first, rest = (key[0], key[1:]) if isinstance(key, tuple) and key else (key, ())
        number = None if first is Ellipsis else _index(first)
        if number is not None:
            row = self._row(number)
            state = self._state(row)
            if state == State.MISSING:
                raise self._absent(number)
            if state == State.NONE:
                return None
            part = self._store.read(self._at, (row, *_plain(rest)))
            return self._original(np.asarray(part))[()]
        if first is Ellipsis:
            return self._typed(slice(None))[key]
        if self._rows is None and isinstance(first, slice) and all(isinstance(r, slice | int) for r in rest):
            return self._natural(np.asarray(self._read(first, rest)))
        return self._many(first, ())[(slice(None), *rest)]

    def _read(self, rows: slice, rest: tuple[Any, ...]) -> Any:
        dataset = self._store.column(self._at)
        row_size = dataset.size // max(len(dataset), 1) * dataset.dtype.itemsize
        self._store.check_size(self._at, len(range(*rows.indices(len(dataset)))) * row_size)
        if rows.step is not None and rows.step < 0:
            return self._store.read(self._at, (slice(None), *_plain(rest)))[rows]
        return self._store.read(self._at, (rows, *_plain(rest)))

    def _typed(self, rows: slice) -> np.ndarray[Any, Any]:
        return self._natural(self._read(rows, ()))

    def _exact(self, row: int) -> Any:
        state = self._state(row)
        if state != State.VALUE:
            return MISSING if state == State.MISSING else None
        import numpy as np

        return self._original(np.asarray(self._store.read(self._at, row)))


def _plain(rest: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the selection of the inner axes as h5py takes it."""
    return tuple(list(r) if isinstance(r, range) else r for r in rest)


class RaggedColumn(ArrayColumn):
    """Arrays of one dtype whose shape differs from run to run; several of them are an object array."""

    @property
    def dtype(self) -> np.dtype[Any]:
        import numpy as np

        return np.dtype(object)

    def _typed(self, rows: slice) -> np.ndarray[Any, Any]:
        import numpy as np

        chosen = range(*rows.indices(self._store.n_runs))
        out = np.empty(len(chosen), dtype=object)
        for position, row in enumerate(chosen):
            value = self._exact(row)
            out[position] = None if value is MISSING else value
        return out

    def _exact(self, row: int) -> Any:

        state = self._state(row)
        if state != State.VALUE:
            return MISSING if state == State.MISSING else None
        values = ragged_slice(self._store, self._at, row)
        raw = self._store.read(f"{self._at}/value", values)
        shape = self._store.read(f"{self._at}/shape", row).tolist()
        try:
            return self._original(raw).reshape(shape)
        except ValueError as error:
            raise self._store.damaged(f"the array of run {row} in /{self._at} is not whole", error) from error


class SeriesColumn(ArrayColumn):
    """A series of all runs: ``col[run]`` gives its `SeriesValues` (step, time, value) in one run.

    A run that tracked nothing under this name has empty arrays. Values of kind ``json`` and paths of files
    are object arrays.
    """

    @property
    def dtype(self) -> np.dtype[Any]:
        import numpy as np

        return np.dtype(object)

    @property
    def counts(self) -> np.ndarray[Any, Any]:
        """Number of observations of each run, int64."""
        counts = self._store.read(f"{self._at}/obs_count", ...)
        return counts if self._rows is None else counts[self._rows]  # type: ignore[no-any-return]

    @property
    def states(self) -> np.ndarray[Any, Any]:
        import numpy as np

        return np.where(self.counts > 0, State.VALUE, State.MISSING).astype(np.uint8)

    def _state(self, row: int) -> int:
        return State.VALUE if int(self._store.read(f"{self._at}/obs_count", row)) else State.MISSING

    def __getitem__(self, key: Any) -> Any:
        number = _index(key)
        return self._many(key, ()) if number is None else self._of(self._row(number))

    def _typed(self, rows: slice) -> np.ndarray[Any, Any]:
        import numpy as np

        chosen = range(*rows.indices(self._store.n_runs))
        out = np.empty(len(chosen), dtype=object)
        for position, row in enumerate(chosen):
            out[position] = self._of(row)
        return out

    def _exact(self, row: int) -> Any:
        return self._of(row) if self._state(row) else MISSING

    def _of(self, row: int) -> SeriesValues:
        import numpy as np

        part = ragged_slice(self._store, self._at, row)
        step = self._store.read(f"{self._at}/step", part)
        time = self._store.read(f"{self._at}/time", part).astype(np.int64, copy=False).view("M8[us]")
        return SeriesValues(step, time, self._values(row, part))

    def _values(self, row: int, part: slice) -> np.ndarray[Any, Any]:
        import numpy as np

        at = f"{self._at}/value"
        if self.kind not in ("json", "file"):
            raw = self._store.read(at, part)
            try:
                return natural(self.kind, self._store.node_attrs(at), raw)
            except (ValueError, TypeError) as error:
                raise self._store.damaged(f"/{at} is not of the type that it names", error) from error
        texts = self._store.read_text(at, part)
        folder = self._store.folder(row)
        out = np.empty(len(texts), dtype=object)
        for position, text in enumerate(texts):
            out[position] = str(folder / text) if self.kind == "file" else self._tracked(text, folder)
        return out

    def _tracked(self, text: str, folder: Path) -> Any:
        tree = loads(text)
        if not isinstance(tree, dict) or tree.get("$") not in ("bin", "file"):
            return decode(tree, folder=folder)
        from expedition.trajectory.series import read_bin

        if tree["$"] == "file":
            return str(folder / str(tree["file"]))
        try:
            with open(folder / layout.SERIES_FILE, "rb") as file:
                return read_bin(file, tree)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise self._store.damaged(f"an array of {self.path} is not in its run folder", error) from error


def ragged_slice(store: Store, at: str, row: int) -> slice:
    """Return which observations of a ragged column belong to a row."""
    store.column(f"{at}/obs_start"), store.column(f"{at}/obs_count")
    start = int(store.read(f"{at}/obs_start", row))
    count = int(store.read(f"{at}/obs_count", row))
    total = store.dataset(f"{at}/value").shape[0]
    if start < 0 or count < 0 or start + count > total:
        raise store.damaged(f"the observations of run {row} lie outside of /{at}")
    return slice(start, start + count)


def make_column(
    store: Store, path: str, entry: dict[str, Any], rows: np.ndarray[Any, Any] | None = None
) -> Column:
    """Return the lazy column for an entry of the schema."""
    if path.startswith(fmt.SERIES + "/"):
        return SeriesColumn(store, path, entry, rows)
    encoding = entry.get("encoding")
    if encoding == "tail":
        from expedition.trajectory.column import TailColumn

        return TailColumn(store, path, entry, rows)
    if entry["kind"] != "array":
        return Column(store, path, entry, rows)
    return (RaggedColumn if encoding == "ragged" else StackedColumn)(store, path, entry, rows)
