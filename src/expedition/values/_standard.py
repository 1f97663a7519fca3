"""Codecs of the types of the standard library."""

from __future__ import annotations

import math
import struct
from collections import OrderedDict
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PosixPath, PurePath, PurePosixPath, PureWindowsPath, WindowsPath
from typing import TYPE_CHECKING, Any
from uuid import UUID

from expedition.values._text import canonical_text
from expedition.values._walk import (
    INT64_MAX,
    INT64_MIN,
    DecodeFunction,
    Decoder,
    EncodeFunction,
    Encoder,
    Json,
    Tag,
    expect,
    from_base64,
    to_base64,
)

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

_DECIMAL_BITS = 12_000  # int(text) refuses more than 4,300 digits; base 16 has no limit


def is_utf8(text: str) -> bool:
    """Tell whether text can be written as UTF-8: it has no lone surrogate."""
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def encode_str(_: Encoder, value: str) -> Json:
    """Text is itself, unless UTF-8 has no form for it."""
    return value if is_utf8(value) else {"$": "str", "v": to_base64(value.encode("utf-8", "surrogatepass"))}


def encode_int(_: Encoder, value: int) -> Json:
    """An int is itself as long as it fits into 64 bits."""
    if INT64_MIN <= value <= INT64_MAX:
        return value
    return {"$": "int", "v": str(value) if value.bit_length() <= _DECIMAL_BITS else hex(value)}


def float_text(value: float) -> str:
    """Return the name of a non-finite float; a NaN that is not the usual one has its 64 bits in it."""
    if value != value:
        bits = struct.pack(">d", value).hex()
        return {"7ff8" + "0" * 12: "nan", "fff8" + "0" * 12: "-nan"}.get(bits, f"nan:{bits}")
    return "inf" if value > 0 else "-inf"


def encode_float(_: Encoder, value: float) -> Json:
    """A finite float is itself (its repr is exact)."""
    return value if math.isfinite(value) else {"$": "float", "v": float_text(value)}


def float_of(item: Any) -> float:
    """Return the float of a number, or of the name of a non-finite one."""
    if type(item) is str:
        if item.startswith("nan:"):
            (value,) = struct.unpack(">d", bytes.fromhex(item[4:]))
            return float(value)
        if item not in ("nan", "-nan", "inf", "-inf"):
            raise ValueError(f"{item[:40]!r} is no float")
        return float(item)
    return float(expect(item, float, int))


def _int_of(tag: Tag) -> int:
    text = expect(tag["v"], str)
    return int(text, 16 if "x" in text else 10)


def _complex(enc: Encoder, value: complex) -> Json:
    def part(x: float) -> Json:
        return x if math.isfinite(x) else float_text(x)

    return {"$": "complex", "v": [part(value.real), part(value.imag)]}


def _decode_complex(_: Decoder, tag: Tag) -> complex:
    real, imag = tag["v"]
    return complex(float_of(real), float_of(imag))


def _items(enc: Encoder, value: Any) -> list[Json]:
    return [enc.at(i, item) for i, item in enumerate(value)]


def encode_dict(enc: Encoder, value: dict[Any, Any]) -> Json:
    """A dict with text keys is a JSON object; others, and those with a key ``"$"``, are lists of pairs."""
    if all(type(key) is str and key != "$" and is_utf8(key) for key in value):
        return {key: enc.at(key, item) for key, item in value.items()}
    return {"$": "dict", "v": _pairs(enc, value)}


def _pairs(enc: Encoder, value: dict[Any, Any]) -> list[Json]:
    return [[enc.at(key, key), enc.at(key, item)] for key, item in value.items()]


def _decode_pairs(dec: Decoder, tag: Tag) -> dict[Any, Any]:
    return {dec.value(key): dec.value(item) for key, item in expect(tag["v"], list)}


def _set(enc: Encoder, value: Any) -> Json:
    items = [enc.at(item, item) for item in value]
    return {"$": type(value).__name__, "v": sorted(items, key=canonical_text)}


def encode_zone(enc: Encoder, value: Any) -> Tag:
    """Return the members that name the zone of a date-time, time or Timestamp: ``zone`` or ``offset``."""
    zone = value.tzinfo
    if zone is None:
        return {}
    from zoneinfo import ZoneInfo

    if type(zone) is ZoneInfo and zone.key is not None:
        return {"zone": zone.key}
    if type(zone) is not timezone:
        kind = f"{type(zone).__module__}.{type(zone).__qualname__}"
        enc.refuse(value, f"its zone is a {kind}: use a zoneinfo.ZoneInfo or datetime.timezone")
    offset = zone.utcoffset(None)
    members: Tag = {"offset": [offset.days, offset.seconds, offset.microseconds]}
    if zone.tzname(None) != timezone(offset).tzname(None):
        members["tzname"] = enc.tree(zone.tzname(None))
    return members


def decode_zone(dec: Decoder, tag: Tag) -> timezone | ZoneInfo | None:
    """Return the zone that `encode_zone` described."""
    if "zone" in tag:
        from zoneinfo import ZoneInfo

        return ZoneInfo(expect(tag["zone"], str))
    if "offset" not in tag:
        return None
    offset = _timedelta_of(tag["offset"])
    if "tzname" in tag:
        return timezone(offset, expect(dec.value(tag["tzname"]), str))
    return UTC if not offset else timezone(offset)


