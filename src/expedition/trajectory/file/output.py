"""Opens HDF5 files for writing so that a disk that refuses them costs the file, not the process.

HDF5 keeps what it could not write, tries again when the process ends, and crashes there. So it writes through a
stream that never refuses: what the disk does not take is kept in memory, and the error is raised at the end.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import h5py

_SMALL = 64 << 10
"""Bytes of a block that may be one of HDF5's own, which it reads again; larger ones are data."""
_MOST_KEPT = 64 << 20
"""Bytes that are kept for HDF5 to read again."""


@contextlib.contextmanager
def open_output(path: Path, mode: Literal["w", "r+"]) -> Iterator[h5py.File]:
    """Open an HDF5 file for writing: a new one (`w`), or one that nobody else has open (`r+`).

    Raises `OSError` when the disk refuses a part of it, at the latest when it is closed.
    """
    import h5py

    stream = _Stream(path, mode)
    try:
        with h5py.File(stream, mode, libver=("earliest", "v110")) as file:
            yield file
    except Exception as error:
        if stream.refused is not None:  # what comes after it is of no interest
            raise stream.refused from error
        raise
    finally:
        stream.close()
    if stream.refused is not None:
        raise stream.refused


class _Stream:
    """A file as h5py takes it, of which no write fails.

    Attributes
    ----------
    refused : the first error of the disk; from then on nothing is written.
    """

    def __init__(self, path: Path, mode: str) -> None:
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT | os.O_TRUNC if mode == "w" else 0)
        self._path = path
        self._descriptor = os.open(path, flags, 0o666)
        self._size = os.fstat(self._descriptor).st_size
        self._position = 0
        self._kept: dict[int, bytes] = {}
        self._kept_bytes = 0
        self.refused: OSError | None = None

    def read(self, size: int = -1) -> bytes:
        """Return bytes; by this method h5py knows a file."""
        block = bytearray(max(self._size - self._position, 0) if size < 0 else size)
        return bytes(block[: self.readinto(block)])

    def readinto(self, block: bytearray | memoryview) -> int:
        """Read as many bytes as `block` has; what is not there is zero."""
        view = memoryview(block).cast("B")
        first, last = self._position, self._position + len(view)
        self._position = last
        done = 0
        while done < len(view):
            found = os.pread(self._descriptor, len(view) - done, first + done)
            if not found:
                view[done:] = bytes(len(view) - done)
                break
            view[done : done + len(found)] = found
            done += len(found)
        for start, kept in self._kept.items():
            low, high = max(start, first), min(start + len(kept), last)
            if low < high:
                view[low - first : high - first] = kept[low - start : high - start]
        return len(view)

    def write(self, block: bytes | memoryview) -> int:
        """Write a block, or keep it when the disk refuses."""
        view = memoryview(block).cast("B")
        start = self._position
        self._position += len(view)
        self._size = max(self._size, self._position)
        if self.refused is None:
            try:
                done = 0
                while done < len(view):
                    done += os.pwrite(self._descriptor, view[done:], start + done)
            except OSError as error:
                self._refuse(error)
        if self.refused is not None:
            self._keep(start, bytes(view))
        return len(view)

    def _keep(self, start: int, block: bytes) -> None:
        self._kept_bytes -= len(self._kept.pop(start, b""))  # later blocks lie above earlier ones
        if len(block) <= _SMALL and self._kept_bytes + len(block) <= _MOST_KEPT:
            self._kept[start] = block
            self._kept_bytes += len(block)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position."""
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = origin + offset
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def truncate(self, size: int | None = None) -> int:
        """Give the file another size."""
        self._size = self._position if size is None else size
        if self.refused is None:
            try:
                os.ftruncate(self._descriptor, self._size)
            except OSError as error:
                self._refuse(error)
        return self._size

    def flush(self) -> None:
        """Do nothing: every write reaches the system at once."""

    def close(self) -> None:
        """Close the file."""
        # What HDF5 may still write must not go to whoever gets the number of this descriptor next.
        descriptor, self._descriptor = self._descriptor, -1
        try:
            os.close(descriptor)
        except OSError as error:  # some network file systems tell only now
            self._refuse(error)

    def _refuse(self, error: OSError) -> None:
        if self.refused is None:
            error.filename = str(self._path)
            self.refused = error
