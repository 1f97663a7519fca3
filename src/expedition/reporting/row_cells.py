"""What a name of the select language is in a table: facts with their units, stored values by what they are."""

from __future__ import annotations

from typing import Any

from expedition.archive.rows import FACT_BRANCH, RunRow, stored_name
from expedition.reporting.cells import Bytes, Seconds, When, plain_number, told

_UNITS = {
    "duration": Seconds,
    "size": Bytes,
    "started": When,
    "stopped": When,
}

_SPECIAL = frozenset({*_UNITS, "tags", "notes"})
"""Facts that are not shown as other values are."""

_SCALARS = frozenset({"float", "np", "int", "complex"})
_LONGEST = 60  # characters of a text that still is a cell


def cell(row: RunRow, name: str) -> object:
    """Return what a name is for a run, for people; None for nothing. A value that stands in a file is read."""
    try:
        value = row.value(name)
    except LookupError:
        return None
    fact = name.removeprefix(f"{FACT_BRANCH}.")
    if fact in _SPECIAL and row.is_fact(name):
        if value is None or value == []:
            return None
        return " ".join(value) if fact == "tags" else _UNITS[fact](value) if fact in _UNITS else told(value)
    return None if isinstance(value, str) and not value else told(value)


def is_scalar(tagged: Any) -> bool:
    """Tell whether tagged JSON is a number, truth value or short text, fit for a cell of a table."""
    if type(tagged) is float:
        return True
    if isinstance(tagged, dict):
        kind = tagged.get("$")
        return isinstance(kind, str) and kind in _SCALARS and len(str(tagged.get("v", ""))) <= 40
    if isinstance(tagged, str):
        return len(tagged) <= _LONGEST
    return tagged is None or isinstance(tagged, bool | int | float)


def scalar(row: RunRow, key: str) -> Any:
    """Return the stored value of the slash path `key` for a run, None where there is none, or none that is scalar."""
    tagged = row.stored.get(key)
    if isinstance(tagged, dict):
        tagged = plain_number(tagged)
        if isinstance(tagged, dict):
            return row.value(stored_name(key)) if is_scalar(tagged) else None
    return tagged if is_scalar(tagged) else None
