"""Lazy columns over runs: nothing is read before it is asked for, and then only that."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from expedition.errors import NameNotFoundError, RecordNotFoundError
from expedition.trajectory import format as fmt
from expedition.trajectory.store import Store
from expedition.values import decode, loads
from expedition.values.columns import MISSING, State, cell, restore

if TYPE_CHECKING:
    import numpy as np

_FEW = 32
"""So many rows are read one by one rather than by reading the whole column."""


class Column:
    """A column over runs, of which values are read when they are asked for.

    ``col[5]`` is the value of one run, exactly as stored; a run without one raises `NameNotFoundError`.
    ``col[2:9]``, ``col[[1, 4]]``, ``col[mask]`` and ``col.values`` are numpy arrays, in which missing values
    and None show the fill of the column: NaN, NaT, the smallest int64, -1 in a column of bools with holes,
    ``""``; `tolist` tells them apart. Rows are positions among the runs of the view.
    """

    def __init__(
        self, store: Store, path: str, entry: dict[str, Any], rows: np.ndarray[Any, Any] | None = None
    ) -> None:
        self._store = store
        self._at: str = entry["at"]
        self._entry = entry
        self._rows = rows
        self.path = path

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.path!r} {self.kind} {self.shape}>"

    def __len__(self) -> int:
        return self._store.n_runs if self._rows is None else len(self._rows)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def kind(self) -> str:
        """bool, int, float, text, datetime, timedelta, complex, json or array; of series also file."""
        return str(self._entry["kind"])

    @property
    def unit(self) -> str | None:
        """The unit of the values, where someone said it."""
        return self._entry.get("unit")

    @property
    def comment(self) -> str | None:
        """What the values are, where someone said it."""
        return self._entry.get("comment")

    @property
    def shape(self) -> tuple[int, ...]:
        """``(runs,)``, for stacked arrays ``(runs, d1, …)``."""
        return (len(self),)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of `values`."""
        dtype: np.dtype[Any] = self._typed(slice(0, 0)).dtype
        return dtype

    @property
    def values(self) -> np.ndarray[Any, Any]:
        """All values as one numpy array, see the class about missing ones."""
        return self[:]  # type: ignore[no-any-return]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        import numpy as np

        return np.asarray(self.values, dtype=dtype)

    def __getitem__(self, key: Any) -> Any:
        key, rest = (key[0], key[1:]) if isinstance(key, tuple) and key else (key, ())
        if key is Ellipsis:
            key = slice(None)
        number = _index(key)
        if number is None:
            return self._many(key, rest)
        value = self._exact(self._row(number))
        if value is MISSING:
            raise self._absent(number)
        return value[rest] if rest else value

    def __iter__(self) -> Iterator[Any]:
        return iter(self.tolist(missing=None))

    def get(self, run: int, default: Any = None) -> Any:
        """Return the value of a run exactly as it was stored, `default` where it has none."""
        value = self._exact(self._row(run))
        return default if value is MISSING else value

    def has(self, run: int) -> bool:
        """Tell whether a run has a value (which may be None)."""
        return self._state(self._row(run)) != State.MISSING

    def tolist(self, missing: Any = None) -> list[Any]:
        """Return the values of all runs exactly as they were stored, `missing` where there is none."""
        values = self._cells()
        return [missing if value is MISSING else value for value in values]

    @property
    def states(self) -> np.ndarray[Any, Any]:
        """Per run what its cell holds, uint8: 0 missing, 1 a value, 2 None, 3 an int among floats."""
        import numpy as np

        if not self._has_state:
            return np.full(len(self), State.VALUE, np.uint8)
        self._store.column(f"{fmt.STATE}/{self._at}")
        states = self._store.read(f"{fmt.STATE}/{self._at}", ...)
        return states if self._rows is None else states[self._rows]  # type: ignore[no-any-return]

    # -------------------------------------------------------------------------------------------------------

    @property
    def _has_state(self) -> bool:
        return self._store.has(f"{fmt.STATE}/{self._at}")

    def _state(self, row: int) -> int:
        if not self._has_state:
            return State.VALUE
        self._store.column(f"{fmt.STATE}/{self._at}")
        return int(self._store.read(f"{fmt.STATE}/{self._at}", row))

    def _row(self, number: int) -> int:
        """Return the row in the file of a position."""
        count = len(self)
        if not -count <= number < count:
            raise IndexError(f"{self.path} has {count:,} runs, there is no run {number}")
        number %= count
        return number if self._rows is None else int(self._rows[number])

    def _absent(self, number: int) -> NameNotFoundError:
        row = self._row(number)
        name = self._store.read_text(f"{fmt.RUNS}/id", slice(row, row + 1))[0]
        return NameNotFoundError(f"run {row} ({name}) has no {self.path}")

    def _many(self, key: Any, rest: tuple[Any, ...]) -> np.ndarray[Any, Any]:
        import numpy as np

        if self._rows is None and isinstance(key, slice) and (key.step is None or key.step > 0):
            return self._typed(key)
        rows = np.arange(self._store.n_runs) if self._rows is None else self._rows
        try:
            rows = rows[np.asarray(key, dtype=np.int64) if isinstance(key, list) and not key else key]
        except IndexError as error:
            raise IndexError(f"{self.path}: {error}") from None
        if len(rows) and len(rows) <= _FEW:
            return np.concatenate([self._typed(slice(row, row + 1)) for row in rows.tolist()])
        return self._typed(slice(None))[rows]  # type: ignore[no-any-return]

    @property
    def _attrs(self) -> dict[str, Any]:
        return self._store.node_attrs(self._at)

    @property
    def _is_text(self) -> bool:
        return self.kind in ("text", "json")

    def _raw(self, rows: slice) -> Any:
        dataset = self._store.column(self._at)
        if rows == slice(None):
            self._store.check_size(self._at, dataset.size * dataset.dtype.itemsize)
        return self._store.read_text(self._at, rows) if self._is_text else self._store.read(self._at, rows)

    def _typed(self, rows: slice) -> np.ndarray[Any, Any]:
        """Return rows of the file as an array of the natural dtype of the column."""
        import numpy as np

        raw = self._raw(rows)
        if self.kind == "json":
            out = np.empty(len(raw), dtype=object)
            first = rows.indices(self._store.n_runs)
            for position, (row, text) in enumerate(zip(range(*first), raw, strict=True)):
                value = self._decoded(row, text)
                out[position] = None if value is MISSING else value
            return out
        if self.kind == "text":
            return np.array(raw, dtype=object)
        return self._natural(raw)

    def _natural(self, raw: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        try:
            return natural(self.kind, self._attrs, raw)
        except (ValueError, TypeError) as error:
            raise self._store.damaged(f"/{self._at} is not of the type that it names", error) from error

    def _decoded(self, row: int, text: str) -> Any:
        if not text:
            return MISSING
        # Only a tag that refers to a file needs the folder, which costs another read.
        folder = self._store.folder(row) if '"file"' in text else None
        return decode(loads(text), folder=folder)

    def _exact(self, row: int) -> Any:
        """Return the value of a row of the file as it was stored, or `MISSING`."""
        state = self._state(row)
        if state == State.MISSING:
            return MISSING
        if self.kind == "json":
            return self._decoded(row, self._raw(slice(row, row + 1))[0])
        return cell(self.kind, self._attrs, self._raw(slice(row, row + 1))[0], state)

    def _cells(self) -> list[Any]:
        """Return the exact values of all rows, with `MISSING`."""
        if self.kind == "json":
            rows: Sequence[int] = range(self._store.n_runs) if self._rows is None else self._rows.tolist()
            texts = self._raw(slice(None))
            return [self._decoded(row, texts[row]) for row in rows]
        raw = self._raw(slice(None))
        if self._rows is not None:
            raw = [raw[row] for row in self._rows.tolist()] if isinstance(raw, list) else raw[self._rows]
        return restore(self.kind, self._attrs, raw, self.states if self._has_state else None)


class TailColumn(Column):
    """One leaf of those that share a JSON column."""

    def _decoded(self, row: int, text: str) -> Any:
        if not text:
            return MISSING
        tree = loads(text)
        name = self.path.partition("/")[2]
        if name not in tree:
            return MISSING
        return decode(tree[name], folder=self._store.folder(row))

    def has(self, run: int) -> bool:
        return self._exact(self._row(run)) is not MISSING

    @property
    def states(self) -> np.ndarray[Any, Any]:
        import numpy as np

        codes = [
            State.MISSING if v is MISSING else State.NONE if v is None else State.VALUE for v in self._cells()
        ]
        return np.array(codes, np.uint8)


class RunField(Column):
    """A column of ``/runs``: what is known of every run; None where it is not known yet."""

    def __init__(self, store: Store, name: str, rows: np.ndarray[Any, Any] | None = None) -> None:
        entry = {"at": f"{fmt.RUNS}/{name}", "kind": _FIELD_KINDS[name]}
        if name == "seed" and store.dataset(entry["at"]).dtype.kind == "O":
            entry["kind"] = "json"
        super().__init__(store, f"{fmt.RUNS}/{name}", entry, rows)

    @property
    def _has_state(self) -> bool:
        return False

    def _cells(self) -> list[Any]:
        return [known(self.kind, value) for value in super()._cells()]

    def _exact(self, row: int) -> Any:
        return known(self.kind, super()._exact(row))


class IndexField(RunField):
    """The numbers of the runs."""

    def __init__(self, store: Store, rows: np.ndarray[Any, Any] | None = None) -> None:
        Column.__init__(self, store, f"{fmt.RUNS}/index", {"at": "run", "kind": "int"}, rows)


_FIELD_KINDS = {
    "id": "text",
    "key": "text",
    "status": "text",
    "start": "datetime",
    "stop": "datetime",
    "duration": "float",
    "worker": "text",
    "seed": "int",
    "replicate": "int",
    "attempt": "int",
    "error": "text",
    "folder": "text",
}
FIELDS = ("index", *_FIELD_KINDS)
"""Names of the columns of ``traj.runs``."""


def run_field(store: Store, name: str, rows: np.ndarray[Any, Any] | None = None) -> Column:
    """Return the column `name` of what is known of every run."""
    return IndexField(store, rows) if name == "index" else RunField(store, name, rows)


def known(kind: str, value: Any) -> Any:
    """Return a value of a run's field, None for the fills of what is not known."""
    if value is MISSING or (kind == "int" and value == fmt.INT64_MIN) or (kind == "float" and value != value):
        return None
    return None if kind == "text" and value == "" else value


def natural(kind: str, attrs: dict[str, Any], raw: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return raw numbers in the dtype that their values had, as far as numpy has one that holds the fills."""
    import numpy as np

    original = attrs.get("dtype_orig")
    if kind == "bool":
        return raw if "flag_values" in attrs else raw.astype(np.bool_)
    if kind == "datetime":
        return raw.view(str(original) if original else "M8[us]")
    if kind == "timedelta":
        if original:
            return raw.view(str(original))
        out = np.full(raw.shape, np.timedelta64("NaT"), "m8[us]")
        good = ~np.isnan(raw)
        out[good] = np.round(raw[good] * 1e6).astype(np.int64).view("m8[us]")
        return out
    if original and kind in ("float", "complex", "array", "int"):
        dtype = np.dtype(str(original))
        if dtype.kind == "b":
            return raw if "flag_values" in attrs else raw.astype(dtype)
        return raw.astype(dtype, copy=False)
    return raw


def _index(key: Any) -> int | None:
    """Return the number of a single row, None for anything that selects several."""
    if isinstance(key, bool):
        raise IndexError("a run is selected by its number, not by a bool")
    try:
        return operator.index(key)
    except TypeError:
        return None


__all__ = ["FIELDS", "Column", "RecordNotFoundError", "RunField", "TailColumn", "natural", "run_field"]
