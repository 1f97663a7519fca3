"""Merges trajectories: their runs, by identity, in one new file that stands for itself."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from expedition.archive.sweep import SweepFolder
from expedition.errors import DamagedError, MergeError, RecordNotFoundError
from expedition.recording import layout
from expedition.trajectory.file.output import open_output
from expedition.trajectory.file.publish import check_free, replacing, reserve_checksum, seal
from expedition.trajectory.file.stored import Spill
from expedition.trajectory.merging.file import write_merged
from expedition.trajectory.merging.plan import Input, open_input, plan_merge
from expedition.trajectory.reading.run_set import RunSet


def merge_files(
    trajectories: Iterable[Path | str | RunSet],
    to: Path | str,
    *,
    remove_duplicates: bool = True,
    trial: str | None = None,
    fill: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the runs of trajectories to the new file `to`; return its path. `merge` says what that means."""
    target = Path(to)
    inputs: list[Input] = []
    try:
        for trajectory in trajectories:
            inputs.append(open_input(trajectory))
        _check_target(target, inputs, overwrite=overwrite)
        plan = plan_merge(
            inputs, target.parent, remove_duplicates=remove_duplicates, trial=trial, fill=fill or {}
        )
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target, overwrite=overwrite) as temporary, closing(Spill(target.parent)) as spill:
            with open_output(temporary, "w") as file:
                checksum = reserve_checksum(file)
                write_merged(file, plan, spill)
            seal(temporary, checksum)
    finally:
        for each in inputs:
            if each.owned:
                each.store.close()
    return target


def sweeps_of(folder: Path | str) -> list[Path]:
    """Return the sweep folders that stand in the folder of a namespace, oldest first.

    Raises `RecordNotFoundError` when there are none, or when one has no trajectory.
    """
    root = Path(folder)
    if not root.is_dir():
        raise RecordNotFoundError(f"there is no folder {root}")
    found = []
    for entry in sorted(os.scandir(root), key=lambda entry: entry.name):
        path = Path(entry.path)
        with suppress(DamagedError, NotADirectoryError):
            sweep = SweepFolder.open(path)
            if not (path / layout.TRAJECTORY_FILE).is_file():
                raise RecordNotFoundError(
                    f"the sweep {path} has no {layout.TRAJECTORY_FILE}: write it with "
                    "expedition.trajectory.compile_trajectory(sweep_folder), or move the sweep elsewhere"
                )
            found.append((str(sweep.manifest.get("created", "")), path))
    if not found:
        raise RecordNotFoundError(
            f"{root} holds no sweep; give the folder of one namespace, such as results/exp_ridge"
        )
    return [path for _, path in sorted(found)]


def _check_target(target: Path, inputs: Iterable[Input], *, overwrite: bool) -> None:
    if target.is_dir():
        raise MergeError(
            f"{target} is a folder: name the file that is to be written, such as {target / 'merged.h5'}"
        )
    if target.name == layout.TRAJECTORY_FILE and (target.parent / layout.SWEEP_FILE).exists():
        raise MergeError(
            f"{target} is the trajectory of a sweep, which is compiled from its runs: give another name"
        )
    for each in inputs:
        if target.exists() and os.path.samefile(target, each.store.path):
            raise MergeError(f"{target} is one of the trajectories that are merged: give another name")
    if not overwrite:
        check_free(target)
