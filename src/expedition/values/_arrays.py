"""Codecs of numpy scalars, arrays and masked arrays."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

from expedition.values._dtypes import dtype_from_json, dtype_to_json
from expedition.values._references import read_npy, read_npz
from expedition.values._standard import float_of, float_text, is_utf8
from expedition.values._walk import (
    INLINE_BYTES,
    INT64_MAX,
    INT64_MIN,
    DecodeFunction,
    Decoder,
    Encoder,
    Json,
    Tag,
    expect,
    from_base64,
    loaded,
    to_base64,
)

if TYPE_CHECKING:
    import numpy as np

_LIST_ITEMSIZE = 4096  # bounds what a short list of text may claim


def _long_text(value: Any) -> str:
    import numpy as np

    if not np.isfinite(value):
        return float_text(float(value)).partition(":")[0]
    return str(np.format_float_scientific(value, unique=True, trim="-"))


def _is_long(dtype: np.dtype[Any]) -> bool:
    return dtype.kind == "f" and dtype.itemsize > 8


def _as_list(array: np.ndarray[Any, Any]) -> list[Any] | None:
    """Return the flat readable list of an array, or None when only its bytes are exact."""
    import numpy as np

    kind = array.dtype.kind
    flat = array.reshape(-1)
    items: list[Any]
    if _is_long(array.dtype):
        items = [_long_text(item) for item in flat]
    elif kind == "f":
        items = [x if math.isfinite(x) else float_text(x) for x in flat.tolist()]
    elif kind in "mM":
        items = flat.view(array.dtype.newbyteorder("=").str.replace(kind, "i", 1)[:3]).tolist()
    elif kind in "biu":
        items = flat.tolist()
        if kind == "u" and any(item > INT64_MAX for item in items):
            return None
    elif kind == "U":
        items = flat.tolist()
        if not all(is_utf8(item) for item in items):
            return None
    else:
        return None
    again = _from_list(items, array.dtype)
    same = np.array_equal(again, flat) if _is_long(array.dtype) else again.tobytes() == flat.tobytes()
    return items if same or (_is_long(array.dtype) and np.array_equal(again, flat, equal_nan=True)) else None


def _from_list(items: list[Any], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    import numpy as np

    if _is_long(dtype):
        longs = [np.longdouble(float_of(i) if i in ("-nan", "nan") else expect(i, str)) for i in items]
        return np.array(longs, dtype=dtype)
    if dtype.kind == "f":
        return np.array([float_of(item) for item in items], dtype=dtype)
    if dtype.kind in "mM":
        ticks = np.array([expect(item, int) for item in items], dtype=np.int64)
        return ticks.view(dtype.newbyteorder("=")).astype(dtype)
    wanted = {"b": bool, "i": int, "u": int, "U": str}[dtype.kind]
    if dtype.itemsize > _LIST_ITEMSIZE:
        raise ValueError(f"a list of dtype {dtype}")
    return np.array([expect(item, wanted) for item in items], dtype=dtype)


def _nested(items: list[Any], shape: tuple[int, ...]) -> Any:
    if not shape:
        return items[0]
    if len(shape) == 1:
        return items
    step = math.prod(shape[1:])
    return [_nested(items[i * step : (i + 1) * step], shape[1:]) for i in range(shape[0])]


def _flat(tree: Any, depth: int) -> list[Any]:
    if depth == 0:
        return [tree]
    out: list[Any] = expect(tree, list)
    for _ in range(depth - 1):
        out = [item for part in out for item in expect(part, list)]
    return out


def without_padding(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return a C-contiguous array whose padding bytes, if any, are zero: equal arrays have equal bytes."""
    import numpy as np

    if array.dtype.names is None:
        return np.asarray(array, order="C")
    out = np.zeros(array.shape, dtype=array.dtype)
    for name in array.dtype.names:
        out[name] = without_padding(array[name])
    return out


@functools.cache
def _short_float(kind: type) -> str | None:
    """Return the dtype of numpy's floats of up to 64 bits, which a Python float holds exactly."""
    import numpy as np

    return np.dtype(kind).str if kind in (np.float64, np.float32, np.float16) else None


