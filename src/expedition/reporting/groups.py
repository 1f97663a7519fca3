"""Groups of runs as rows: how many of each are done, how long they took, what they take of the disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from expedition.errors import ExperimentError, RecordNotFoundError, near_matches
from expedition.reporting.cells import Bytes, Seconds, When
from expedition.reporting.durations import format_age
from expedition.reporting.ordering import order, order_by
from expedition.reporting.queries import RunQuery
from expedition.reporting.tallies import Tally

COLUMNS = ("runs", "success", "last_done", "age", "mean_duration", "disk")
"""What is told of each group."""

HEADERS = {"last_done": "last done", "mean_duration": "mean duration"}

DROP = ("last_done", "disk", "mean_duration", "age")
"""The columns that a narrow terminal goes without, in that order."""


_LAST = (2, ())
"""Key of the group that lacks the value: it comes behind those of None and NaN."""


@dataclass
class Group:
    """Runs that have something in common: the `value` of a key, unless `is_missing`."""

    value: object = None
    is_missing: bool = False
    tally: Tally = field(default_factory=Tally)

    def cells(self, head: str, now: datetime, *, people: bool) -> dict[str, object]:
        """Return the cells of the row; `head` is the column of the value."""
        tally = self.tally
        row: dict[str, object] = {}
        if not self.is_missing:
            odd = self.value is None or (isinstance(self.value, str) and not self.value)
            row[head] = repr(self.value) if people and odd else self.value  # not as the group that lacks it
        rate = tally.success
        row |= {"runs": tally.runs, "success": rate, "disk": Bytes(tally.size)}
        if not people:
            row |= {"done": rate.part, "ended": rate.whole, "success": _share(tally)}
        if tally.mean is not None:
            row["mean_duration"] = Seconds(tally.mean)
        if tally.last_done is not None:
            row["last_done"] = When(tally.last_done)
            row["age"] = format_age(tally.last_done, now)
        return row


def group_columns(head: str, query: RunQuery, *, people: bool) -> list[str]:
    """Return the columns to show of groups; for programs the success is `done`, `ended` and their quotient.

    Raises `RecordNotFoundError`, with near matches, for one there is not."""
    known = (head, *COLUMNS)
    for name in query.columns:
        if name not in known:
            raise RecordNotFoundError(
                f"groups have no column {name!r}{near_matches(name, known)}; there are {', '.join(known)}"
            )
    columns = list(query.columns or known)
    if head not in columns:
        columns.insert(0, head)
    if people:
        return columns
    if "age" in columns:
        columns.remove("age")  # it would be another text each time, and the moment is there
    if "success" in columns:
        place = columns.index("success")
        columns[place:place] = ["done", "ended"]
    return columns


def sorted_groups(groups: Iterable[Group], query: RunQuery, head: str) -> list[Group]:
    """Return groups in natural order, or as the query says. Raises `ExperimentError` for another name to sort by."""
    found = sorted(groups, key=lambda group: _LAST if group.is_missing else order(group.value))
    values: dict[str, Callable[[Group], Any]] = {
        "runs": lambda group: group.tally.runs,
        "success": lambda group: _share(group.tally),
        "last_done": lambda group: group.tally.last_done,
        "age": lambda group: group.tally.last_done and -group.tally.last_done.timestamp(),
        "mean_duration": lambda group: group.tally.mean,
        "duration": lambda group: group.tally.mean,
        "disk": lambda group: group.tally.size,
        "size": lambda group: group.tally.size,
        head: lambda group: group.value,
    }
    for name in query.order:
        if name not in values:
            raise ExperimentError(
                f"groups cannot be sorted by {name!r}{near_matches(name, values)}; there are {', '.join(values)}"
            )
    return (
        sorted(found, key=order_by(query.order, lambda group, name: values[name](group)))
        if query.order
        else found
    )


def limited(groups: Sequence[Group], query: RunQuery) -> Sequence[Group]:
    """Return the groups that the limit of the query leaves."""
    return groups if query.limit is None else groups[: query.limit]


def _share(tally: Tally) -> float | None:
    rate = tally.success
    return rate.part / rate.whole if rate.whole else None
