"""What the terminal shows of a sweep: its preview before, its table afterwards."""

from __future__ import annotations

import inspect
import os
import textwrap
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expedition.archive.commits import latest_commits
from expedition.archive.sweep import SweepFolder
from expedition.authoring.plan import SweepPlan
from expedition.plugin.concealing import concealed
from expedition.recording import layout, outcomes
from expedition.recording.masking import Mask
from expedition.reporting.cells import format_cell, told
from expedition.reporting.durations import format_duration
from expedition.reporting.formats import render_table
from expedition.reporting.row_cells import is_scalar
from expedition.reporting.tables import result_column, sweep_table
from expedition.values import decode

if TYPE_CHECKING:
    import pytest

    from expedition.plugin.resumption import Resumption

PREVIEW_ROWS = 20


def size_line(plan: SweepPlan, selected: set[int]) -> str:
    """Name and size of a sweep: ``exp_a: 12 runs (4 points × 3 replicates, 6 selected)``."""
    count = f"{len(plan.runs)} runs" if len(plan.runs) != 1 else "1 run"
    points = len(plan.runs) // plan.replicates
    shown = "1 point" if points == 1 else f"{points} points"
    parts = [f"{shown} × {plan.replicates} replicates"] if plan.replicates > 1 else []
    if plan.runs and plan.runs[0].repeats is not None:
        parts = ["past runs again"]
    if len(selected) < len(plan.runs):
        parts.append(f"{len(selected)} selected")
    if plan.special.testing:
        parts.append("testing mode")
    return f"{plan.name}: {count}{' (' + ', '.join(parts) + ')' if parts else ''}"


