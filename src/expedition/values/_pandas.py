"""Frames, series and indices of pandas as JSON, column by column; what would change is refused on writing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from expedition.errors import DamagedError, UnstorableError
from expedition.values import _arrays
from expedition.values._walk import Attribute, Decoder, Encoder, Json, Tag, expect, untyped

_MASKED = {
    *(f"{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)),
    "Float32",
    "Float64",
    "boolean",
}
_REMEDY = "convert it to plain columns, or commit it as a file of your own"


def identical(left: Any, right: Any, canonical: Callable[[Any], str]) -> bool:
    """Tell whether two pandas objects are the same in class, index, dtypes and every value.

    `canonical` gives the text by which items of object columns are compared.
    """
    pd = untyped("pandas")
    testing = pd.testing

    if type(left) is not type(right):
        return False
    try:
        if isinstance(left, pd.DataFrame):
            testing.assert_frame_equal(left, right, check_exact=True, check_freq=True, check_column_type=True)
            parts = [(left.index, right.index), (left.columns, right.columns)]
            parts += [(left.iloc[:, i], right.iloc[:, i]) for i in range(left.shape[1])]
        elif isinstance(left, pd.Series):
            testing.assert_series_equal(left, right, check_exact=True, check_freq=True)
            parts = [(left.index, right.index), (left, right)]
        else:
            testing.assert_index_equal(left, right, exact=True, check_exact=True)
            parts = [(left, right)]
        same = all(_same_items(a, b, canonical) for a, b in parts)
    except AssertionError:
        return False
    one, other = getattr(left, "attrs", {}), getattr(right, "attrs", {})
    return same and (not (one or other) or _same_item(one, other, canonical))


def _same_items(left: Any, right: Any, canonical: Callable[[Any], str]) -> bool:
    """Compare what pandas.testing lets pass: types of items of object columns, -0.0, names, freq, dtypes."""
    pd = untyped("pandas")

    if type(left) is not type(right) or left.dtype != right.dtype or repr(left.dtype) != repr(right.dtype):
        return False
    if _names(left) != _names(right) or getattr(left, "freq", None) != getattr(right, "freq", None):
        return False
    if isinstance(left, pd.MultiIndex):
        levels = zip(left.levels, right.levels, strict=True)
        return all(_same_items(a, b, canonical) for a, b in levels) and all(
            (a == b).all() for a, b in zip(left.codes, right.codes, strict=True)
        )
    if left.dtype == object:
        return all(_same_item(a, b, canonical) for a, b in zip(left.array, right.array, strict=False))
    if left.dtype.kind in "fc" and hasattr(left.dtype, "str"):
        return bool(left.to_numpy().tobytes() == right.to_numpy().tobytes())
    return True


def _names(value: Any) -> Any:
    pd = untyped("pandas")

    names = list(value.names) if isinstance(value, pd.MultiIndex) else [value.name]
    return [(type(name), name) for name in names]


def _same_item(left: Any, right: Any, canonical: Callable[[Any], str]) -> bool:
    if type(left) is not type(right):
        return False
    try:
        return left is right or canonical(left) == canonical(right)
    except UnstorableError:
        return False


def encode(enc: Encoder, value: Any) -> Json:
    """Return the tag of a DataFrame, Series or Index; refuse what does not come back the same."""
    try:
        tag = _any(enc, value)
        if attrs := getattr(value, "attrs", None):
            tag["attrs"] = _attrs(enc, attrs)
    except NotImplementedError as error:
        enc.refuse(value, f"{error}: {_REMEDY}")
    try:
        same = identical(enc.decoded(tag), value, enc.canonical)
    except DamagedError:
        same = False
    if not same:
        enc.refuse(value, _REMEDY)
    return tag


def _attrs(enc: Encoder, attrs: Any) -> Json:
    sink, enc.sink = enc.sink, None  # in the JSON: what refers to them has no files of its own
    try:
        return enc.at(Attribute("attrs"), attrs)
    finally:
        enc.sink = sink


def _any(enc: Encoder, value: Any) -> Tag:
    pd = untyped("pandas")

    kind = type(value)
    tag: Tag = {"$": "pandas", "type": kind.__name__}
    if kind not in _indices(pd) and kind not in (pd.DataFrame, pd.Series):
        raise NotImplementedError("it is of a class of its own")
    if kind is pd.DataFrame:
        tag["index"] = _any(enc, value.index)
        tag["columns"] = _any(enc, value.columns)
        names = list(value.columns)
        tag["data"] = [_values(enc, value.iloc[:, i].array, names[i]) for i in range(value.shape[1])]
        return tag
    if kind is pd.MultiIndex:
        tag["names"] = [enc.tree(name) for name in value.names]
        tag["levels"] = [_any(enc, level) for level in value.levels]
        tag["codes"] = [_arrays.encode_array(enc, code, small=True) for code in map(_array, value.codes)]
        return tag
    tag["name"] = enc.at(Attribute("name"), value.name)
    if kind is pd.RangeIndex:
        return tag | {"v": [value.start, value.stop, value.step]}
    if kind is pd.Series:
        tag["index"] = _any(enc, value.index)
    elif getattr(value, "freq", None) is not None:
        tag["freq"] = value.freqstr
    tag["data"] = _values(enc, value.array, Attribute("array"))
    return tag


def _indices(pd: Any) -> tuple[type, ...]:
    return (
        pd.Index,
        pd.RangeIndex,
        pd.MultiIndex,
        pd.DatetimeIndex,
        pd.TimedeltaIndex,
        pd.CategoricalIndex,
        pd.PeriodIndex,
    )


def _array(values: Any) -> Any:
    import numpy as np

    return np.asarray(values)


def _values(enc: Encoder, array: Any, step: Any) -> Json:
    """Return the JSON of one column: its dtype in words and plain arrays or lists."""
    import numpy as np

    pd = untyped("pandas")
    if type(array) is pd.arrays.NumpyExtensionArray:  # the string arrays of pandas 2 derive from it
        array = array.to_numpy()
    dtype = array.dtype
    if isinstance(dtype, np.dtype):
        if dtype.kind == "O":
            return {"kind": "object", "v": enc.at(step, list(array))}
        return {"kind": "numpy", "v": _arrays.encode_array(enc, np.asarray(array), small=True)}
    name = str(dtype)
    if isinstance(dtype, pd.StringDtype):
        texts = [None if missing else item for item, missing in zip(array, array.isna(), strict=True)]
        na = "NA" if dtype.na_value is pd.NA else "nan"
        return {"kind": "string", "storage": dtype.storage, "na": na, "v": enc.at(step, texts)}
    if name in _MASKED:
        plain = np.asarray(array.to_numpy(dtype=_plain_of(name), na_value=0))
        mask = _arrays.encode_array(enc, np.asarray(array.isna()), small=True)
        return {
            "kind": "masked",
            "v": _arrays.encode_array(enc, plain, small=True),
            "mask": mask,
            "dtype": name,
        }
    if isinstance(dtype, pd.CategoricalDtype):
        codes = _arrays.encode_array(enc, np.asarray(array.codes), small=True)
        return {
            "kind": "category",
            "v": codes,
            "of": _any(enc, dtype.categories),
            "ordered": bool(dtype.ordered),
        }
    if isinstance(dtype, pd.DatetimeTZDtype):
        ticks = np.asarray(array.tz_convert("UTC").tz_localize(None), dtype=f"M8[{dtype.unit}]")
        return {"kind": "zoned", "v": _arrays.encode_array(enc, ticks, small=True), "dtype": name}
    if isinstance(dtype, pd.PeriodDtype):
        ordinals = np.asarray(array.asi8)
        return {"kind": "period", "v": _arrays.encode_array(enc, ordinals, small=True), "dtype": name}
    raise NotImplementedError(f"it has a column of dtype {name}")


def _plain_of(name: str) -> str:
    return "bool" if name == "boolean" else name.lower()


def decode(dec: Decoder, tag: Tag) -> Any:
    """Return the DataFrame, Series or Index of a tag; ValueError and the like when it is malformed."""
    value = _plain(dec, tag)
    if "attrs" in tag:
        value.attrs = expect(dec.value(tag["attrs"]), dict)
    return value


def _plain(dec: Decoder, tag: Tag) -> Any:
    pd = untyped("pandas")

    kind = tag["type"]
    if kind == "DataFrame":
        index = _index(dec, tag["index"])
        columns = _index(dec, tag["columns"])
        parts = [pd.Series(_column(dec, part), index=index) for part in expect(tag["data"], list)]
        if len(parts) != len(columns):
            raise ValueError("as many columns as names")
        frame = pd.DataFrame(dict(enumerate(parts)), index=index)
        frame.columns = columns
        return frame
    if kind == "Series":
        return pd.Series(
            _column(dec, tag["data"]), index=_index(dec, tag["index"]), name=dec.value(tag["name"])
        )
    return _index(dec, tag)


def _index(dec: Decoder, tag: Tag) -> Any:
    pd = untyped("pandas")

    kind = expect(tag["type"], str)
    if kind == "MultiIndex":
        levels = [_index(dec, level) for level in expect(tag["levels"], list)]
        codes = [_arrays.decode_array(dec, code) for code in expect(tag["codes"], list)]
        return pd.MultiIndex(levels=levels, codes=codes, names=[dec.value(name) for name in tag["names"]])
    name = dec.value(tag["name"])
    if kind == "RangeIndex":
        start, stop, step = (expect(part, int) for part in tag["v"])
        return pd.RangeIndex(start, stop, step, name=name)
    data = _column(dec, tag["data"])
    cls = {kind.__name__: kind for kind in _indices(pd)}[kind]
    if "freq" in tag:
        return cls(data, name=name, freq=expect(tag["freq"], str))
    return cls(data, name=name)


def _column(dec: Decoder, part: Tag) -> Any:
    import numpy as np

    pd = untyped("pandas")
    kind, tree = part["kind"], part["v"]
    if kind == "object":
        items = expect(dec.value(tree), list)
        out = np.empty(len(items), dtype=object)
        for i, item in enumerate(items):
            out[i] = item
        return pd.arrays.NumpyExtensionArray(out)
    if kind == "string":
        texts = [expect(dec.value(item), str, type(None)) for item in expect(tree, list)]
        options = {"NA": {}, "nan": {"na_value": np.nan}}[part["na"]]
        dtype = pd.StringDtype(part["storage"], **options)
        return pd.array(texts, dtype=dtype)
    values = _arrays.decode_array(dec, tree)
    if kind == "numpy":
        return values if values.dtype.kind in "mM" else pd.arrays.NumpyExtensionArray(values)
    if kind == "category":
        return pd.Categorical.from_codes(values, categories=_index(dec, part["of"]), ordered=part["ordered"])
    name = expect(part["dtype"], str)
    if kind == "masked":
        if name not in _MASKED or values.dtype != _plain_of(name):
            raise ValueError(f"dtype {name[:40]}")
        masked = pd.array(values, dtype=name)
        masked[_arrays.decode_array(dec, part["mask"])] = pd.NA
        return masked
    if kind == "zoned":
        zone = pd.DatetimeTZDtype.construct_from_string(name).tz
        return pd.DatetimeIndex(values).tz_localize("UTC").tz_convert(zone).array
    if kind == "period":
        freq = pd.PeriodDtype.construct_from_string(name).freq
        return pd.PeriodIndex.from_ordinals(values, freq=freq).array
    raise ValueError(f"a column of kind {str(kind)[:40]!r}")
