"""The runs of an experiment as the rows of a list: replicates folded, what varies apart from what does not."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from expedition.archive.rows import DAMAGED, RunRow
from expedition.archive.selection import FIRST_COLUMNS, all_columns
from expedition.recording import outcomes
from expedition.reporting.better import better
from expedition.reporting.cells import Done, Seconds, When
from expedition.reporting.row_cells import cell, is_scalar, scalar
from expedition.reporting.tables import folded

_OWN = ("n", "not done")
_REPLICATE = re.compile(r"-?rep=\d+\Z")


@dataclass(frozen=True)
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
    def status(self) -> str:
        """The status of a single run, with the type of its error."""
        row = self.rows[0]
        return f"{row.status}: {row.error_type}" if row.error_type else row.status

    @property
    def reference(self) -> str:
        """What names the first of the runs, with the number of the last behind it: ``k3f9/4…6``."""
        first = self.rows[0].reference
        return first if len(self.rows) == 1 else f"{first}…{self.rows[-1].reference.rpartition('/')[2]}"


class Listing:
    """The runs of one experiment, and what a list shows of them.

    Attributes
    ----------
    points : their points, oldest sweep first. Without replicates each run is one.
    is_folded : whether there are replicates.
    varying : columns of the parameters that differ. constants : tagged values of those that do not.
    results : columns of the scalar results, with their slash paths. uniform : those that are the same in all runs.
    """

    def __init__(self, rows: Sequence[RunRow]) -> None:
        self.rows = rows
        readable = [row for row in rows if row.status != DAMAGED]
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
        # Names are those of the select language, so that what the list shows can be selected by it
        columns = all_columns(readable)[len(FIRST_COLUMNS) :]
        parameters = list(dict.fromkeys(name for row in readable for name in row.parameters))
        named = {name: _free(column, "params") for name, column in zip(parameters, columns, strict=False)}
        self.varying, self.constants = _split(readable, named)
        stored = list(dict.fromkeys(name for row in readable for name in row.stored))
        self.results: dict[str, str] = {}
        self.uniform: list[str] = []
        for name, column in zip(stored, columns[len(parameters) :], strict=True):
            values = [row.stored[name] for row in readable if name in row.stored]
            if any(value is not None and is_scalar(value) for value in values):
                self.results[_free(column, "data")] = name
                if len(values) > 1 and all(value == values[0] for value in values):
                    self.uniform.append(_free(column, "data"))

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

    def cells(self, point: Point) -> dict[str, object]:
        """Return the cells of a point by column."""
        first = next((row for row in point.rows if row.status != DAMAGED), point.rows[0])
        found: dict[str, object] = {"id": _REPLICATE.sub("", first.id)} if self.has_ids else {}
        found |= {name: cell(first, name) for name in self.varying}
        found |= {column: point.result(key) for column, key in self.results.items()}
        starts = [row.started for row in point.rows if row.started is not None]
        if self.is_folded:
            others: dict[str, int] = {}
            for row in point.rows:
                if row.status != outcomes.DONE:
                    others[row.status] = others.get(row.status, 0) + 1
            found["n"] = Done(len(point.done), len(point.rows))
            found["not done"] = ", ".join(f"{count} {status}" for status, count in others.items()) or None
        else:
            found["status"] = point.status
            found["duration"] = None if first.duration is None else Seconds(first.duration)
        found["started"] = When(min(starts)) if starts else None
        found["run"] = point.reference
        return found

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


def _folder_of_point(row: RunRow) -> tuple[object, str]:
    return row.sweep_path, _REPLICATE.sub("", row.path.name.partition("-")[2])


def _number(row: RunRow) -> int:
    """The index of a run, which the name of its folder begins with."""
    digits = row.path.name.partition("-")[0]
    return int(digits) if row.status == DAMAGED and digits.isdecimal() else row.index


def _free(column: str, branch: str) -> str:
    """Return a column with its branch where the list has one of that name."""
    return f"{branch}.{column}" if column in _OWN else column


def _split(rows: Sequence[RunRow], named: dict[str, str]) -> tuple[list[str], dict[str, Any]]:
    varying: list[str] = []
    constants: dict[str, Any] = {}
    for name, column in named.items():
        seen: set[object] = set()
        for row in rows:
            seen.add(_identity(row.parameters, name))
            if len(seen) > 1:
                varying.append(column)
                break
        else:
            constants[column] = rows[0].parameters[name]
    return varying, constants


def _identity(parameters: Any, name: str) -> object:
    """Return what is equal for equal tagged values of the same type only."""
    if name not in parameters:
        return None
    tagged = parameters[name]
    if isinstance(tagged, dict | list):
        return json.dumps(tagged, sort_keys=True)
    return type(tagged), tagged
