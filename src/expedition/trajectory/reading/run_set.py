"""What a trajectory and a selection of its runs have in common: runs, search, points and tables."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expedition.errors import (
    AmbiguousNameError,
    ExperimentError,
    NameNotFoundError,
    RecordNotFoundError,
    SelectionError,
    near_matches,
)
from expedition.recording import outcomes
from expedition.trajectory.file import format as fmt
from expedition.trajectory.file.raw import row_number, take_rows
from expedition.trajectory.reading.array_column import column_at
from expedition.trajectory.reading.column import Column
from expedition.trajectory.reading.column_set import FIELD_ALIASES, ColumnSet
from expedition.trajectory.reading.export import frame, text_frame, write_csv, write_parquet
from expedition.trajectory.reading.frames import observations_frame
from expedition.trajectory.reading.points import Points, group
from expedition.trajectory.reading.query import find_equal, find_matching, find_where
from expedition.trajectory.reading.run_field import run_field
from expedition.trajectory.reading.run_view import RunView
from expedition.trajectory.reading.tree import Node, resolve

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import xarray as xr

    from expedition.trajectory.reading.aggregate import Aggregate

_KEY_DIGITS = 4
"""Digits of a key that may stand for all of it: fewer are too often a name, or several runs."""
_KEY = re.compile(rf"[0-9a-f]{{{_KEY_DIGITS},64}}")
_SHORT_KEY = re.compile(rf"[0-9a-f]{{1,{_KEY_DIGITS - 1}}}")
_ID = re.compile(r"=|::|\[")
_SHOWN_IDS = 1000
"""Ids that near matches are looked for among: comparing texts is slow."""


class RunSet(ColumnSet):
    """Runs of a trajectory in their order; a position here is the number of a run among them."""

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            row = self._row_of(key)
            return self._named(key) if row is None else self._view(row)
        number = row_number(key)
        if number is None:
            return self._selected(take_rows(self.rows, key, f"runs of {self._store.path}"))
        count = len(self)
        if not -count <= number < count:
            raise SelectionError(f"there is no run {number}: there are {count:,} in {self._store.path}")
        number %= count
        return self._view(number if self._rows is None else int(self._rows[number]))

    def __contains__(self, item: object) -> bool:
        """Tell whether there is a column, group or run of that name, or that very column or run."""
        if isinstance(item, RunView):
            return item._store.path == self._store.path and item.index in self.rows
        if item in self._root():
            return True
        try:
            return isinstance(item, str) and self._row_of(item) is not None
        except AmbiguousNameError:
            return True
        except RecordNotFoundError:
            return False

    def __iter__(self) -> Iterator[RunView]:
        return (self[number] for number in range(len(self)))

    def __bool__(self) -> bool:
        return len(self) > 0

    def _view(self, row: int) -> RunView:
        def column(node: Node) -> Column:
            return column_at(self._store, node.path)

        return RunView(self._store, self._tree, column, row)

    def _named(self, name: str) -> Any:
        """Return a column or group, or else a run whose id is a plain word, as when nothing is swept."""
        found = self.get(name)
        if found is not None:
            return found
        rows = self._rows_of_id(name)
        if len(rows) == 1:
            return self._view(rows[0])
        ids = self.runs.id.values[:_SHOWN_IDS].tolist()
        if near := near_matches(name, ids) if _ID.search(name) else "":
            raise RecordNotFoundError(f"there is no run {name!r} in {self._store.path}{near}")
        if _KEY.fullmatch(name):
            raise RecordNotFoundError(
                f"there is no run with the key {name!r}, and no column of that name, in {self._store.path}"
            )
        if _SHORT_KEY.fullmatch(name):
            raise NameNotFoundError(
                f"{self._store.path} has no column {name!r}, and as the beginning of a run key it is too short: that "
                f"takes at least {_KEY_DIGITS} of the 64 digits"
            )
        return self._root()[name]

    def _row_of(self, name: str) -> int | None:
        """Return the row of an id, a key or the beginning of a key; None when it is none of these."""
        found: list[int] = []
        if _ID.search(name):
            found = self._rows_of_id(name)
        elif _KEY.fullmatch(name):
            found = self._rows_of_key(name)
            column = self.get(name) if len(name) < 64 else None
            if found and column is not None:
                run = self._view(found[0]).id
                raise AmbiguousNameError(f"{name!r} is ambiguous: it may be the run {run!r} or {column!r}")
        if len(found) > 1:
            first, second = (self._view(row).id for row in found[:2])
            either = f"{first!r} or {second!r}"
            if first == second:  # of a merged trajectory that kept duplicates
                either = f"run {found[0]} or run {found[1]}, both {first!r}: take them by their numbers"
            raise AmbiguousNameError(f"{name!r} is ambiguous: it may be {either}")
        return found[0] if found else None

    def _rows_of_id(self, name: str) -> list[int]:
        """Return the rows of an id, given bare or as the node id that pytest shows."""
        inside = name[name.find("[") + 1 : -1] if name.endswith("]") else name
        ids = self.runs.id.values.tolist()
        return [row for row, each in zip(self.rows.tolist(), ids, strict=True) if each in (name, inside)]

    def _rows_of_key(self, start: str) -> list[int]:
        import numpy as np

        keys = self._store.read(f"{fmt.RUNS}/key", (slice(None), slice(0, len(start))))
        if keys.shape[1:] != (len(start),):
            return []
        rows = np.flatnonzero((keys == np.frombuffer(start.encode(), "S1")).all(axis=1))
        return (rows if self._rows is None else np.intersect1d(self._rows, rows)).tolist()

    # search ------------------------------------------------------------------------------------------------

    def find(
        self, condition: str | Callable[..., Any] | None = None, /, **wanted: Any
    ) -> np.ndarray[Any, Any]:
        """Return the positions of runs that match, int64, in order.

        `condition` is an expression (``"alpha < 1 and status == 'done'"``) or a function whose arguments are
        named like columns; keywords ask for equality, of arrays and the like as `unique_points` tells them apart.
        Names are parameters, results, derived parameters, fields of runs (``status``, ``duration``) and all natural
        names. Where two of these have a name, ``parameters.seed``, ``results.seed`` or ``runs.seed`` says which is
        meant (``find(**{"results.seed": 3})``). Only the columns that are named are read.

        Raises `NameNotFoundError` with near matches, `AmbiguousNameError` for a bare name of two things, and
        `ExpressionError`, also for a comparison that no run can make.
        """
        import numpy as np

        if condition is None and not wanted:
            raise ExperimentError("find() needs an expression, a function or values: find(alpha=0.1)")
        mask = np.ones(len(self), bool)
        if isinstance(condition, str):
            mask &= find_matching(self._lookup_strictly, condition, len(self), self._names)
        elif condition is not None:
            mask &= find_where(self._lookup_strictly, condition, len(self))
        if wanted:
            mask &= find_equal(self._lookup_strictly, wanted)
        return np.flatnonzero(mask).astype(np.int64)

    def select(self, condition: Any = None, /, **wanted: Any) -> RunSet:
        """Return a view of the runs that `find` finds, or of those at given positions (int or bool array)."""
        if condition is None or isinstance(condition, str) or callable(condition):
            return self._selected(self.rows[self.find(condition, **wanted)])
        chosen = self._selected(take_rows(self.rows, condition, f"runs of {self._store.path}"))
        return chosen.select(**wanted) if wanted else chosen

    def _selected(self, rows: np.ndarray[Any, Any]) -> RunSet:
        return RunSet(self._store, self._tree, rows)

    # points ------------------------------------------------------------------------------------------------

    def unique_points(self) -> list[dict[str, Any]]:
        """Return the distinct assignments of the swept parameters, in the order of the runs.

        A parameter that a later invocation changed counts as swept.
        """
        return self._points(self._axes()).values

    def group_by(self, *names: str) -> list[tuple[dict[str, Any], RunSet]]:
        """Return points with the runs at each: a dict of values, and a view of its runs.

        Without `names` by the swept parameters, else by whatever columns are named.
        """
        points = self._points(self._named_axes(names) or self._axes())
        rows = self.rows
        return [(p, self._selected(rows[m])) for p, m in zip(points.values, points.members, strict=True)]

    def aggregate(
        self,
        over: str | Sequence[str] | None = None,
        *,
        by: str | Sequence[str] | None = None,
        results: Sequence[str] | None = None,
        status: str | Collection[str] | None = "done",
        confidence: float = 0.95,
    ) -> Aggregate:
        """Return mean, standard deviation, number and confidence interval of results at each point.

        :param over: what is folded: the replicate (if nothing else is said), or parameters by their names; all
            other axes are kept.
        :param by: what is kept instead, by any column: ``by="alpha"`` folds everything else.
        :param results: names of results, derived parameters or run fields; default all results that are
            numbers. Booleans count as 0 and 1 where they are named.
        :param status: only runs with this status, or one of these, are counted; None: all runs.
        :param confidence: coverage of the interval, Student's t.
        :raises NameNotFoundError: for a name that is none; with near matches.
        :raises ExperimentError: for a result that has no mean, a status that is none, `over` together with `by`, or
            a confidence outside of 0 … 1.
        """
        from expedition.trajectory.reading.aggregate import aggregate

        if by is not None and over is not None:
            raise ExperimentError(
                f"aggregate(over={over!r}, by={by!r}): over says what is folded, by what is kept; give one of them"
            )
        if by is None:
            folded = "replicate" if over is None else over
            kept = self._kept([folded] if isinstance(folded, str) else folded)
        else:
            kept = self._named_axes([by] if isinstance(by, str) else by)
        if results is None:
            columns = {
                column.path.partition("/")[2]: column
                for column in self.leaves(fmt.RESULTS)
                if column.kind in ("int", "float")
            }
        else:
            columns = {name: self._lookup(name) for name in results}
        wanted = {status} if isinstance(status, str) else status
        for each in set(wanted or ()).difference(outcomes.STATUSES):
            near = near_matches(str(each), outcomes.STATUSES)
            raise ExperimentError(
                f"aggregate(status=…): {each!r} is no status{near}; statuses are {', '.join(outcomes.STATUSES)}, and "
                "None counts all runs"
            )
        found = self.runs.status.values.tolist()
        counted = [True] * len(self) if wanted is None else [each in wanted for each in found]
        return aggregate(self._points(kept), columns, counted, confidence)

    def _axes(self) -> dict[str, Column]:
        """Return the parameters that make the points, by their names."""
        return {
            str(column._entry.get("name", column.path.partition("/")[2])): column
            for column in self.leaves(fmt.PARAMETERS)
            if column.swept
        }

    def _named_axes(self, names: Sequence[str]) -> dict[str, Column]:
        """Return columns by their names; that of a swept parameter means the parameter."""
        axes = self._axes()
        return {name: axes[name] if name in axes else self._lookup(name) for name in names}

    def _kept(self, over: Sequence[str]) -> dict[str, Column]:
        """Return the axes that are left when some are folded."""
        axes = {**self._axes(), "replicate": self.runs.replicate}
        folded = {FIELD_ALIASES.get(name, name) for name in over}
        for name in folded.difference(axes):
            path = self._lookup(name).path
            if not path.startswith(f"{fmt.PARAMETERS}/"):
                raise ExperimentError(f"aggregate(over={name!r}): only parameters can be folded, not {path}")
        return {name: column for name, column in axes.items() if name not in folded}

    def _points(self, columns: Mapping[str, Column]) -> Points:
        return group(columns, len(self))

    # tables ------------------------------------------------------------------------------------------------

    def to_pandas(
        self,
        columns: Sequence[str] | None = None,
        *,
        arrays: bool = False,
        series: bool | str | Sequence[str] = False,
    ) -> pd.DataFrame:
        """Return a DataFrame of parameters, replicate, status, derived parameters and results, index ``run``.

        :param columns: only these derived parameters, results or run fields beside the parameters.
        :param arrays: also the columns of arrays and the like, as objects.
        :param series: instead the observations of all series, or of those that are named: one row each, with
            the columns ``run``, ``series``, ``step``, ``time`` and ``value``.
        :raises MissingLibraryError: without pandas.
        """
        if series is False:
            return frame(self, columns, arrays=arrays)
        if columns is not None or arrays:
            raise ExperimentError(
                "to_pandas(series=…) is a frame of observations: it has no columns or arrays"
            )
        group = self._tree.children[fmt.SERIES]
        if series is True:
            names = [leaf.path for leaf in group.leaves()]
        else:
            given = [series] if isinstance(series, str) else series
            names = [resolve(group, name).path for name in given]
        chosen = {name.partition("/")[2]: self._column(Node(name)) for name in names}
        return observations_frame(chosen)

    def to_csv(self, path: Path | str, columns: Sequence[str] | None = None, *, arrays: bool = False) -> Path:
        """Write the table of `to_pandas` as CSV; return its path.

        What is no number, text, time or bool is tagged JSON, as in the archive; CSV itself cannot tell a
        missing value from NaN, None or an empty text. The file is put into place when it is whole.
        """
        return write_csv(text_frame(self, columns, arrays=arrays), path)

    def to_parquet(
        self, path: Path | str, columns: Sequence[str] | None = None, *, arrays: bool = False
    ) -> Path:
        """Write the table of `to_pandas` as Parquet; return its path.

        What is no number, text, time or bool is tagged JSON, as in the archive. The file is put into place
        when it is whole. Raises `MissingLibraryError` without pandas or pyarrow.
        """
        return write_parquet(text_frame(self, columns, arrays=arrays), path)

    def to_xarray(self, grid: bool = True, columns: Sequence[str] | None = None) -> xr.Dataset:
        """Return an xarray Dataset over the swept parameters and the replicate, or over the runs.

        With `grid` each point is a place in the grid of the distinct values; where there is no run or it has
        no value stands NaN or NaT (ints become floats there, bools and texts objects). ``run`` tells the row of
        the run at each place, -1 where there is none. Without `grid` the dimension is ``run``, and the
        parameters are coordinates on it. Arrays of one shape have further dimensions; what has no shape of
        its own is JSON text; ragged arrays, frames and the like are named in the attribute ``left_out``.

        :param columns: only these derived parameters and results.
        :raises ExperimentError: when two runs are at one point, or nearly all of the grid would be empty.
        :raises MissingLibraryError: without xarray.
        """
        from expedition.trajectory.reading.grid import dataset

        replicates = bool((run_field(self._store, "replicate").values > 0).any())
        return dataset(self, self._store.attrs, columns, grid=grid, replicates=replicates)