def encode_scalar(enc: Encoder, value: Any) -> Json:
    """Return the tag of a numpy scalar."""
    import numpy as np

    kind: Any = type(value)
    short = _short_float(kind)
    if short is not None and -math.inf < (number := float(value)) < math.inf:
        return {"$": "np", "dtype": short, "v": number}
    if kind is np.str_:
        return {"$": "np", "dtype": "U", "v": enc.tree(str(value))}
    if kind is np.bytes_:
        return {"$": "np", "dtype": "S", "v": to_base64(bytes(value))}
    dtype = value.dtype
    if kind is not dtype.type:
        enc.refuse(value, "use the plain numpy scalar")
    try:
        tag: Tag = {"$": "np", "dtype": dtype_to_json(dtype)}
    except ValueError as error:
        enc.refuse(value, str(error))
    if dtype.kind in "iu":
        whole = int(value)
        tag["v"] = whole if INT64_MIN <= whole <= INT64_MAX else str(whole)
    elif dtype.kind == "c" and dtype.itemsize <= 16:
        tag["v"] = [x if math.isfinite(x) else float_text(x) for x in (float(value.real), float(value.imag))]
    elif dtype.kind == "c":
        tag["v"] = [_long_text(value.real), _long_text(value.imag)]
    else:
        items = _as_list(np.asarray(value).reshape(1))
        if items is None:
            tag["b64"] = to_base64(without_padding(np.asarray(value)).tobytes())
        else:
            tag["v"] = items[0]
    return tag


def _decode_scalar(dec: Decoder, tag: Tag) -> Any:
    import numpy as np

    if tag["dtype"] == "U":
        return np.str_(expect(dec.value(tag["v"]), str))
    if tag["dtype"] == "S":
        return np.bytes_(from_base64(tag["v"]))
    dtype = dtype_from_json(tag["dtype"])
    if dtype.kind == "T":
        raise ValueError("StringDType has no scalars")
    if "b64" in tag:
        return np.frombuffer(from_base64(tag["b64"]), dtype=dtype, count=1)[0]
    payload = tag["v"]
    if dtype.kind in "iu":
        return dtype.type(int(expect(payload, int, str)))
    if dtype.kind == "c":
        pair = np.empty(1, dtype=dtype)
        real, imag = _from_list(expect(payload, list), pair.real.dtype)
        pair.real, pair.imag = real, imag
        return pair[0]
    return _from_list([payload], dtype)[0]


def encode_array(enc: Encoder, value: np.ndarray[Any, Any], *, small: bool = False) -> Json:
    """Return the tag of an array; a large one goes to the sink unless the caller knows that it is `small`."""
    import numpy as np

    dtype = value.dtype
    if dtype.kind == "T":
        return _encode_strings(enc, value)
    if dtype.hasobject:
        enc.refuse(value, "its dtype is object: give it a numeric or text dtype, or use a list")
    try:
        described = dtype_to_json(dtype)
    except ValueError as error:
        enc.refuse(value, str(error))
    if dtype.metadata:
        value = value.astype(dtype_from_json(described), copy=False)
    if value.nbytes > INLINE_BYTES and enc.sink is not None and not small:
        reference = enc.sink.put_array(enc.slashed(), value, "npy")
        if reference is not None:
            return reference
    tag: Tag = {"$": "array", "dtype": described, "shape": list(value.shape)}
    if _is_long(dtype) or value.nbytes <= INLINE_BYTES:
        items = _as_list(np.asarray(value, order="C"))
        if items is not None:
            tag["v"] = _nested(items, value.shape)
            return tag
    tag["b64"] = to_base64(without_padding(value).tobytes())
    return tag


def _encode_strings(enc: Encoder, value: np.ndarray[Any, Any]) -> Json:
    dtype: Any = value.dtype
    if hasattr(dtype, "na_object"):
        enc.refuse(value, "its StringDType has an na_object: use one without")
    items = [enc.tree(item) for item in value.reshape(-1).tolist()]
    tag: Tag = {"$": "array", "dtype": "StringDType", "shape": list(value.shape), "v": items}
    if not dtype.coerce:
        tag["coerce"] = False
    return tag


