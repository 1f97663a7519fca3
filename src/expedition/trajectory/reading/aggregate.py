"""Results folded over replicates, or over any other parameters: mean, spread and confidence interval per point."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from expedition.errors import ExperimentError, NameNotFoundError, near_matches
from expedition.trajectory.reading.brief import brief_point, number_of, one_line
from expedition.trajectory.reading.columnar import ColumnLike
from expedition.trajectory.reading.extras import library
from expedition.trajectory.reading.html import table_html
from expedition.trajectory.reading.points import Points, label
from expedition.trajectory.statistics import Interval, format_interval, mean_interval

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

STATISTICS = ("mean", "std", "n", "half_width")
_SHOWN_ROWS = 40
_SHOWN_RESULTS = 8


class Estimates(NamedTuple):
    """Statistics of one result, an array each, aligned with the points.

    `mean`, `std` (n - 1 in the denominator) and `half_width` of the confidence interval (Student's t) are
    float64, NaN where there are too few values; `n`, int64, counts the values, without missing ones and NaN.
    """

    mean: np.ndarray[Any, Any]
    std: np.ndarray[Any, Any]
    n: np.ndarray[Any, Any]
    half_width: np.ndarray[Any, Any]


@dataclass(frozen=True)
class Aggregate(Mapping[str, Estimates]):
    """Results per point: ``table["rmse/mean"].mean`` is an array aligned with ``table.points``.

    Attributes
    ----------
    points : the values of what was kept, a dict for each point, in the order of the runs that come first.
    runs : number of runs at each point that were counted, whether or not they have every result.
    intervals : by result its `Interval` at each point.
    units : by result its unit, where someone said it.
    confidence : coverage of the intervals.
    """

    points: list[dict[str, Any]]
    runs: list[int]
    intervals: dict[str, list[Interval]]
    units: dict[str, str] = field(default_factory=dict)
    confidence: float = 0.95

    def __len__(self) -> int:
        return len(self.intervals)

    def __iter__(self) -> Iterator[str]:
        return iter(self.intervals)

    def __getitem__(self, name: str) -> Estimates:
        import numpy as np

        found = self.intervals.get(name)
        if found is None:
            found = self.intervals.get(name.replace(".", "/"))
        if found is None:
            near = near_matches(name, self.intervals) or f"; there are {', '.join(self.intervals) or 'none'}"
            raise NameNotFoundError(f"there is no aggregated result {name!r}{near}")
        return Estimates(
            np.array([each.mean for each in found], np.float64),
            np.array([each.std for each in found], np.float64),
            np.array([each.n for each in found], np.int64),
            np.array([each.half_width for each in found], np.float64),
        )

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield a dict per point: its values, and by the name of each result an `Interval`."""
        for number, point in enumerate(self.points):
            yield {**point, **{name: each[number] for name, each in self.intervals.items()}}

    def to_pandas(self) -> pd.DataFrame:
        """Return a DataFrame: points as index, columns (result, statistic).

        ``frame["rmse.mean", "half_width"]`` is a column of it. Raises `MissingLibraryError` without pandas.
        """
        pd = library("pandas", "to_pandas() of an aggregate")
        data = [
            (name.replace("/", "."), statistic, getattr(self[name], statistic))
            for name in self.intervals
            for statistic in STATISTICS
        ]
        frame = pd.DataFrame(dict(enumerate(each[2] for each in data)), index=range(len(self.points)))
        heads = [[each[0] for each in data], [each[1] for each in data]]
        frame.columns = pd.MultiIndex.from_arrays(heads, names=["result", "statistic"])
        levels = {name: [label(point[name]) for point in self.points] for name in (self.points or [{}])[0]}
        if len(levels) == 1:
            frame.index = pd.Index(*levels.values(), name=next(iter(levels)))
        elif levels:
            frame.index = pd.MultiIndex.from_arrays(list(levels.values()), names=list(levels))
        return frame  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        heads, rows = self._texts()
        lines = [heads, *rows]
        widths = [max(len(row[k]) for row in lines) for k in range(len(heads))]
        shown = (zip(row, widths, strict=True) for row in lines)
        texts = ["  ".join(f"{cell:<{width}}" for cell, width in row).rstrip() for row in shown]
        hidden = len(self.points) - len(rows)
        return "\n".join([self._title(), *texts, *([f"… {hidden:,} more"] if hidden else [])])

    def _repr_html_(self) -> str:
        heads, rows = self._texts()
        return table_html(self._title(), heads, rows, len(self.points) - len(rows))

    def _title(self) -> str:
        hidden = len(self.intervals) - _SHOWN_RESULTS
        return (
            f"{number_of(len(self.points), 'point')}, {number_of(sum(self.runs), 'run')}: mean ± half width of the "
            f"{self.confidence:.0%} confidence interval (n)"
            + (f"; {hidden:,} more result{'' if hidden == 1 else 's'}" if hidden > 0 else "")
        )

    def _texts(self) -> tuple[list[str], list[list[str]]]:
        """Return heads and rows of the table, as much of it as is shown."""
        names = list(self.points[0]) if self.points else []
        results = list(islice(self.intervals.items(), _SHOWN_RESULTS))
        heads = [f"{name} [{self.units[name]}]" if name in self.units else name for name, _ in results]
        rows = [
            [
                *(brief_point(point[name]) for name in names),
                *(format_interval(each[number], show_n=True) for _, each in results),
            ]
            for number, point in enumerate(self.points[:_SHOWN_ROWS])
        ]
        return [one_line(head) for head in (*names, *heads)], rows


def aggregate(
    points: Points, results: Mapping[str, ColumnLike], counted: Sequence[bool], confidence: float
) -> Aggregate:
    """Return the statistics of results at points, over the runs that are `counted`, one flag per run."""
    members = [[run for run in each.tolist() if counted[run]] for each in points.members]
    intervals: dict[str, list[Interval]] = {}
    for name, column in results.items():
        values = column.tolist(None)
        try:
            intervals[name] = [mean_interval([values[run] for run in each], confidence) for each in members]
        except (TypeError, ValueError) as error:
            if isinstance(error, ExperimentError):
                raise
            raise ExperimentError(
                f"{column.path} has no mean: it is of kind {column.kind}, and not all of its values are real numbers; "
                "name results that are, with aggregate(results=[…])"
            ) from None
    units = {name: column.unit for name, column in results.items() if column.unit}
    return Aggregate(points.values, [len(each) for each in members], intervals, units, confidence)
