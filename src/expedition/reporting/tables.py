"""Tables for the terminal and for programs: any rows, and the final table of a sweep."""

from __future__ import annotations

import enum
import json
import math
import numbers
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Literal

from expedition.errors import ExperimentError, UnstorableError, near_matches
from expedition.trajectory.statistics import Interval, format_interval, format_number, mean_interval
from expedition.values import has_axes, short_hash, short_text

__all__ = [
    "Distinct",
    "Done",
    "Share",
    "SweepTable",
    "format_cell",
    "render_table",
    "result_column",
    "sweep_table",
    "told",
]

Format = Literal["table", "json"]

_NONE = "–"
_GAP = "…"
_SETTLED = frozenset({"done", "skipped", "pruned"})
_UNFINISHED = frozenset({"pending", "running"})
_OWN = frozenset({"status", "replicate", "n", "failed", "skipped", "pruned"})
"""Names that say something of the runs themselves."""
_CONSTANT_WIDTH = 40  # characters of a value in the line of constants


@dataclass(frozen=True)
class Share:
    """How many of some booleans are true."""

    true: int
    n: int


@dataclass(frozen=True)
class Distinct:
    """Stands for values that differ and have no mean."""

    count: int


@dataclass(frozen=True)
class Done:
    """How many of the runs of a point are done."""

    done: int
    total: int


@dataclass(frozen=True)
class _Told:
    """An array or the like among others that have its shape: with a hash that tells it from them."""

    value: object


@dataclass(frozen=True)
class _WithN:
    """An interval of fewer values than the column `n` says."""

    interval: Interval


# --- cells -------------------------------------------------------------------------------------------


def format_cell(value: object, max_width: int | None = None) -> str:
    """Write a value in one line: floats in six significant digits, None as ``–``, arrays by their shape.

    :param max_width: characters at most; longer text ends in ``…``.
    """
    text = "".join(c if c.isprintable() else " " for c in _text(value))  # line ends, terminal control codes
    if max_width is not None and len(text) > max_width:
        text = text[: max(max_width - 1, 0)] + _GAP
    return text


def _text(value: object) -> str:
    match value:
        case None:
            return _NONE
        case str():
            return value
        case _Told(value):
            return f"{_text(value)}~{short_hash(value)}"
        case _WithN(interval):
            return format_interval(interval, show_n=True)
        case Interval():
            return format_interval(value)
        case Share(true, n):
            return f"{true}/{n} true"
        case Done(done, total):
            return str(done) if done == total else f"{done}/{total}"
        case Distinct(count):
            return f"…({count} values)"
        case bool():
            return str(value)
        case enum.Enum():
            return value.name
        case numbers.Integral():
            return _integer_text(int(value))
        case numbers.Real():
            return format_number(float(value))
    if (shape := getattr(value, "shape", None)) and isinstance(shape, tuple):
        return f"{type(value).__name__}[{'×'.join(map(str, shape))}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_text(key)}: {_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        inside = ", ".join(map(_text, value))
        return f"[{inside}]" if isinstance(value, list) else f"({inside})"
    return short_text(value)


def _integer_text(value: int) -> str:
    if value.bit_length() > 200:  # more than 60 digits; Python itself refuses more than 4300
        return f"{'-' if value < 0 else ''}2^{math.log2(abs(value)):.6g}"
    return str(value)


def told(value: object) -> object:
    """Return a value of a swept parameter as a cell: arrays of one shape are told apart."""
    return _Told(value) if has_axes(value) else value


def _is_bool(value: object) -> bool:
    return isinstance(value, bool) or type(value).__name__ in ("bool_", "bool")  # numpy.bool


def _is_number(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, (bool, enum.Enum))


def _json_cell(value: object, name: str) -> Any:
    from expedition.values import encode

    if isinstance(value, _WithN):
        value = value.interval
    if isinstance(value, _Told):
        value = value.value
    if isinstance(value, (Interval, Share, Done, Distinct)):  # plain objects, for readers that do not know us
        return {key: encode(item, name=f"{name}/{key}") for key, item in asdict(value).items()}
    return encode(value, name=name)


# --- any rows ----------------------------------------------------------------------------------------


