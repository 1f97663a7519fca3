"""What stands in one cell of a table, as text for people and as JSON for programs."""

from __future__ import annotations

import enum
import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from expedition.reporting.durations import format_bytes, format_duration, format_when
from expedition.trajectory.statistics import Interval, format_interval, format_number
from expedition.values import encode, has_axes, short_hash, short_text

NONE = "–"
"""Text of None, and of what a row lacks."""

GAP = "…"
"""Text where something was left out."""


@dataclass(frozen=True)
class Share:
    """How many of some booleans are true."""

    true: int
    n: int


@dataclass(frozen=True)
class Distinct:
    """Stands for values that differ and have no mean."""

    count: int


@dataclass(frozen=True)
class Done:
    """How many of the runs of a point are done."""

    done: int
    total: int


@dataclass(frozen=True)
class Rate:
    """How many of some things are of a kind: ``1/2 (50 %)``, and nothing for none."""

    part: int
    whole: int


@dataclass(frozen=True)
class Seconds:
    """A duration in seconds."""

    value: float


@dataclass(frozen=True)
class Bytes:
    """A size in bytes."""

    value: int


@dataclass(frozen=True)
class When:
    """A moment: local time in minutes for people, ISO 8601 with its zone for programs."""

    value: datetime


@dataclass(frozen=True)
class Stored:
    """A value of an archive as it stands there: tagged JSON."""

    tagged: Any


@dataclass(frozen=True)
class Told:
    """An array or the like among others that have its shape: with a hash that tells it from them."""

    value: object


@dataclass(frozen=True)
class WithN:
    """An interval of fewer values than the column `n` says."""

    interval: Interval


RIGHT = (Interval, WithN, Share, Done, Rate, Seconds, Bytes)
"""Cells that are aligned to the right, like numbers."""


def format_cell(value: object, max_width: int | None = None) -> str:
    """Write a value in one line: floats in six significant digits, None as ``–``, arrays by their shape.

    :param max_width: characters at most; longer text ends in ``…``.
    """
    text = _text(value)
    if not text.isprintable():  # line ends, terminal control codes
        text = "".join(c if c.isprintable() else " " for c in text)
    if max_width is not None and len(text) > max_width:
        text = text[: max(max_width - 1, 0)] + GAP
    return text


def format_column(values: Sequence[object], max_width: int | None = None) -> list[str]:
    """Write the values of a column as `format_cell` does each."""
    kinds = set(map(type, values))
    if max_width is None and kinds <= _FORMS.keys():
        texts = [_FORMS[type(value)](value) for value in values]
        if all(map(str.isprintable, texts)):
            return texts
    return [format_cell(value, max_width) for value in values]


def _text(value: object) -> str:
    # A long list has a few kinds of cells only, and the cases of the others take their time to tell
    return _FORMS.get(type(value), _text_of_other)(value)


def _text_of_other(value: object) -> str:
    match value:
        case str():
            return value
        case float():
            return format_number(value)
        case Stored(tagged):
            return _stored_text(tagged)
        case Told(value):
            return f"{_text(value)}~{short_hash(value)}"
        case WithN(interval):
            return format_interval(interval, show_n=True)
        case Interval():
            return format_interval(value)
        case Share(true, n):
            return f"{true}/{n} true"
        case Rate(part, whole):
            return f"{part}/{whole} ({_percent(part, whole)} %)" if whole else NONE
        case Bytes(value):
            return format_bytes(value)
        case Distinct(count):
            return f"…({count} values)"
        case enum.Enum():
            return value.name
        case numbers.Integral():
            return _integer_text(int(value))
        case numbers.Real():
            return format_number(float(value))
    if (shape := getattr(value, "shape", None)) and isinstance(shape, tuple):
        return f"{type(value).__name__}[{'×'.join(map(str, shape))}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_text(key)}: {_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        inside = ", ".join(map(_text, value))
        return f"[{inside}]" if isinstance(value, list) else f"({inside})"
    return short_text(value)


_FORMS: Mapping[type, Callable[[Any], str]] = {
    float: format_number,
    str: lambda text: text,
    type(None): lambda _: NONE,
    bool: str,
    int: lambda value: _integer_text(value),
    Done: lambda cell: str(cell.done) if cell.done == cell.total else f"{cell.done}/{cell.total}",
    Seconds: lambda cell: format_duration(cell.value),
    When: lambda cell: format_when(cell.value),
}


def _percent(part: int, whole: int) -> int:
    """A share in percent; 0 and 100 are only said of none and all."""
    percent = round(100 * part / whole)
    if percent == 100 and part < whole:
        return 99
    return 1 if percent == 0 and part else percent


def _stored_text(tagged: Any) -> str:
    if isinstance(tagged, dict | list):
        from expedition.errors import DamagedError
        from expedition.values import decode

        try:
            return _text(decode(tagged))
        except DamagedError:  # in a file besides, which is not read for a table
            kind = tagged.get("$", "object") if isinstance(tagged, dict) else "list"
            return f"<{kind}>"
    return _text(tagged)


def _integer_text(value: int) -> str:
    if value.bit_length() > 200:  # more than 60 digits; Python itself refuses more than 4300
        return f"{'-' if value < 0 else ''}2^{math.log2(abs(value)):.6g}"
    return str(value)


def told(value: object) -> object:
    """Return a value of a swept parameter as a cell: arrays of one shape are told apart."""
    return Told(value) if has_axes(value) else value


def amount(value: object) -> object:
    """Return the number that a cell is compared by: of an interval the mean, of a share the ratio; else the value."""
    match value:
        case WithN(interval):
            return interval.mean
        case Interval():
            return value.mean
        case Share(true, n):
            return true / n
    return value


def is_bool(value: object) -> bool:
    """Tell whether a value is a bool of Python or numpy."""
    return isinstance(value, bool) or type(value).__name__ in ("bool_", "bool")  # numpy.bool


_PLAIN = frozenset({float, int, str, bool, type(None)})


def is_number(value: object) -> bool:
    """Tell whether a value is a real number, and no bool or member of an enum."""
    kind = type(value)
    if kind in _PLAIN:
        return kind is float or kind is int
    return isinstance(value, numbers.Real) and not isinstance(value, (bool, enum.Enum))


def json_cell(value: object, name: str) -> Any:
    """Return a cell as strict JSON; what JSON does not have, NaN included, in the tagged form of `encode`.

    Raises `UnstorableError`, which names the column `name`, for a value that has none.
    """
    match value:
        case Stored(tagged):
            return plain_number(tagged)
        case When(value):
            return iso_text(value)
        case Seconds(value) | Bytes(value) | Told(value):
            return encode(value, name=name)
        case Rate(part, whole):
            return {"part": part, "whole": whole, "rate": part / whole if whole else None}
        case WithN(interval):
            value = interval
    if isinstance(value, (Interval, Share, Done, Distinct)):  # plain objects, for readers that do not know us
        return {key: encode(item, name=f"{name}/{key}") for key, item in asdict(value).items()}
    return encode(value, name=name)


def iso_text(moment: datetime) -> str:
    """Write a time as ISO 8601, in UTC as the files of an archive have it: ``2026-11-22T14:30:00Z``."""
    return moment.isoformat().replace("+00:00", "Z")


def plain_number(tagged: Any) -> Any:
    """Return tagged JSON, numbers of numpy as those of JSON."""
    if (
        isinstance(tagged, dict)
        and tagged.get("$") == "np"
        and isinstance(tagged.get("v"), bool | int | float)
    ):
        return tagged["v"]
    return tagged
