"""Runs as a Parquet file: one row each, with columns of their own types."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import IO, Any

from expedition.archive.rows import FACT_BRANCH, RunRow, stored_name
from expedition.archive.selection import own_columns
from expedition.reporting.run_tables import ALL_FACTS
from expedition.values import dumps, encode

_LARGE = frozenset({"array", "npy", "masked", "sparse", "frame", "pandas"})
"""Kinds of tagged JSON that are no cells of a table."""

_EXACT = 2**53
"""Whole numbers up to which a float keeps them."""


def write_parquet(rows: Sequence[RunRow], file: IO[bytes], chosen: Sequence[str] = ()) -> None:
    """Write facts, parameters and stored values of runs to an open file; only the columns that are `chosen`, if any.

    A column of bools, whole numbers, floats, texts, times, dates, durations or bytes has that type; what a run lacks
    is null. Values that share no such type are tagged JSON, as the archive has them; stored arrays and frames have no
    column. Raises `OSError`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    large = {form for row in rows for name in _in_files(row) for form in (name, name.removeprefix("data."))}
    names = [name for part in own_columns(rows) for name in part.values() if name not in large]
    names = list(dict.fromkeys(chosen)) or [*ALL_FACTS, *names]
    # The names of some facts mean what runs themselves call so: these columns are the facts
    asked = {} if chosen else {name: f"{FACT_BRANCH}.{name}" for name in ALL_FACTS}
    columns = [_column([_value(row, asked.get(name, name)) for row in rows], name) for name in names]
    pq.write_table(pa.table(columns, names=names), file)


def _in_files(row: RunRow) -> Iterator[str]:
    """Yield the names of stored values that are arrays and the like."""
    for name, tagged in row.stored.items():
        if isinstance(tagged, dict) and str(tagged.get("$")) in _LARGE:
            yield stored_name(name)


def _value(row: RunRow, name: str) -> Any:
    try:
        value = row.value(name)
    except LookupError:
        return None
    # A numpy scalar has the value, and the column will have the type.
    return (
        value.item() if type(value).__module__ == "numpy" and getattr(value, "shape", None) == () else value
    )


def _column(values: Sequence[Any], name: str) -> Any:
    import pyarrow as pa

    kind = _type([value for value in values if value is not None])
    if kind is not None:
        return pa.array(values, type=kind, from_pandas=False)
    return pa.array(
        [None if value is None else dumps(encode(value, name=name)) for value in values], type=pa.string()
    )


def _type(values: Sequence[Any]) -> Any:
    """Return the type of a column that keeps all values; None when there is none."""
    import pyarrow as pa

    kinds = {type(value) for value in values}
    if kinds <= {bool}:
        return pa.bool_() if kinds else pa.null()
    if kinds <= {int}:
        return pa.int64() if all(-(2**63) <= value < 2**63 for value in values) else None
    if kinds <= {int, float}:
        whole = [value for value in values if type(value) is int]
        return pa.float64() if all(-_EXACT <= value <= _EXACT for value in whole) else None
    if kinds == {str}:
        return pa.string() if all(_is_text(value) for value in values) else None
    if kinds == {bytes}:
        return pa.binary()
    if kinds == {datetime}:
        zones = {value.utcoffset() for value in values}
        if zones == {None}:
            return pa.timestamp("us")
        return pa.timestamp("us", tz="UTC") if zones == {timedelta(0)} else None
    if kinds == {date}:
        return pa.date32()
    if kinds == {timedelta}:
        return pa.duration("us")
    if kinds == {list} and all(type(item) is str and _is_text(item) for value in values for item in value):
        return pa.list_(pa.string()) if any(values) else None
    return None


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
