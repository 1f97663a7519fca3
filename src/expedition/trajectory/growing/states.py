"""The states of columns while rows are added: as they were, and as they become."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from expedition.trajectory.file import format as fmt
from expedition.trajectory.growing.splice import prune, write_rows
from expedition.trajectory.writing.writer import FileWriter

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


class States:
    """The states of the columns in the file of `writer`, by the HDF5 paths of the columns."""

    def __init__(self, writer: FileWriter) -> None:
        self._writer = writer
        self._file = writer.file
        self._known: dict[str, Array | None] = {}

    def before(self, at: str) -> Array | None:
        """Return the states of the column at an HDF5 path as they were, None when all cells are plain values."""
        path = f"{fmt.STATE}/{at}"
        if path not in self._known:
            self._known[path] = self._file[path][:] if path in self._file else None
        return self._known[path]

    def put(self, at: str, rows: Array, codes: Array) -> Array:
        """Give the ascending `rows` their states; return the states of all rows."""
        import numpy as np

        path, old = f"{fmt.STATE}/{at}", self.before(at)
        states = np.full(self._writer.n_runs, fmt.VALUE, np.uint8)
        if old is not None:
            states[: len(old)] = old
        states[rows] = codes
        plain = bool((states == fmt.VALUE).all())
        if old is None:
            self._writer.state(at, states)  # nothing when all are plain
        elif plain:
            self._writer.remove(path)
            prune(self._file, path)
        else:
            dataset = self._file[path]
            dataset.resize(len(states), axis=0)
            write_rows(dataset, rows, states[rows])
        return states
