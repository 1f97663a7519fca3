"""An archive at a glance: how many runs ended how, how long they took, what each experiment varied."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from expedition.archive import Archive
from expedition.archive.rows import RunRow
from expedition.errors import DamagedError
from expedition.reporting.cells import Rate, Stored, format_cell, is_number, iso_text, json_cell, plain_number
from expedition.reporting.disk import sweep_overhead
from expedition.reporting.durations import format_age, format_bytes, format_duration, format_when
from expedition.reporting.formats import Table, check_format, dump_json, render_tables, wrapped
from expedition.reporting.groups import DROP, HEADERS, Group, group_columns, limited, sorted_groups
from expedition.reporting.ordering import order
from expedition.reporting.queries import Matching, RunQuery
from expedition.reporting.run_tables import damage_lines, hidden_text, nothing
from expedition.reporting.tallies import FAILURES, Tally, count_text, status_text
from expedition.values import decode

_VALUES_SHOWN = 5
_JSON_VALUES = 100
_VALUES_KEPT = 1_000  # different values of a parameter; beyond that it is only told that there are more


@dataclass
class _Values:
    """The different values of one parameter."""

    tagged: dict[object, Any] = field(default_factory=dict)
    more: bool = False

    def add(self, tagged: Any) -> None:
        tagged = plain_number(tagged)
        identity = repr(tagged) if isinstance(tagged, dict | list) else (type(tagged), tagged)
        if identity in self.tagged:
            return
        if len(self.tagged) < _VALUES_KEPT:
            self.tagged[identity] = tagged
        else:
            self.more = True

    @property
    def values(self) -> list[object]:
        """The values in natural order."""
        return sorted((_decoded(tagged) for tagged in self.tagged.values()), key=order)

    @property
    def text(self) -> str:
        """The values where they are few, otherwise their range or the first of them, and how many there are."""
        values = self.values
        count = f"{len(values):,}{' or more' if self.more else ''}"
        if len(values) > 1 and all(map(is_number, values)):
            if len(values) <= _VALUES_SHOWN:
                return ", ".join(map(format_cell, values))
            return f"{format_cell(values[0])} to {format_cell(values[-1])} ({count} values)"
        shown = ", ".join(format_cell(value, 24) for value in values[:_VALUES_SHOWN])
        return shown if len(values) <= _VALUES_SHOWN else f"{shown}, … ({count} values)"


@dataclass
class _Experiment(Group):
    """The runs of one experiment, with the values of its parameters."""

    parameters: dict[str, _Values] = field(default_factory=dict)

    def add(self, row: RunRow) -> None:
        self.tally.add(row)
        for name, tagged in row.parameters.items():
            values = self.parameters.get(name)
            if values is None:
                values = self.parameters[name] = _Values()
            values.add(tagged)


@dataclass
class _Error:
    count: int = 0
    last: tuple[str, str, str] = ("", "", "")  # start, message, reference

    def add(self, row: RunRow) -> None:
        self.count += 1
        if row.start >= self.last[0]:
            self.last = (row.start, row.error_message, row.reference)


@dataclass
class _Overview:
    """What a query means, counted."""

    archive: Archive
    query: RunQuery
    tally: Tally = field(default_factory=Tally)
    experiments: dict[tuple[str, str], _Experiment] = field(default_factory=dict)
    errors: dict[str, _Error] = field(default_factory=dict)
    damaged: list[RunRow] = field(default_factory=list)
    sweeps: set[Path] = field(default_factory=set)
    hidden: int = 0

    @classmethod
    def of(cls, archive: Archive, query: RunQuery) -> _Overview:
        """Count the runs of a query. Raises `ExpressionError` for a wrong selection."""
        found = cls(archive, query)
        matching = Matching(archive, query)
        for row in matching:
            found.tally.add(row)
            names = row.experiment, row.namespace
            experiment = found.experiments.get(names)
            if experiment is None:
                experiment = found.experiments[names] = _Experiment(row.experiment)
            experiment.add(row)
            if row.sweep_path is not None:
                found.sweeps.add(row.sweep_path)
            if row.status in FAILURES:
                name = row.error_type or row.status
                found.errors.setdefault(name, _Error()).add(row)
            if row.problem:
                found.damaged.append(row)
        found.hidden = matching.hidden
        for (name, namespace), experiment in found.experiments.items():
            if sum(other == name for other, _ in found.experiments) > 1:
                experiment.value = f"{name} ({namespace})"
        return found


def overview(
    archive: Archive,
    query: RunQuery,
    *,
    format: str = "table",
    width: int | None = None,
    now: datetime | None = None,
) -> str:
    """Return what the runs of a query are altogether, by experiment, and by error.

    The success rate is that of runs that ended, those that were skipped or pruned apart. Sizes are those of run
    folders; what the sweep folders hold besides (trajectories, sources, logs) is told next to them. CSV has the
    experiments alone. Sort keys, columns and limit of the query apply to the experiments.

    :param width: columns of the terminal, None for any.
    :param now: what ages are counted to; None for the present.

    Raises `ExpressionError` for a wrong selection, `ExperimentError` or `RecordNotFoundError` for wrong sort keys and
    columns.
    """
    check_format(format)
    query.check()
    people = format not in ("json", "csv")
    columns = group_columns("experiment", query, people=people)
    found = _Overview.of(archive, query)
    ordered = sorted_groups(found.experiments.values(), query, "experiment")
    shown = [group for group in limited(ordered, query) if isinstance(group, _Experiment)]
    moment = now if now is not None else datetime.now(UTC)
    if format == "json":
        return dump_json(_content(found, shown))
    rows = [group.cells("experiment", moment, people=people) for group in shown]
    if people and not found.tally.runs:
        return nothing(archive, query, found.hidden)
    notes = []
    if len(shown) < len(ordered):
        rest = count_text(len(ordered) - len(shown), "experiment")
        notes.append(f"not shown: {rest} beyond the limit of {query.limit}")
    tables = [Table(columns, rows, notes=notes, headers=HEADERS, drop=DROP)]
    if format == "csv":
        return render_tables(tables, format=format)
    if parameters := list(_parameters(shown)):
        tables.append(Table(("experiment", "parameter", "values"), parameters))
    if found.errors:
        tables.append(_error_table(found))
    if notes := [hidden_text(found.hidden, query)] * bool(found.hidden) + damage_lines(found.damaged):
        tables.append(Table((), (), notes=notes))
    facts = list(_facts(found, moment))
    if format != "table":
        head = Table(("archive", "summary"), [{"archive": name, "summary": text} for name, text in facts])
        return render_tables([replace(head, title=f"archive {archive.root}"), *tables], format=format)
    lines = [f"archive {archive.root}"]
    for name, text in facts:
        lines += wrapped(f"  {name:<9} {text}", width, indent=12)
    return "\n".join([*lines, "", render_tables(tables, width=width)])


def _facts(found: _Overview, now: datetime) -> Iterator[tuple[str, str]]:
    tally = found.tally
    experiments, sweeps = (
        count_text(len(found.experiments), "experiment"),
        count_text(len(found.sweeps), "sweep"),
    )
    yield "runs", f"{tally.runs:,} of {experiments} in {sweeps}"
    yield "statuses", status_text(tally.statuses)
    if tally.success.whole:
        yield "success", f"{format_cell(tally.success)} of the runs that ended and were not skipped or pruned"
    if tally.seconds:
        longest = f" ({tally.longest.reference})" if tally.longest is not None else ""
        yield (
            "duration",
            f"total {format_duration(tally.total)}, mean {format_duration(tally.mean)}, "
            f"median {format_duration(tally.median)}, longest {format_duration(max(tally.seconds))}{longest}",
        )
    besides = sweep_overhead(found.sweeps)
    yield (
        "disk",
        f"{format_bytes(tally.size)} in {count_text(tally.files, 'file')} of runs, {format_bytes(besides)} of "
        f"trajectories, sources and logs",
    )
    if tally.first is not None:
        yield "first", f"{format_when(tally.first)} ({format_age(tally.first, now)})"
        yield "last", f"{format_when(tally.last)} ({format_age(tally.last, now)})"


def _parameters(experiments: Sequence[_Experiment]) -> Iterator[dict[str, object]]:
    for experiment in experiments:
        varied = {name: values for name, values in experiment.parameters.items() if len(values.tagged) > 1}
        fixed = {name: values for name, values in experiment.parameters.items() if name not in varied}
        title: object = experiment.value
        for name, values in varied.items():
            yield {"experiment": title, "parameter": name, "values": values.text}
            title = ""
        if fixed:
            text = ", ".join(f"{name}={values.text}" for name, values in fixed.items())
            yield {"experiment": title, "parameter": "constant", "values": text}


def _error_table(found: _Overview) -> Table:
    total = sum(error.count for error in found.errors.values())
    rows = [
        {
            "error": name,
            "share": Rate(error.count, total),
            "last message": next(iter(error.last[1].strip().splitlines()), None),
            "last run": error.last[2],
        }
        for name, error in _by_count(found)
    ]
    return Table(("error", "share", "last run", "last message"), rows, drop=("last message",))


def _by_count(found: _Overview) -> list[tuple[str, _Error]]:
    return sorted(found.errors.items(), key=lambda item: (-item[1].count, item[0]))


def _content(found: _Overview, shown: Sequence[_Experiment]) -> dict[str, Any]:
    total = sum(error.count for error in found.errors.values())
    return {
        "archive": str(found.archive.root),
        "sweeps": len(found.sweeps),
        **_tallied(found.tally),
        "files": found.tally.files,
        "size_besides_runs": sweep_overhead(found.sweeps),
        "hidden": found.hidden,
        "experiments": [
            {
                "experiment": experiment.value,
                **_tallied(experiment.tally),
                "parameters": {
                    name: {"count": len(values.tagged), "values": [*values.tagged.values()][:_JSON_VALUES]}
                    for name, values in experiment.parameters.items()
                },
            }
            for experiment in shown
        ],
        "errors": [
            {"type": name, "count": error.count, "share": error.count / total, "last_run": error.last[2]}
            for name, error in _by_count(found)
        ],
        "damaged": [
            {"run": row.reference, "folder": row.folder, "problem": row.problem} for row in found.damaged
        ],
    }


def _tallied(tally: Tally) -> dict[str, Any]:
    return {
        "runs": tally.runs,
        "statuses": dict(tally.statuses),
        "success": json_cell(tally.success, "success"),
        "duration": {
            "total": tally.total,
            "mean": tally.mean,
            "median": tally.median,
            "longest": max(tally.seconds, default=None),
        },
        "size": tally.size,
        "first": iso_text(tally.first) if tally.first else None,
        "last": iso_text(tally.last) if tally.last else None,
        "last_done": iso_text(tally.last_done) if tally.last_done else None,
    }


def _decoded(tagged: Any) -> object:
    if not isinstance(tagged, dict | list):
        return tagged
    try:
        return decode(tagged)
    except DamagedError:  # in a file besides, which is not read for this
        return Stored(tagged)
