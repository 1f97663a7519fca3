"""Brings a sweep folder into order: lost commit lines are written again, and the trajectory is compiled anew."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path

from expedition.archive.migration import Migrated, migrate_sweep
from expedition.archive.restore import restore_lines
from expedition.archive.sweep import SweepFolder
from expedition.errors import DamagedError, reason_of
from expedition.trajectory.compile import compile_trajectory


@dataclass(frozen=True)
class Repair:
    """What was done for one sweep folder.

    Attributes
    ----------
    path : the folder. runs : how many runs had begun. lines : commit lines that were written again.
    compiled : whether the trajectory was written. problems : what could not be repaired.
    migrated : how many folders were brought into the form of now, by what was done to them.
    """

    path: Path
    runs: int = 0
    lines: int = 0
    compiled: bool = False
    problems: list[str] = field(default_factory=list)
    migrated: dict[str, int] = field(default_factory=dict)


def repair_sweep(path: Path, *, busy: bool = False) -> Repair:
    """Make the trajectory of a sweep folder anew from its run folders and what is whole of its commit logs.

    A run that has ended and that no log knows any more gets its line again, in a log of its own, unless the sweep
    is `busy`: then its own processes may be about to write it. What an earlier version wrote in another form is brought
    into that of now. Nothing is removed, and no other run folder is changed. What is wrong is told, not raised.
    """
    older = Migrated() if busy else migrate_sweep(path)
    try:
        sweep = SweepFolder.open(path)
        found = restore_lines(sweep, write=not busy)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            compile_trajectory(sweep)
    except (DamagedError, OSError) as error:
        return Repair(path, problems=[*older.problems, reason_of(error)], migrated=older.counts)
    messages = [str(warning.message) for warning in caught if "cannot be read" in str(warning.message)]
    problems = list(dict.fromkeys([*older.problems, *found.losses, *messages]))
    return Repair(path, found.runs, found.lines, True, problems, older.counts)
