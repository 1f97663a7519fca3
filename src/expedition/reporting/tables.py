"""The table of a sweep: its points, with their replicates folded."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from expedition.errors import UnstorableError
from expedition.reporting.cells import (
    Distinct,
    Done,
    Share,
    WithN,
    format_cell,
    is_bool,
    is_number,
    json_cell,
    told,
)
from expedition.reporting.formats import Table, check_format, dump_json, render_tables
from expedition.trajectory.statistics import mean_interval

_SETTLED = frozenset({"done", "skipped", "pruned"})
_UNFINISHED = frozenset({"pending", "running"})
_OWN = frozenset({"status", "replicate", "n", "failed", "skipped", "pruned"})
"""Names that say something of the runs themselves."""
_CONSTANT_WIDTH = 40  # characters of a value in the line of constants


@dataclass(frozen=True)
class SweepTable:
    """The final table of a sweep.

    `rows` are aligned with `columns`; cells are values, an :class:`Interval`, :class:`Share`,
    :class:`Distinct` or :class:`Done`, or None. Hidden rows are missing at the index `gap_at`.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]
    constants: dict[str, object] = field(default_factory=dict)
    hidden_results: tuple[str, ...] = ()
    hidden_rows: int = 0
    gap_at: int | None = None

    def render(self, format: str = "table", *, max_width: int | None = None, width: int | None = None) -> str:
        """Return the table with lines for the constants and for what is hidden; or its rows in another format.

        JSON is an object that says all of this. `max_width` and `width` are those of `render_table`.

        :raises ExperimentError: for a format there is not.
        :raises UnstorableError: for a value that JSON cannot hold exactly.
        """
        check_format(format)
        rows = [dict(zip(self.columns, row, strict=True)) for row in self.rows]
        if format == "json":
            content = {
                "columns": list(self.columns),
                "rows": [{name: json_cell(value, name) for name, value in row.items()} for row in rows],
                "constants": {name: json_cell(value, name) for name, value in self.constants.items()},
                "hidden_results": list(self.hidden_results),
                "hidden_rows": self.hidden_rows,
            }
            return dump_json(content)
        notes = [line for line in (self.constants_line(), self.hidden_line()) if line]
        table = Table(self.columns, rows, notes=notes, max_width=max_width, gap_at=self.gap_at)
        return render_tables([table], format=format, width=width)

    def constants_line(self) -> str:
        """Return ``constant: fit_intercept=True, folds=5``, or nothing."""
        return constants_line(self.constants)

    def hidden_line(self) -> str:
        """Say how many rows and results are not shown, or nothing."""
        counts = ((self.hidden_rows, "row"), (len(self.hidden_results), "result"))
        parts = [f"{count} {noun}{'s' if count > 1 else ''}" for count, noun in counts if count]
        return f"not shown: {' and '.join(parts)}" if parts else ""


def constants_line(constants: Mapping[str, object]) -> str:
    """Return ``constant: fit_intercept=True, folds=5``, or nothing."""
    pairs = (f"{name}={format_cell(value, _CONSTANT_WIDTH)}" for name, value in constants.items())
    return f"constant: {', '.join(pairs)}" if constants else ""


