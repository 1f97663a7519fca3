"""A value in a few words for people: arrays and frames by dtype, shape and range, all else as it is written."""

from __future__ import annotations

import enum
import math
import numbers
from collections.abc import Mapping
from typing import Any

from expedition.reporting.plain_text import plain
from expedition.trajectory.statistics import format_number
from expedition.values import Undecoded, has_axes, short_text

__all__ = ["number_text", "range_text", "shape_text", "type_text", "value_text"]

MAX_ITEMS = 1_000
"""Items of a list or dict that are written out; there may be millions."""


def value_text(value: object, *, exact: bool = True) -> str:
    """Return a value in one line of plain characters.

    :param exact: floats with all their digits, not with six.
    """
    match value:
        case str():
            return plain(value)
        case _:
            return _text(value, exact)


def _text(value: object, exact: bool) -> str:
    match value:
        case str():
            return plain(repr(value))
        case bool() | None:
            return str(value)
        case enum.Enum():
            return plain(f"{type(value).__name__}.{value.name}")
        case numbers.Integral():
            return integer_text(int(value))
        case numbers.Real():
            return number_text(value, exact=exact)
        case Undecoded():
            return plain(str(value))
    if has_axes(value):
        return _axes_text(value)
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item") and hasattr(value, "dtype"):
        return plain(str(value))
    if isinstance(value, Mapping):
        pairs = [
            f"{_text(key, exact)}: {_text(value[key], exact)}"
            for key, _ in zip(value, range(MAX_ITEMS), strict=False)
        ]
        return "{" + ", ".join([*pairs, *_more(len(value))]) + "}"
    if isinstance(value, list | tuple | set | frozenset) and type(value).__module__ == "builtins":
        items = [_text(item, exact) for item, _ in zip(value, range(MAX_ITEMS), strict=False)]
        if isinstance(value, set | frozenset):
            items.sort()
        left, right = "[]" if isinstance(value, list) else "()" if isinstance(value, tuple) else "{}"
        return f"{left}{', '.join([*items, *_more(len(value))])}{right}"
    return plain(short_text(value))


def _more(n: int) -> list[str]:
    return [f"… ({n - MAX_ITEMS} more)"] if n > MAX_ITEMS else []


def number_text(value: Any, *, exact: bool = True) -> str:
    """Return a real number: as Python writes it, or in six significant digits."""
    try:
        number = float(value)
    except (OverflowError, ValueError):
        return plain(str(value))
    if not exact:
        return format_number(number)
    return repr(number) if type(value) is float else plain(str(value))


def integer_text(value: int) -> str:
    """Return a whole number, a very long one as a power of two."""
    if value.bit_length() > 200:  # more than 60 digits; Python itself refuses more than 4300
        return f"{'-' if value < 0 else ''}2^{math.log2(abs(value)):.6g}"
    return str(value)


def type_text(value: object) -> str:
    """Return the type of a value in a word: of arrays the dtype as well."""
    name = type(value).__name__
    if has_axes(value) or getattr(value, "ndim", None) == 0:
        dtype = getattr(value, "dtype", None)
        if dtype is not None and not hasattr(value, "iloc"):
            return plain(
                str(dtype)
                if name == str(dtype) or getattr(value, "ndim", None) == 0
                else f"{name} of {dtype}"
            )
    if isinstance(value, Undecoded):
        return plain(value.codec)
    return plain(name)


def shape_text(shape: Any) -> str:
    """Return a shape as ``[20×30]``."""
    return f"[{'×'.join(map(str, shape))}]"


def _axes_text(value: Any) -> str:
    kind = type(value).__name__
    size = shape_text(value.shape)
    if hasattr(value, "iloc") or hasattr(value, "columns"):
        columns = getattr(value, "columns", None)
        if columns is None:
            return plain(f"{kind}{size} of {value.dtype}")
        return plain(
            f"{kind}{size} with {', '.join(map(str, list(columns)[:20]))}{', …' if len(columns) > 20 else ''}"
        )
    dtype = getattr(value, "dtype", None)
    if hasattr(value, "nnz") and not callable(value.nnz):
        return plain(f"{kind}{size} of {dtype}, {value.nnz} stored")
    name = {"ndarray": "", "MaskedArray": "masked "}.get(kind, f"{kind} of ")
    short = plain(f"{name}{dtype}{size}")
    if kind == "MaskedArray":
        import numpy as np

        hidden = int(np.count_nonzero(np.ma.getmaskarray(value)))
        return ", ".join(part for part in (short, f"{hidden} masked", range_text(value.compressed())) if part)
    span = range_text(value)
    return f"{short}, {span}" if span else short


def range_text(array: Any) -> str:
    """Return ``min 0, mean 1.5, max 3`` of an array of numbers, how many are true of booleans, else nothing."""
    import numpy as np

    dtype = getattr(array, "dtype", None)
    if type(array) is not np.ndarray or dtype is None or not array.size:
        return ""
    if dtype.kind == "b":
        return f"{int(np.count_nonzero(array))} true"
    if dtype.kind not in "iuf":
        return ""
    finite = array[~np.isnan(array)] if dtype.kind == "f" else array
    missing = array.size - finite.size
    nan = [f"{missing} NaN"] if missing else []
    if not finite.size:
        return "all NaN"
    with np.errstate(all="ignore"):
        mean = finite.mean(dtype=np.float64 if dtype.itemsize <= 8 else None)
    # A whole number keeps all its digits; only the mean is rounded.
    low, high = (
        number_text(x, exact=False) if dtype.kind == "f" else str(int(x))
        for x in (finite.min(), finite.max())
    )
    return ", ".join([f"min {low}", f"mean {number_text(mean, exact=False)}", f"max {high}", *nan])
