"""Brings a sweep folder into order: lost commit lines are written again, and the trajectory is compiled anew."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path

from expedition.archive.restore import restore_lines
from expedition.archive.sweep import SweepFolder
from expedition.errors import DamagedError
from expedition.trajectory.compile import compile_trajectory


@dataclass(frozen=True)
class Repair:
    """What was done for one sweep folder.

    Attributes
    ----------
    path : the folder. runs : how many runs had begun. lines : commit lines that were written again.
    compiled : whether the trajectory was written. problems : what could not be repaired.
    """

    path: Path
    runs: int = 0
    lines: int = 0
    compiled: bool = False
    problems: list[str] = field(default_factory=list)


def repair_sweep(path: Path, *, busy: bool = False) -> Repair:
    """Make the trajectory of a sweep folder anew from its run folders and what is whole of its commit logs.

    A run that has ended and that no log knows any more gets its line again, in a log of its own, unless the sweep
    is `busy`: then its own processes may be about to write it. Nothing is removed, and no run folder is changed.
    What is wrong is told, not raised.
    """
    try:
        sweep = SweepFolder.open(path)
        found = restore_lines(sweep, write=not busy)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            compile_trajectory(sweep)
    except (DamagedError, OSError) as error:
        return Repair(path, problems=[str(error)])
    messages = [str(warning.message) for warning in caught if "cannot be read" in str(warning.message)]
    return Repair(path, found.runs, found.lines, True, [*found.losses, *messages])
