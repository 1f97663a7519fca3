"""What a report is about: which runs of an archive, and in which order."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import islice

from expedition.archive import Archive
from expedition.archive.rows import RunRow
from expedition.errors import ExperimentError, RecordNotFoundError, near_matches
from expedition.reporting.ordering import order_by


@dataclass(frozen=True)
class RunQuery:
    """The choice of runs for a report.

    Attributes
    ----------
    select : an expression of the select language; None for all runs.
    sort : names of that language, ``-name`` for the highest first. Without any, the oldest sweep comes first.
    columns : names of that language to show, instead of what the report shows by itself.
    limit : how many lines at most. None for all.
    testing : the runs of testing mode alone, which are left out otherwise.
    """

    select: str | None = None
    sort: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    limit: int | None = None
    testing: bool = False

    @property
    def order(self) -> dict[str, bool]:
        """Names to sort by, each with whether the highest comes first.

        Raises `ExperimentError` for an empty name.
        """
        found: dict[str, bool] = {}
        for text in self.sort:
            name = text.strip()
            if name.strip("+-") == "":
                raise ExperimentError(
                    f"{text!r} is no name to sort by; write 'duration', or '-duration' for the longest first"
                )
            found.setdefault(name.removeprefix("-").removeprefix("+"), name.startswith("-"))
        return found

    def check(self) -> None:
        """Raise `ExperimentError` for a limit below 0, or an empty name to sort by."""
        _ = self.order
        if self.limit is not None and self.limit < 0:
            raise ExperimentError(f"a limit is a number of lines, 0 or more, not {self.limit}")


@dataclass(frozen=True)
class QueriedRows:
    """Rows of the runs that a query means.

    `hidden` counts runs of testing mode that match and are left out, or the others where the query is about testing;
    `cut` counts what the limit left out.
    """

    rows: tuple[RunRow, ...]
    hidden: int = 0
    cut: int = 0


@dataclass
class Matching:
    """Iterates once over the rows that a query means, in the order of the archive, and keeps account.

    After that `hidden` says how many more there are in testing mode (or outside of it, if the query is about testing).
    """

    archive: Archive
    query: RunQuery
    hidden: int = 0

    def __iter__(self) -> Iterator[RunRow]:
        self.hidden = 0
        for row in self.archive.rows(self.query.select, keep_index=True):
            if row.testing == self.query.testing:
                yield row
            else:
                self.hidden += 1


def query_rows(archive: Archive, query: RunQuery) -> QueriedRows:
    """Return the rows of an archive that a query means: selected, sorted, limited.

    The index of the archive is brought up to date. What a run lacks is sorted to the end, and values of several kinds
    can be sorted together.

    Raises `ExpressionError` for a wrong selection, `ExperimentError` for a wrong limit or sort key, and
    `RecordNotFoundError`, with near matches, for a name to sort by that no run has.
    """
    query.check()
    matching = Matching(archive, query)
    total = 0

    def counted() -> Iterator[RunRow]:
        nonlocal total
        for row in matching:
            total += 1
            yield row

    rows: list[RunRow]
    if query.order:
        known = NameCheck(query.order, archive.names)
        key = order_by(query.order, RunRow.value)
        watched = known.watch(counted())
        rows = (
            sorted(watched, key=key)
            if query.limit is None
            else heapq.nsmallest(query.limit, watched, key=key)
        )
        known.check()
    elif query.limit is not None:
        source = counted()
        rows = list(islice(source, query.limit))
        for _ in source:
            pass
    else:
        rows = list(counted())
    return QueriedRows(tuple(rows), matching.hidden, total - len(rows))


class NameCheck:
    """Watches rows go by for names that none of them has, nor any other run of the archive."""

    def __init__(self, names: Iterable[str], others: Callable[[], AbstractSet[str]]) -> None:
        """`others` gives the names of all runs; it is asked when none of the rows has a name."""
        self._others = others
        self._missing = dict.fromkeys(names)
        self._last: frozenset[str] | None = None

    def watch(self, rows: Iterator[RunRow]) -> Iterator[RunRow]:
        """Yield the rows."""
        for row in rows:
            if self._missing and row.names is not self._last:
                self._last = row.names
                for name in self._last:
                    self._missing.pop(name, None)
            yield row

    def check(self) -> None:
        """Raise `RecordNotFoundError`, with near matches, for the first name that no run has; nothing without runs."""
        known = self._others() if self._missing else frozenset[str]()
        missing = [name for name in self._missing if name not in known]
        if missing and known:
            raise RecordNotFoundError(
                f"no run has {missing[0]!r}{near_matches(missing[0], known)}; names are facts such as status and "
                f"duration, parameters, and stored values"
            )


def names_in(texts: Sequence[str]) -> tuple[str, ...]:
    """Return the names in texts such as ``a,b``."""
    return tuple(name.strip() for text in texts for name in text.split(",") if name.strip())
