"""Runs in groups: how many of each group are done, how long they took, what they take of the disk."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from expedition.archive import Archive
from expedition.authoring.evaluation import UNKNOWN, plain
from expedition.authoring.expressions import check_names, compile_expression
from expedition.errors import UnstorableError
from expedition.reporting.cells import format_cell, is_bool, is_number
from expedition.reporting.formats import Table, check_format, render_tables
from expedition.reporting.groups import COLUMNS, DROP, HEADERS, Group, group_columns, limited, sorted_groups
from expedition.reporting.queries import Matching, RunQuery
from expedition.reporting.run_tables import hidden_text, nothing
from expedition.reporting.tallies import Tally, count_text, status_text
from expedition.values import canonical


def scan_runs(
    archive: Archive,
    key: str,
    query: RunQuery,
    *,
    format: str = "table",
    width: int | None = None,
    now: datetime | None = None,
) -> str:
    """Return a row for each value that `key` has among the runs of a query.

    The values are in natural order, those of runs that have none at last, as ``–``. Each row has the number of runs,
    how many are done of those that ended (skipped and pruned ones apart), when the last of them was done, the mean
    duration and the size of the run folders.

    :param key: a name of the select language, or an expression: ``alpha``, ``data.rmse < 0.5``.
    :param width: columns of the terminal, None for any.
    :param now: what ages are counted to; None for the present.

    Raises `ExpressionError` for a wrong key, also when a name in it means nothing to any run; otherwise the errors of
    `list_runs`.
    """
    check_format(format)
    query.check()
    expression = compile_expression(key)
    head = key if key not in COLUMNS else "group"
    people = format not in ("json", "csv")
    columns = group_columns(head, query, people=people)
    groups: dict[object, Group] = {}
    missing, total = set(expression.names), Tally()
    matching = Matching(archive, query)
    for row in matching:
        if missing:
            missing -= row.names
        try:
            value = plain(expression.evaluate(row.value))
        except UNKNOWN:
            value, identity = None, None
        else:
            identity = None if value is None and row.is_fact(key) else _identity(value)
        group = groups.get(identity)
        if group is None:
            group = groups[identity] = Group(value, is_missing=identity is None)
        group.tally.add(row)
        total.add(row)
    if missing and groups:
        check_names(expression, archive.names())
    if not groups and people:
        return nothing(archive, query, matching.hidden)
    ordered = sorted_groups(groups.values(), query, head)
    shown = limited(ordered, query)
    moment = now if now is not None else datetime.now(UTC)
    notes = [
        f"{count_text(len(groups), 'group')} of {count_text(total.runs, 'run')} in {archive.root}: "
        f"{status_text(total.statuses)}"
    ]
    if len(shown) < len(ordered):
        rest = count_text(len(ordered) - len(shown), "group")
        notes.append(f"not shown: {rest} beyond the limit of {query.limit}")
    notes += [hidden_text(matching.hidden, query)] if matching.hidden else []
    rows = [group.cells(head, moment, people=people) for group in shown]
    return render_tables(
        [Table(columns, rows, notes=notes, headers=HEADERS, drop=DROP)], format=format, width=width
    )


def _identity(value: Any) -> object:
    """Return what is equal for values of one group; numbers are compared by size, whatever their type."""
    if is_bool(value):
        return "bool", bool(value)
    if is_number(value):
        return "number", value if value == value else "nan"
    if isinstance(value, str):
        return "text", value
    try:
        return "other", canonical(value)
    except UnstorableError:
        return "other", format_cell(value)
