"""What the operators of the expression language do with the values of a record.

They are Python's own, except that texts compare as dates and durations, that arithmetic is for numbers and
has results of bounded size, and that a part which is unknown does not abort `and` and `or`.
"""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from numbers import Number
from pathlib import PurePath
from typing import Any

Lookup = Callable[[str], object]
Node = Callable[[Lookup], object]

UNKNOWN = (LookupError, TypeError, ValueError, ArithmeticError)
"""What a part of an expression raises when it has no value for a record."""

MAX_BITS = 65_536  # of an integer in arithmetic (20,000 digits): one operation stays below a millisecond


def plain(value: Any) -> object:
    """Return a numpy scalar as a builtin one: numpy's own warn where builtins raise."""
    if type(value).__module__ != "numpy" or getattr(value, "ndim", None) != 0:
        return value
    if value.dtype.kind in "mM":  # item() of nanoseconds would be a bare integer
        value = value.astype(f"{'timedelta64' if value.dtype.kind == 'm' else 'datetime64'}[us]")
    item: object = value.item()
    return item


def connected(parts: list[Node], decides: bool, lookup: Lookup) -> object:
    """Return `and` (`decides` False) or `or` (True) of the parts, in Kleene's logic."""
    unknown: Exception | None = None
    value: object = None
    for part in parts:
        try:
            value = part(lookup)
            if bool(value) is decides:
                return value
        except UNKNOWN as error:
            unknown = error
    if unknown is not None:
        raise unknown
    return value


def compared(function: Callable[[Any, Any], object], durations: bool, left: object, right: object) -> object:
    """Compare as seconds if `durations` or a side is a timedelta, as moments if both sides are dates, paths as such."""
    if durations or isinstance(left, timedelta) or isinstance(right, timedelta):
        return function(_seconds(left), _seconds(right))
    if isinstance(left, str | date) and isinstance(right, str | date):
        first, second = _moment(left), _moment(right)
        if first is not None and second is not None:
            return function(first, second)
    if isinstance(left, PurePath) and isinstance(right, str):
        right = type(left)(right)
    elif isinstance(left, str) and isinstance(right, PurePath):
        left = type(right)(left)
    return function(left, right)


def contained(durations: bool, item: object, group: Any) -> bool:
    """Tell whether `item` is in `group`: in a list of an expression or of a record as `compared` finds it equal."""
    if not isinstance(group, list | tuple):
        return bool(operator.contains(group, item))
    unknown: Exception | None = None
    for member in group:
        try:
            if compared(operator.eq, durations, item, member):
                return True
        except UNKNOWN as error:
            unknown = error
    if unknown is not None:
        raise unknown
    return False


def text_of(value: Any) -> Any:
    """Return a path as its text, for `startswith` and the like; anything else as it is."""
    return str(value) if isinstance(value, PurePath) else value


def has_text(value: Any, text: str) -> bool:
    """Tell whether a text has another one in it, or whether one of the texts in a list has."""
    if isinstance(value, list | tuple):
        return any(text in item for item in map(text_of, value) if isinstance(item, str))
    return bool(operator.contains(value, text))


def computed(function: Callable[[Any, Any], object], left: Any, right: Any) -> object:
    """Return an arithmetic result of bounded size; only numbers, dates and durations have one."""
    if function is operator.sub and isinstance(left, str | date) and isinstance(right, str | date):
        left, right = _moment(left), _moment(right)
    for value in (left, right):
        if not isinstance(value, Number | date | timedelta):  # 'a' * 10**9 and '%999999999d' % 1 are bombs
            raise TypeError(f"no arithmetic with {type(value).__name__}")
    if isinstance(left, int) and isinstance(right, int):
        bits = max(left.bit_length(), right.bit_length())
        if function is operator.mul:
            bits = left.bit_length() + right.bit_length()
        elif function is operator.pow and abs(left) > 1:
            bits = max(bits, left.bit_length() * right)
        if bits > MAX_BITS:
            raise OverflowError("the integer is too large for an expression")
    elif function is operator.pow and not all(isinstance(x, int | float | complex) for x in (left, right)):
        raise TypeError("powers are for ints and floats")  # of a Fraction they grow without bound
    return function(left, right)


_UNIT_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+) ?(us|ms|[smhdw])")
_DURATION = re.compile(rf"(?:{_DURATION_PART.pattern} ?)+\Z")
ISO_DATE = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?(?:Z|[+-][0-9]{2}:?[0-9]{2})?)?\Z"
)


def duration_seconds(text: str) -> float | None:
    """Return the seconds of ``'1h30m'``, or None."""
    if not _DURATION.match(text):
        return None
    return sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _DURATION_PART.findall(text))


def _seconds(value: object) -> object:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, str):
        seconds = duration_seconds(value)
        if seconds is None:
            raise ValueError(f"{value!r} is no duration")
        return seconds
    return value


@functools.lru_cache(maxsize=4096)
def iso_moment(text: str) -> datetime | None:
    """Return the moment an ISO 8601 text names (in UTC if it has no zone), or None."""
    if not ISO_DATE.match(text):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _moment(value: str | date) -> datetime | None:
    if isinstance(value, str):
        return iso_moment(value)
    if not isinstance(value, datetime):
        return datetime.combine(value, time(), UTC)
    return value if value.tzinfo else value.replace(tzinfo=UTC)
