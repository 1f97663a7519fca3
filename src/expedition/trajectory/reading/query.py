"""Finds runs by their values: equality, expressions and functions over the columns they name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from expedition.authoring.evaluation import Lookup
from expedition.authoring.expressions import check_names, compile_expression, find_incomparable
from expedition.errors import ExperimentError, ExpressionError, NameNotFoundError
from expedition.trajectory.file import format as fmt
from expedition.trajectory.reading.points import identity_of
from expedition.values.columns import MISSING

if TYPE_CHECKING:
    import numpy as np

    from expedition.trajectory.reading.column import Column

_EXACT = 2**53
Resolver = Callable[[str], "Column"]


def find_equal(resolve: Resolver, wanted: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """Return which positions have exactly these values, as a bool array; runs without one do not match."""
    mask: Any = None
    for name, value in wanted.items():
        column = _of_cells(resolve(name))
        gaps = column._gaps
        if column.kind in ("int", "float", "bool") and _is_exact(value):
            found = column._filled == value
            found = found if gaps is None else found & ~gaps
        else:
            found = _equal_cells(column, value)
        mask = found if mask is None else mask & found
    return mask  # type: ignore[no-any-return]


def _is_exact(value: Any) -> bool:
    """Tell whether numpy compares a number with ints and floats as Python does: beyond 2**53 it rounds."""
    return type(value) in (int, float, bool) and abs(value) < _EXACT


def _of_cells(column: Column) -> Column:
    if column.path.startswith(f"{fmt.SERIES}/"):
        raise ExpressionError(
            f"{column.path} is a series, which has many values in each run: select by a result that sums it up, or "
            "with a function, such as find(lambda loss: loss.value[-1] < 1)"
        )
    return column


def _equal_cells(column: Column, wanted: Any) -> np.ndarray[Any, Any]:
    """Return which positions have a value: one that is the same, as points are, or that Python finds equal."""
    import numpy as np

    identity = identity_of(wanted)
    known: dict[int, bool] = {}  # runs may share one value
    cells = column.tolist(MISSING)
    found = np.zeros(len(cells), bool)
    for position, value in enumerate(cells):
        if value is MISSING:
            continue
        if id(value) not in known:
            known[id(value)] = _is_equal(value, wanted) or identity_of(value) == identity
        found[position] = known[id(value)]
    return found


def _is_equal(value: Any, wanted: Any) -> bool:
    """Tell whether two values are equal; arrays, frames and the like answer that for each element."""
    if getattr(value, "shape", ()) or getattr(wanted, "shape", ()):
        return False
    try:
        return bool(value == wanted)
    except (TypeError, ValueError, AttributeError):
        return False


def find_matching(
    resolve: Resolver, text: str, count: int, known: Callable[[], set[str]]
) -> np.ndarray[Any, Any]:
    """Return which positions match an expression.

    `known` gives the names there are, for near matches. Raises `ExpressionError` for one that is not there.
    """
    import numpy as np

    expression = compile_expression(text)
    columns: dict[str, Column] = {}
    values: dict[str, list[Any]] = {}
    for name in expression.names:
        try:
            columns[name] = _of_cells(resolve(name))
            values[name] = columns[name].tolist(MISSING)
        except NameNotFoundError:
            # The message of the language shows the place in the text.
            check_names(expression, known() | (expression.names - {name}))
            raise
    row = 0

    def lookup(name: str) -> object:
        value = values[name][row]
        if value is MISSING:
            raise LookupError(name)
        return value

    def lookups() -> Iterator[Lookup]:
        nonlocal row
        for number in range(count):
            row = number
            yield lookup

    if failed := find_incomparable(expression, lookups):
        comparison, names = failed
        kinds = " and ".join(
            f"{columns[name].path} is of kind {columns[name].kind}" for name in sorted(names)
        )
        raise ExpressionError(
            f"{comparison!r} compares what cannot be compared, in every run: {kinds}; compare with a value of "
            "that kind, or give find() a function"
        )
    mask = np.zeros(count, bool)
    for row in range(count):
        mask[row] = expression.matches(lookup)
    return mask


def find_where(resolve: Resolver, function: Callable[..., Any], count: int) -> np.ndarray[Any, Any]:
    """Return for which positions `function` is true of the values of the columns its arguments name.

    Runs that lack one of them do not match. Raises `ExperimentError` for arguments that are no names.
    """
    import numpy as np

    if not callable(function):
        raise ExperimentError(
            f"find() takes an expression, a function or values by name, not {function!r}: traj[3] is a run, and "
            "select([1, 3]) has the runs at positions"
        )
    names = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise ExperimentError(
                f"the function for find() must name the columns it needs, but has *{parameter.name}"
            )
        if parameter.default is parameter.empty:
            names.append(parameter.name)
    columns = [resolve(name).tolist(MISSING) for name in names]
    if not columns:
        raise ExperimentError("the function for find() must take the columns it needs as arguments")
    mask = np.zeros(count, bool)
    for row, values in enumerate(zip(*columns, strict=True)):
        if not any(value is MISSING for value in values):
            mask[row] = bool(function(**dict(zip(names, values, strict=True))))
    return mask
