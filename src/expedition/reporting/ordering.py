"""An order for values of any kinds, as people expect it: numbers by size, texts with their numbers by size."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from functools import total_ordering
from typing import Any

from expedition.authoring.evaluation import plain
from expedition.reporting.cells import amount, is_bool, is_number

_NUMBERS = re.compile(r"(\d+)")

MISSING = (1, ())
"""Key of what is not there; it comes last, whatever the direction."""


def order(value: object, *, descending: bool = False) -> tuple[Any, ...]:
    """Return a key for `sorted`: any two keys can be compared.

    Numbers and truth values come first, then times, texts (``a2`` before ``a10``) and all else by its text; None and
    NaN come last, also when `descending`.
    """
    key = _key(value)
    if key is None:
        return MISSING
    return (0, _Reversed(key) if descending else key)


def order_by(
    names: Mapping[str, bool], value: Callable[[Any, str], object]
) -> Callable[[Any], tuple[Any, ...]]:
    """Return the key function for sorting by several names, each with whether it is `descending`.

    `value` gives what a name is for a row, and raises LookupError where it is nothing.
    """

    def key(row: Any) -> tuple[Any, ...]:
        keys: list[tuple[Any, ...]] = []
        for name, descending in names.items():
            try:
                keys.append(order(value(row, name), descending=descending))
            except LookupError:
                keys.append(MISSING)
        return tuple(keys)

    return key


@total_ordering
class _Reversed:
    """The order turned round."""

    __slots__ = ("key",)

    def __init__(self, key: tuple[Any, ...]) -> None:
        self.key = key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Reversed) and self.key == other.key

    def __lt__(self, other: _Reversed) -> bool:
        return other.key < self.key


def _key(value: Any) -> tuple[Any, ...] | None:
    value = amount(plain(value))
    if value is None:
        return None
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if is_number(value) or is_bool(value):
        return None if value != value else (0, value)
    if isinstance(value, datetime):
        return 1, (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, date):
        return 1, datetime.combine(value, time(), UTC).timestamp()
    if isinstance(value, str):
        return 2, natural(value)
    if isinstance(value, list | tuple):
        return 3, tuple(order(item) for item in value)
    return 4, natural(str(value))


def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """Return a key by which numbers inside of texts are ordered by size, and letters whatever their case."""
    parts = _NUMBERS.split(text)
    return (
        *((1, int(part), "") if part.isdecimal() else (0, 0, part.casefold()) for part in parts),
        (0, 0, text),
    )