def sweep_table(
    runs: Sequence[Mapping[str, object]],
    *,
    parameters: Sequence[str],
    results: Sequence[str],
    replicates: bool,
    max_rows: int | None = 40,
    max_columns: int | None = 8,
) -> SweepTable:
    """Make the final table of a sweep.

    Parameters that vary over the runs come first, those that do not become `constants`. With `replicates`,
    runs of equal parameters are one row, in order of first appearance: numeric results as mean with 95 %
    confidence interval, booleans as the share that is true, other values as they are when all are equal.
    Only runs with status ``done`` count in these; a cell made of fewer values than the row's `n` says so. The
    column `n` counts them, as ``2/3`` when there are others; the column `failed` is there when a run failed,
    crashed, was interrupted or timed out, `skipped` and `pruned` when a run was. Without `replicates` each run
    is a row with its plain values, and its status when not all are done.

    :param runs: per run a mapping of parameters, `status`, and results by their flat names (``rmse/mean``); what a
        result that has the name of one of the others is called, `result_column` says.
    :param parameters: names of the parameters, in order.
    :param results: names of the results, in order.
    :param replicates: fold the replicates.
    :param max_rows: rows at most; the middle ones are left out. None: all.
    :param max_columns: results at most; the last ones are left out. None: all.
    """
    varying, constants = _split_parameters(runs, parameters)
    results = [name for name in dict.fromkeys(results) if name not in parameters]
    shown = results if max_columns is None else results[:max_columns]
    groups: list[list[Mapping[str, object]]]
    if replicates:
        by_point: dict[object, list[Mapping[str, object]]] = {}
        for run in runs:
            by_point.setdefault(tuple(_identity(run, name) for name in varying), []).append(run)
        groups = list(by_point.values())
    else:
        groups = [[run] for run in runs]
    taken = {*parameters, *results}
    extra: dict[str, Callable[[list[Mapping[str, object]]], object]] = {}
    if replicates:
        extra[_free("n", taken)] = _count
        if any(map(_has_failed, runs)):
            extra[_free("failed", taken)] = lambda group: sum(map(_has_failed, group))
        for status in ("skipped", "pruned"):
            if _number(runs, status):
                extra[_free(status, taken)] = partial(_number, status=status)
    elif any(run.get("status") != "done" for run in runs):
        extra[_free("status", taken)] = lambda group: group[0].get("status")

    gap_at, hidden = None, 0
    if max_rows is not None and len(groups) > max_rows:
        hidden = len(groups) - max_rows
        gap_at = (max_rows + 1) // 2
        groups = [*groups[:gap_at], *groups[gap_at + hidden :]]  # first, so that only these are computed
    rows = [
        (
            *(told(group[0].get(name)) for name in varying),
            *(_fold(group, name) if replicates else group[0].get(name) for name in shown),
            *(make(group) for make in extra.values()),
        )
        for group in groups
    ]
    return SweepTable(
        columns=(*varying, *shown, *extra),
        rows=tuple(rows),
        constants=constants,
        hidden_results=tuple(results[len(shown) :]),
        hidden_rows=hidden,
        gap_at=gap_at,
    )


def _split_parameters(
    runs: Sequence[Mapping[str, object]], parameters: Sequence[str]
) -> tuple[list[str], dict[str, object]]:
    varying: list[str] = []
    constants: dict[str, object] = {}
    for name in dict.fromkeys(parameters):
        if len({_identity(run, name) for run in runs}) > 1:
            varying.append(name)
        elif runs and name in runs[0]:
            constants[name] = runs[0][name]
    return varying, constants


def _identity(run: Mapping[str, object], name: str) -> object:
    """Return a key that is equal for equal values of the same type only; a missing one has its own."""
    if name not in run:
        return None
    return _value_identity(run[name])


def _value_identity(value: object) -> object:
    kind = type(value)
    if kind is float and value != value:
        return float, "nan"  # NaN is not equal to itself
    if kind in (float, int, str, bool):
        return kind, value
    from expedition.values import canonical

    try:
        return canonical(value)
    except UnstorableError:
        return kind, repr(value)


def result_column(name: str, parameters: Collection[str]) -> str:
    """Return what a result is called among parameters and what a table says of runs: ``results.alpha`` if need be."""
    if name not in _OWN and name not in parameters:
        return name
    return f"results.{name.replace('/', '.')}"


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _has_failed(run: Mapping[str, object]) -> bool:
    status = run.get("status")
    return status is not None and status not in _SETTLED | _UNFINISHED


def _count(group: Sequence[Mapping[str, object]]) -> Done:
    return Done(_number(group, "done"), len(group))


def _number(group: Sequence[Mapping[str, object]], status: str) -> int:
    return sum(run.get("status") == status for run in group)


def _fold(group: Sequence[Mapping[str, object]], name: str) -> object:
    values = [run.get(name) for run in group if run.get("status") == "done"]
    return folded(values, of=len(values))


def folded(values: Sequence[object], *, of: int) -> object:
    """Return one cell for the values of a result in the replicates of a point; None stands for a missing one.

    Numbers become their mean with 95 % confidence interval (which says its n where that is not `of`), booleans the
    share that is true, other values stay what they are when all are equal.
    """
    present = [value for value in values if value is not None]
    if not present:
        return None
    if all(map(is_bool, present)):
        return Share(sum(map(bool, present)), len(present))
    if all(is_number(value) or is_bool(value) for value in present):
        interval = mean_interval(values)
        return interval if interval.n == of else WithN(interval)
    kinds = {_value_identity(value) for value in present}
    return present[0] if len(kinds) == 1 else Distinct(len(kinds))
