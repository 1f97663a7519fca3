"""Reports on the runs of an archive, as text for people or JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from expedition.archive import Archive, RunRecord
from expedition.recording import outcomes
from expedition.reporting.durations import format_bytes, format_duration, format_when
from expedition.reporting.tables import format_cell, render_table
from expedition.values import encode


def list_runs(archive: Archive, *, format: str = "table", testing: bool = False) -> str:
    """Return all runs of `archive`, oldest sweep first: one row each, or a JSON array of objects.

    Runs of testing mode are left out and counted; `testing` lists them alone.
    """
    records = list(archive.runs())
    rows = [_row(record) for record in records if record.testing == testing]
    others = len(records) - len(rows)
    if format == "json":
        return json.dumps([_plain(row) for row in rows], indent=1, ensure_ascii=False, allow_nan=False)
    hidden = f"{others} of testing mode are not listed: see --testing" if others and not testing else ""
    if not rows:
        return f"no runs in {archive.root}{f'; {hidden}' if hidden else ''}"
    table = render_table(
        [
            {
                "experiment": row["experiment"],
                "run": row["id"],
                "status": row["status"],
                "started": format_when(row["started"]),
                "duration": format_duration(row["duration"]),
                "key": row["key"][:8],
                "folder": row["path"],
            }
            for row in rows
        ],
        ["experiment", "run", "status", "started", "duration", "key", "folder"],
    )
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["status"]] = counts.get(row["status"], 0) + 1
    shown = ", ".join(f"{counts[status]} {status}" for status in outcomes.STATUSES if status in counts)
    lines = [table, f"{len(rows)} run{'s' if len(rows) != 1 else ''} in {archive.root}: {shown}"]
    lines += [hidden] if hidden else []
    lines += [f"unreadable: {reason}" for _, reason in archive.damaged()]
    return "\n".join(lines)


def show_run(record: RunRecord, *, format: str = "table") -> str:
    """Return everything about one run: identity, parameters, data, series, artifacts, error, end of the log."""
    if format == "json":
        content = {
            **_plain(_row(record)),
            "parameters": {name: encode(value, name=name) for name, value in record.params.items()},
            "data": record.tagged_data,
            "series": {name: len(values.step) for name, values in record.series.items()},
            "artifacts": {name: str(path) for name, path in record.artifacts.items()},
            "children": [_plain(_row(child)) for child in record.children],
            "seed": record.seed,
            "attempt": record.attempt,
            "tags": record.tags,
            "notes": record.notes,
            "error": record.error._asdict() if record.error else None,
        }
        return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    return "\n".join(_show(record))


def _row(record: RunRecord) -> dict[str, Any]:
    return {
        "experiment": record.experiment,
        "id": record.id,
        "status": record.status,
        "started": record.started,
        "duration": record.duration,
        "key": record.key,
        "index": record.index,
        "replicate": record.replicate,
        "sweep": record.sweep,
        "namespace": record.namespace,
        "path": _place(record),
    }


def _place(record: RunRecord) -> str:
    """The run folder below the archive root."""
    sweep = record.sweep_path
    inner = record.path.relative_to(sweep) if record.path.is_relative_to(sweep) else Path(record.path.name)
    return (Path(record.namespace) / record.sweep / inner).as_posix()


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "started": row["started"].isoformat()}


def _show(record: RunRecord) -> Iterator[str]:
    yield f"{record.experiment}[{record.id}]  {record.status}"
    yield f"  key      {record.key}"
    yield f"  folder   {record.path}"
    yield f"  started  {format_when(record.started)}, {format_duration(record.duration)}"
    process = record.meta["process"]
    yield f"  process  {process['host']}, pid {process['pid']}, worker {process['worker'] or 'main'}"
    yield f"  seed     {record.seed}, attempt {record.attempt}"
    if record.tags:
        yield f"  tags     {' '.join(record.tags)}"
    for note in record.notes:
        yield f"  note     {note}"
    if record.reason:
        yield f"  reason   {record.reason}"
    about = record.meta["parameters"]
    if record.params:
        yield "parameters"
        yield render_table(
            [
                {
                    "name": name,
                    "value": format_cell(value, 60),
                    "type": about[name].get("type", ""),
                    "origin": about[name].get("origin", ""),
                    "description": about[name].get("description", ""),
                }
                for name, value in record.params.items()
            ],
            ["name", "value", "type", "origin", "description"],
            max_width=60,
        )
    if record.tagged_data:
        yield "data"
        notes = record.annotations
        for name, value in record.flat_data.items():
            unit = notes.get(name, {}).get("unit", "")
            shown = format_cell(value, 80)
            if getattr(value, "ndim", 0):
                kind = f"array of {value.dtype}" if hasattr(value, "dtype") else type(value).__name__
                shown = f"{kind} {value.shape}"
            yield f"  {name} = {shown}{' ' + unit if unit else ''}"
    if record.series:
        yield "series"
        for name, values in record.series.items():
            last = values.value[-1]
            shown = format_cell(last, 40) if getattr(last, "ndim", 0) == 0 else f"array {last.shape}"
            yield f"  {name}: {len(values.step)} values, last {shown} at step {values.step[-1]}"
    if record.artifact_list:
        yield "artifacts"
        for entry in record.artifact_list:
            yield f"  {entry['name']} ({format_bytes(entry['size'])})"
    children = record.children
    if children:
        yield "children"
        for child in children:
            yield f"  {child.experiment}[{child.id}]  {child.status}  {child.path.relative_to(record.path)}"
    if record.error is not None:
        yield f"error: {record.error.type}: {record.error.message}"
        yield record.error.traceback.rstrip()
    elif record.status == outcomes.CRASHED:
        yield "error: the process of the run died without an end record; what it had recorded is above"
    tail = record.log.splitlines()[-10:]
    if tail:
        yield "log (last lines)"
        yield from (f"  {line}" for line in tail)
