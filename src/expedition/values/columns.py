"""The type of a column over runs: typed numpy arrays where these are exact, JSON text where they are not.

A column is made of the cells of N runs, each `MISSING` or the JSON tree that `encode` made. One rule decides
over the whole column, and `restore` gives back every cell with its value and type. What is no plain value is
told by the state of its cell: missing, None, an int in a column of floats, JSON, or a numpy scalar among
builtin numbers of the same kind.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from expedition.values._cells import MISSING, NUMBER_STATES, MissingType, State, cell, restore
from expedition.values._dtypes import number_dtype
from expedition.values._standard import float_of, is_utf8
from expedition.values._text import dumps
from expedition.values._walk import INT64_MIN, Json

if TYPE_CHECKING:
    import numpy as np

ColumnKind: TypeAlias = Literal["bool", "int", "float", "text", "datetime", "timedelta", "complex", "json"]


@dataclass(frozen=True, eq=False)
class ColumnData:
    """A column ready to be written: `values` is a numpy array, or a list of str for text and JSON.

    `state` is a uint8 array, or None when every cell is a plain value; `fill` stands where there is none.
    `attrs` are the attributes of its HDF5 dataset, `python_type` names the type of its values for people.
    """

    kind: ColumnKind
    values: np.ndarray[Any, Any] | list[str]
    fill: Any
    state: np.ndarray[Any, Any] | None
    python_type: str
    attrs: dict[str, Any] = field(default_factory=dict)

    def restore(self, *, folder: Path | None = None) -> list[Any]:
        """Return the values of all cells, `MISSING` where there is none."""
        return restore(self.kind, self.attrs, self.values, self.state, folder=folder)


class _UnfitError(Exception):
    """The cells are not of the type that was tried."""


_HOLES: tuple[type, ...] = (MissingType, type(None))
_EXACT_INT = 2**53
_LONGEST = 2**63 // 10**6 - 1
"""Seconds that are within 64 bits as microseconds, as numpy has them: 292,000 years."""
_UNITS = {
    "D": "days",
    "h": "hours",
    "m": "minutes",
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "ns": "nanoseconds",
}
_EPOCH = " since 1970-01-01"
_NATURAL = {"np <f8": "float", "np <i8": "int", "np |b1": "bool", "np <c16": "complex"}
_PLAIN = {bool: "bool", int: "int", float: "float", str: "text"}


def build_column(cells: Sequence[Json | MissingType]) -> ColumnData:
    """Return the column of some cells in the narrowest type that keeps every cell exactly."""
    kinds = set(map(type, cells))
    state = _states(cells, kinds)
    try:
        return _typed(cells, kinds, state)
    except Exception:  # the JSON text is exact for whatever cells there are
        return _json_column(cells, state)


def _states(cells: Sequence[Any], kinds: set[type]) -> np.ndarray[Any, Any] | None:
    """Return what tells missing cells and None from values, None where there are only values."""
    if kinds.isdisjoint(_HOLES):
        return None
    import numpy as np

    codes: dict[type, int] = dict.fromkeys(kinds, State.VALUE)
    codes |= {MissingType: State.MISSING, type(None): State.NONE}
    return np.fromiter(map(codes.__getitem__, map(type, cells)), dtype=np.uint8, count=len(cells))


def _typed(cells: Sequence[Any], kinds: set[type], state: np.ndarray[Any, Any] | None) -> ColumnData:
    """Return the column in the one type that its cells may have; raise when they do not fit."""
    import numpy as np

    holes = not kinds.isdisjoint(_HOLES)
    kinds = kinds.difference(_HOLES)
    signatures = {_PLAIN.get(kind, "other") for kind in kinds if kind is not dict}
    if dict in kinds:
        signatures |= {_signature(cell) for cell in cells if type(cell) is dict}
    if signatures == {"int", "float"}:
        if any(type(cell) is int and not -_EXACT_INT <= cell <= _EXACT_INT for cell in cells):
            raise _UnfitError
        # Not by the builtin types that occur: NaN and infinities are floats, too, and come as tags.
        states = np.full(len(cells), State.VALUE, np.uint8) if state is None else state.copy()
        states[[position for position, each in enumerate(cells) if type(each) is int]] = State.INT
        return _number(cells, "float", np.dtype("f8"), holes, states, "float | int")
    if not signatures:
        return _number(cells, "float", np.dtype("f8"), holes, state, "NoneType")
    if len(signatures) > 1:
        signatures, state = _folded(cells, signatures, state)
    signature = signatures.pop()
    if signature in ("bool", "int", "float", "complex"):
        dtype = np.dtype({"bool": "i1", "int": "i8", "float": "f8", "complex": "c16"}[signature])
        return _number(cells, signature, dtype, holes, state, signature)
    if signature == "text":
        return _text(cells, holes, state)
    if signature.startswith("np "):
        return _numpy(cells, np.dtype(signature[3:]), holes, state)
    if signature == "timedelta":
        return _timedelta(cells, holes, state)
    if signature in ("naive", "UTC"):
        return _datetime(cells, signature, holes, state)
    raise _UnfitError


def _folded(
    cells: Sequence[Any], signatures: set[str], state: np.ndarray[Any, Any] | None
) -> tuple[set[str], np.ndarray[Any, Any]]:
    """Let numpy's own form of a builtin number share its column; the state of such a cell says which it is.

    A mean is a numpy scalar in one run and a plain 0.0 in the next: no reason to lose the column of numbers.
    """
    import numpy as np

    builtin = signatures - _NATURAL.keys()
    natural = signatures & _NATURAL.keys()
    if len(builtin) != 1 or {_NATURAL[name] for name in natural} != builtin:
        raise _UnfitError
    states = np.full(len(cells), State.VALUE, np.uint8) if state is None else state.copy()
    for position, each in enumerate(cells):
        if type(each) is dict and each["$"] == "np":
            states[position] = State.NUMPY
    return builtin, states


def _signature(cell: dict[str, Any]) -> str:
    """Return what a tagged cell is; cells of one signature may share a typed column."""
    kind = cell.get("$")
    if kind == "np" and "v" in cell:
        return f"np {cell['dtype']}"
    if kind in ("float", "complex", "timedelta"):
        return str(kind)
    if kind == "datetime" and len(cell) == 2:
        text = cell["v"]
        if len(text) in (25, 32) and text.endswith("+00:00"):
            return "UTC"
        if len(text) in (19, 26) and text[10] == "T":
            return "naive"
    raise _UnfitError


def _plain(cell: Any) -> Any:
    """Return the number of a cell of a column of numbers."""
    if type(cell) is not dict:
        return cell
    value = cell["v"]
    if cell["$"] == "complex" or type(value) is list:
        real, imag = value
        return complex(float_of(real), float_of(imag))
    if type(value) is str:
        return int(value) if cell["$"] == "np" and "u8" in cell["dtype"] else float_of(value)
    return value


def _fill_of(dtype: np.dtype[Any]) -> Any:
    import numpy as np

    if dtype.kind == "f":
        return dtype.type(np.nan)
    if dtype.kind == "c":
        return dtype.type(complex(np.nan, np.nan))
    limits = np.iinfo(dtype)
    return dtype.type(limits.max if dtype.kind == "u" else limits.min)


def _number(
    cells: Sequence[Any],
    kind: Any,
    dtype: np.dtype[Any],
    holes: bool,
    state: np.ndarray[Any, Any] | None,
    python_type: str,
    attrs: Mapping[str, Any] | None = None,
) -> ColumnData:
    import numpy as np

    fill = np.int8(-1) if kind == "bool" else _fill_of(dtype)
    out: dict[str, Any] = dict(attrs or {})
    if holes:
        values = np.array([fill if type(c) in _HOLES else _plain(c) for c in cells], dtype=dtype)
        if dtype.kind != "c":
            out["_FillValue"] = fill
    elif dtype.kind in "fi" and not (attrs or dict in set(map(type, cells))):
        values = np.array(cells, dtype=dtype)
    else:
        values = np.array([_plain(cell) for cell in cells], dtype=dtype)
    if kind == "bool" and holes:  # xarray would read the fill of dtype="bool" as True
        out |= {"flag_values": np.array([0, 1], dtype=np.int8), "flag_meanings": "false true"}
    elif kind == "bool":
        out["dtype"] = "bool"
    return ColumnData(kind, values, fill, state, python_type, out)


def _numpy(
    cells: Sequence[Any], dtype: np.dtype[Any], holes: bool, state: np.ndarray[Any, Any] | None
) -> ColumnData:
    import numpy as np

    if dtype.kind == "U":
        texts = [cell if type(cell) in _HOLES else cell["v"] for cell in cells]
        column = _text(texts, holes, state)
        return ColumnData("text", column.values, "", state, "numpy.str_", {"dtype_orig": "str"})
    if dtype.itemsize > (16 if dtype.kind == "c" else 8) or dtype.kind not in "biufcmM" or not dtype.isnative:
        raise _UnfitError
    if np.dtype(dtype.str).type is not dtype.type or np.dtype(dtype.name).type is not dtype.type:
        raise _UnfitError
    attrs: dict[str, Any] = {"dtype_orig": dtype.name}
    python_type = f"numpy.{dtype.type.__name__}"
    if dtype.kind in "mM":
        unit, step = np.datetime_data(dtype)
        if step != 1 or unit not in _UNITS:
            raise _UnfitError
        if dtype.kind == "M":
            attrs |= {"units": _UNITS[unit] + _EPOCH, "calendar": "proleptic_gregorian", "timezone": "naive"}
        else:
            attrs["unit"] = unit
        kind = "datetime" if dtype.kind == "M" else "timedelta"
        return _number(cells, kind, np.dtype("i8"), holes, state, python_type, attrs)
    kind = {"b": "bool", "i": "int", "u": "int", "f": "float", "c": "complex"}[dtype.kind]
    stored = {"bool": "i1", "float16": "f4"}.get(dtype.name, dtype)
    return _number(cells, kind, np.dtype(stored), holes, state, python_type, attrs)


def _text(cells: Sequence[Any], holes: bool, state: np.ndarray[Any, Any] | None) -> ColumnData:
    texts: list[str] = ["" if type(cell) in _HOLES else cell for cell in cells] if holes else list(cells)
    whole = "".join(texts)
    if "\0" in whole or not is_utf8(whole):
        raise _UnfitError
    return ColumnData("text", texts, "", state, "str")


def _datetime(cells: Sequence[Any], zone: str, holes: bool, state: np.ndarray[Any, Any] | None) -> ColumnData:
    import numpy as np

    cut = None if zone == "naive" else -6
    texts = ["NaT" if type(cell) in _HOLES else cell["v"][:cut] for cell in cells]
    values = np.array(texts, dtype="M8[us]").view(np.int64)
    fill = np.int64(INT64_MIN)
    attrs: dict[str, Any] = {
        "units": "microseconds" + _EPOCH,
        "calendar": "proleptic_gregorian",
        "timezone": zone,
    }
    if holes:
        attrs["_FillValue"] = fill
    return ColumnData("datetime", values, fill, state, "datetime.datetime", attrs)


def _timedelta(cells: Sequence[Any], holes: bool, state: np.ndarray[Any, Any] | None) -> ColumnData:
    import numpy as np

    seconds: list[float] = []
    for each in cells:
        if type(each) in _HOLES:
            seconds.append(float("nan"))
            continue
        value = timedelta(*each["v"])
        seconds.append(value.total_seconds())
        if timedelta(seconds=seconds[-1]) != value or abs(seconds[-1]) > _LONGEST:
            raise _UnfitError
    fill = np.float64(np.nan)
    attrs: dict[str, Any] = {"unit": "s", "_FillValue": fill} if holes else {"unit": "s"}
    values = np.array(seconds, dtype=np.float64)
    return ColumnData("timedelta", values, fill, state, "datetime.timedelta", attrs)


def _json_column(cells: Sequence[Any], state: np.ndarray[Any, Any] | None) -> ColumnData:
    texts = ["" if cell is MISSING else dumps(cell) for cell in cells]
    if not is_utf8("".join(texts)):  # not from `encode`, which tags lone surrogates
        texts = [text if is_utf8(text) else json.dumps(json.loads(text), allow_nan=False) for text in texts]
    return ColumnData("json", texts, "", state, "json", {"encoding": "json"})


__all__ = [
    "MISSING",
    "NUMBER_STATES",
    "ColumnData",
    "ColumnKind",
    "MissingType",
    "State",
    "build_column",
    "cell",
    "number_dtype",
    "restore",
]
