"""Raw rows of a file: picked by position, and given the dtype that their values had."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from expedition.errors import SelectionError
from expedition.trajectory.file import format as fmt
from expedition.values.columns import number_dtype

if TYPE_CHECKING:
    import numpy as np


def take_rows(rows: np.ndarray[Any, Any], key: Any, what: str) -> np.ndarray[Any, Any]:
    """Return the rows that a slice, an array of positions or a mask selects from `rows`.

    Raises `SelectionError` naming `what` when it does not fit.
    """
    import numpy as np

    if isinstance(key, np.ma.MaskedArray):
        key = _unmasked(key, what)
    try:
        chosen: np.ndarray[Any, Any] = rows[
            np.asarray(key, np.int64) if isinstance(key, list) and not key else key
        ]
    except (IndexError, TypeError, ValueError) as error:
        raise SelectionError(f"{what}: {error}") from None
    if chosen.ndim != 1:
        raise SelectionError(f"{what}: runs are selected by one index, not by {np.ndim(key)} axes of them")
    return chosen


def _unmasked(key: Any, what: str) -> np.ndarray[Any, Any]:
    """Return a masked array as one that selects: of a comparison, what is masked is not true."""
    import numpy as np

    if key.dtype == np.bool_:
        return np.asarray(key.filled(False))
    if np.ma.getmaskarray(key).any():
        raise SelectionError(
            f"{what}: positions that are masked select nothing; leave them out with .compressed()"
        )
    return np.asarray(key.data)


def show_holes(values: np.ndarray[Any, Any], holes: np.ndarray[Any, Any] | None) -> np.ndarray[Any, Any]:
    """Return values in which rows without one say so, bool (rows,), instead of holding a fill.

    NaN and NaT do, where the dtype has them, and None among objects; of all else a masked array is returned.
    """
    import numpy as np

    if holes is None or not holes.any():
        return values
    kind = values.dtype.kind
    if kind in "biu":
        mask = np.broadcast_to(holes.reshape(-1, *[1] * (values.ndim - 1)), values.shape)
        return np.ma.MaskedArray(values, mask.copy())
    values[holes] = None if kind == "O" else np.array("NaT", values.dtype) if kind in "mM" else np.nan
    return values


def pick_rows(read: Callable[[slice], Any], rows: np.ndarray[Any, Any], gap: int = fmt.ROW_CHUNK) -> Any:
    """Return what `read` gives for slices, put together in the order of `rows`.

    Rows that are no more than `gap` apart are read in one piece, so that of a few rows out of many only the
    chunks are read that hold them.
    """
    import numpy as np

    if not len(rows):
        return read(slice(0, 0))
    steps = np.diff(rows)
    if (steps > 0).all():
        wanted, order = rows, None
    else:
        wanted, order = np.unique(rows, return_inverse=True)
        steps = np.diff(wanted)
    pieces = np.split(wanted, np.flatnonzero(steps > gap) + 1)
    parts = [_picked(read(slice(int(p[0]), int(p[-1]) + 1)), p - p[0]) for p in pieces]
    if isinstance(parts[0], list):
        joined = [item for part in parts for item in part]
        return joined if order is None else [joined[position] for position in order.tolist()]
    whole = np.concatenate(parts) if len(parts) > 1 else parts[0]
    return whole if order is None else whole[order]


def _picked(part: Any, positions: np.ndarray[Any, Any]) -> Any:
    return [part[p] for p in positions.tolist()] if isinstance(part, list) else part[positions]


def pick_inner(picked: np.ndarray[Any, Any], rest: tuple[Any, ...]) -> np.ndarray[Any, Any]:
    """Return what a selection `rest` of the inner axes takes of rows that were picked by an array of positions.

    As numpy does: another array goes through them together with the positions.
    """
    import numpy as np

    plain = all(
        part is None or part is Ellipsis or isinstance(part, slice | int | np.integer) for part in rest
    )
    chosen: np.ndarray[Any, Any] = picked[(slice(None) if plain else np.arange(len(picked)), *rest)]
    return chosen


def row_number(key: Any) -> int | None:
    """Return the number of a single row, None for anything that selects several."""
    if isinstance(key, bool):
        raise SelectionError("a run is selected by its number, not by a bool")
    try:
        return operator.index(key)
    except TypeError:
        return None


def natural(kind: str, attrs: dict[str, Any], raw: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return raw numbers in the dtype that their values had; what the fills become there means nothing."""
    import numpy as np

    original = number_dtype(attrs["dtype_orig"]) if "dtype_orig" in attrs else None
    if kind == "bool":
        return np.asarray(raw.astype(np.int8, copy=False) == 1)
    if kind == "datetime":
        return raw.view("M8[us]" if original is None else original)
    if kind == "timedelta":
        if original is not None:
            return raw.view(original)
        out = np.full(raw.shape, np.timedelta64("NaT"), "m8[us]")
        good = ~np.isnan(raw)
        # Not in one product: above 285 years it has no exact microseconds.
        fraction, whole = np.modf(raw[good])
        micros = whole.astype(np.int64) * 10**6 + np.round(fraction * 1e6).astype(np.int64)
        out[good] = micros.view("m8[us]")
        return out
    if original is not None and kind in ("float", "complex", "array", "int"):
        if original.kind == "b":
            return np.asarray(raw.astype(np.int8, copy=False) == 1)
        return raw.astype(original, copy=False)
    return raw
