"""`RunSelection`: the runs of an archive that match an expression, as records, as a table, or as a frame."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any

from expedition.archive.record import RunRecord
from expedition.archive.rows import DATA_BRANCHES, FACT_BRANCH, FACTS, PARAMETER_BRANCHES, RunRow, stored_name
from expedition.errors import DamagedError, RecordNotFoundError, near_matches

if TYPE_CHECKING:
    import pandas as pd

FIRST_COLUMNS = ("experiment", "id", "status", "started", "duration")
"""Columns of a table that does not say which: these, then all parameters, then all stored values in rows."""


class RunSelection(Iterator[RunRecord]):
    """Runs of an archive, oldest sweep first: iterate over their records, or take them as a table.

    Runs that cannot be read are left out of the records; the table has their rows, with the status ``damaged``.
    """

    def __init__(
        self, rows: Callable[[], Iterator[RunRow]], names: Callable[[], AbstractSet[str]] = frozenset
    ) -> None:
        """`rows` begins a new reading of the rows; it is called by each method, and when iteration begins.

        `names` gives those of all runs among which these were selected.
        """
        self._rows = rows
        self._names = names
        self._records: Iterator[RunRecord] | None = None

    def __next__(self) -> RunRecord:
        if self._records is None:
            self._records = self._read()
        return next(self._records)

    def _read(self) -> Iterator[RunRecord]:
        for row in self._rows():
            with contextlib.suppress(RecordNotFoundError, DamagedError):
                yield row.record()

    def rows(self) -> Iterator[RunRow]:
        """Yield the row of each run: what an index holds of it, without reading its folder."""
        return self._rows()

    def table(self, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """Return one dict per run. A run has no key for what it lacks: a value, or a fact such as ``reason``.

        `columns` are names of the select language: ``status``, ``alpha`` or ``params.alpha``, ``data.rmse.mean``.
        Without them the table has `FIRST_COLUMNS`, all parameters and all stored values that are not long.

        Raises `RecordNotFoundError`, with near matches, for a column that no run of the archive has.
        """
        rows = list(self._rows())
        if columns is None:
            columns = all_columns(rows)
        else:
            check_columns(columns, rows, self._names)
        found: list[dict[str, Any]] = []
        for row in rows:
            cells: dict[str, Any] = {}
            for name in columns:
                with contextlib.suppress(LookupError):
                    value = row.value(name)
                    if value is not None or not row.is_fact(name):
                        cells[name] = value
            found.append(cells)
        return found

    def to_pandas(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return `table` as a frame, one row per run; what a run lacks is missing.

        Raises `RecordNotFoundError` as `table`.
        """
        import pandas as pd

        rows = self.table(columns)
        names = list(dict.fromkeys(name for row in rows for name in row)) if columns is None else [*columns]
        return pd.DataFrame(rows, columns=names)


def all_columns(rows: Sequence[RunRow]) -> list[str]:
    """Return the columns of a table that shows everything that is in rows."""
    parameters, stored = own_columns(rows)
    return [*FIRST_COLUMNS, *parameters.values(), *stored.values()]


def own_columns(rows: Sequence[RunRow]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the columns of the parameters that are in rows, and those of the stored values, by their names."""
    # Most of the rows have the same names
    kinds = dict.fromkeys((tuple(row.parameters), tuple(row.stored)) for row in rows)
    parameters = dict.fromkeys(name for names, _ in kinds for name in names)
    stored = dict.fromkeys(key for _, keys in kinds for key in keys)
    # A name that is taken, by a fact or by a parameter, is said with its branch.
    short = {key: stored_name(key).removeprefix("data.") for key in stored}
    alone: set[str] = set()
    for names, keys in kinds:
        alone |= {short[key] for key in keys}.difference(names)
    return (
        {
            name: f"params.{name}" if name in FACTS or name in alone or _has_branch(name) else name
            for name in parameters
        },
        {
            key: stored_name(key) if name in FACTS or name in parameters or _has_branch(name) else name
            for key, name in short.items()
        },
    )


def _has_branch(name: str) -> bool:
    """Tell whether a name without its branch would be read as one with a branch."""
    first, dot, _ = name.partition(".")
    return bool(dot) and first in (*PARAMETER_BRANCHES, *DATA_BRANCHES, FACT_BRANCH)


def check_columns(
    columns: Sequence[str], rows: Sequence[RunRow], names: Callable[[], AbstractSet[str]] = frozenset
) -> None:
    """Raise `RecordNotFoundError`, with near matches, for the first column that no run has.

    `names` gives those of all runs of the archive: it is asked when none of the rows has a column.
    """
    missing = dict.fromkeys(columns)
    known: set[str] = set()
    for row in rows:
        if not missing:
            return
        if not row.names <= known:
            for name in row.names:
                missing.pop(name, None)
            known |= row.names
    if missing:
        known |= names()
        missing = {name: None for name in missing if name not in known}
    if missing and known:
        name = next(iter(missing))
        branches = (*PARAMETER_BRANCHES, *DATA_BRANCHES)
        short = {other for other in known if other.partition(".")[0] not in branches}
        raise RecordNotFoundError(
            f"no run has a column {name!r}{near_matches(name, known if '.' in name else short)}; columns are facts "
            f"such as status and duration, parameters, and stored values"
        )