def preview_lines(
    plan: SweepPlan, selected: set[int], resumption: Resumption | None, about: Iterable[str] = ()
) -> Iterator[str]:
    """Yield the lines that show a sweep before it runs: its runs, its constants, what a resume leaves out.

    `about` are further lines on what is resumed.
    """
    head, _, size = size_line(plan, selected).partition(": ")
    yield f"{head} ({plan.file}::{plan.function}): {size}"
    if resumption is not None:
        yield f"resuming {resumption.sweep.path.name}: {resumption.describe(plan)}"
        yield from about
        seconds = _mean_duration(resumption.sweep)
        if seconds is not None:
            yield f"expected time: {format_duration(seconds * len(selected))} in one process"
    runs = [run for run in plan.runs if run.index in selected]
    shown = runs if len(runs) <= PREVIEW_ROWS else [*runs[: PREVIEW_ROWS // 2], *runs[-PREVIEW_ROWS // 2 :]]
    columns = ["run", *plan.swept, *(["replicate"] if plan.replicates > 1 else []), "key"]
    rows: list[dict[str, Any]] = []
    for position, run in enumerate(shown):
        if len(shown) < len(runs) and position == PREVIEW_ROWS // 2:
            rows.append({"run": f"… {len(runs) - len(shown)} more"})
        row = {"run": str(run.index), "replicate": run.replicate, "key": run.key[:8]}
        row |= {name: told(value) for name, value in run.point.items()}
        rows.append({name: row[name] for name in columns if name in row})
    if len(runs) > 1 or plan.swept:
        yield render_table(
            [{n: "" if v is None and n == "" else v for n, v in r.items()} for r in rows], columns
        )
    if plan.fixed:
        yield "constant: " + ", ".join(
            f"{name}={format_cell(value, 40)}" for name, value in plan.shown.items()
        )
    yield ""


def summary_lines(path: Path, *, keys: set[str], base: Path, place: Path | None = None) -> Iterator[str]:
    """Yield the final table of the sweep folder `path`, and where it and its trajectory are, relative to `base`.

    `place` is where the folder will be, if it is to be moved.

    The table holds the runs of the present design, whose run keys are `keys`; others are counted.
    """
    sweep = SweepFolder.open(path)
    parameters = sweep.parameters
    results: dict[str, None] = {}
    rows: dict[int, dict[str, object]] = {}
    counts: dict[str, int] = {}
    for line in latest_commits(sweep):
        entry = sweep.entries[line["index"]]
        if entry.key not in keys:
            continue
        counts[line["status"]] = counts.get(line["status"], 0) + 1
        edited = line.get("parameters")
        values = {n: about["value"] for n, about in edited.items()} if edited else sweep.parameters_of(entry)
        row: dict[str, object] = {
            name: decode(value, folder=path / entry.folder) for name, value in values.items()
        }
        row["status"] = line["status"]
        for name, tagged in line["data"].items():
            if is_scalar(tagged):
                column = result_column(name, parameters)
                results[column] = None
                row[column] = decode(tagged)
        rows[entry.index] = row
    ordered = [rows[index] for index in sorted(rows)]
    if ordered:
        table = sweep_table(
            ordered,
            parameters=list(parameters),
            results=list(results),
            replicates=any(entry.replicate for entry in sweep.entries),
        )
        yield table.render(max_width=40)
    present = sum(entry.key in keys for entry in sweep.entries)
    pending = present - len(rows)
    if pending:
        counts[outcomes.PENDING] = pending
    if set(counts) != {outcomes.DONE}:
        shown = ", ".join(f"{counts[s]} {s}" for s in outcomes.STATUSES if s in counts)
        yield f"runs: {shown}"
    if present < len(sweep.entries):
        yield f"not shown: {len(sweep.entries) - present} earlier runs that are no longer in the design"
    place = path if place is None else place
    yield f"sweep: {relative(place, base)}"
    if (path / layout.TRAJECTORY_FILE).exists():
        yield f"trajectory: {relative(place / layout.TRAJECTORY_FILE, base)}"
    if (path / layout.SUMMARY_FOLDER / layout.META_FILE).exists():
        yield f"summary: {relative(place / layout.SUMMARY_FOLDER, base)}"


def show_failure(reporter: pytest.TerminalReporter, plan: SweepPlan, error: BaseException) -> None:
    """Show what ended the after_sweep function of an experiment, as pytest shows what ends a run; and count it.

    pytest lists it among what failed, and colours its last line by that.
    """
    import pytest

    config = reporter.config
    option = config.option
    function, mask = plan.after_sweep, Mask(plan.concealed)
    info = pytest.ExceptionInfo.from_exception(error)
    own = Path(__file__).parent.parent
    traceback = info.traceback.filter(lambda entry: own not in Path(entry.path).parents)
    if traceback:
        info.traceback = traceback
    style: Any = "long" if option.tbstyle == "auto" else option.tbstyle
    shown = info.getrepr(style=style if style != "no" else "short", showlocals=option.showlocals)
    shown, message = concealed(shown, mask) if mask else shown, mask.text(info.exconly())
    file, line = (function.__code__.co_filename, function.__code__.co_firstlineno) if function else ("", 0)
    reporter.section(f"after_sweep of {plan.name} failed", sep="_", red=True, bold=True)
    if style == "no":
        reporter.write_line(message)
    elif traceback:
        shown.toterminal(reporter._tw)
    else:  # found out when it had returned: there is no line of the user's that raised it
        for text in _source_of(function):
            reporter.write_line(f"    {mask.text(text)}")
        for text in message.splitlines():
            reporter.write_line(f"E   {text}", red=True, bold=True)
        if file:
            reporter.write_line(
                f"\n{relative(Path(file), config.invocation_params.dir)}:{line}: {info.typename}"
            )
    if shown.reprcrash is not None:
        file, line = (shown.reprcrash.path, shown.reprcrash.lineno) if traceback else (file, line)
        shown.reprcrash = type(shown.reprcrash)(file, line, message)
    # pytest writes an id relative to where it was called from.
    title = f"after_sweep of {plan.name}"
    node = os.path.relpath(config.invocation_params.dir / title, config.rootpath).replace(os.sep, "/")
    report = pytest.TestReport(node, (file, line, title), {}, "failed", shown, "call")
    reporter._add_stats("failed", [report])


def _source_of(function: Callable[..., Any] | None) -> list[str]:
    try:
        return textwrap.dedent(inspect.getsource(function)).splitlines() if function is not None else []
    except (OSError, TypeError):
        return []


def relative(path: Path, base: Path) -> str:
    """`path` as it is shortest from `base`."""
    try:
        return str(path.relative_to(base))
    except ValueError:
        return str(path)


def _mean_duration(sweep: SweepFolder) -> float | None:
    seconds = [
        (line["stop"] - line["start"]) / 1e6
        for line in latest_commits(sweep)
        if line["status"] == outcomes.DONE and line["stop"]
    ]
    return sum(seconds) / len(seconds) if seconds else None
