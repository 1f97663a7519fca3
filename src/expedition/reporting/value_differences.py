"""How two values differ: numbers by how much, arrays in how many elements, all else in that they do."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from expedition.errors import UnstorableError
from expedition.reporting.run_contents import Unread
from expedition.reporting.value_text import number_text, shape_text, type_text
from expedition.values import canonical

__all__ = ["ValueDifference", "difference", "elements_difference", "percent_text"]


@dataclass(frozen=True)
class ValueDifference:
    """That two values differ, and how.

    Attributes
    ----------
    kind : ``value``, ``type`` where the values are equal and their types are not, or ``unread`` where that one of
        them could not be read leaves it open.
    text : how they differ, in a few words; may be empty.
    measures : the same as numbers by name: ``absolute``, ``relative``, ``elements``, ``of``, ``largest``.
    """

    kind: str
    text: str = ""
    measures: Mapping[str, Any] = field(default_factory=dict)


def difference(first: Any, second: Any) -> ValueDifference | None:
    """Return how two values differ, None when they are equal in value and type; NaN is equal to NaN."""
    if isinstance(first, Unread) or isinstance(second, Unread):
        return ValueDifference("unread")
    if _is_array(first) and _is_array(second):
        return _arrays(first, second)
    if _same(first, second):
        return None
    if _is_frame(first) and _is_frame(second):
        return _frames(first, second)
    if type(first) is not type(second) and _equal(first, second):
        return ValueDifference("type", _types(first, second))
    if _is_number(first) and _is_number(second):
        return _numbers(first, second)
    return ValueDifference(
        "value", _items(first, second) or (_types(first, second) if type(first) is not type(second) else "")
    )


def elements_difference(first: Any, second: Any) -> tuple[int, float | int | None, tuple[int, ...] | None]:
    """Return in how many elements two arrays of one shape differ, by how much at most, and where.

    The last two are None where they are no numbers, or where no difference is one: NaN against a number, say.
    """
    import numpy as np

    hidden_first, hidden_second = _hidden(first), _hidden(second)
    a, b = np.ma.getdata(first), np.ma.getdata(second)
    try:
        unequal = np.asarray(a != b, dtype=bool)
        unequal &= ~((a != a) & (b != b))  # both are NaN or NaT
    except (TypeError, ValueError):
        unequal = np.ones(a.shape, dtype=bool)
    if unequal.shape != a.shape:
        unequal = np.ones(a.shape, dtype=bool)
    unequal = np.where(hidden_first | hidden_second, hidden_first != hidden_second, unequal)
    count = int(np.count_nonzero(unequal))
    if not count or a.dtype.kind not in "iufc" or b.dtype.kind not in "iufc":
        return count, None, None
    where = np.flatnonzero(unequal & ~hidden_first & ~hidden_second)
    if not where.size:
        return count, None, None
    x, y = a.reshape(-1)[where], b.reshape(-1)[where]
    if a.dtype.kind in "iu" and np.result_type(a, b).kind in "iu":
        # A difference of two numbers with a sign may need one bit more: without one it has room, modulo 2^64
        high, low = np.maximum(x, y).astype(np.uint64), np.minimum(x, y).astype(np.uint64)
        distance = high - low
        best = int(np.argmax(distance))
        largest: float | int = int(distance[best])
    else:
        with np.errstate(all="ignore"):
            distance = np.abs(y.astype(np.result_type(x, y, np.float64)) - x)
        known = np.flatnonzero(~np.isnan(distance))
        if not known.size:
            return count, None, None
        best = int(known[np.argmax(distance[known])])
        largest = float(distance[best])
    return count, largest, tuple(map(int, np.unravel_index(where[best], a.shape)))


def _hidden(array: Any) -> Any:
    """Which elements are masked; of records those in which any field is."""
    import numpy as np

    if not isinstance(array, np.ma.MaskedArray):
        return np.zeros(array.shape, dtype=bool)
    mask = np.ma.getmaskarray(array)
    if mask.dtype.names is None:
        return mask
    return np.ma.flatten_mask(mask).reshape((*array.shape, -1)).any(axis=-1)


def _is_array(value: Any) -> bool:
    return type(value).__name__ in ("ndarray", "MaskedArray") and hasattr(value, "dtype")


def _is_frame(value: Any) -> bool:
    return hasattr(value, "iloc") and hasattr(value, "shape")


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or type(value).__name__ in ("bool", "bool_"):
        return False
    return isinstance(value, numbers.Number | Decimal) and getattr(value, "shape", ()) == ()


def _same(first: Any, second: Any) -> bool:
    if type(first) is not type(second):
        return False
    try:
        return canonical(first) == canonical(second)
    except UnstorableError:
        return repr(first) == repr(second)


def _equal(first: Any, second: Any) -> bool:
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        return len(first) == len(second) and all(map(_equal, first, second))
    try:
        return bool(first == second) or bool(first != first and second != second)
    except Exception:  # of classes of the user's, or of libraries for values they cannot compare
        return False


def _types(first: Any, second: Any) -> str:
    return f"type {type_text(first)} → {type_text(second)}"


def _numbers(first: Any, second: Any) -> ValueDifference:
    try:
        # numpy's own integers would wrap around
        a, b = (int(value) if isinstance(value, numbers.Integral) else value for value in (first, second))
        change: Any = b - a
        if isinstance(change, numbers.Complex) and not isinstance(change, numbers.Real):
            change = abs(change)
    except (TypeError, ArithmeticError, ValueError):
        return ValueDifference("value")
    if type(change).__module__ == "numpy":
        change = change.item()
    measures: dict[str, Any] = {"absolute": change}
    text = _signed(change)
    try:
        size = float(abs(a))
        relative = float(change) / size if size else math.nan
    except (OverflowError, TypeError, ValueError):
        relative = math.nan
    if math.isfinite(relative):
        measures["relative"] = relative
        text += f" ({percent_text(relative)})"
    if type(first) is not type(second):
        text += f", {_types(first, second)}"
    return ValueDifference("value", text, measures)


def percent_text(relative: float) -> str:
    """Return a relative difference as ``+12.5 %``, in three digits."""
    return f"{relative * 100:+.3g} %"


def _signed(number: Any) -> str:
    text = (
        number_text(number, exact=False)
        if not isinstance(number, int) or abs(number) > 10**15
        else str(number)
    )
    return text if text.startswith(("-", "nan")) else f"+{text}"


def _items(first: Any, second: Any) -> str:
    """How many items of two lists, tuples or dicts differ."""
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        shared = [name for name in first if name in second]
        changed = sum(not _same(first[name], second[name]) for name in shared)
        missing, added = len(first) - len(shared), len(second) - len(shared)
        parts = [(changed, "changed"), (missing, "removed"), (added, "added")]
        return ", ".join(f"{count} {word}" for count, word in parts if count)
    if type(first) is type(second) and isinstance(first, list | tuple):
        if len(first) != len(second):
            return f"{len(first)} → {len(second)} items"
        changed = sum(not _same(a, b) for a, b in zip(first, second, strict=True))
        return f"{changed} of {len(first)} items differ"
    return ""


def _arrays(first: Any, second: Any) -> ValueDifference | None:
    types = "" if first.dtype == second.dtype and type(first) is type(second) else _types(first, second)
    if first.shape != second.shape:
        text = f"shape {shape_text(first.shape)} → {shape_text(second.shape)}"
        return ValueDifference("value", ", ".join(filter(None, [text, types])))
    count, largest, where = elements_difference(first, second)
    if not count:
        return ValueDifference("type", types) if types else None
    text = f"{count} of {first.size} differ"
    measures: dict[str, Any] = {"elements": count, "of": int(first.size)}
    if largest is not None and where is not None:
        measures |= {"largest": largest, "at": list(where)}
        text += f", most {number_text(largest, exact=False)} at [{', '.join(map(str, where))}]"
    return ValueDifference("value", ", ".join(filter(None, [text, types])), measures)


def _frames(first: Any, second: Any) -> ValueDifference:
    if first.shape != second.shape:
        return ValueDifference("value", f"shape {shape_text(first.shape)} → {shape_text(second.shape)}")
    if type(first) is not type(second):
        return ValueDifference("value", _types(first, second))
    if hasattr(first, "columns") and list(first.columns) != list(second.columns):
        return ValueDifference("value", "other columns")
    if not first.index.equals(second.index):
        return ValueDifference("value", "another index")
    try:
        unequal = (first != second) & ~(first.isna() & second.isna())
        count = int(unequal.to_numpy(dtype=bool).sum())
    except (TypeError, ValueError, AttributeError):
        return ValueDifference("value")
    if not count:
        return ValueDifference("type", "other dtypes or attributes")
    return ValueDifference(
        "value", f"{count} of {first.size} cells differ", {"elements": count, "of": int(first.size)}
    )
