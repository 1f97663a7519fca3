"""Tables of runs for pandas."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from expedition.trajectory import format as fmt
from expedition.values.columns import NUMBER_STATES

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from expedition.trajectory.column import Column
    from expedition.trajectory.run_view import RunFields

_SCALARS = ("bool", "int", "float", "text", "datetime", "timedelta", "complex", "json")


def frame(
    rows: np.ndarray[Any, Any], fields: RunFields, leaves: Callable[[str], Iterable[Column]]
) -> pd.DataFrame:
    """Return parameters, replicate, status and scalar results of runs, one row per run, index ``run``.

    `rows` are the rows of the runs in the file, `leaves` gives their columns in a branch.
    Columns have the flat names (``rmse.mean``; ``results.alpha`` where that is taken). Numbers with holes
    become nullable integers and booleans, or floats with NaN; text has None where there is none.
    """
    import pandas as pd

    data: dict[str, Any] = {}
    for branch in (fmt.PARAMETERS, fmt.DERIVED, fmt.RESULTS):
        for column in leaves(branch):
            if column.kind in _SCALARS and column._entry.get("encoding") != "reference":
                name = column.path.partition("/")[2].replace("/", ".")
                data[name if name not in data else f"{branch}.{name}"] = series(column)
        if branch == fmt.PARAMETERS:
            for name in ("replicate", "status"):
                data[name if name not in data else f"runs.{name}"] = series(fields[name])
    index = pd.Index(rows, name="run")
    return pd.DataFrame(data, index=index, copy=False)


def series(column: Column) -> Any:
    """Return a column as an array that pandas keeps as it is."""
    import numpy as np
    import pandas as pd

    kind = column.kind
    if kind == "json":
        values = np.empty(len(column), dtype=object)
        for position, value in enumerate(column.tolist(None)):
            values[position] = value
        return values
    values = column.values
    if not column._has_state:
        if kind == "datetime" and column._attrs.get("timezone") == "UTC":
            return pd.DatetimeIndex(values).tz_localize("UTC")
        return values
    holes = ~np.isin(column.states, NUMBER_STATES)
    if not holes.any():
        return values
    if kind == "text":
        values[holes] = None
    elif kind == "int":
        return pd.arrays.IntegerArray(np.where(holes, values.dtype.type(1), values), holes)
    elif kind == "bool":
        return pd.arrays.BooleanArray(np.asarray(values == 1), holes)
    elif kind == "datetime" and column._attrs.get("timezone") == "UTC":
        return pd.DatetimeIndex(values).tz_localize("UTC")
    return values
