"""Runs as an xarray Dataset: over the swept axes, or over the runs."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from expedition.errors import ExperimentError
from expedition.trajectory.file import format as fmt
from expedition.trajectory.reading.columnar import ColumnLike
from expedition.trajectory.reading.export import SCALARS, Runs, table_columns
from expedition.trajectory.reading.extras import library
from expedition.trajectory.reading.frames import json_cells
from expedition.trajectory.reading.points import Axis, axis_of, label
from expedition.values.columns import State

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr

_EXACT = 2**53
_ROOMY = 1 << 28
"""Bytes that a grid may have whatever the data has."""
_SPARSE = 4
"""Beyond that, how many times larger than the data a grid may be."""
_TIMES = frozenset(["days", "hours", "minutes", "seconds", "milliseconds", "microseconds", "nanoseconds"])
_ABOUT = ("title", "experiment", "sweep_id", "created")


@dataclass(frozen=True)
class Cube:
    """The values of a column: (runs, …), with the runs that have none, and what is said of them."""

    values: np.ndarray[Any, Any]
    holes: np.ndarray[Any, Any]
    attrs: dict[str, Any] = field(default_factory=dict)


def dataset(
    runs: Runs,
    about: Mapping[str, Any],
    names: Sequence[str] | None = None,
    *,
    grid: bool,
    replicates: bool,
) -> xr.Dataset:
    """Return the Dataset of some runs: over the axes of their points and `replicates`, or over ``run``.

    `about` has the attributes of the file. Columns are those of `table_columns`, arrays of one shape among
    them; what is not rectangular is named in the attribute ``left_out``.

    Raises `ExperimentError` when two runs are at one place of the grid or the grid is mostly holes,
    `MissingLibraryError` without xarray.
    """
    xr = library("xarray", "to_xarray()")
    import numpy as np

    columns = table_columns(runs, names, arrays=True)
    axes = _axes(columns, replicates) if grid else None
    if axes is not None and not replicates:
        columns.pop("replicate")
    whole = {name: column for name, column in columns.items() if _is_rectangular(column)}
    left_out = [name for name in columns if name not in whole]
    fixed = {name: column for name, column in whole.items() if _is_fixed_array(column)}
    with runs._store.keeping_tails():
        cubes = {
            name: cube(column)
            for name, column in whole.items()
            if name not in fixed and (axes is None or name not in axes)
        }
    shape = Shape.of(axes, runs, sum(each.values.nbytes for each in cubes.values()) + 8 * len(runs.rows))
    coordinates: dict[str, Any] = dict(shape.coordinates(columns, runs.rows))
    for name, column in fixed.items():
        value = np.asarray(column.get(0))
        coordinates[name] = (_dims(name, value.shape, columns), value, said(column))
    variables: dict[str, Any] = {}
    for name, each in cubes.items():
        branch = columns[name].path.partition("/")[0]
        is_coordinate = branch in (fmt.PARAMETERS, fmt.RUNS)
        values = _constant(each) if branch == fmt.PARAMETERS and axes is not None else None
        if values is not None:
            dims = _dims(name, values.shape, columns)
            coordinates[name] = (dims, values, each.attrs)
            continue
        dims = (*shape.dims, *_dims(name, each.values.shape[1:], columns))
        (coordinates if is_coordinate else variables)[name] = (dims, shape.scatter(each), each.attrs)
    attrs = {name: about[name] for name in _ABOUT if about.get(name)}
    if left_out:
        attrs["left_out"] = left_out
    return xr.Dataset(variables, coordinates, attrs)


def _axes(columns: Mapping[str, ColumnLike], replicates: bool) -> dict[str, Axis]:
    """Return the axes of the grid in the order of the sweep, the replicate last."""
    chosen = {
        name: column
        for name, column in columns.items()
        if column.swept and column.path.startswith(f"{fmt.PARAMETERS}/")
    }
    if replicates:
        chosen["replicate"] = columns["replicate"]
    return {name: axis_of(column) for name, column in chosen.items()}


def _is_fixed_array(column: ColumnLike) -> bool:
    """Tell whether a column is one array for all runs, so that no more than that one is read."""
    if column.kind != "array" or column.swept or not len(column):
        return False
    return column.path.startswith(f"{fmt.PARAMETERS}/") and column.has(0)


def _is_rectangular(column: ColumnLike) -> bool:
    if column.kind == "array":
        # A value that stands in the run folder, or is of another kind, has no place among the others.
        return len(column.shape) > 1 and not (column.states == State.JSON).any()
    return column.kind in SCALARS and column.encoding != "reference"


def cube(column: ColumnLike) -> Cube:
    """Return the values of a scalar column or of arrays of one shape; what has no dtype as JSON text."""
    import numpy as np

    attrs = said(column)
    if column.kind == "json":
        texts = json_cells(column)
        return Cube(texts, np.array([text is None for text in texts], bool), attrs)
    holes = column._gaps
    return Cube(column._filled, np.zeros(len(column), bool) if holes is None else holes, attrs)


def said(column: ColumnLike) -> dict[str, str]:
    """Return unit and comment of a column as attributes."""
    found: dict[str, str] = {}
    if column.unit:
        # Words of time would make times of the numbers for readers of a file that this is written to.
        found["unit" if column.unit in _TIMES or " since " in column.unit else "units"] = column.unit
    if column.comment:
        found["comment"] = column.comment
    return found


def _constant(cube: Cube) -> np.ndarray[Any, Any] | None:
    """Return the one value of all runs as a 0-d (or inner) array, None when there are several."""
    import numpy as np

    if not len(cube.values) or cube.holes.any():
        return None
    first, rest = cube.values[:1], cube.values[1:]
    same = (rest == first) | ((rest != rest) & (first != first))
    return np.asarray(cube.values[0]) if bool(np.all(same)) else None


def _dims(name: str, shape: Sequence[int], taken: Mapping[str, Any]) -> tuple[str, ...]:
    """Return names for the inner axes of an array, none of which is the name of a variable."""
    dims = []
    for axis in range(1, len(shape) + 1):
        dim = f"{name}_dim{axis}"
        while dim in taken:
            dim += "_"
        dims.append(dim)
    return tuple(dims)


@dataclass(frozen=True)
class Shape:
    """Where the runs are in a Dataset: `places` are flat, `sizes` those of the dimensions `dims`."""

    axes: Mapping[str, Axis] | None
    dims: tuple[str, ...]
    sizes: tuple[int, ...]
    places: np.ndarray[Any, Any]

    @classmethod
    def of(cls, axes: Mapping[str, Axis] | None, runs: Runs, nbytes: int) -> Shape:
        """Find the place of every run; `nbytes` is the size of the data."""
        import numpy as np

        count = len(runs.rows)
        if axes is None:
            return cls(None, ("run",), (count,), np.arange(count))
        sizes = tuple(len(axis.values) for axis in axes.values())
        cells = math.prod(sizes)
        if count and (size := nbytes // count * cells) > max(_ROOMY, _SPARSE * nbytes):
            shown = " × ".join(f"{size} {name}" for size, name in zip(sizes, axes, strict=True))
            raise ExperimentError(
                f"the runs are no grid: {shown} would be {cells:,} cells ({size:,} bytes) for {count:,} runs; "
                "use to_xarray(grid=False), or select runs that make a grid"
            )
        places = np.zeros(count, np.int64)
        for axis in axes.values():
            places = places * len(axis.values) + axis.codes
        cls._check(axes, places, runs)
        return cls(axes, tuple(axes), sizes, places)

    @staticmethod
    def _check(axes: Mapping[str, Axis], places: np.ndarray[Any, Any], runs: Runs) -> None:
        import numpy as np

        found, first, counts = np.unique(places, return_index=True, return_counts=True)
        if len(found) == len(places):
            return
        twice = int(np.argmax(counts > 1))
        one, two = runs.rows[np.flatnonzero(places == found[twice])[:2]].tolist()
        point = ", ".join(f"{name}={axis.values[axis.codes[first[twice]]]!r}" for name, axis in axes.items())
        raise ExperimentError(
            f"the runs are no grid: runs {one} and {two} are both at {point or 'the one point'}; "
            "use to_xarray(grid=False), select one of them, or aggregate(by=…)"
        )

    def coordinates(
        self, columns: Mapping[str, ColumnLike], rows: np.ndarray[Any, Any]
    ) -> dict[str, tuple[tuple[str, ...], Any, dict[str, Any]]]:
        """Return the coordinates of the dimensions, and of a grid the row of the run at each place."""
        import numpy as np

        if self.axes is None:
            return {"run": (("run",), rows, {"comment": "row of the run in the trajectory"})}
        found: dict[str, tuple[tuple[str, ...], Any, dict[str, Any]]] = {}
        for name, axis in self.axes.items():
            found[name] = ((name,), index_of(axis.values), said(columns[name]))
        at = np.full(math.prod(self.sizes), -1, np.int64)
        at[self.places] = rows
        about = {"comment": "row of the run in the trajectory, -1 where there is none"}
        found["run"] = (self.dims, at.reshape(self.sizes), about)
        return found

    def scatter(self, cube: Cube) -> np.ndarray[Any, Any]:
        """Return values at their places: without a value NaN or NaT, in a dtype that has it."""
        import numpy as np

        cells = math.prod(self.sizes)
        complete = len(self.places) == cells and not cube.holes.any()
        values = cube.values if complete else holey(cube.values, cube.holes)
        if self.axes is None:
            return values
        tail = values.shape[1:]
        if complete:
            out = np.empty((cells, *tail), values.dtype)
        else:
            out = np.full((cells, *tail), _nothing(values.dtype), values.dtype)
        out[self.places] = values
        return out.reshape((*self.sizes, *tail))


def holey(values: np.ndarray[Any, Any], holes: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return values in a dtype that can say that there is none, and says it at the holes.

    As xarray has it: ints become floats (where that is exact, else objects), bools and text objects.
    """
    import numpy as np

    kind = values.dtype.kind
    if kind in "iu":
        there = values[~holes]
        exact = not there.size or (int(there.min()) >= -_EXACT and int(there.max()) <= _EXACT)
        values = values.astype(np.float64 if exact else object)
    elif kind not in "fcmMO":
        values = values.astype(object)
    else:
        values = values.copy()
    values[holes] = _nothing(values.dtype)
    return values


