"""What stands where a trajectory was looked for, and what to do about it."""

from __future__ import annotations

import os
from pathlib import Path

from expedition.archive.liveness import is_held
from expedition.archive.sweep import SweepFolder
from expedition.errors import DamagedError, RecordNotFoundError, near_matches
from expedition.recording import layout

_SHOWN = 5


def no_trajectory(path: Path) -> RecordNotFoundError:
    """Return the error for a trajectory file that is not there."""
    folder = path.parent
    if path.name != layout.TRAJECTORY_FILE or not folder.is_dir():
        beside = os.listdir(folder) if folder.is_dir() else ()
        return RecordNotFoundError(
            f"there is no trajectory {path}: no file or folder of that name{near_matches(path.name, beside)}"
        )
    if (folder / layout.SWEEP_FILE).is_file():
        return RecordNotFoundError(f"there is no trajectory {path}: {_of_sweep(folder)}")
    sweeps = _sweeps_in(folder)
    if not sweeps:
        return RecordNotFoundError(
            f"there is no trajectory {path}: {folder} is neither a sweep folder nor one that holds sweeps, such as "
            "results/exp_ridge"
        )
    shown = ", ".join(map(str, sweeps[-_SHOWN:]))
    more = f"the last {_SHOWN} of {len(sweeps):,}, " if len(sweeps) > _SHOWN else ""
    return RecordNotFoundError(
        f"there is no trajectory {path}: {folder} holds sweeps; open one of them ({more}newest last: {shown}), or "
        "merge them with expedition.trajectory.merge_folder"
    )


def _of_sweep(folder: Path) -> str:
    """Say why a sweep folder has no trajectory."""
    if any(map(is_held, (folder / layout.JOURNALS_FOLDER).glob("*.lock"))):
        return (
            "the sweep is running; its first snapshot is due experiment_snapshot_interval (30 seconds, if the project "
            "says nothing else) after its start, once a run has ended, or when the sweep ends"
        )
    return f"write it from the run folders with pytest --archive-repair {folder}"


def _sweeps_in(folder: Path) -> list[Path]:
    """Return the sweep folders in a folder, oldest first."""
    found = []
    for entry in folder.iterdir():
        try:
            found.append((str(SweepFolder.open(entry).manifest.get("created", "")), entry))
        except (DamagedError, OSError):
            continue
    return [path for _, path in sorted(found)]
