"""The rows that are new or replaced, and a file of their own in which their arrays and series are laid out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from expedition.trajectory.file.array_source import ArraySource
from expedition.trajectory.writing.gather import Gathered, RunFolders
from expedition.trajectory.writing.leaves import LeafWriter
from expedition.trajectory.writing.writer import FileWriter

if TYPE_CHECKING:
    import h5py
    import numpy as np


class NewRows:
    """The new rows of a trajectory, as rows 0, 1, … of a file apart.

    Attributes
    ----------
    rows : int64, ascending: which rows they are in the trajectory. places : the other way round.
    table : what the runs recorded, by rows of the trajectory. folders : their run folders, by rows of `file`.
    writer, leaves : write into `file`.
    """

    def __init__(
        self, file: h5py.File, rows: np.ndarray[Any, Any], table: Gathered, folders: RunFolders
    ) -> None:
        self.file = file
        self.rows = rows
        self.places = {row: place for place, row in enumerate(rows.tolist())}
        self.table = table
        self.folders = _Folders(rows.tolist(), folders)
        self.writer = FileWriter(file, len(rows))
        self.leaves = LeafWriter(self.writer, table.spill, ArraySource(table.spill, self.folders))

    def failed(self) -> list[tuple[int, str]]:
        """Return the cells that could not be read, by rows of the trajectory."""
        return [(int(self.rows[place]), reason) for place, reason in self.leaves.failed]


class _Folders(RunFolders):
    def __init__(self, rows: list[int], folders: RunFolders) -> None:
        self._rows = rows
        self._folders = folders

    def __getitem__(self, row: int) -> Path:
        return self._folders[self._rows[row]]
