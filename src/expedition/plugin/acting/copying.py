"""Copying files that another process may be changing: what was copied is looked at once more afterwards.

Nothing is locked: copying must work where nothing may be written, and leaves no trace where it does. An edit replaces
the data file and then the meta file, and announces both by a prepared meta file. So files that are the same before and
after, with no such announcement at the end, belong together.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from expedition.archive.edits import PREPARED
from expedition.archive.liveness import is_held
from expedition.errors import ExperimentError
from expedition.recording import layout

Look = tuple[int, int, int]
"""What tells that a file was replaced or changed."""


def look_of(status: os.stat_result) -> Look:
    """Return what a file looks like from outside."""
    return status.st_ino, status.st_size, status.st_mtime_ns


def refuse_prepared(runs: Iterable[tuple[Path, Path | None]], verb: str) -> None:
    """Raise `ExperimentError` for a run whose edit is not finished; `verb` is what was to be done to it.

    `runs` are the folders of runs, each with its sweep folder.
    """
    for run, sweep in runs:
        if not (run / PREPARED).is_file():
            continue
        if sweep is not None and is_held(sweep / layout.JOURNALS_FOLDER / layout.INVOCATION_LOCK):
            raise ExperimentError(f"{run} cannot be {verb} yet: it is being edited; wait for the end of that")
        raise ExperimentError(
            f"{run} cannot be {verb} yet: an edit of it was killed halfway, and its data may not be those that its "
            f"meta file speaks of; put it right first (--archive-repair, for its archive)"
        )


def refuse_changed(looks: Iterable[tuple[Path, Look]], verb: str) -> None:
    """Raise `ExperimentError` for a file that is not what it was when it was looked at first."""
    for path, look in looks:
        try:
            same = look_of(os.lstat(path)) == look
        except OSError:
            same = False
        if not same:
            raise ExperimentError(
                f"{path} was changed while it was {verb}; wait for the end of what changes it, and begin again"
            )
