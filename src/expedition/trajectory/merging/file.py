"""Writes a merged trajectory: the columns of its inputs, what is said of them, and where they come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from expedition.trajectory.file import format as fmt
from expedition.trajectory.file.stored import Spill
from expedition.trajectory.merging.leaves import MergedLeaves
from expedition.trajectory.merging.notes import write_notes
from expedition.trajectory.merging.plan import MergePlan
from expedition.trajectory.merging.runs import texts_of, write_runs
from expedition.trajectory.merging.series import write_all_series
from expedition.trajectory.writing.finishing import finish_file
from expedition.trajectory.writing.heading import OPEN
from expedition.trajectory.writing.writer import FileWriter
from expedition.values import dumps

if TYPE_CHECKING:
    import h5py


def write_merged(file: h5py.File, plan: MergePlan, spill: Spill) -> None:
    """Write everything into the new file; memory grows with the number of scalars, not with arrays and series."""
    import h5py

    writer = FileWriter(file, plan.n_runs)
    leaves = MergedLeaves(writer, plan, spill)
    for branch in (*fmt.BRANCHES, fmt.SERIES, fmt.RUNS):
        file.require_group(branch)
    leaves.parameters()
    for branch in (fmt.DERIVED, fmt.RESULTS, fmt.CONFIG):
        leaves.branch(branch)
    leaves.schema.update(write_all_series(writer, plan, spill))
    write_runs(writer, plan)
    notes = write_notes(writer, leaves.schema, plan)
    file.create_dataset(fmt.SOURCES, data=dumps(plan.sources), dtype=h5py.string_dtype())
    lists = {"explored": _explored(plan, leaves.schema)}
    if plan.identity:
        lists["identity"] = plan.identity
    finish_file(writer, leaves.schema, notes, _attributes(plan), lists)


def _attributes(plan: MergePlan) -> dict[str, Any]:
    import numpy as np

    inputs = [part.store.attrs for part in plan.parts]
    sweeps = {str(source.get("sweep_id", "")) for source in plan.sources}
    return {
        "complete": np.int8(OPEN.isdisjoint(texts_of(plan, "status"))),
        "created": min(str(attrs.get("created", "")) for attrs in inputs),
        "modified": max(str(attrs.get("modified", "")) for attrs in inputs),
        "title": next((str(a["title"]) for a in reversed(inputs) if a.get("title")), ""),
        "experiment": str(inputs[0].get("experiment", "")),
        "sweep_id": sweeps.pop() if len(sweeps) == 1 else "",
        "n_sources": np.int64(len(plan.sources)),
    }


def _explored(plan: MergePlan, schema: dict[str, dict[str, Any]]) -> list[str]:
    """Return the names of the swept parameters: those of the inputs, then those that only differ between inputs."""
    swept = [
        entry["name"]
        for path, entry in schema.items()
        if path.startswith(f"{fmt.PARAMETERS}/") and entry["swept"]
    ]
    named = [name for part in plan.parts for name in part.store.attrs.get("explored", [])]
    return [name for name in dict.fromkeys([*named, *swept]) if name in swept]