def decode_array(dec: Decoder, tag: Tag) -> np.ndarray[Any, Any]:
    """Return the array of a tag ``array``; ValueError and the like when it is malformed."""
    import numpy as np

    shape = tuple(expect(n, int) for n in expect(tag["shape"], list))
    if any(n < 0 for n in shape):
        raise ValueError("a negative shape")
    if tag["dtype"] == "StringDType":
        if not hasattr(np.dtypes, "StringDType"):
            raise ValueError("an array of StringDType needs numpy 2 or newer")
        texts = [expect(dec.value(item), str) for item in expect(tag["v"], list)]
        strings: Any = np.dtypes.StringDType(coerce=expect(tag.get("coerce", True), bool))
        return np.array(texts, dtype=strings).reshape(shape)
    dtype = dtype_from_json(tag["dtype"])
    if dtype.kind == "T" or (dtype.itemsize == 0 and dtype.kind not in "USV"):
        raise ValueError("an array of that dtype is not written like this")
    if "b64" in tag:
        data = from_base64(tag["b64"])
        if len(data) != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"{len(data)} bytes for shape {shape} and dtype {dtype}")
        if not data:
            return np.zeros(shape, dtype=dtype) if math.prod(shape) == 0 else _empty_items(shape, dtype)
        return np.frombuffer(data, dtype=dtype).reshape(shape).copy()
    return _from_list(_flat(tag["v"], len(shape)), dtype).reshape(shape)


def _empty_items(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    import numpy as np

    if math.prod(shape) > 1_000_000:
        raise ValueError(f"shape {shape} of empty items")
    return np.zeros(shape, dtype=dtype)


def encode_numpy(enc: Encoder, value: Any) -> Json | None:
    """Return the tag of a numpy scalar, array or masked array; None for anything else."""
    np = loaded("numpy")
    if np is None:
        return None
    kind = type(value)
    if kind is np.ndarray:
        return encode_array(enc, value)
    if isinstance(value, np.generic):
        return encode_scalar(enc, value)
    if not isinstance(value, np.ndarray):
        return None
    if value is np.ma.masked:
        return {"$": "masked-constant"}
    if kind is not np.ma.MaskedArray:
        enc.refuse(value, "use numpy.asarray(value)")
    return _encode_masked(enc, value)


def _encode_masked(enc: Encoder, value: Any) -> Json:
    import numpy as np

    if value.dtype.hasobject:
        enc.refuse(value, "its dtype is object: give it a numeric or text dtype")
    fill: Json = None
    if value._fill_value is not None:  # printing a masked array sets the default one
        fill = encode_array(enc, np.asarray(value._fill_value), small=True)
        with np.errstate(over="ignore"):  # the default fill is beyond half precision
            default = np.asarray(np.ma.array([], dtype=value.dtype).fill_value, dtype=value.dtype)
        if fill == encode_array(enc, default, small=True):
            fill = None
    tag: Tag = {"$": "masked", "fill": fill, "hard": bool(value.hardmask)}
    if value.nbytes > INLINE_BYTES and enc.sink is not None and value.dtype.kind != "T":
        reference = enc.sink.put_array(enc.slashed(), value, "masked")
        if reference is not None:
            return {**tag, **reference, "$": "masked"}
    tag["data"] = encode_array(enc, np.asarray(value), small=True)
    tag["mask"] = (
        False if value.mask is np.ma.nomask else encode_array(enc, np.asarray(value.mask), small=True)
    )
    return tag


def masked_array(dec: Decoder, tag: Tag, data: Any, mask: Any) -> Any:
    """Put a masked array together from its data, its mask (or False) and the rest of its tag."""
    import numpy as np

    value: Any = np.ma.MaskedArray(data, mask=np.ma.nomask if mask is False else mask)
    if tag["fill"] is not None:
        value._fill_value = decode_array(dec, tag["fill"]).astype(data.dtype, casting="no")
    if tag["hard"]:
        value.harden_mask()
    return value


def _decode_masked(dec: Decoder, tag: Tag) -> Any:
    if "file" in tag:
        parts = read_npz(dec.folder, tag)
        return masked_array(dec, tag, parts["data"], parts.get("mask", False))
    mask = False if tag["mask"] is False else decode_array(dec, tag["mask"])
    return masked_array(dec, tag, decode_array(dec, tag["data"]), mask)


def _masked_constant(_: Decoder, tag: Tag) -> Any:
    import numpy as np

    return np.ma.masked


def _read_npy(dec: Decoder, tag: Tag) -> Any:
    return read_npy(dec.folder, tag)


DECODERS: dict[str, DecodeFunction] = {
    "np": _decode_scalar,
    "array": decode_array,
    "masked": _decode_masked,
    "masked-constant": _masked_constant,
    "npy": _read_npy,
}
