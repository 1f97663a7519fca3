"""One run whole, for programs: everything that is known of it, exactly."""

from __future__ import annotations

from typing import Any

from expedition.reporting.run_contents import RunContents, place_of

__all__ = ["run_document"]


def run_document(contents: RunContents) -> dict[str, Any]:
    """Return a run as strict JSON: values are tagged JSON as in its files, of the log there are the last lines.

    Large arrays and pictures are named by the files that they are in, relative to `folder`.
    """
    record, meta = contents.record, contents.record.meta
    lines, left_out = contents.log_end
    series: dict[str, Any] = {}
    for name, about in contents.series_list.items():
        entries = contents.entries(name)
        series[name] = {
            **about,
            "n": len(entries),
            "step": [step for step, _, _ in entries],
            "time": [time for _, time, _ in entries],
            "value": [value for _, _, value in entries],
        }
    content = {
        "experiment": record.experiment,
        "id": record.id,
        "status": record.status,
        "started": record.started.isoformat(),
        "stopped": record.stopped.isoformat() if record.stopped else None,
        "duration": record.duration,
        "key": record.key,
        "index": record.index,
        "replicate": record.replicate,
        "attempt": record.attempt,
        "sweep": record.sweep,
        "namespace": record.namespace,
        "path": place_of(record),
        "folder": str(record.path),
        "testing": record.testing,
        "about": meta["experiment"],
        "outcome": meta["outcome"],
        "error": record.error._asdict() if record.error else None,
        "parameters": contents.about_parameters,
        "derived": contents.tagged_derived,
        "data": contents.tagged_data,
        "annotations": contents.annotations,
        "series": series,
        "artifacts": contents.artifacts,
        "children": [
            {"experiment": child.experiment, "id": child.id, "status": child.status, "path": place_of(child)}
            for child in contents.children
        ],
        "attempts": [
            {
                "attempt": earlier.attempt,
                "status": earlier.status,
                "started": earlier.started.isoformat(),
                "duration": earlier.duration,
                "error": earlier.error._asdict() if earlier.error else None,
            }
            for earlier in record.attempts
        ],
        "tags": record.tags,
        "notes": record.notes,
        "edits": record.edits,
        "repeats": record.repeats,
        "code": record.code,
        "inputs": record.inputs,
        "seed": record.seed,
        "rng": meta.get("rng"),
        "process": meta["process"],
        "versions": meta.get("versions", {}),
        "provenance": contents.provenance or None,
        "log": {"lines": lines, "left_out": left_out},
    }
    return {**content, "unreadable": list(dict.fromkeys(contents.problems))}
