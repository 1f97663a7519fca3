"""Edits of runs at rest: the record is changed, and keeps what it was in ``edits`` of its meta file.

The new meta file is written first, under another name, then the data file is replaced, then the meta file. What a
kill leaves between the two is put right by `finish_edit`, which the next edit and ``--archive-repair`` call.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from expedition.archive.meta_file import load_json, load_meta
from expedition.archive.operations import Change, Editable, LackingError, Operation
from expedition.archive.record import RunRecord
from expedition.archive.replay import is_open, replay
from expedition.archive.versions import version_to_write
from expedition.errors import ArtifactError, DamagedError
from expedition.recording import layout, outcomes
from expedition.recording.artifacts import check_name
from expedition.recording.files import dump_pretty, replace_file
from expedition.recording.plain_files import open_plain
from expedition.recording.store import flatten, nest
from expedition.values import dumps

PREPARED = f"{layout.META_FILE}.tmp-edit"
"""The meta file that an edit is about to put into place."""

COMPLETED = "complete"
"""The operation that stands before the first edit of a run that had not written its end."""


@dataclass
class Edited:
    """What operations do, or did, to a run.

    Attributes
    ----------
    changes : those that change something. unchanged : texts of operations that change nothing.
    lacking : why others cannot be done. met : operations whose name the run had.
    """

    changes: list[Change] = field(default_factory=list)
    met: set[Operation] = field(default_factory=set)
    unchanged: list[str] = field(default_factory=list)
    lacking: list[str] = field(default_factory=list)


def editable_of(record: RunRecord, annotated: Collection[str] = ()) -> Editable:
    """Return the parts of a record that may be changed. Raises `DamagedError`."""
    if record.data_problem:  # an edit would make a data file of the journal, without a word
        raise DamagedError(record.data_problem)
    return Editable(
        experiment=record.experiment,
        parameters=dict(record.meta["parameters"]),
        data=dict(record.tagged_data),
        tags=record.tags,
        notes=record.notes,
        annotations=record.annotations,
        annotated=annotated,
    )


def apply_operations(run: Editable, operations: Sequence[Operation]) -> Edited:
    """Do operations to the parts of a record, one after the other. Raises `ExperimentError` as they do."""
    found = Edited()
    for operation in operations:
        if operation.name and operation.has_name(run):
            found.met.add(operation)
        try:
            change = operation.apply(run)
        except LackingError as problem:
            found.lacking.append(f"{operation.text}: {problem}")
            continue
        if change is None:
            found.unchanged.append(operation.text)
        else:
            found.changes.append(change)
    return found


def edit_run(record: RunRecord, operations: Sequence[Operation], annotated: Collection[str] = ()) -> Edited:
    """Change the files of a run that has ended; return what was done. A run that nothing changes is not written.

    A run that died first gets what its journal has as the files of its end, with the status ``crashed``.

    Raises `DamagedError`, `OSError`, and `ExperimentError` as the operations do.
    """
    finish_edit(record.path)
    record = RunRecord(record.path, sweep=record.sweep_path)
    run = editable_of(record, annotated)
    before = dumps(nest(run.data))
    found = apply_operations(run, operations)
    if not found.changes:
        return found
    meta, now = dict(record.meta), datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    edits = list(meta.get("edits", ()))
    completes = is_open(meta)
    if completes:
        edits.append({"time": now, "operation": COMPLETED, **_complete(meta, record)})
    meta.update(parameters=run.parameters, tags=run.tags, notes=run.notes)
    if run.annotations or "annotations" in meta:
        meta["annotations"] = run.annotations
    for change in found.changes:
        edits.append(
            {"time": now, "operation": change.operation, "before": change.before, "after": change.after}
        )
    meta["format_version"] = version_to_write(meta)
    meta.pop("edits", None)
    meta["edits"] = edits
    content = dump_pretty(meta)
    data = nest(run.data)
    if completes or dumps(data) != before:
        replace_file(record.path / PREPARED, content, durable=True)
        replace_file(record.path / layout.DATA_FILE, dump_pretty(data), durable=True)
        os.replace(record.path / PREPARED, record.path / layout.META_FILE)
    else:
        replace_file(record.path / layout.META_FILE, content, durable=True)
    return found


def finish_edit(folder: Path) -> bool:
    """Put right what a kill in the middle of an edit left of a run folder; return whether there was something.

    Where the data file has its new values the edit is completed, otherwise it was never made. Raises `OSError`.
    """
    prepared = folder / PREPARED
    if not prepared.is_file():
        return False
    if _is_made(folder, prepared):
        os.replace(prepared, folder / layout.META_FILE)
    else:
        prepared.unlink()
    return True


def _is_made(folder: Path, prepared: Path) -> bool:
    """Whether the data file is the one that belongs to a prepared meta file."""
    try:
        meta, edits = load_meta(folder), load_json(prepared)["edits"]
        data = dict(flatten(load_json(folder / layout.DATA_FILE)))
        expected: dict[str, Any] = {}
        for edit in edits[len(meta.get("edits", ())) :]:
            expected.update(dict.fromkeys(edit["before"]))
            expected.update({path: [value] for path, value in edit["after"].items()})
    except (DamagedError, FileNotFoundError, KeyError, TypeError, AttributeError):
        return False
    wanted = {path[5:]: value for path, value in expected.items() if path.startswith("data/")}
    return all(
        dumps(data.get(path)) == dumps(value[0]) if value else path not in data
        for path, value in wanted.items()
    )


def _complete(meta: dict[str, Any], record: RunRecord) -> dict[str, Any]:
    """Put into a meta file what the end of the run would have put there; return what that changes."""
    status = record.status if meta["status"] == outcomes.RUNNING else meta["status"]
    journal = replay(record.path)
    artifacts = [entry for entry in map(_measured(record.path), journal.artifacts.values()) if entry]
    before = {"status": meta["status"]}
    meta["status"] = status
    for name, content in (
        ("series", journal.series),
        ("artifacts", artifacts),
        ("derived", journal.derived),
        ("annotations", journal.annotations),
        ("inputs", journal.inputs),
    ):
        if content:
            meta[name] = content
    return {"before": before, "after": {"status": status}}


def _measured(folder: Path) -> Any:
    """Give what adds size and hash to the entry of an artifact that was still open when the run died."""

    def entry_of(entry: dict[str, Any]) -> dict[str, Any] | None:
        if "sha256" in entry:
            return entry
        with (
            contextlib.suppress(OSError, ArtifactError),
            open_plain(folder / check_name(entry["name"])) as file,
        ):
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return {"name": entry["name"], "size": file.tell(), "sha256": digest, "kind": "file"}
        return None

    return entry_of
