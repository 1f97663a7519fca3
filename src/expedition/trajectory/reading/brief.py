"""Values and columns in a few words, for the outlines of a trajectory."""

from __future__ import annotations

import datetime as dt
import enum
import numbers
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from expedition.errors import ExpeditionError
from expedition.trajectory.file import format as fmt
from expedition.trajectory.reading.columnar import ColumnLike
from expedition.values import decode, has_axes, loads, short_hash, short_text
from expedition.values.columns import MISSING

if TYPE_CHECKING:
    import numpy as np

_FEW = 4
_SOME = 256
"""Cells that are read of a column whose cells have to be decoded one by one."""
_WIDTH = 40
_RANGES = frozenset({"int", "float", "datetime", "timedelta"})
_UNREADABLE = "cannot be read"
_FAILURES = (ExpeditionError, OSError, ValueError, TypeError, LookupError, ArithmeticError)
_SCALARS = frozenset({*_RANGES, "bool", "text", "complex", "json"})


def one_line(text: str, width: int = _WIDTH) -> str:
    """Return `text` without control characters and in at most `width` characters."""
    clean = "".join(c if c.isprintable() else " " for c in text[: width + 1])
    return clean if len(clean) <= width else clean[: width - 1] + "…"


def number_of(number: int, what: str) -> str:
    """Return ``1 run``, ``2 runs``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def brief_value(value: object, width: int = _WIDTH) -> str:
    """Return a value on one line: floats in six digits, arrays by dtype and shape, of collections the start."""
    return one_line(_text(value), width)


def brief_point(value: object, width: int = _WIDTH) -> str:
    """Return a value by which points differ, as `brief_value`: arrays of one shape are told apart."""
    return (
        f"{brief_value(value, width)}~{short_hash(value)}" if has_axes(value) else brief_value(value, width)
    )


def _text(value: object) -> str:
    if getattr(getattr(value, "dtype", None), "kind", "") in ("m", "M") and getattr(value, "ndim", 1) == 0:
        return str(value)  # numpy's times pass for integers
    match value:
        case str() | bytes():
            return repr(value[: 4 * _WIDTH])
        case None | bool() | enum.Enum() | dt.timedelta():
            return str(value)
        case dt.datetime():
            return value.isoformat(sep=" ")
        case numbers.Integral():
            number = int(value)  # Python refuses to write more than 4300 digits
            return str(number) if number.bit_length() < 200 else f"integer of {number.bit_length():,} bits"
        case numbers.Real():
            return f"{float(value):.6g}"
        case Mapping():
            return f"{{{_listed(f'{_text(key)}: {_text(item)}' for key, item in value.items())}}}"
        case tuple() if hasattr(value, "step"):
            return number_of(len(value.step), "observation")
        case list() | tuple():
            inside = _listed(map(_text, value))
            return f"[{inside}]" if isinstance(value, list) else f"({inside}{',' * (len(value) == 1)})"
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and shape:
        size, dtype = "×".join(map(str, shape)), getattr(value, "dtype", "")
        return f"{type(value).__name__} {dtype} {size}" if str(dtype) else f"{type(value).__name__} {size}"
    return short_text(value)


def _listed(texts: Iterable[str]) -> str:
    shown = list(islice(texts, _FEW + 1))
    return ", ".join(shown[:_FEW]) + (", …" if len(shown) > _FEW else "")


def brief_column(column: ColumnLike, *, whole: bool = True) -> str:
    """Return what a column holds: its few values or their range, or its shape, and how many runs have one.

    Without `whole` only the first rows are read. What cannot be read is told as such, not raised: an outline
    must not fail because of one column.
    """
    try:
        if column.path.startswith(f"{fmt.SERIES}/"):
            counts: np.ndarray[Any, Any] = column.counts  # type: ignore[attr-defined]
            return f"{number_of(int(counts.sum()), 'observation')} in {number_of(int((counts > 0).sum()), 'run')}"
        parts = [_values(column, whole) if column.kind in _SCALARS else _form(column)]
        if whole and column.encoding != "tail":
            there = int((column.states != fmt.MISSING).sum())
            parts += [f"{there:,} of {number_of(len(column), 'run')}"] if there < len(column) else []
        parts += ["swept"] if column.swept else []
        return "; ".join(filter(None, parts))
    except _FAILURES:
        return _UNREADABLE


def brief_cell(column: ColumnLike, run: int) -> str:
    """Return the value of one run in a few words; of arrays and series nothing is read but their size."""
    try:
        if column.path.startswith(f"{fmt.SERIES}/"):
            counts: np.ndarray[Any, Any] = column.counts  # type: ignore[attr-defined]
            text = number_of(int(counts[run]), "observation")
        else:
            text = _cell(column, run) if column.kind in _SCALARS else f"{column.kind} {_form(column)}".strip()
        return f"{text} {one_line(column.unit)}" if column.unit else text
    except _FAILURES:
        return _UNREADABLE


def _cell(column: ColumnLike, run: int) -> str:
    if column.encoding not in ("json", "reference"):
        return brief_value(column.get(run))
    text = column._raw_rows(slice(run, run + 1))[0]
    tree = loads(text)
    if '"file"' not in text:
        return brief_value(decode(tree))
    # The value is in the run folder, and may be large.
    about = [tree.get(name) for name in ("$", "dtype", "shape")] if isinstance(tree, dict) else [text]
    return one_line(" ".join(str(each) for each in about if each))


def _form(column: ColumnLike) -> str:
    """Return the dtype and inner shape of arrays, as far as all runs have the same."""
    import numpy as np

    dtype = column._entry.get("dtype")
    words = [np.dtype(dtype).name if isinstance(dtype, str) else "", "×".join(map(str, column.shape[1:]))]
    return " ".join(filter(None, [*words, "ragged" if column.encoding == "ragged" else ""]))


def _values(column: ColumnLike, whole: bool) -> str:
    if column.encoding == "reference":
        return "in the run folders"
    if whole and column.kind in _RANGES:
        return _range(column)
    if whole and column.kind == "bool":
        good = _present(column)
        return f"{int((good == 1).sum()):,} true, {int((good == 0).sum()):,} false" if len(good) else ""
    if whole and column.kind == "text":
        count = len(column)
        texts = [repr(value) for value in column.tolist(MISSING) if value is not MISSING]
    else:
        count = min(_SOME if whole else _FEW, len(column))
        texts = [_cell(column, run) for run in range(count) if column.has(run)]
    distinct = [one_line(text) for text in islice(dict.fromkeys(texts), _FEW + 1)]
    more = len(distinct) > _FEW or count < len(column)
    return ", ".join([*distinct[:_FEW], *(["…"] if more else [])])


def _present(column: ColumnLike) -> np.ndarray[Any, Any]:
    values, gaps = column._filled, column._gaps
    return values if gaps is None else values[~gaps]


def _range(column: ColumnLike) -> str:
    import numpy as np

    present = _present(column)
    values = present[~np.isnat(present)] if present.dtype.kind in "mM" else present[present == present]
    odd = len(present) - len(values)
    distinct = np.unique(values)
    few = len(distinct) <= _FEW
    shown = distinct if few else distinct[[0, -1]]
    items = shown.tolist()
    if shown.dtype.kind in "mM" and any(isinstance(item, int) for item in items):
        items = shown.astype(str).tolist()  # times finer than Python has them
    zone = "+00:00" if column.kind == "datetime" and column._attrs.get("timezone") == "UTC" else ""
    texts = [(item if isinstance(item, str) else _text(item)) + zone for item in items]
    more = [f"{odd:,} {'NaT' if values.dtype.kind in 'mM' else 'NaN'}"] if odd else []
    return ", ".join([text for text in [(", " if few else " … ").join(texts)] if text] + more)
