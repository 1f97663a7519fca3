"""What "comes back the same" means in these tests: equal in value and in type, down to the last bit."""

from __future__ import annotations

import dataclasses
import enum
import struct
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, time
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas import testing
from scipy import sparse


def cases(values: list[Any]) -> list[Any]:
    """Return the values as parameters of a test, each with an id of its own."""
    return [pytest.param(value, id=f"{i}-{type(value).__name__}") for i, value in enumerate(values)]


def exactly_equal(left: Any, right: Any) -> bool:
    """Tell whether two values have the same type and the same value: NaN is NaN, -0.0 is not 0.0."""
    if type(left) is not type(right):
        return False
    if isinstance(left, enum.Enum) or any(left is one for one in (None, np.ma.masked, pd.NaT, pd.NA)):
        return left is right
    if isinstance(left, np.ma.MaskedArray):
        return (
            exactly_equal(left.data, right.data)
            and exactly_equal(np.ma.getmaskarray(left), np.ma.getmaskarray(right))
            and (left.mask is np.ma.nomask) == (right.mask is np.ma.nomask)
            and left.hardmask == right.hardmask
            and exactly_equal(np.asarray(left.fill_value), np.asarray(right.fill_value))
        )
    if isinstance(left, np.ndarray | np.generic):
        return _same_array(np.asarray(left), np.asarray(right))
    if isinstance(left, pd.DataFrame):
        return _agrees(testing.assert_frame_equal, left, right, check_exact=True, check_freq=True)
    if isinstance(left, pd.Series):
        return _agrees(testing.assert_series_equal, left, right, check_exact=True, check_freq=True)
    if isinstance(left, pd.Index):
        return _agrees(testing.assert_index_equal, left, right, exact=True, check_exact=True)
    if sparse.issparse(left):
        a, b = left.tocoo(), right.tocoo()
        return left.shape == right.shape and exactly_equal(_parts(a), _parts(b))
    if isinstance(left, float):
        return struct.pack("<d", left) == struct.pack("<d", right)
    if isinstance(left, complex):
        return exactly_equal((left.real, left.imag), (right.real, right.imag))
    if isinstance(left, Decimal):
        return left.as_tuple() == right.as_tuple()
    if isinstance(left, datetime | time):
        same_zone = left.tzinfo is right.tzinfo or exactly_equal(left.tzinfo, right.tzinfo)
        wall = left.replace(tzinfo=None, fold=0) == right.replace(tzinfo=None, fold=0)
        return wall and left.fold == right.fold and same_zone and left.tzname() == right.tzname()
    if isinstance(left, OrderedDict):
        return _same_items(list(left.items()), list(right.items()))
    if isinstance(left, dict):
        return len(left) == len(right) and _same_items(list(left.items()), list(right.items()))
    if isinstance(left, set | frozenset):
        rest = list(right)
        for item in left:
            match = next((i for i, other in enumerate(rest) if exactly_equal(item, other)), None)
            if match is None:
                return False
            del rest[match]
        return not rest
    if isinstance(left, range | slice):
        return _same_items([left.start, left.stop, left.step], [right.start, right.stop, right.step])
    if isinstance(left, list | tuple):
        return _same_items(list(left), list(right))
    if dataclasses.is_dataclass(left):
        names = [field.name for field in dataclasses.fields(left)]
        return all(exactly_equal(getattr(left, name), getattr(right, name)) for name in names)
    return bool(left == right)


def _agrees(check: Callable[..., None], left: Any, right: Any, **strictly: bool) -> bool:
    try:
        check(left, right, **strictly)
    except AssertionError:
        return False
    return True


def _parts(matrix: Any) -> tuple[Any, ...]:
    return (matrix.data, *(matrix.coords if hasattr(matrix, "coords") else (matrix.row, matrix.col)))


def _same_items(left: list[Any], right: list[Any]) -> bool:
    return len(left) == len(right) and all(map(exactly_equal, left, right))


def _same_array(left: np.ndarray, right: np.ndarray) -> bool:
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    if left.dtype.kind in "OT":
        return _same_items(left.ravel().tolist(), right.ravel().tolist())
    if left.dtype.names is not None:
        return all(_same_array(left[name], right[name]) for name in left.dtype.names)
    if left.dtype.itemsize > 8 and left.dtype.kind in "fc":  # these have padding
        return np.array_equal(left, right, equal_nan=True) and np.array_equal(
            np.signbit(left.real), np.signbit(right.real)
        )
    return left.tobytes() == right.tobytes()