def render_table(
    rows: Sequence[Mapping[str, object]],
    columns: Sequence[str],
    *,
    format: str = "table",  # the name users know from --archive-format
    headers: Mapping[str, str] | None = None,
    max_width: int | None = None,
) -> str:
    """Render rows as text for a terminal or as JSON.

    Text: numbers are aligned at the decimal point, None and what a row lacks is ``–``. JSON: an array of one
    object per row, strict (NaN and other values outside of JSON in the tagged form of
    :func:`expedition.values.encode`), without the keys a row lacks; `headers` and `max_width` do not apply.

    :param rows: one mapping per row.
    :param columns: the keys to show, in order.
    :param format: ``"table"`` or ``"json"``.
    :param headers: what to call columns, where not by their keys.
    :param max_width: characters of a cell at most; longer text is cut and ends in ``…``.
    :raises ExperimentError: for another format.
    :raises UnstorableError: for a value that JSON cannot hold exactly.
    """
    if _format(format) == "json":
        objects = [{name: _json_cell(row[name], name) for name in columns if name in row} for row in rows]
        return json.dumps(objects, indent=2, ensure_ascii=False, allow_nan=False)
    heads = [(headers or {}).get(name, name) for name in columns]
    return _layout([[row.get(name) for name in columns] for row in rows], heads, max_width)


def _format(name: str) -> Format:
    match name:
        case "table" | "json":
            return name
    raise ExperimentError(f"unknown table format {name!r}{near_matches(name, ('table', 'json'))}")


def _layout(
    rows: Sequence[Sequence[object]], heads: Sequence[str], max_width: int | None, gap_at: int | None = None
) -> str:
    from tabulate import tabulate

    if not heads:
        return ""
    # Numbers are written and aligned by us: tabulate would read text such as "1e5" or "007" as numbers
    align = [_alignment([row[index] for row in rows]) for index in range(len(heads))]
    cells = [[format_cell(value, max_width) for value in row] for row in rows]
    if gap_at is not None:
        cells.insert(gap_at, [_GAP] * len(heads))
    titles = [format_cell(head) for head in heads]
    if not cells:
        return tabulate([], headers=titles, tablefmt="simple")
    return tabulate(cells, headers=titles, tablefmt="simple", disable_numparse=True, colalign=align)


def _alignment(values: Sequence[object]) -> str:
    present = [value for value in values if value is not None]
    if present and all(_is_number(value) for value in present):
        return "decimal"
    folded = (Interval, _WithN, Share, Done)
    numeric = all(_is_number(value) or isinstance(value, folded) for value in present)
    return "right" if present and numeric else "left"


# --- sweeps ------------------------------------------------------------------------------------------


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

    def render(self, format: str = "table", *, max_width: int | None = None) -> str:
        """Return the table with lines for the constants and for what is hidden; or the same as JSON.

        :raises ExperimentError: for a format other than ``"table"`` and ``"json"``.
        :raises UnstorableError: for a value that JSON cannot hold exactly.
        """
        if _format(format) == "json":
            rows = [dict(zip(self.columns, row, strict=True)) for row in self.rows]
            content = {
                "columns": list(self.columns),
                "rows": [{name: _json_cell(value, name) for name, value in row.items()} for row in rows],
                "constants": {name: _json_cell(value, name) for name, value in self.constants.items()},
                "hidden_results": list(self.hidden_results),
                "hidden_rows": self.hidden_rows,
            }
            return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
        lines = [_layout(self.rows, self.columns, max_width, self.gap_at)] if self.columns else []
        lines += [line for line in (self.constants_line(), self.hidden_line()) if line]
        return "\n".join(lines)

    def constants_line(self) -> str:
        """Return ``constant: fit_intercept=True, folds=5``, or nothing."""
        pairs = (f"{name}={format_cell(value, _CONSTANT_WIDTH)}" for name, value in self.constants.items())
        return f"constant: {', '.join(pairs)}" if self.constants else ""

    def hidden_line(self) -> str:
        """Say how many rows and results are not shown, or nothing."""
        counts = ((self.hidden_rows, "row"), (len(self.hidden_results), "result"))
        parts = [f"{count} {noun}{'s' if count > 1 else ''}" for count, noun in counts if count]
        return f"not shown: {' and '.join(parts)}" if parts else ""


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
    present = [value for value in values if value is not None]
    if not present:
        return None
    if all(map(_is_bool, present)):
        return Share(sum(map(bool, present)), len(present))
    if all(_is_number(value) or _is_bool(value) for value in present):
        interval = mean_interval(values)
        return interval if interval.n == _number(group, "done") else _WithN(interval)
    kinds = {_value_identity(value) for value in present}
    return present[0] if len(kinds) == 1 else Distinct(len(kinds))
