"""The commit line that a run folder stands for: what its log lost, or never got, is read from the folder."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from expedition.archive.liveness import derive_status
from expedition.archive.meta_file import load_json, load_meta
from expedition.archive.replay import is_open, replay
from expedition.archive.sweep import RunEntry, SweepFolder
from expedition.errors import DamagedError
from expedition.recording import layout, outcomes
from expedition.recording.inputs import in_line
from expedition.recording.meta import error_line
from expedition.recording.store import flatten


class FoundRun(NamedTuple):
    """What a run folder says at a glance: its meta file, the derived status, and the size of its journal."""

    meta: dict[str, Any]
    status: str
    journal: int


def look_at(sweep: SweepFolder, entry: RunEntry) -> FoundRun | None:
    """Return what the folder of a planned run says; None when the run has not begun there or is unreadable."""
    folder = sweep.path / entry.folder
    try:
        journal = os.stat(folder / layout.JOURNAL_FILE).st_size
    except OSError:
        journal = 0
    try:
        meta = load_meta(folder)
    except (DamagedError, FileNotFoundError):
        return None
    return FoundRun(meta, derive_status(meta, folder, sweep.path), journal)


def recover(sweep: SweepFolder, entry: RunEntry, *, above: int = -1) -> tuple[dict[str, Any], int] | None:
    """Return the commit line that a run folder stands for, and the size of the journal that it was read from.

    None when the run has not begun there, or no attempt with a number `above` that given.
    """
    found = look_at(sweep, entry)
    if found is None or found.meta["attempt"] <= above:
        return None
    return line_of(sweep, entry, found), found.journal


def line_of(sweep: SweepFolder, entry: RunEntry, found: FoundRun) -> dict[str, Any]:
    """Return the commit line of a run whose folder was looked at."""
    folder = sweep.path / entry.folder
    meta, error, stop = found.meta, found.meta["outcome"]["error"], found.meta["stop"]
    line: dict[str, Any] = {
        "index": entry.index,
        "attempt": meta["attempt"],
        "key": entry.key,
        "status": found.status,
        "expected_failure": bool(meta["outcome"].get("expected_failure")),
        "start": microseconds(meta["start"]),
        "stop": microseconds(stop) if stop else None,
        "worker": meta["process"].get("worker", ""),
        "seed": meta["seed"],
        "error": error_line(error),
        **_recorded(folder, meta),
    }
    if found.status == outcomes.CRASHED and line["error"] is None:
        line["error"] = "the process of the run died without an end record"
    parameters = edited_parameters(meta)
    if parameters is not None:
        line["parameters"] = parameters
    if meta.get("code"):
        line["code"] = meta["code"]
    return line


def edited_parameters(meta: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the parameters that a meta file has, when edits have changed them; None when none did."""
    edits = meta.get("edits", ())
    paths = (path for edit in edits for side in ("before", "after") for path in edit.get(side, ()))
    return dict(meta["parameters"]) if any(path.startswith("params/") for path in paths) else None


def _recorded(folder: Path, meta: dict[str, Any]) -> dict[str, Any]:
    """What the run recorded: from the files of its end where these are whole, else from its journal."""
    journal = replay(folder)
    data, derived = journal.data, journal.derived
    series, annotations = journal.series, journal.annotations
    inputs = journal.inputs
    if not is_open(meta):
        inputs = meta.get("inputs", [])
        derived, annotations = meta.get("derived", {}), meta.get("annotations", {})
        series = meta.get("series", {})
        if meta.get("edits"):
            data = edited_data(data, meta)  # what a data file that cannot be read would have
        with contextlib.suppress(DamagedError, FileNotFoundError):
            stored = dict(flatten(load_json(folder / layout.DATA_FILE)))
            # The file nests groups; the journal knows in which order the values were stored.
            order = {**dict.fromkeys(name for name in data if name in stored), **stored}
            data = {name: stored[name] for name in order}
    found = {"data": data, "series": series, "derived": derived, "annotations": annotations}
    return found | ({"inputs": in_line(inputs)} if inputs else {})


def edited_data(data: Mapping[str, Any], meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return stored values, as tagged JSON by slash path, with all edits of the meta file made in them."""
    found = dict(data)
    for edit in meta.get("edits", ()):
        before = [path[5:] for path in edit["before"] if path.startswith("data/")]
        after = {path[5:]: value for path, value in edit["after"].items() if path.startswith("data/")}
        if len(before) == len(after):  # what was renamed or set stays where it was
            renamed = dict(zip(before, after, strict=True))
            found = {renamed.get(path, path): value for path, value in found.items()}
        else:
            for path in before:
                found.pop(path, None)
        found.update(after)
    return found


def microseconds(text: str) -> int:
    """µs since the epoch of an ISO 8601 time in UTC."""
    moment = datetime.fromisoformat(text)
    return int(moment.timestamp()) * 1_000_000 + moment.microsecond
