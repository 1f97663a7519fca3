"""The cells of a column: what they may hold, and their values back from raw ones."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from expedition.errors import DamagedError
from expedition.values._dtypes import number_dtype
from expedition.values._text import loads
from expedition.values._walk import INT64_MIN
from expedition.values.tagged import decode


class MissingType(enum.Enum):
    """The type of `MISSING`."""

    MISSING = "missing"

    def __repr__(self) -> str:
        return "MISSING"

    def __bool__(self) -> bool:
        return False


MISSING: Final = MissingType.MISSING
"""A cell of a run that has no value: neither None nor NaN."""


class State(enum.IntEnum):
    """What a cell holds; a column without states holds values only."""

    MISSING = 0
    VALUE = 1
    NONE = 2
    INT = 3
    JSON = 4
    NUMPY = 5


NUMBER_STATES = (State.VALUE, State.INT, State.NUMPY)
"""States of cells whose raw value is the value, or equal to it."""


def _text_of(raw: Any) -> str:
    return raw.decode("utf-8") if isinstance(raw, bytes) else str(raw)


def _plain_values(kind: str, attrs: Mapping[str, Any], values: Any, folder: Path | None) -> list[Any]:
    """Return the Python values of an array or list of raw values that are all plain."""
    import numpy as np

    original = attrs.get("dtype_orig")
    if kind == "json":
        return [decode(loads(_text_of(raw)), folder=folder) if len(raw) else MISSING for raw in values]
    if kind == "text":
        texts = [_text_of(raw) for raw in values]
        return list(map(np.str_, texts)) if original == "str" else texts
    array = np.asarray(values)
    if original is not None:
        dtype = number_dtype(original)
        with np.errstate(all="ignore"):  # fills are no floats of 16 bits
            return list(array.astype(np.int64).view(dtype) if dtype.kind in "mM" else array.astype(dtype))
    items: list[Any] = array.tolist()
    if kind == "bool":
        return [item == 1 for item in items]
    if kind == "datetime":
        aware = _text_of(attrs["timezone"]) == "UTC"
        return [_datetime_of(item, aware) for item in items]
    if kind == "timedelta":
        return [timedelta(seconds=item) if item == item else None for item in items]
    return items


def _datetime_of(micros: int, aware: bool) -> datetime | None:
    if micros == INT64_MIN:
        return None
    return datetime(1970, 1, 1, tzinfo=UTC if aware else None) + timedelta(microseconds=micros)


def restore(
    kind: str, attrs: Mapping[str, Any], values: Any, state: Any = None, *, folder: Path | None = None
) -> list[Any]:
    """Return the values of the cells of a column, each equal in value and type to what was stored.

    Raises:
        DamagedError: the values or states are not what `kind` and `attrs` say.
    """
    try:
        if state is None:
            return _plain_values(kind, attrs, values, folder)
        states = [int(code) for code in state]
        if len(states) != len(values):
            raise ValueError(f"{len(values)} values with {len(states)} states")
        plain = _plain_values(kind, attrs, values, folder)
        return [_CELLS[code](raw, item) for code, raw, item in zip(states, values, plain, strict=True)]
    except DamagedError:
        raise
    except Exception as error:
        raise DamagedError(f"a column of kind {kind!r} is damaged: {error}") from error


_CELLS: dict[int, Callable[[Any, Any], Any]] = {
    State.MISSING: lambda _, item: MISSING,
    State.VALUE: lambda _, item: item,
    State.NONE: lambda _, item: None,
    State.INT: lambda raw, _: int(raw),
    State.JSON: lambda raw, _: decode(loads(_text_of(raw))),
    State.NUMPY: lambda _, item: _as_numpy(item),
}


def _as_numpy(item: Any) -> Any:
    import numpy as np

    scalars: dict[type, Any] = {float: np.float64, int: np.int64, bool: np.bool_, complex: np.complex128}
    return scalars[type(item)](item)


def cell(kind: str, attrs: Mapping[str, Any], raw: Any, state: int = 1, *, folder: Path | None = None) -> Any:
    """Return the value of one cell from its raw value and state; `MISSING` when it has none.

    Raises:
        DamagedError: the value or state is not what `kind` and `attrs` say.
    """
    return restore(kind, attrs, [raw], [state], folder=folder)[0]
