"""Takes values that are made of several arrays apart, into a form and named parts, and puts them together again.

A form is the tagged JSON of a value in which the data are replaced by placeholders,
``{"$": "part", "at": "indices", "axis": "nnz", "dtype": "<i4"}``. All runs whose values differ only in their
data share one form, and each part of them is one column.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from expedition.errors import DamagedError
from expedition.trajectory.file import format as fmt
from expedition.trajectory.file.stored import Kind, Tag, is_plain
from expedition.values import Json, decode, dumps
from expedition.values.files import dtype_from_json

if TYPE_CHECKING:
    import numpy as np

MOST_PARTS = 256
"""A value of more parts is not laid out in columns: each of them is a dataset."""
_MOST_LABELS = 1000
_OWN_NAMES = frozenset({"form", "forms", "index", "json", "shape", "row_start", "row_count"})
_DIMENSION = re.compile(r"_dim\d+$")
_INDEX_ARRAYS = ("data", "indices", "indptr")


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a value: an array, or texts, along an axis of it.

    Other values may lack an `optional` part, which means zeros; `attrs` say more to people who read the dataset.
    """

    name: str
    axis: str
    values: np.ndarray[Any, Any] | list[str]
    optional: bool = False
    attrs: tuple[tuple[str, str], ...] = ()


@dataclass
class Apart:
    """A value that was taken apart. `counts` has the length of every axis of its parts."""

    layout: str
    form: Json = None
    shape: tuple[int, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)

    @property
    def nbytes(self) -> int:
        """Bytes of all parts."""
        return sum(
            sum(map(len, part.values)) if isinstance(part.values, list) else part.values.nbytes
            for part in self.parts
        )


class _UnfitError(Exception):
    """A value that has no columns."""


def take_apart(kind: Kind, tree: Tag) -> Apart | None:
    """Return form and parts of the tagged JSON of a value that refers to no file; None when it has no columns."""
    try:
        return _TAKERS[kind](tree)
    except (_UnfitError, DamagedError):
        return None


def put_together(form: Json, read: Callable[[Tag], Any]) -> Any:
    """Return the value of a form; `read` gives the array, or the list, that a placeholder stands for.

    Raises `DamagedError` when they do not fit.
    """
    if isinstance(form, dict) and form.get("$") == "fields":
        return _structured(form, read)
    return decode(_filled(form, read))


def _filled(form: Json, read: Callable[[Tag], Any]) -> Json:
    if isinstance(form, list):
        return [_filled(item, read) for item in form]
    if not isinstance(form, dict):
        return form
    if form.get("$") != "part":
        return {key: _filled(item, read) for key, item in form.items()}
    found = read(form)
    if isinstance(found, list):
        return found
    data = base64.b64encode(found.tobytes()).decode("ascii")
    return {"$": "array", "dtype": form["dtype"], "shape": list(found.shape), "b64": data}


# arrays ----------------------------------------------------------------------------------------------------


def _array(tag: Any) -> np.ndarray[Any, Any]:
    if not isinstance(tag, dict) or tag.get("$") != "array" or not is_plain(tag["dtype"]):
        raise _UnfitError
    array: np.ndarray[Any, Any] = decode(tag)
    return array


def _add(
    apart: Apart,
    name: str,
    axis: str,
    array: np.ndarray[Any, Any],
    dtype: str,
    *,
    shaped: bool = False,
    optional: bool = False,
    attrs: tuple[tuple[str, str], ...] = (),
) -> Tag:
    """Take an array as a part, and return its placeholder; `shaped` arrays have the shape of the value."""
    if array.ndim == 0 or apart.counts.setdefault(axis, len(array)) != len(array):
        raise _UnfitError
    apart.parts.append(Part(name, axis, array, optional, attrs))
    if len(apart.parts) > MOST_PARTS:
        raise _UnfitError
    place: Tag = {"$": "part", "at": name, "axis": axis, "dtype": dtype}
    return {**place, "shaped": True} if shaped else place


def _take_masked(tree: Tag) -> Apart:
    data = _array(tree["data"])
    if not data.ndim:
        raise _UnfitError
    apart = Apart("masked", shape=data.shape)
    form = {**tree, "data": _add(apart, "value", "obs", data.reshape(-1), tree["data"]["dtype"], shaped=True)}
    if tree["mask"] is not False:
        mask = _array(tree["mask"])
        if mask.shape != data.shape or mask.dtype != bool:
            raise _UnfitError
        form["mask"] = _add(apart, "mask", "obs", mask.reshape(-1), "|b1", shaped=True, optional=True)
    apart.form = form
    return apart


