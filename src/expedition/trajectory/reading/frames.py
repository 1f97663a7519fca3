"""Columns as pandas has them: one cell a run, or one row an observation."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from expedition.errors import DamagedError, RecordNotFoundError
from expedition.trajectory.file import format as fmt
from expedition.trajectory.file.raw import natural, pick_rows
from expedition.trajectory.reading.columnar import ColumnLike, positions_of
from expedition.trajectory.reading.extras import library
from expedition.values import dumps, encode, loads
from expedition.values.columns import MISSING, NUMBER_STATES

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_TYPED = frozenset({"bool", "int", "float", "datetime", "timedelta", "complex"})
_NUMBERS = frozenset({"bool", "int", "float"})
_EXACT = 2**53
_LONGEST_CELL = fmt.INLINE_LIMIT * 3 // 2
"""Characters that arrays of `fmt.INLINE_LIMIT` bytes need at most."""


def column_frame(column: ColumnLike) -> pd.Series[Any] | pd.DataFrame:
    """Return a column as a Series over the runs, a series as the frame of its observations."""
    library("pandas", f"to_pandas() of {column.path}")
    if column.path.startswith(f"{fmt.SERIES}/"):
        return observations_frame({column.path.partition("/")[2]: column}, named=False)
    name = column.name if column.name != "run" else column.path.replace("/", ".")  # as the index is called
    return table({name: cells(column)}, column._rows)[name]


def table(data: Mapping[str, Any], rows: np.ndarray[Any, Any] | None) -> pd.DataFrame:
    """Return columns, as `cells` makes them, as a DataFrame whose index ``run`` has the rows of the runs."""
    import pandas as pd

    frame = pd.DataFrame(data, copy=False)
    frame.index = pd.RangeIndex(len(frame), name="run") if rows is None else pd.Index(rows, name="run")
    return frame


def text_cells(values: Any, *, is_text: bool = True) -> pd.Series[Any]:
    """Return texts, or objects of any kind, in a dtype that does not depend on what these rows are."""
    import pandas as pd

    return pd.Series(values, dtype=pd.Series([""]).dtype if is_text else object)


def cells(column: ColumnLike) -> Any:
    """Return the values of a column as an array that pandas keeps as it is.

    Numbers with holes become nullable integers and booleans, or floats with NaN; times NaT; text and what is
    no number or time has None where there is none. Whatever has no dtype of its own is an object array.
    """
    import numpy as np

    kind = column.kind
    if kind not in _TYPED and kind != "text":
        values = np.empty(len(column), dtype=object)
        for position, value in enumerate(column.tolist(None)):
            values[position] = value
        return text_cells(values, is_text=False)
    values, holes = column._filled, column._gaps
    if kind == "text":
        if holes is not None:
            values[holes] = None
        return text_cells(values)
    return _extension(kind, column._attrs, values, holes)


def _extension(
    kind: str, attrs: Mapping[str, Any], values: np.ndarray[Any, Any], holes: np.ndarray[Any, Any] | None
) -> Any:
    import numpy as np
    import pandas as pd

    if kind == "datetime" and attrs.get("timezone") == "UTC":
        return pd.DatetimeIndex(values).tz_localize("UTC")
    # Nullable where the file has holes, whichever rows these are: a view has the dtypes of the whole.
    nullable = not {"_FillValue", "flag_values"}.isdisjoint(attrs) or (holes is not None and holes.any())
    if holes is None:
        holes = np.zeros(len(values), bool)
    if nullable and kind == "int":
        return pd.arrays.IntegerArray(np.where(holes, values.dtype.type(1), values), holes)
    if nullable and kind == "bool":
        return pd.arrays.BooleanArray(np.asarray(values == 1), holes)
    return values


def json_cells(column: ColumnLike) -> np.ndarray[Any, Any]:
    """Return the values of a column as tagged JSON, strict and on one line each; None where there is none.

    Nothing is decoded that the file has as JSON, unless it refers to a file of a run folder: no text does here.
    What is too large for a cell, or cannot be read, is left out with one warning.
    """
    import numpy as np

    texts = np.empty(len(column), dtype=object)
    lost = 0
    if column.encoding == "json":
        texts[:] = [text or None for text in column._raw_rows()]
        for position in np.flatnonzero([text is not None and refers(text) for text in texts]).tolist():
            texts[position] = _whole_text(column, position)
            lost += texts[position] is None
    else:
        for position, value in enumerate(column.tolist(MISSING)):
            if value is not MISSING:
                texts[position] = _text_of(value, column.path)
                lost += texts[position] is None
    if lost:
        values = f"{lost:,} values of {column.path}" if lost > 1 else f"one value of {column.path}"
        warnings.warn(
            f"{values} left out, larger than {fmt.INLINE_LIMIT:,} bytes or not readable: the cell is empty; take it "
            "from the trajectory",
            stacklevel=2,
        )
    return texts


def refers(text: str) -> bool:
    """Tell whether tagged JSON refers to a file of a run folder."""
    return '"file":' in text and _has_reference(loads(text))


def _has_reference(tree: Any) -> bool:
    if isinstance(tree, dict):
        return {"$", "file"} <= tree.keys() or any(map(_has_reference, tree.values()))
    return isinstance(tree, list) and any(map(_has_reference, tree))


def _whole_text(column: ColumnLike, position: int) -> str | None:
    """Return the text of a value that refers to files with what they hold."""
    try:
        return _text_of(column.get(position), column.path)
    except (DamagedError, RecordNotFoundError, OSError):  # the run folder is gone or damaged
        return None


def _text_of(value: Any, name: str) -> str | None:
    """Return the tagged JSON of a value, None when it is too large for a cell."""
    if isinstance(nbytes := getattr(value, "nbytes", 0), int) and nbytes > fmt.INLINE_LIMIT:
        return None
    text = dumps(encode(value, name=name))
    return text if len(text) <= _LONGEST_CELL else None


def observations_frame(columns: Mapping[str, ColumnLike], *, named: bool = True) -> pd.DataFrame:
    """Return the observations of some series, one row each, in the order of series, runs and journal.

    Columns are ``run`` (row in the file), ``series`` (name; only if `named`), ``step``, ``time`` (UTC) and
    ``value``. Values are numbers where those of all series are: ints among floats become floats where these
    are exact, None among numbers becomes NaN or NA. Otherwise they are the objects as they were tracked.
    """
    import numpy as np

    pd = library("pandas", "to_pandas() of a series")
    parts = [_observations(column) for column in columns.values()]
    data: dict[str, Any] = {"run": _joined([part[0] for part in parts], np.int64)}
    if named:
        codes = np.repeat(np.arange(len(parts)), [len(part[0]) for part in parts])
        data["series"] = pd.Categorical.from_codes(codes, list(columns))
    data["step"] = _joined([part[1] for part in parts], np.int64)
    data["time"] = pd.DatetimeIndex(_joined([part[2] for part in parts], "M8[us]")).tz_localize("UTC")
    data["value"] = _values([part[3] for part in parts])
    return pd.DataFrame(data, copy=False)  # type: ignore[no-any-return]


def _joined(parts: Sequence[np.ndarray[Any, Any]], dtype: Any) -> np.ndarray[Any, Any]:
    import numpy as np

    return np.concatenate(parts) if parts else np.empty(0, dtype)


def _values(parts: Sequence[Any]) -> Any:
    """Join the values of several series into one column, without loss."""
    import numpy as np
    import pandas as pd

    kinds = {str(part.dtype) for part in parts}
    if len(kinds) <= 1:
        return pd.concat([pd.Series(part) for part in parts], ignore_index=True) if parts else np.empty(0)
    if kinds <= {"float64", "int64"} and all(
        part.dtype.kind == "f" or not len(part) or (abs(part) <= _EXACT).all() for part in parts
    ):
        return np.concatenate([part.astype(np.float64) for part in parts])
    joined = np.empty(sum(map(len, parts)), dtype=object)
    joined[:] = [value for part in parts for value in part.tolist()]
    return joined


def _observations(
    column: Any,
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any], Any]:
    """Return rows, steps, times and values of all observations of a series in the order of its runs."""
    import numpy as np

    rows = positions_of(column)
    counts: np.ndarray[Any, Any] = column.counts
    runs = np.repeat(rows, counts)
    if column.kind in _NUMBERS:
        return runs, *_bulk(column, rows, counts)
    parts = [column[position] for position in np.flatnonzero(counts).tolist()]
    values = np.empty(int(counts.sum()), dtype=object)
    for position, value in enumerate(value for part in parts for value in part.value):
        values[position] = value
    return (
        runs,
        _joined([part.step for part in parts], np.int64),
        _joined([part.time for part in parts], "M8[us]"),
        values,
    )


def _bulk(
    column: Any, rows: np.ndarray[Any, Any], counts: np.ndarray[Any, Any]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], Any]:
    """Read a series of numbers in few pieces, whatever the number of runs."""
    import numpy as np

    store, at = column._store, column._at
    total = store.dataset(f"{at}/value").shape[0]
    starts = pick_rows(lambda part: store.read(f"{at}/obs_start", part), rows)
    if ((starts < 0) | (counts < 0) | (starts + counts > total)).any():
        raise store.damaged(f"observations of a run lie outside of /{at}")
    places = np.repeat(starts - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())

    def read(path: str) -> np.ndarray[Any, Any]:
        store.check_size(path, len(places) * store.dataset(path).dtype.itemsize)
        picked: np.ndarray[Any, Any] = pick_rows(lambda part: store.read(path, part), places, fmt.OBS_CHUNK)
        return picked

    steps, times = read(f"{at}/step"), read(f"{at}/time").astype(np.int64, copy=False).view("M8[us]")
    attrs = store.node_attrs(f"{at}/value")
    values = natural(column.kind, attrs, read(f"{at}/value"))
    state = f"{fmt.STATE}/{at}"
    holes = ~np.isin(read(state), NUMBER_STATES) if store.has(state) else None
    return steps, times, _extension(column.kind, attrs, values, holes)
