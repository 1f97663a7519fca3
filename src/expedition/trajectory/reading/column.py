"""Lazy columns over runs: nothing is read before it is asked for, and then only that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from expedition.errors import (
    DamagedError,
    ExpeditionError,
    NameNotFoundError,
    SelectionError,
    TrajectoryFormatError,
)
from expedition.trajectory.file import format as fmt
from expedition.trajectory.file.raw import natural, pick_rows, row_number, show_holes, take_rows
from expedition.trajectory.file.store import Store
from expedition.trajectory.reading.brief import brief_column
from expedition.trajectory.reading.html import values_html
from expedition.values import decode, loads
from expedition.values.columns import MISSING, NUMBER_STATES, State, cell, restore

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


class Column:
    """A column over runs, of which values are read when they are asked for.

    ``col[5]`` is the value of one run, exactly as stored; a run without one raises `NameNotFoundError`.
    ``col[2:9]``, ``col[[1, 4]]``, ``col[mask]`` and ``col.values`` are numpy arrays. Where a run has no value,
    or None, they have NaN or NaT, None among texts and objects, and of whole numbers and bools they are
    ``numpy.ma.MaskedArray`` with these runs masked; `tolist` tells missing values and None apart. Rows are
    positions among the runs of the view.
    """

    _valued: tuple[int, ...] = NUMBER_STATES
    """States of cells that `_typed` has a value for."""

    def __init__(
        self, store: Store, path: str, entry: dict[str, Any], rows: np.ndarray[Any, Any] | None = None
    ) -> None:
        self._store = store
        self._taken = store.openings, entry
        self._rows = rows
        self.path = path

    def __repr__(self) -> str:
        what = f"{type(self).__name__} {self.path!r} {self.kind}"
        if not self._store.is_open:
            return f"<{what}, closed>"
        unit = f" [{self.unit}]" if self.unit else ""
        brief = brief_column(self, whole=False)
        return f"<{what} {self.shape}{unit}{': ' if brief else ''}{brief}>"

    def _repr_html_(self) -> str:
        if not self._store.is_open:
            return values_html(f"column {self.path}, closed", [])
        facts = {
            "kind": self.kind,
            "shape": str(self.shape),
            "unit": self.unit or "",
            "comment": self.comment or "",
            "values": brief_column(self, whole=len(self) <= _WHOLE),
        }
        return values_html(f"column {self.path}", [], [(name, text) for name, text in facts.items() if text])

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
    def encoding(self) -> str | None:
        """How the file keeps the column where that is not the plain way: json, ragged, reference and so on."""
        return self._entry.get("encoding")

    @property
    def swept(self) -> bool:
        """Whether the column is a parameter that the sweep varies."""
        return bool(self._entry.get("swept"))

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

        values = self.values
        if isinstance(values, np.ma.MaskedArray):  # whose mask a plain array would lose
            mask, values = np.ma.getmaskarray(values), values.data.astype(object)
            values[mask] = None
        return np.asarray(values, dtype=dtype)

    def __getitem__(self, key: Any) -> Any:
        key, rest = (key[0], key[1:]) if isinstance(key, tuple) and key else (key, ())
        if key is Ellipsis:
            key = slice(None)
        number = row_number(key)
        if number is None:
            if rest:
                raise SelectionError(
                    f"{self.path} has one axis, over runs; {len(rest) + 1} indices do not fit"
                )
            return self._many(key, rest)
        value = self._exact(self._row(number))
        if value is MISSING:
            raise self._absent(number)
        return self._inside(number, value, rest) if rest else value

    def _inside(self, number: int, value: Any, rest: tuple[Any, ...]) -> Any:
        """Return a part of the value of one run."""
        part = rest[0] if len(rest) == 1 else rest
        if self.kind in _SCALARS - {"json"} or isinstance(value, str):
            raise SelectionError(
                f"{self.path} has one {self.kind} for each run, of which there are no parts: write [{number}], "
                f"not {[number, *rest]}"
            )
        try:
            return value[part]
        except ExpeditionError:
            raise
        except Exception as error:  # pandas and scipy have errors of their own for it
            kind, shape = type(value).__name__, getattr(value, "shape", None)
            what = f"{kind} of shape {shape}" if shape is not None else kind
            raise SelectionError(
                f"{self.path} of run {self._row(number)} is a {what}, which [{part!r}] does not fit "
                f"({type(error).__name__}: {error})"
            ) from None

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
        path = f"{fmt.STATE}/{self._at}"
        self._store.numbers(path)
        if self._rows is None:
            return self._store.read(path, ...)  # type: ignore[no-any-return]
        return pick_rows(lambda rows: self._store.read(path, rows), self._rows)  # type: ignore[no-any-return]

    def to_pandas(self) -> pd.Series[Any] | pd.DataFrame:
        """Return a Series with the rows of the runs as index ``run``; of a series the frame of its observations.

        That frame has one row per observation and the columns ``run``, ``step``, ``time`` (UTC) and ``value``.
        Raises `MissingLibraryError` without pandas.
        """
        from expedition.trajectory.reading.frames import column_frame

        return column_frame(self)

    # -------------------------------------------------------------------------------------------------------

    @property
    def _entry(self) -> dict[str, Any]:
        """What the schema says of the column: that of the file that is open, which may be a newer one."""
        opening, entry = self._taken
        if opening != self._store.openings:
            now = self._store.schema.get(self.path, entry if self.path.startswith(f"{fmt.RUNS}/") else None)
            if now is None or not _are_read_alike(entry, now):
                what = "is not there any more" if now is None else f"is of kind {now['kind']} now"
                raise NameNotFoundError(
                    f"{self.path} {what} in {self._store.path}, which was opened again: take the column anew"
                )
            self._taken = self._store.openings, now
        return self._taken[1]

    @property
    def _at(self) -> str:
        return str(self._entry["at"])

    @property
    def _has_state(self) -> bool:
        there = self._store.has(f"{fmt.STATE}/{self._at}")
        if not there and self._needs_state:
            raise self._store.damaged(
                f"/{self._at} has runs without a value, but /{fmt.STATE}/{self._at}, which says which, is gone"
            )
        return there

    @property
    def _needs_state(self) -> bool:
        """Whether the file says elsewhere that not every cell is a plain value."""
        if self.kind not in _SCALARS - {"json", "text"} or not self._store.n_runs:
            return False
        mixed = self._entry.get("python_type") in ("float | int", "NoneType")
        return mixed or not {"_FillValue", "flag_values"}.isdisjoint(self._attrs)

    def _state(self, row: int) -> int:
        if not self._has_state:
            return State.VALUE
        self._store.numbers(f"{fmt.STATE}/{self._at}")
        return int(self._store.read(f"{fmt.STATE}/{self._at}", row))

    def _row(self, number: int) -> int:
        """Return the row in the file of a position."""
        count = len(self)
        if not -count <= number < count:
            raise SelectionError(
                f"{self.path} has {count:,} runs, there is no run {number} in {self._store.path}"
            )
        number %= count
        return number if self._rows is None else int(self._rows[number])

    def _absent(self, number: int) -> NameNotFoundError:
        row = self._row(number)
        name = self._store.read_text(f"{fmt.RUNS}/id", slice(row, row + 1))[0]
        return NameNotFoundError(f"run {row} ({name}) has no {self.path}")

    def _many(self, key: Any, rest: tuple[Any, ...]) -> np.ndarray[Any, Any]:
        import numpy as np

        if self._rows is None and isinstance(key, slice) and (key.step is None or key.step > 0):
            return show_holes(self._typed(key), self._holes(key))
        rows = take_rows(np.arange(self._store.n_runs) if self._rows is None else self._rows, key, self.path)
        return show_holes(pick_rows(self._typed, rows, self._gap), self._holes(rows))

    @property
    def _filled(self) -> np.ndarray[Any, Any]:
        """All values, with something that means nothing where `_gaps` are."""
        if self._rows is None:
            return self._typed(slice(None))
        return pick_rows(self._typed, self._rows, self._gap)  # type: ignore[no-any-return]

    @property
    def _gaps(self) -> np.ndarray[Any, Any] | None:
        """Which runs have no value, or None, as a bool array; None where every run has one."""
        return self._holes(slice(None) if self._rows is None else self._rows)

    def _holes(self, rows: slice | np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
        """Return which rows of the file have no value here, None where all have one."""
        import numpy as np

        if not self._has_state:
            return None
        path = f"{fmt.STATE}/{self._at}"
        self._store.numbers(path)
        if isinstance(rows, slice):
            backwards = (rows.step or 1) < 0  # which HDF5 does not read
            states = self._store.read(path, ...)[rows] if backwards else self._store.read(path, rows)
        else:
            states = pick_rows(lambda part: self._store.read(path, part), rows)
        return ~np.isin(states, self._valued)

    @property
    def _gap(self) -> int:
        """So many rows may lie between two that are wanted, and are read with them."""
        return fmt.ROW_CHUNK if self.kind in _SCALARS and self.encoding != "reference" else 1

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
        chars = self._is_text and dataset.dtype == "S1" and dataset.ndim == 2
        if not chars and (dataset.ndim != 1 or dataset.dtype.kind not in _DTYPES.get(self.kind, "")):
            what = f"of dtype {dataset.dtype} and shape {dataset.shape}"
            raise self._store.damaged(f"/{self._at} is {what}, which is no column of kind {self.kind!r}")
        return self._store.read_text(self._at, rows) if self._is_text else self._store.read(self._at, rows)

    def _raw_rows(self, positions: slice = slice(None)) -> Any:
        """Return what the file has for positions of the view: texts as a list, numbers as an array."""
        if self._rows is None:
            return self._raw(positions)
        return pick_rows(self._raw, self._rows[positions], self._gap)

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
        try:
            return self._of_text(row, text)
        except (DamagedError, TypeError, AttributeError) as error:
            raise self._spoilt(error) from error

    def _spoilt(self, error: Exception) -> Exception:
        """Return the error for a cell that cannot be read: of this file, or of the file that the cell refers to."""
        if isinstance(error, TrajectoryFormatError) or self._store.names_run_file(str(error)):
            return error
        return self._store.damaged(f"/{self._at} holds what it should not", error)

    def _of_text(self, row: int, text: str) -> Any:
        if '"$"' not in text and len(text) <= _SHORT:
            return decode(_parsed(text))
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
        raw = self._raw(slice(row, row + 1))[0]
        try:
            return cell(self.kind, self._attrs, raw, state)
        except DamagedError as error:
            raise self._spoilt(error) from error

    def _cells(self) -> list[Any]:
        """Return the exact values of all rows, with `MISSING`."""
        raw = self._raw_rows()
        if self.kind == "json":
            rows: Sequence[int] = range(self._store.n_runs) if self._rows is None else self._rows.tolist()
            return [self._decoded(row, text) for row, text in zip(rows, raw, strict=True)]
        states = self.states if self._has_state else None
        try:
            return restore(self.kind, self._attrs, raw, states)
        except DamagedError as error:
            raise self._spoilt(error) from error


class TailColumn(Column):
    """One leaf of those that share a JSON column."""

    def _of_text(self, row: int, text: str) -> Any:
        return self._in_tree(row, text, loads(text))

    def _in_tree(self, row: int, text: str, tree: Any) -> Any:
        name = self.path.partition("/")[2]
        if name not in tree:
            return MISSING
        folder = self._store.folder(row) if '"file"' in text else None
        return decode(tree[name], folder=folder)

    def _cells(self) -> list[Any]:
        kept = self._store.tails
        if kept is None:
            return super()._cells()
        shared = self._at, id(self._rows)
        try:
            if shared not in kept:
                kept[shared] = [(text, loads(text) if text else {}) for text in self._raw_rows()]
            rows: Sequence[int] = range(self._store.n_runs) if self._rows is None else self._rows.tolist()
            return [self._in_tree(row, *cell) for row, cell in zip(rows, kept[shared], strict=True)]
        except (DamagedError, TypeError, AttributeError) as error:
            raise self._spoilt(error) from error

    def has(self, run: int) -> bool:
        return self._exact(self._row(run)) is not MISSING

    @property
    def states(self) -> np.ndarray[Any, Any]:
        import numpy as np

        codes = [
            State.MISSING if v is MISSING else State.NONE if v is None else State.VALUE for v in self._cells()
        ]
        return np.array(codes, np.uint8)


def _are_read_alike(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Tell whether one class reads both columns."""
    if all(entry["kind"] in _SCALARS and entry.get("encoding") != "tail" for entry in (one, other)):
        return True
    return all(one.get(name) == other.get(name) for name in ("kind", "encoding", "values"))


_DTYPES = {
    "bool": "iu",
    "int": "iu",
    "float": "f",
    "complex": "c",
    "datetime": "i",
    "timedelta": "if",
    "text": "O",
    "json": "O",
}
"""Kinds of numpy's dtypes that a column of each kind may have in the file."""
_SCALARS = frozenset({"bool", "int", "float", "text", "datetime", "timedelta", "complex", "json"})
_SHORT = 1024
_WHOLE = 2_000_000
"""Cells that an outline of one column reads at most."""


@lru_cache(maxsize=256)
def _parsed(text: str) -> Any:
    """The tree of a text that many runs may share; `decode` makes new values of it each time."""
    return loads(text)
