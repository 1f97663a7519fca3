"""Lazy columns of series: what each run tracked under one name, whole or in parts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expedition.archive.series import SeriesValues, stack_values
from expedition.errors import DamagedError, SelectionError
from expedition.recording import layout
from expedition.recording.plain_files import open_plain
from expedition.trajectory.file import format as fmt
from expedition.trajectory.file.array_source import read_bin
from expedition.trajectory.file.raw import natural, pick_inner, row_number
from expedition.trajectory.reading.column import Column
from expedition.trajectory.reading.stored_column import span
from expedition.values import decode, loads
from expedition.values.columns import MISSING, State, restore

if TYPE_CHECKING:
    import numpy as np

_NUMBERS = frozenset({"bool", "int", "float"})
_BLOCK = 1 << 20
"""Observations whose states are read at once."""


class LazyArray:
    """An array in the file of which only the parts that are asked for are read.

    It takes what numpy takes: ``lazy[10:20]``, ``lazy[-1]``, ``lazy[:, 3]``, ``lazy[mask]``; ``numpy.asarray``
    reads all of it. `shape` and `dtype` are known without reading; of values that are kept as JSON only the
    length is. `label` is what messages call it.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        read: Callable[[slice, tuple[int | slice, ...]], np.ndarray[Any, Any]],
    ) -> None:
        self.shape = shape
        self.dtype = dtype
        self._read = read
        self.label = "the series"

    def __repr__(self) -> str:
        return f"<LazyArray {self.shape} {self.dtype}>"

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes that reading all of it takes."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        return (self[number] for number in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        import numpy as np

        return np.asarray(self[:], dtype=dtype)

    def __getitem__(self, key: Any) -> Any:
        try:
            return self._part(key)
        except SelectionError:
            raise
        except (IndexError, TypeError, ValueError) as error:
            raise SelectionError(f"{self.label}, of shape {self.shape}, has no [{key!r}]: {error}") from None

    def _part(self, key: Any) -> Any:
        first, rest = (key[0], key[1:]) if isinstance(key, tuple) and key else (key, ())
        if first is None or first is Ellipsis or (isinstance(key, tuple) and not key):
            return self._read(slice(0, len(self)), ())[key]
        if isinstance(first, slice):
            return self._slice(first, rest)
        number = row_number(first)
        if number is None:
            return pick_inner(self._chosen(first), rest)
        if not -len(self) <= number < len(self):
            known = f"they are 0 to {len(self) - 1:,}, or -1 from the end" if len(self) else "there are none"
            raise SelectionError(f"{self.label} has no observation {number}: {known}")
        number %= len(self)
        inner, after = _inner(rest)
        return self._read(slice(number, number + 1), inner)[(0, *after)]

    def _slice(self, first: slice, rest: tuple[Any, ...]) -> Any:
        chosen = range(*first.indices(len(self)))
        inner, after = _inner(rest)
        if not chosen:
            return self._read(slice(0, 0), inner)[(slice(None), *after)]
        low, high = min(chosen[0], chosen[-1]), max(chosen[0], chosen[-1])
        part = self._read(slice(low, high + 1), inner)
        return part[(slice(None, None, chosen.step), *after)]

    def _chosen(self, wanted: Any) -> Any:
        """Return the observations of an array of positions or of a mask, reading from the first to the last."""
        import numpy as np

        if isinstance(wanted, list | tuple):
            wanted = np.asarray(wanted, None if len(wanted) else np.int64)
        positions = np.arange(len(self))[wanted]
        if not positions.size:
            return self._read(slice(0, 0), ())[positions]
        low = int(positions.min())
        return self._read(slice(low, int(positions.max()) + 1), ())[positions - low]


def _objects(values: list[Any]) -> np.ndarray[Any, Any]:
    import numpy as np

    out = np.empty(len(values), dtype=object)
    for position, value in enumerate(values):
        out[position] = value
    return out


def _inner(rest: tuple[Any, ...]) -> tuple[tuple[int | slice, ...], tuple[Any, ...]]:
    """Return the selection of the inner axes that HDF5 makes, and the one that is left to numpy."""
    for part in rest:
        simple = (part.step or 1) > 0 if isinstance(part, slice) else type(part) is int
        if not simple:
            return (), rest
    return rest, ()


@dataclass(frozen=True)
class LazySeries:
    """A series of one run, read in parts: `step`, `time` and `value` are `LazyArray`."""

    step: LazyArray
    time: LazyArray
    value: LazyArray

    def __len__(self) -> int:
        return len(self.step)