def field_paths(dtype: np.dtype[Any]) -> Iterator[tuple[tuple[str, ...], np.dtype[Any], tuple[int, ...]]]:
    """Yield path, dtype and inner shape of the fields of a structured dtype that are no structures themselves.

    Raises ValueError for a field within an array of structures.
    """
    for name in dtype.names or ():
        inner = dtype[name]
        if inner.subdtype is not None:
            if inner.subdtype[0].names is not None:
                raise ValueError(f"the field {name!r} is an array of structures")
            yield (name,), *inner.subdtype
        elif inner.names is not None:
            for path, leaf, shape in field_paths(inner):
                yield (name, *path), leaf, shape
        else:
            yield (name,), inner, ()


def structured_form(descr: Json) -> tuple[Tag, list[tuple[str, tuple[str, ...], str, tuple[int, ...]]]]:
    """Return the form of structured arrays, and name, path, dtype and inner shape of each field.

    Raises ValueError when a field has no column.
    """
    dtype, names = dtype_from_json(descr), _Names()
    fields = []
    for path, leaf, inner in field_paths(dtype):
        if not is_plain(leaf.str):
            raise ValueError(f"the field {'.'.join(path)!r} has the dtype {leaf}")
        fields.append((names.free(".".join(path)), path, leaf.str, inner))
    if not 0 < len(fields) <= MOST_PARTS:
        raise ValueError(f"{len(fields)} fields")
    places = [
        [list(path), {"$": "part", "at": name, "axis": "obs", "dtype": kind, "shaped": True}]
        for name, path, kind, _ in fields
    ]
    return {"$": "fields", "dtype": descr, "fields": places}, fields


def _take_structured(tree: Tag) -> Apart:
    array = decode(tree)
    try:
        form, fields = structured_form(tree["dtype"])
    except ValueError:
        raise _UnfitError from None
    apart = Apart("fields", form=form, shape=array.shape)
    for name, path, kind, inner in fields:
        column = array
        for step in path:
            column = column[step]
        _add(apart, name, "obs", column.reshape(array.size, *inner), kind, shaped=True)
    return apart


def _structured(form: Tag, read: Callable[[Tag], Any]) -> np.ndarray[Any, Any]:
    import numpy as np

    out: np.ndarray[Any, Any] | None = None
    dtype = dtype_from_json(form["dtype"])
    inner = {path: shape for path, _, shape in field_paths(dtype)}
    for steps, place in form["fields"]:
        column = read(place)
        sub = inner[tuple(steps)]
        if out is None:
            out = np.zeros(column.shape[: column.ndim - len(sub)], dtype)
        target = out
        for step in steps:
            target = target[step]
        target[...] = column
    if out is None or len(form["fields"]) != len(inner):
        raise DamagedError("a structured array lacks fields")
    return out


def _take_sparse(tree: Tag) -> Apart:
    style = str(tree["type"]).partition("_")[0]
    arrays = {name: (_array(tag), tag["dtype"]) for name, tag in tree["parts"].items()}
    shape = tuple(tree["shape"])
    axes = {"indptr": "ptr"}
    if style in ("csr", "csc", "bsr") and tuple(arrays) == _INDEX_ARRAYS:
        axes |= dict.fromkeys(("data", "indices"), "nnz" if style != "bsr" else "block")
    elif style == "dia" and set(arrays) == {"data", "offsets"}:
        axes |= dict.fromkeys(arrays, "diag")
    elif style in ("coo", "dok", "lil"):
        axes |= dict.fromkeys(arrays, "nnz")
    else:
        raise _UnfitError
    names = dict(zip(("coord0", "coord1"), ("row", "col"), strict=True)) if len(shape) == 2 else {}
    apart = Apart(f"{style}-per-run", shape=shape)
    parts = {
        name: _add(apart, names.get(name, name), axes[name], array, dtype)
        for name, (array, dtype) in arrays.items()
    }
    apart.form = {**tree, "shape": {"$": "part", "at": "shape"}, "parts": parts}
    return apart


# frames ----------------------------------------------------------------------------------------------------


class _Names:
    """Names of datasets in one group, each given once."""

    def __init__(self) -> None:
        self._taken = {*_OWN_NAMES, "obs_start", "obs_count"}

    def free(self, wanted: str) -> str:
        name = fmt.link_name(wanted or "column")
        while name in self._taken or f"{name}_missing" in self._taken or _DIMENSION.search(name):
            name += "_"
        self._taken |= {name, f"{name}_missing"}
        return name


def _take_frame(tree: Tag) -> Apart:
    apart, names = Apart("frame-per-run"), _Names()
    if tree["type"] == "Series":
        wanted = tree["name"] if isinstance(tree["name"], str) else "value"
        data: Json = _take_values(apart, names.free(wanted), tree["data"])
    else:
        labels = _labels(tree["columns"]) or [f"column{i}" for i in range(len(tree["data"]))]
        data = [
            _take_values(apart, names.free(str(label)), column)
            for label, column in zip(labels, tree["data"], strict=True)
        ]
    apart.form = {**tree, "index": _take_index(apart, names, tree["index"]), "data": data}
    return apart


