"""Codecs of pandas frames, series, indices and scalars, and of scipy.sparse."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

from expedition.errors import DamagedError
from expedition.values import _arrays, _pandas
from expedition.values._references import check_file, read_npz, resolve_file
from expedition.values._standard import decode_zone, encode_zone
from expedition.values._walk import (
    INT64_MAX,
    INT64_MIN,
    DecodeFunction,
    Decoder,
    Encoder,
    Json,
    Tag,
    expect,
    loaded,
    untyped,
)

_SPARSE_PARTS = {
    "csr": ("data", "indices", "indptr"),
    "csc": ("data", "indices", "indptr"),
    "bsr": ("data", "indices", "indptr"),
    "dia": ("data", "offsets"),
    "coo": ("data",),
    "dok": ("data",),
    "lil": ("data",),
}


def encode_frame(enc: Encoder, value: Any) -> Json | None:
    """Return the tag of a value of pandas or scipy.sparse; None for anything else."""
    module = type(value).__module__.partition(".")[0]
    if module == "pandas" and loaded("pandas") is not None:
        return _encode_pandas(enc, value)
    if module == "scipy" and loaded("scipy.sparse") is not None:
        return _encode_sparse(enc, value)
    return None


def _encode_pandas(enc: Encoder, value: Any) -> Json | None:
    pd = untyped("pandas")

    kind = type(value)
    if value is pd.NaT:
        return {"$": "nat"}
    if value is pd.NA:
        return {"$": "pandas-na"}
    if kind is pd.Timedelta:
        return {"$": "pandas-timedelta", "v": int(value.asm8.view("i8")), "unit": value.unit}
    if kind is pd.Timestamp:
        tag = {
            "$": "timestamp",
            "v": int(value.asm8.view("i8")),
            "unit": value.unit,
            **encode_zone(enc, value),
        }
        return tag | {"fold": 1} if value.fold else tag
    if not isinstance(value, pd.DataFrame | pd.Series | pd.Index):
        return None
    if enc.sink is not None and kind in (pd.DataFrame, pd.Series):
        reference = enc.sink.put_array(enc.slashed(), value, "frame")
        if reference is not None:
            return reference
    return _pandas.encode(enc, value)


def _decode_timestamp(dec: Decoder, tag: Tag) -> Any:
    import numpy as np

    pd = untyped("pandas")

    unit = tag["unit"]
    ticks = expect(tag["v"], int)
    if unit not in ("s", "ms", "us", "ns") or not INT64_MIN < ticks <= INT64_MAX:
        raise ValueError("not a time")
    if tag["$"] == "pandas-timedelta":
        return pd.Timedelta(np.timedelta64(ticks, unit)).as_unit(unit)
    value = pd.Timestamp(np.datetime64(ticks, unit)).as_unit(unit)
    zone = decode_zone(dec, tag)
    return value if zone is None else value.tz_localize("UTC").tz_convert(zone)


def _read_frame_file(dec: Decoder, path: Path, tag: Tag) -> Any:
    pd = untyped("pandas")

    if tag["format"] == "parquet":
        frame = pd.read_parquet(path, engine="pyarrow")
    elif tag["format"] == "csv":
        dtypes = expect(tag["dtypes"], list)
        # later ones read every float exactly, and warn about the option
        old = tuple(map(int, pd.__version__.split(".")[:2])) < (3, 1)
        precision = {"float_precision": "round_trip"} if old else {}
        frame = pd.read_csv(
            BytesIO(path.read_bytes()),
            header=0,
            names=list(range(len(dtypes))),
            dtype=dict(enumerate(dtypes)),
            **precision,
            keep_default_na=False,
            na_values={i: [""] for i, kind in enumerate(dtypes) if kind.startswith("float")},
            encoding="utf-8",
        ).set_axis([expect(name, str) for name in expect(tag["names"], list)], axis=1)
    else:
        raise ValueError(f"format {tag['format']!r}")
    if "freq" in tag:
        frame.index.freq = expect(tag["freq"], str)
    if tag.get("series"):
        series = frame["value"]
        series.name = dec.value(tag["name"])
        return series
    if "columns" in tag:
        frame.columns = dec.value(tag["columns"])
    return frame


def _decode_frame(dec: Decoder, tag: Tag) -> Any:
    path = resolve_file(dec.folder, tag["file"])
    try:
        check_file(path, tag)
        value = _read_frame_file(dec, path, tag)
        if "attrs" in tag:
            value.attrs = expect(dec.value(tag["attrs"]), dict)
    except ImportError as error:
        raise DamagedError(f"{path}: needs pandas: pip install 'pytest-expedition[analysis]'") from error
    if list(value.shape) != tag["shape"]:
        raise DamagedError(f"{path}: shape {list(value.shape)} where {tag['shape']} was stored")
    return value


def sparse_parts(value: Any) -> dict[str, Any]:
    """Return the arrays that a sparse matrix or array is made of."""
    import numpy as np

    if value.format in ("coo", "dok", "lil"):
        coo = value.tocoo(copy=False)
        coords = coo.coords if hasattr(coo, "coords") else (coo.row, coo.col)
        return {"data": coo.data, **{f"coord{i}": c for i, c in enumerate(coords)}}
    return {name: np.asarray(getattr(value, name)) for name in _SPARSE_PARTS[value.format]}


def _encode_sparse(enc: Encoder, value: Any) -> Json | None:
    sparse = untyped("scipy.sparse")

    if not sparse.issparse(value):
        return None
    if type(value) is not getattr(sparse, type(value).__name__, None) or value.format not in _SPARSE_PARTS:
        enc.refuse(value, "use a class of scipy.sparse")
    if value.dtype.hasobject:
        enc.refuse(value, "its dtype is object: give it a numeric dtype")
    tag: Tag = {"$": "sparse", "type": type(value).__name__}
    if value.format == "bsr":
        tag["blocksize"] = [int(n) for n in value.blocksize]
    if enc.sink is not None:
        reference = enc.sink.put_array(enc.slashed(), value, "sparse")
        if reference is not None:
            return {**reference, **tag}
    parts = {name: _arrays.encode_array(enc, part, small=True) for name, part in sparse_parts(value).items()}
    return {**tag, "shape": [int(n) for n in value.shape], "parts": parts}


def _decode_sparse(dec: Decoder, tag: Tag) -> Any:
    import numpy as np

    sparse = untyped("scipy.sparse")

    if "file" in tag:
        parts = read_npz(dec.folder, tag)
    else:
        parts = {name: _arrays.decode_array(dec, part) for name, part in expect(tag["parts"], dict).items()}
    name = expect(tag["type"], str)
    style, _, family = name.partition("_")
    if style not in _SPARSE_PARTS or family not in ("array", "matrix"):
        raise ValueError(f"{name[:40]!r} is no class of scipy.sparse")
    shape = tuple(expect(n, int) for n in expect(tag["shape"], list))
    data = parts["data"]
    cls: Any = getattr(sparse, name)
    if style in ("coo", "dok", "lil"):
        coords = tuple(parts[f"coord{i}"] for i in range(len(shape)))
        coo = getattr(sparse, f"coo_{family}")((data, coords), shape=shape)
        if style == "coo":
            return coo
        if style == "lil" and max(shape, default=0) > 50_000_000:  # it makes two lists per row
            raise ValueError(f"shape {shape}")
        out = cls(shape, dtype=data.dtype)  # not coo.todok(): that adds up duplicates
        for place, item in zip(zip(*(c.tolist() for c in coords), strict=True), data, strict=True):
            out[place if len(place) > 1 else place[0]] = item
        return out
    if style == "dia":
        return cls((data, parts["offsets"]), shape=shape)
    extra = {"blocksize": tuple(tag["blocksize"])} if style == "bsr" else {}
    indices, indptr = parts["indices"], parts["indptr"]
    value = cls((data, indices, indptr), shape=shape, **extra)
    value.check_format(full_check=True)
    value.indices = indices.astype(indices.dtype, copy=False)
    value.indptr = np.asarray(indptr)
    return value


def _nat(_: Decoder, tag: Tag) -> Any:
    pd = untyped("pandas")

    return pd.NaT if tag["$"] == "nat" else pd.NA


DECODERS: dict[str, DecodeFunction] = {
    "frame": _decode_frame,
    "nat": _nat,
    "pandas": lambda dec, tag: _pandas.decode(dec, tag),
    "pandas-na": _nat,
    "pandas-timedelta": _decode_timestamp,
    "sparse": _decode_sparse,
    "timestamp": _decode_timestamp,
}
