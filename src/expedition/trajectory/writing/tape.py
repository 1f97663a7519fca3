"""Writes observations one after another, several chunks at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from expedition.trajectory.file import format as fmt

if TYPE_CHECKING:
    import h5py
    import numpy as np


class Tape:
    """Observations on their way into a dataset.

    `dataset` has room for all of them; `length` is how many it holds so far.
    """

    def __init__(self, dataset: h5py.Dataset) -> None:
        self.dataset = dataset
        self.length = 0
        self._parts: list[np.ndarray[Any, Any]] = []
        self._waiting = 0
        self._nbytes = 0

    def add(self, block: np.ndarray[Any, Any], nbytes: int | None = None) -> None:
        """Take a block of observations; `nbytes` is the size of texts, which the array does not know."""
        self._parts.append(block)
        self._waiting += len(block)
        self._nbytes += block.nbytes if nbytes is None else nbytes
        if self._waiting >= fmt.OBS_CHUNK or self._nbytes >= fmt.MAX_CHUNK_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        import numpy as np

        if self._waiting:
            block = np.concatenate(self._parts) if len(self._parts) > 1 else self._parts[0]
            self.dataset[self.length : self.length + len(block)] = block
            self.length += len(block)
        self._parts, self._waiting, self._nbytes = [], 0, 0
