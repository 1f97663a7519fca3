"""The dtypes of numpy as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from expedition.values._walk import Json, expect

if TYPE_CHECKING:
    import numpy as np


def dtype_to_json(dtype: np.dtype[Any]) -> Json:
    """Return the JSON of a dtype: its string, its character where the string is ambiguous, or its fields.

    Raises ValueError for what is not described by these.
    """
    import numpy as np

    if dtype.names is not None or dtype.subdtype is not None:
        if dtype.hasobject:
            raise ValueError("it has fields of dtype object")
        tree: Json = _lists(dtype.descr)
        if dtype_from_json(tree) != dtype:
            raise ValueError("its fields overlap or are out of order")
        return tree
    same = np.dtype(dtype.str)
    return dtype.str if same.type is dtype.type or same != dtype else dtype.char


def _lists(descr: Any) -> Any:
    return [_lists(part) for part in descr] if isinstance(descr, list | tuple) else descr


def _fields(descr: Any) -> Any:
    """Turn the lists of JSON into the tuples that numpy wants."""
    if isinstance(descr, str):
        return descr
    out = []
    for name, kind, *shape in expect(descr, list):
        title = tuple(name) if isinstance(name, list) else name
        out.append((title, _fields(kind), *(tuple(expect(n, int) for n in dims) for dims in shape)))
    return out


def number_dtype(name: object) -> np.dtype[Any]:
    """Return the dtype of numbers or times that a column names; ValueError or TypeError when it is none.

    A name such as ``S1000000000`` would turn a small column into gigabytes.
    """
    import numpy as np

    dtype = np.dtype(name.decode() if isinstance(name, bytes) else str(name))
    if dtype.kind not in "biufcmM" or dtype.itemsize > 16 or dtype.subdtype is not None:
        raise ValueError(f"{str(name)[:40]!r} is no dtype of numbers")
    return dtype


def dtype_from_json(tree: Json) -> np.dtype[Any]:
    """Return the dtype of `dtype_to_json`; ValueError or TypeError when it is none, or has objects."""
    import numpy as np

    if isinstance(tree, str):
        dtype = np.dtype(tree)
        if dtype.names is not None or dtype.subdtype is not None or dtype.metadata:
            raise ValueError(f"{tree[:40]!r} is not one dtype")
    else:
        dtype = np.lib.format.descr_to_dtype(_fields(tree))
    if dtype.hasobject:
        raise ValueError("dtype object is never stored")
    return dtype