def _take_index(apart: Apart, names: _Names, index: Tag) -> Tag:
    if index["type"] == "RangeIndex":
        rows = len(range(*index["v"]))
        if apart.counts.setdefault("row", rows) != rows:
            raise _UnfitError
        if index["v"] == [0, rows, 1]:
            return {**index, "v": {"$": "part", "at": "rows", "axis": "row"}}
        return index
    if index["type"] == "MultiIndex":
        codes = []
        for i, (name, level, tag) in enumerate(
            zip(index["names"], index["levels"], index["codes"], strict=True)
        ):
            wanted = names.free(name if isinstance(name, str) and name else f"index{i}")
            codes.append(_add(apart, wanted, "row", _array(tag), tag["dtype"], attrs=_categories(level)))
        return {**index, "codes": codes}
    wanted = index["name"] if isinstance(index["name"], str) and index["name"] else "index"
    return {**index, "data": _take_values(apart, names.free(wanted), index["data"])}


def _take_values(apart: Apart, name: str, column: Tag) -> Tag:
    """Take the values of one column; see `expedition.values` for what their tags say."""
    kind, tree = column["kind"], column["v"]
    if kind in ("string", "object"):
        return {**column, "v": _take_list(apart, name, tree)}
    attrs: tuple[tuple[str, str], ...] = ()
    if kind == "category":
        attrs = _categories(column["of"])
    elif kind in ("zoned", "period"):
        attrs = (("pandas_dtype", column["dtype"]),)
    elif kind not in ("numpy", "masked"):
        raise _UnfitError
    out = {**column, "v": _add(apart, name, "row", _array(tree), tree["dtype"], attrs=attrs)}
    if kind == "masked":
        out["mask"] = _add_missing(apart, name, _array(column["mask"]))
    return out


def _add_missing(apart: Apart, name: str, mask: np.ndarray[Any, Any]) -> Tag:
    """Take what says which rows have no value, where there are any."""
    place: Tag = {"$": "part", "at": f"{name}_missing", "axis": "row", "dtype": "|b1"}
    if mask.dtype != bool:
        raise _UnfitError
    return _add(apart, f"{name}_missing", "row", mask, "|b1", optional=True) if mask.any() else place


def _take_list(apart: Apart, name: str, items: list[Json]) -> Tag:
    """Take a list: texts as they are with None marked, anything else as its JSON."""
    import numpy as np

    if apart.counts.setdefault("row", len(items)) != len(items):
        raise _UnfitError
    place: Tag = {"$": "part", "at": name, "axis": "row", "as": "text"}
    if all(item is None or (type(item) is str and "\0" not in item) for item in items):
        texts = ["" if item is None else str(item) for item in items]
        missing = np.array([item is None for item in items], dtype=bool)
        place["missing"] = _add_missing(apart, name, missing)
    else:
        texts = [dumps(item) for item in items]
        place["as"] = "json"
    apart.parts.append(Part(name, "row", texts))
    if len(apart.parts) > MOST_PARTS:
        raise _UnfitError
    return place


def _labels(index: Tag) -> list[Any] | None:
    """Return the labels of an index as plain values, for names; None where they are no texts or numbers."""
    if index["type"] == "RangeIndex":
        return list(range(*index["v"])) if len(range(*index["v"])) <= _MOST_LABELS else None
    if index["type"] == "MultiIndex":
        levels = [_labels(level) for level in index["levels"]]
        columns = []
        for level, codes in zip(levels, index["codes"], strict=True):
            if level is None:
                return None
            columns.append(["" if code < 0 else level[code] for code in decode(codes).tolist()])
        return [".".join(map(str, labels)) for labels in zip(*columns, strict=True)]
    data = index["data"]
    items = data["v"]
    if data["kind"] == "numpy" and items["dtype"][1] in "biuf":
        items = decode(items).tolist()
    elif data["kind"] not in ("string", "object"):
        return None
    if len(items) > _MOST_LABELS or not all(
        type(item) in (str, int, bool) or (type(item) is float and math.isfinite(item)) for item in items
    ):
        return None
    return list(items)


def _categories(index: Tag) -> tuple[tuple[str, str], ...]:
    """Return the attribute that tells what codes stand for, as JSON."""
    labels = _labels(index)
    return () if labels is None else (("categories", dumps(labels)),)


_Taker: TypeAlias = Callable[[Tag], Apart]
_TAKERS: dict[Kind, _Taker] = {
    "masked": _take_masked,
    "structured": _take_structured,
    "sparse": _take_sparse,
    "frame": _take_frame,
}
