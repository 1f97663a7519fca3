"""Points of a sweep among some runs: by which parameters they differ, and which runs are at each."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from expedition.errors import UnstorableError
from expedition.trajectory.file.raw import pick_rows
from expedition.trajectory.reading.columnar import ColumnLike, positions_of
from expedition.values import canonical, dumps, encode
from expedition.values.columns import MISSING, State

if TYPE_CHECKING:
    import numpy as np

_NUMBERS = frozenset({"bool", "int", "float"})
_PLAIN = frozenset({bool, int, float, str})


class Axis(NamedTuple):
    """The distinct values of a column in the order in which runs have them, and per run which it has.

    `codes` is int64 (runs,). Equal values of one type are one: True is not 1, and NaN is NaN. A run without
    a value counts as one of its own, shown as None.
    """

    values: list[Any]
    codes: np.ndarray[Any, Any]


def axis_of(column: ColumnLike) -> Axis:
    """Return the distinct values of a column."""
    import numpy as np

    if column.kind in _NUMBERS and not column._has_state and len(column):
        # Sorting is many times faster than a dict, where a cell is a number and nothing else.
        _, first, codes = np.unique(column._filled, return_index=True, return_inverse=True)
        order = np.argsort(first)
        places = np.empty_like(order)
        places[order] = np.arange(len(order))
        return Axis([column.get(int(run)) for run in first[order]], places[codes.reshape(-1)])
    if column.encoding == "indexed":
        firsts, codes = _coded(_stored_once(column), len(column))
        return Axis([column.get(position) for position in firsts], codes)
    cells = column.tolist(MISSING)
    firsts, codes = _coded(map(identity_of, cells), len(column))
    return Axis([None if cells[first] is MISSING else cells[first] for first in firsts], codes)


def _coded(keys: Iterable[Hashable], count: int) -> tuple[list[int], np.ndarray[Any, Any]]:
    """Number keys in the order in which they come; return where each comes first, and the numbers."""
    import numpy as np

    numbers: dict[Hashable, int] = {}
    firsts: list[int] = []
    codes = np.empty(count, np.int64)
    for position, key in enumerate(keys):
        if key not in numbers:
            numbers[key] = len(firsts)
            firsts.append(position)
        codes[position] = numbers[key]
    return firsts, codes


def _stored_once(column: ColumnLike) -> Iterator[Hashable]:
    """Yield what tells the values of a column apart of which the file has every distinct one once."""
    store, path = column._store, f"{column._at}/index"
    store.numbers(path)
    index = pick_rows(lambda rows: store.read(path, rows), positions_of(column))
    for position, (number, state) in enumerate(zip(index.tolist(), column.states.tolist(), strict=True)):
        yield number if state == State.VALUE else identity_of(column.get(position, MISSING))


def identity_of(value: Any) -> Hashable:
    """Return what tells a value apart from all that differ from it in value or type."""
    kind = type(value)
    if value is MISSING or (kind in _PLAIN and value == value):
        return kind, value
    try:
        return canonical(value)
    except UnstorableError:  # of a class that is not loaded
        return kind, repr(value)


def label(value: Any, width: int = 60) -> Any:
    """Return a value as an index has it: scalars as they are, all else as JSON, which is cut with a hash."""
    if isinstance(value, Hashable) and not isinstance(value, tuple):
        return value
    try:
        text = dumps(encode(value.tolist() if hasattr(value, "tolist") else value))
    except UnstorableError:
        text = repr(value)
    if len(text) <= width:
        return text
    return f"{text[: width - 10]}…{hashlib.sha256(text.encode()).hexdigest()[:8]}"


class Points(NamedTuple):
    """The points of some runs: `values` by name for each, `members` the positions of its runs, int64."""

    values: list[dict[str, Any]]
    members: list[np.ndarray[Any, Any]]


def group(columns: Mapping[str, ColumnLike], count: int) -> Points:
    """Return the points that `count` runs have in some columns, in the order of the runs that come first.

    Without columns all runs are at one point.
    """
    import numpy as np

    codes = np.zeros(count, np.int64)
    axes = {name: axis_of(column) for name, column in columns.items()}
    for axis in axes.values():
        # Folding after each axis keeps the product of the numbers of values within 64 bits.
        _, codes = np.unique(codes * max(len(axis.values), 1) + axis.codes, return_inverse=True)
    _, first, codes = np.unique(codes, return_index=True, return_inverse=True)
    order = np.argsort(codes, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(codes, minlength=len(first)))[:-1]) if count else []
    sequence = np.argsort(first)
    values = [
        {name: axis.values[axis.codes[first[number]]] for name, axis in axes.items()} for number in sequence
    ]
    return Points(values, [members[number] for number in sequence])