def _nothing(dtype: np.dtype[Any]) -> Any:
    import numpy as np

    if dtype.kind in "mM":
        return np.array("NaT", dtype)
    return np.nan


def index_of(values: Sequence[Any]) -> np.ndarray[Any, Any]:
    """Return the values of an axis as an index: numbers, texts or times of one type, else objects."""
    import numpy as np

    labels = [label(value) for value in values]
    kinds = {type(each) for each in labels}
    if kinds == {dt.datetime} and len({each.tzinfo is None for each in labels}) == 1:
        return np.array([_naive(each) for each in labels], "M8[us]")
    if kinds == {dt.timedelta}:
        return np.array(labels, "m8[us]")
    mixed = kinds == {int, float} and all(abs(each) <= _EXACT for each in labels if type(each) is int)
    if mixed or len(kinds) == 1:
        index = np.array(labels)
        # Whole numbers of which some are beyond int64 and some below zero would become floats.
        exact = index.dtype.kind != "f" or kinds != {int}
        if index.ndim == 1 and index.dtype.kind in "biufcmM" and exact:
            return index
    objects = np.empty(len(labels), dtype=object)
    for position, each in enumerate(labels):
        objects[position] = each
    return objects


def _naive(moment: dt.datetime) -> dt.datetime:
    """Return the time in UTC: numpy knows no zones."""
    return moment.astimezone(dt.UTC).replace(tzinfo=None) if moment.tzinfo else moment
