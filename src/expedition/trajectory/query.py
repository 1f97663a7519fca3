"""Finds runs by their values: equality, expressions and functions over the columns they name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from expedition.authoring.expressions import check_names, compile_expression
from expedition.errors import ExperimentError, NameNotFoundError
from expedition.values.columns import MISSING, NUMBER_STATES

if TYPE_CHECKING:
    import numpy as np

    from expedition.trajectory.column import Column

Resolver = Callable[[str], "Column"]


def find_equal(resolve: Resolver, wanted: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """Return which positions have exactly these values, as a bool array; runs without one do not match."""
    import numpy as np

    mask: Any = None
    for name, value in wanted.items():
        column = resolve(name)
        if column.kind in ("int", "float", "bool") and type(value) in (int, float, bool):
            found = (column.values == value) & np.isin(column.states, NUMBER_STATES)
        else:
            found = np.fromiter((_same(each, value) for each in column.tolist(MISSING)), bool, len(column))
        mask = found if mask is None else mask & found
    return mask  # type: ignore[no-any-return]


def _same(value: Any, wanted: Any) -> bool:
    import numpy as np

    if value is MISSING:
        return False
    if isinstance(value, np.ndarray) or isinstance(wanted, np.ndarray):
        return type(value) is type(wanted) and bool(np.array_equal(value, wanted))
    try:
        return bool(value == wanted)
    except (TypeError, ValueError):
        return False


def find_matching(
    resolve: Resolver, text: str, count: int, known: Callable[[], set[str]]
) -> np.ndarray[Any, Any]:
    """Return which positions match an expression.

    `known` gives the names there are, for near matches. Raises `ExpressionError` for one that is not there.
    """
    import numpy as np

    expression = compile_expression(text)
    values: dict[str, list[Any]] = {}
    for name in expression.names:
        try:
            values[name] = resolve(name).tolist(MISSING)
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

    mask = np.zeros(count, bool)
    for row in range(count):
        mask[row] = expression.matches(lookup)
    return mask


def find_where(resolve: Resolver, function: Callable[..., Any], count: int) -> np.ndarray[Any, Any]:
    """Return for which positions `function` is true of the values of the columns its arguments name.

    Runs that lack one of them do not match. Raises `ExperimentError` for arguments that are no names.
    """
    import numpy as np

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
