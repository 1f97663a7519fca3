"""The runs of an experiment as the rows of a list: replicates folded, what varies apart from what does not."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from expedition.archive.rows import DAMAGED, RunRow
from expedition.archive.selection import own_columns
from expedition.recording import outcomes
from expedition.reporting.better import better
from expedition.reporting.cells import Done, Seconds, When
from expedition.reporting.formats import Columnar
from expedition.reporting.row_cells import cell, is_scalar, scalar
from expedition.reporting.tables import folded

_ABSENT = object()
_NUMBERS = frozenset({float, int, bool, type(None)})
_REPLICATE = re.compile(r"-?rep=\d+\Z")


@dataclass(eq=False)  # there are as many as rows in a list: to freeze them takes a third of their time
class Point:
    """The runs of one point in one sweep, first to last."""

    rows: Sequence[RunRow]

    @cached_property
    def done(self) -> list[RunRow]:
        """Those that are done: only they count in results."""
        return [row for row in self.rows if row.status == outcomes.DONE]

    def value(self, name: str) -> object:
        """Return what a name is for the point: of several runs their fold. Raises LookupError where it is nothing."""
        if len(self.rows) == 1:
            return self.rows[0].value(name)
        values: list[Any] = []
        for row in self.done or self.rows:
            try:
                values.append(row.value(name))
            except LookupError:
                values.append(None)
        result = folded(values, of=len(values))
        if result is None:
            raise KeyError(name)
        return result

    def result(self, key: str) -> object:
        """Return the cell of a scalar result: that of the only run, or the fold of those that are done."""
        if len(self.rows) == 1:
            return scalar(self.rows[0], key)
        return folded([scalar(row, key) for row in self.done], of=len(self.done))

    @property
    def first(self) -> RunRow:
        """The first of the runs, of those that can be read where there are any."""
        if len(self.rows) == 1:
            return self.rows[0]
        return next((row for row in self.rows if row.status != DAMAGED), self.rows[0])

    @property
    def others(self) -> str | None:
        """How many runs are not done, by status; None when all are."""
        counts = Counter(row.status for row in self.rows if row.status != outcomes.DONE)
        return ", ".join(f"{count} {status}" for status, count in counts.items()) or None

    @property
    def started(self) -> When | None:
        """When the first of the runs began."""
        starts = [started for row in self.rows if (started := row.started) is not None]
        return When(min(starts)) if starts else None

    @property
    def status(self) -> str:
        """The status of a single run, with the type of its error."""
        row = self.rows[0]
        return f"{row.status}: {row.error_type}" if row.error_type else row.status

    @property
    def reference(self) -> str:
        """What names the first of the runs, with the number of the last behind it: ``k3f9/4…6``."""
        first = self.rows[0].reference
        return first if len(self.rows) == 1 else f"{first}…{self.rows[-1].reference.rpartition('/')[2]}"


def _duration(point: Point) -> Seconds | None:
    return None if point.first.duration is None else Seconds(point.first.duration)


_OWN_CELLS: Mapping[str, Callable[[Point], object]] = {
    "n": lambda point: Done(len(point.done), len(point.rows)),
    "not done": lambda point: point.others,
    "status": lambda point: point.status,
    "duration": _duration,
    "started": lambda point: point.started,
    "run": lambda point: point.reference,
}


class Listing:
    """The runs of one experiment, and what a list shows of them.

    Attributes
    ----------
    points : their points, oldest sweep first. Without replicates each run is one.
    is_folded : whether there are replicates.

    Values are read when the first of the properties asks for them.
    """

    def __init__(self, rows: Sequence[RunRow]) -> None:
        self.rows = rows
        self._readable = readable = [row for row in rows if row.status != DAMAGED]
        self.is_folded = any(row.replicate for row in readable)
        if self.is_folded:
            points: dict[tuple[object, str], list[RunRow]] = {}
            folders: dict[tuple[object, str], list[RunRow]] = {}
            for row in readable:
                group = points.setdefault((row.sweep_path, _REPLICATE.sub("", row.id)), [])
                group.append(row)
                folders[_folder_of_point(row)] = group
            # Of a damaged run only the folder says which point it is of.
            for row in rows:
                if row.status == DAMAGED and (folder := _folder_of_point(row)) in folders:
                    folders[folder].append(row)
                elif row.status == DAMAGED:
                    points[row.path, ""] = [row]
            self.points = [Point(sorted(group, key=_number)) for group in points.values()]
        else:
            self.points = [Point([row]) for row in rows]

    @cached_property
    def _named(self) -> tuple[dict[str, str], dict[str, str]]:
        """Columns of the parameters and of the stored values, those of the select language: what is seen can be
        selected by its name."""
        parameters, stored = own_columns(self._readable)
        return (
            {name: _free(column, "params") for name, column in parameters.items()},
            {name: _free(column, "data") for name, column in stored.items()},
        )

    @cached_property
    def _parameters(self) -> tuple[list[str], dict[str, Any]]:
        return _split(self._readable, self._named[0])

    @property
    def varying(self) -> list[str]:
        """Columns of the parameters that differ."""
        return self._parameters[0]

    @property
    def constants(self) -> dict[str, Any]:
        """Tagged values of the parameters that do not differ, by column."""
        return self._parameters[1]

    @cached_property
    def _parameter_of(self) -> dict[str, str]:
        """The parameters by their columns, those that differ."""
        return {column: name for name, column in self._named[0].items() if column in self.varying}

    @cached_property
    def _results(self) -> tuple[dict[str, str], list[str]]:
        results: dict[str, str] = {}
        uniform: list[str] = []
        for name, column in self._named[1].items():
            found = (row.stored.get(name, _ABSENT) for row in self._readable)
            values = [value for value in found if value is not _ABSENT]
            if any(value is not None and is_scalar(value) for value in values):
                results[column] = name
                if len(values) > 1 and all(value == values[0] for value in values):
                    uniform.append(column)
        return results, uniform

    @property
    def results(self) -> dict[str, str]:
        """Columns of the scalar results, with their slash paths."""
        return self._results[0]

    @property
    def uniform(self) -> list[str]:
        """Columns of the scalar results that are the same in all runs."""
        return self._results[1]

    @property
    def experiment(self) -> str:
        """Name of the experiment."""
        return self.rows[0].experiment

    @cached_property
    def has_ids(self) -> bool:
        """Whether only the id tells the points apart: a swept parameter is too long for a row."""
        long = {
            name.partition("/")[2] for row in self.rows for name in row.left_out if name.startswith("params/")
        }
        return any(re.search(rf"(?:^|-){re.escape(name)}=", row.id) for name in long for row in self.rows)

    def cell(self, point: Point, name: str) -> object:
        """Return the cell of a point in one of the `columns`. Raises KeyError for another one."""
        if name in _OWN_CELLS:
            return _OWN_CELLS[name](point)
        if name in self.results:
            return point.result(self.results[name])
        if name == "id" and self.has_ids:
            return _REPLICATE.sub("", point.first.id)
        if name not in self.varying:
            raise KeyError(name)
        return cell(point.first, name)

    def cells(self, point: Point) -> Mapping[str, object]:
        """Return the cells of a point by column, each made when it is asked for: those of many points take room."""
        return _Cells(self, point)

    def column(self, points: Sequence[Point], name: str) -> list[object]:
        """Return the cells of some points in one of the `columns`."""
        key = self.results.get(name)
        if key is not None and name not in _OWN_CELLS and not self.is_folded:
            return [
                tagged if type(tagged := row.stored.get(key)) in _NUMBERS else scalar(row, key)
                for (row,) in (point.rows for point in points)
            ]
        parameter = self._parameter_of.get(name)
        if parameter is not None and key is None:
            return [
                tagged
                if type(tagged := (row := point.first).parameters.get(parameter)) in _NUMBERS
                else cell(row, name)
                for point in points
            ]
        return [self.cell(point, name) for point in points]

    @property
    def columns(self) -> list[str]:
        """All columns that `cells` has, what varies first."""
        own = ["n", "not done"] if self.is_folded else ["status", "duration"]
        return [*(["id"] if self.has_ids else []), *self.varying, *self.results, *own, "started", "run"]

    @property
    def drop(self) -> list[str]:
        """The columns in the order in which a narrow terminal goes without them."""
        differing = [name for name in self.results if name not in self.uniform]
        # What can be better or worse is what people compare runs by: it goes last.
        differing.sort(key=lambda name: not better(name))
        last = [*reversed(self.varying[3:]), *reversed(differing)]
        return [
            "started",
            "duration",
            *self.uniform,
            *reversed(differing[2:]),
            *last,
            "not done",
        ]


class PointRows(Columnar):
    """The rows of a table with a row for each of some points of a listing."""

    def __init__(self, listing: Listing, points: Sequence[Point]) -> None:
        self._listing = listing
        self._points = points

    def __len__(self) -> int:
        return len(self._points)

    def __getitem__(self, place: Any) -> Any:
        return self._listing.cells(self._points[place])

    def column(self, name: str) -> list[object]:
        """Return the cells of one column."""
        return self._listing.column(self._points, name)


class _Cells(Mapping[str, object]):
    """The cells of a point by column."""

    __slots__ = ("_listing", "_point")

    def __init__(self, listing: Listing, point: Point) -> None:
        self._listing = listing
        self._point = point

    def __getitem__(self, name: str) -> object:
        return self._listing.cell(self._point, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._listing.columns)

    def __len__(self) -> int:
        return len(self._listing.columns)


def _folder_of_point(row: RunRow) -> tuple[object, str]:
    return row.sweep_path, _REPLICATE.sub("", row.name.partition("-")[2])


def _number(row: RunRow) -> int:
    """The index of a run, which the name of its folder begins with."""
    digits = row.name.partition("-")[0]
    return int(digits) if row.status == DAMAGED and digits.isdecimal() else row.index


def _free(column: str, branch: str) -> str:
    """Return a column with its branch where the list has one of that name."""
    return f"{branch}.{column}" if column in ("n", "not done") else column


def _split(rows: Sequence[RunRow], named: dict[str, str]) -> tuple[list[str], dict[str, Any]]:
    varying: list[str] = []
    constants: dict[str, Any] = {}
    for name, column in named.items():
        values = [row.parameters.get(name, _ABSENT) for row in rows]
        if all(_is_same(value, values[0]) for value in values):
            constants[column] = values[0]
        else:
            varying.append(column)
    return varying, constants


def _is_same(tagged: Any, other: Any) -> bool:
    """Whether two tagged values are equal and of the same types: 1 is not 1.0 here."""
    if tagged is other:
        return True
    if type(tagged) is not type(other) or tagged != other:
        return False
    if type(tagged) not in (dict, list) or repr(tagged) == repr(other):
        return True
    # 1 equals 1.0 inside, too; what differs in the order of members alone is the same
    return json.dumps(tagged, sort_keys=True) == json.dumps(other, sort_keys=True)