class SeriesColumn(Column):
    """A series of all runs: ``col[run]`` gives its `SeriesValues` (step, time, value) in one run.

    ``col[run, 10:20]`` gives some observations of it, and ``col.lazy(run)`` reads only what is sliced later. A
    run that tracked nothing under this name has empty arrays. Values of one run that share no type, such as
    ints and floats, and paths of files, are object arrays.
    """

    @property
    def dtype(self) -> np.dtype[Any]:
        import numpy as np

        return np.dtype(object)

    @property
    def counts(self) -> np.ndarray[Any, Any]:
        """Number of observations of each run, int64."""
        self._store.numbers(f"{self._at}/obs_count")
        counts = self._store.read(f"{self._at}/obs_count", ...)
        return counts if self._rows is None else counts[self._rows]  # type: ignore[no-any-return]

    @property
    def states(self) -> np.ndarray[Any, Any]:
        import numpy as np

        return np.where(self.counts > 0, State.VALUE, State.MISSING).astype(np.uint8)

    @property
    def _gaps(self) -> np.ndarray[Any, Any] | None:
        none: np.ndarray[Any, Any] = self.counts == 0
        return none

    def _holes(self, rows: slice | np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
        return None  # a run without observations has an empty series

    @property
    def _needs_state(self) -> bool:
        # The dimension of the states stands beside them, and is there only with them.
        return self.kind in _NUMBERS and self._store.has(f"{fmt.STATE}/{self._at}_obs")

    def _state(self, row: int) -> int:
        self._store.numbers(f"{self._at}/obs_count")
        return State.VALUE if int(self._store.read(f"{self._at}/obs_count", row)) else State.MISSING

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, tuple) and len(key) > 1 and row_number(key[0]) is not None:
            lazy = self.lazy(key[0])
            part = key[1] if len(key) == 2 else key[1:]
            observations = key[1]
            return SeriesValues(lazy.step[observations], lazy.time[observations], lazy.value[part])
        number = row_number(key)
        return self._many(key, ()) if number is None else self._of(self._row(number))

    def lazy(self, run: int) -> LazySeries:
        """Return the series of a run without reading it: ``col.lazy(3).value[10:20]`` reads ten observations.

        `run` is a position among the runs of the view; raises `SelectionError` when there is none.
        """
        return self._lazy(self._row(run))

    def _typed(self, rows: slice) -> np.ndarray[Any, Any]:
        import numpy as np

        chosen = range(*rows.indices(self._store.n_runs))
        out = np.empty(len(chosen), dtype=object)
        for position, row in enumerate(chosen):
            out[position] = self._of(row)
        return out

    def _exact(self, row: int) -> Any:
        return self._of(row) if self._state(row) else MISSING

    def _cells(self) -> list[Any]:
        rows = range(self._store.n_runs) if self._rows is None else self._rows.tolist()
        return [self._exact(row) for row in rows]

    def _of(self, row: int) -> SeriesValues:
        lazy = self._lazy(row)
        return SeriesValues(lazy.step[:], lazy.time[:], lazy.value[:])

    def _lazy(self, row: int) -> LazySeries:
        import numpy as np

        part = span(self._store, self._at, row, data="step")
        count = part.stop - part.start

        def steps(chosen: slice, _: Any) -> Any:
            return self._observations("step", part, chosen)

        def times(chosen: slice, _: Any) -> Any:
            raw = self._observations("time", part, chosen)
            return raw.astype(np.int64, copy=False).view("M8[us]")

        step = LazyArray((count,), np.dtype(np.int64), steps)
        time = LazyArray((count,), np.dtype("M8[us]"), times)
        series = LazySeries(step, time, self._values(row, part))
        for array in (series.step, series.time, series.value):
            array.label = f"{self.path} of run {row} in {self._store.path}"
        return series

    def _observations(self, name: str, part: slice, chosen: slice, inner: Any = ()) -> Any:
        """Return some observations of one dataset of the series."""
        rows = slice(part.start + chosen.start, part.start + chosen.stop)
        return self._store.read(f"{self._at}/{name}", (rows, *inner))

    def _values(self, row: int, part: slice) -> LazyArray:
        import numpy as np

        count = part.stop - part.start
        if self.kind in ("json", "file"):

            def objects(chosen: slice, _: Any) -> np.ndarray[Any, Any]:
                rows = slice(part.start + chosen.start, part.start + chosen.stop)
                return self._decoded_values(row, rows)

            return LazyArray((count,), np.dtype(object), objects)
        if self._entry.get("encoding") == fmt.PER_RUN:
            return self._per_run(row, count)
        span(self._store, self._at, row)  # there are as many values as steps
        if self.kind in _NUMBERS and self._has_state:
            return self._in_states(row, part)
        at = f"{self._at}/value"

        def numbers(chosen: slice, inner: tuple[int | slice, ...]) -> np.ndarray[Any, Any]:
            return self._in_kind(at, self._observations("value", part, chosen, inner))

        empty = self._in_kind(at, np.empty(0, self._store.dataset(at).dtype))
        return LazyArray((count, *self._store.dataset(at).shape[1:]), empty.dtype, numbers)

    def _in_states(self, row: int, part: slice) -> LazyArray:
        """Return numbers some of which are no plain values: in the type that those of this run have in common."""
        import numpy as np

        at, states = f"{self._at}/value", f"{fmt.STATE}/{self._at}"
        attrs = self._store.node_attrs(at)
        count = part.stop - part.start
        self._store.check_size(at, count * self._store.dataset(at).dtype.itemsize)
        dataset = self._store.dataset(states)
        if dataset.ndim != 1 or dataset.dtype.kind not in "iu" or len(dataset) < part.stop:
            raise self._store.damaged(f"/{states} has not a state for each observation")
        codes: set[int] = set()
        for start in range(part.start, part.stop, _BLOCK):
            block = self._store.read(states, slice(start, min(start + _BLOCK, part.stop)))
            codes.update(np.unique(block).tolist())
        plain = {name: value for name, value in attrs.items() if name != "flag_values"}

        def alike(chosen: slice, _: Any) -> np.ndarray[Any, Any]:
            return self._in_kind(at, self._observations("value", part, chosen), plain).astype(
                dtype, copy=False
            )

        def mixed(chosen: slice, _: Any) -> np.ndarray[Any, Any]:
            rows = slice(part.start + chosen.start, part.start + chosen.stop)
            try:
                values = restore(self.kind, attrs, self._store.read(at, rows), self._store.read(states, rows))
            except DamagedError as error:
                raise self._spoilt(error) from error
            return _objects(values)

        if not codes <= {State.VALUE, State.NUMPY} and codes != {State.INT}:
            return LazyArray((count,), np.dtype(object), mixed)
        natural_type = self._in_kind(at, np.empty(0, self._store.dataset(at).dtype), plain).dtype
        dtype = np.dtype(np.int64) if codes == {State.INT} else natural_type
        return LazyArray((count,), dtype, alike)

    def _per_run(self, row: int, count: int) -> LazyArray:
        """Return the arrays of a run, which have a shape of their own."""
        import numpy as np

        at = f"{self._at}/value"
        shape = tuple(self._store.read(f"{self._at}/shape", row).tolist())
        start = int(self._store.read(f"{self._at}/value_start", row))
        size = math.prod(shape)
        if start < 0 or min(shape, default=0) < 0 or start + count * size > len(self._store.dataset(at)):
            raise self._store.damaged(f"the arrays of run {row} lie outside of /{self._at}")

        def arrays(chosen: slice, inner: tuple[int | slice, ...]) -> np.ndarray[Any, Any]:
            span = slice(start + chosen.start * size, start + chosen.stop * size)
            flat = self._in_kind(at, self._store.read(at, span))
            return flat.reshape(chosen.stop - chosen.start, *shape)[(slice(None), *inner)]

        empty = self._in_kind(at, np.empty(0, self._store.dataset(at).dtype))
        return LazyArray((count, *shape), empty.dtype, arrays)

    def _in_kind(
        self, at: str, raw: np.ndarray[Any, Any], attrs: dict[str, Any] | None = None
    ) -> np.ndarray[Any, Any]:
        try:
            return natural(self.kind, self._store.node_attrs(at) if attrs is None else attrs, raw)
        except (ValueError, TypeError) as error:
            raise self._store.damaged(f"/{at} is not of the type that it names", error) from error

    def _decoded_values(self, row: int, rows: slice) -> np.ndarray[Any, Any]:

        texts = self._store.read_text(f"{self._at}/value", rows)
        if self.kind == "file":
            folder = self._store.folder(row) if texts else Path()
            values: list[Any] = [str(folder / text) for text in texts]
        else:
            values = [self._tracked(row, text) for text in texts]
        try:
            return stack_values(values)
        except ValueError:  # arrays of several shapes
            return _objects(values)

    def _tracked(self, row: int, text: str) -> Any:
        """Return the value of one observation; the run folder is looked for only if it is there."""
        try:
            tree = loads(text)
            if not isinstance(tree, dict) or tree.get("$") not in ("bin", "file"):
                return decode(tree, folder=self._store.folder(row) if '"file"' in text else None)
        except DamagedError as error:
            raise self._spoilt(error) from error
        folder = self._store.folder(row)
        if tree["$"] == "file":
            return str(folder / str(tree["file"]))
        try:
            with open_plain(folder / layout.SERIES_FILE) as file:
                return read_bin(file, tree)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise self._store.damaged(f"an array of {self.path} is not in its run folder", error) from error