def _datetime(enc: Encoder, value: Any) -> Json:
    zone = encode_zone(enc, value)
    tag: Tag = {"$": type(value).__name__, "v": value.isoformat()}
    if "zone" in zone:
        tag |= {"v": value.replace(tzinfo=None).isoformat(), "zone": zone["zone"]}
    if "tzname" in zone:
        tag["tzname"] = zone["tzname"]
    if value.fold:
        tag["fold"] = 1
    return tag


def _decode_datetime(dec: Decoder, tag: Tag) -> datetime | time:
    kind = datetime if tag["$"] == "datetime" else time
    value: datetime | time = kind.fromisoformat(expect(tag["v"], str))
    if "zone" in tag:
        value = value.replace(tzinfo=decode_zone(dec, tag))
    elif "tzname" in tag and (offset := value.utcoffset()) is not None:
        value = value.replace(tzinfo=timezone(offset, expect(dec.value(tag["tzname"]), str)))
    return value.replace(fold=tag.get("fold", 0))


def _timedelta_of(parts: Any) -> timedelta:
    days, seconds, micros = (expect(part, int) for part in expect(parts, list))
    return timedelta(days, seconds, micros)


def _decimal(_: Encoder, value: Decimal) -> Json:
    return {"$": "decimal", "v": str(value).replace("e", "E")}  # the context may ask for "e"


def _fraction(enc: Encoder, value: Fraction) -> Json:
    return {"$": "fraction", "v": [enc.tree(value.numerator), enc.tree(value.denominator)]}


def _decode_fraction(dec: Decoder, tag: Tag) -> Fraction:
    numerator, denominator = (expect(dec.value(part), int) for part in tag["v"])
    return Fraction(numerator, denominator)


_PATHS: dict[str, type[PurePath]] = {
    "PosixPath": Path if type(Path()) is PosixPath else PurePosixPath,
    "WindowsPath": Path if type(Path()) is WindowsPath else PureWindowsPath,
    "PurePosixPath": PurePosixPath,
    "PureWindowsPath": PureWindowsPath,
}


def _path(enc: Encoder, value: PurePath) -> Json:
    return {"$": "path", "type": type(value).__name__, "v": enc.tree(str(value))}


def _decode_path(dec: Decoder, tag: Tag) -> PurePath:
    return _PATHS[tag["type"]](expect(dec.value(tag["v"]), str))


def _three(enc: Encoder, value: Any) -> Json:
    parts = (value.start, value.stop, value.step)
    return {"$": type(value).__name__, "v": [enc.tree(part) for part in parts]}


def _decode_range(dec: Decoder, tag: Tag) -> range:
    start, stop, step = (expect(dec.value(part), int) for part in tag["v"])
    return range(start, stop, step)


def _decode_slice(dec: Decoder, tag: Tag) -> slice:
    start, stop, step = (dec.value(part) for part in tag["v"])
    return slice(start, stop, step)


def _bytes(_: Encoder, value: bytes | bytearray) -> Json:
    return {"$": type(value).__name__, "v": to_base64(bytes(value))}


ENCODERS: dict[type, EncodeFunction] = {
    str: encode_str,
    bool: lambda _, value: value,
    type(None): lambda _, value: None,
    int: encode_int,
    float: encode_float,
    complex: _complex,
    list: _items,
    dict: encode_dict,
    tuple: lambda enc, value: {"$": "tuple", "v": _items(enc, value)},
    set: _set,
    frozenset: _set,
    OrderedDict: lambda enc, value: {"$": "odict", "v": _pairs(enc, value)},
    bytes: _bytes,
    bytearray: _bytes,
    datetime: _datetime,
    date: lambda _, value: {"$": "date", "v": value.isoformat()},
    time: _datetime,
    timedelta: lambda _, value: {"$": "timedelta", "v": [value.days, value.seconds, value.microseconds]},
    Decimal: _decimal,
    Fraction: _fraction,
    UUID: lambda _, value: {"$": "uuid", "v": str(value)},
    PosixPath: _path,
    WindowsPath: _path,
    PurePosixPath: _path,
    PureWindowsPath: _path,
    range: _three,
    slice: _three,
}

CONTAINERS: frozenset[type] = frozenset({list, dict, tuple, set, frozenset, OrderedDict, slice})

DECODERS: dict[str, DecodeFunction] = {
    "str": lambda _, tag: from_base64(tag["v"]).decode("utf-8", "surrogatepass"),
    "int": lambda _, tag: _int_of(tag),
    "float": lambda _, tag: float_of(expect(tag["v"], str)),
    "complex": _decode_complex,
    "tuple": lambda dec, tag: tuple(dec.value(item) for item in expect(tag["v"], list)),
    "set": lambda dec, tag: {dec.value(item) for item in expect(tag["v"], list)},
    "frozenset": lambda dec, tag: frozenset(dec.value(item) for item in expect(tag["v"], list)),
    "dict": _decode_pairs,
    "odict": lambda dec, tag: OrderedDict(_decode_pairs(dec, tag)),
    "bytes": lambda _, tag: from_base64(tag["v"]),
    "bytearray": lambda _, tag: bytearray(from_base64(tag["v"])),
    "datetime": _decode_datetime,
    "date": lambda _, tag: date.fromisoformat(expect(tag["v"], str)),
    "time": _decode_datetime,
    "timedelta": lambda _, tag: _timedelta_of(tag["v"]),
    "decimal": lambda _, tag: Decimal(expect(tag["v"], str)),
    "fraction": _decode_fraction,
    "uuid": lambda _, tag: UUID(expect(tag["v"], str)),
    "path": _decode_path,
    "range": _decode_range,
    "slice": _decode_slice,
}
