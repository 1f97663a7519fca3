"""An HDF5 file that may come from anyone: nothing leads out of it, and a claim is checked before it is read."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expedition.errors import ClosedError, SelectionError, TrajectoryFormatError
from expedition.recording.plain_files import open_plain
from expedition.trajectory.file.claims import selected, text_bytes
from expedition.trajectory.file.heaps import WHOLE, endless_heap
from expedition.trajectory.file.publish import checksum_place, is_whole

if TYPE_CHECKING:
    import h5py
    import numpy as np

HDF5_ERRORS = (
    OSError,
    RuntimeError,
    ValueError,
    TypeError,
    AttributeError,
    NotImplementedError,
    MemoryError,
)
"""What h5py raises for what is wrong in a file."""
_FLOOR = 256 << 20
FACTOR = 1100
"""Deflate packs at most 1,032 bytes into one; a dataset that claims more was not written by anyone honest."""
REMEDY = (
    "rebuild it from the run folders with pytest --archive-repair, or with "
    "expedition.trajectory.compile_trajectory(sweep_folder)"
)


class GuardedFile:
    """A file that is open for reading; every error for what is wrong in it names it and the remedy.

    Attributes
    ----------
    path : the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: h5py.File | None = None
        self._size = 0
        self._datasets: dict[str, h5py.Dataset] = {}
        self._groups: dict[str, h5py.Group] = {}
        self._attrs: dict[str, dict[str, Any]] = {}

    def _open(self, size: int) -> None:
        """Open the file that is at `path` now, which has `size` bytes, in the place of one that is open."""
        import h5py

        self._check_plain()
        try:
            file = h5py.File(self.path, "r", locking="best-effort")
        except OSError as error:
            raise TrajectoryFormatError(
                f"{self.path} is truncated, damaged or no HDF5 file ({error}): {REMEDY}"
            ) from error
        try:
            self._check_heaps(file, size)
        except BaseException:
            file.close()
            raise
        self.close()
        self._file = file
        self._size = size

    def _check_plain(self) -> None:
        """Raise `TrajectoryFormatError` for what is no file: HDF5 would wait for a pipe."""
        try:
            open_plain(os.path.realpath(self.path)).close()
        except OSError as error:
            raise self.damaged("it cannot be read", error) from error

    def _check_heaps(self, file: h5py.File, size: int) -> None:
        """Raise `TrajectoryFormatError` for damage on which HDF5 would hang as soon as it reads a text."""
        place = checksum_place(file)
        try:
            if size <= WHOLE and place is not None and is_whole(self.path, place):
                return  # that is told faster than by looking at every text
            endless = endless_heap(self.path)
        except OSError as error:
            raise self.damaged("it cannot be read", error) from error
        if endless is not None:
            raise self.damaged(
                f"the texts at byte {endless:,} are damaged so that HDF5 would read them for ever"
            )

    def verify(self) -> None:
        """Raise `TrajectoryFormatError` unless the file at `path` is byte for byte what was written."""
        import h5py

        self._check_plain()
        try:
            with h5py.File(self.path, "r", locking="best-effort") as file:
                place = checksum_place(file)
            whole = place is not None and is_whole(self.path, place)
        except OSError as error:
            raise self.damaged("it is truncated, damaged or cannot be read", error) from error
        if place is None:
            raise self.damaged("it has no checksum, so that nothing tells whether it is what was written")
        if not whole:
            raise self.damaged("it is not what was written: its bytes have another checksum")

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
        self._file = None
        self._datasets.clear()
        self._groups.clear()
        self._attrs.clear()

    @property
    def is_open(self) -> bool:
        """Whether the file is open."""
        return self._file is not None

    @property
    def file(self) -> h5py.File:
        """The open file; raises `ClosedError` once it is closed."""
        if self._file is None:
            raise ClosedError(
                f"the trajectory {self.path} is closed: read inside of its with block, or call refresh()"
            )
        return self._file

    def damaged(self, what: str, error: BaseException | None = None) -> TrajectoryFormatError:
        """Return the error for something in the file that is not as it should be."""
        reason = f" ({error})" if error is not None else ""
        return TrajectoryFormatError(f"{self.path}: {what}{reason}: {REMEDY}")

    # datasets ----------------------------------------------------------------------------------------------

    def has(self, path: str) -> bool:
        """Tell whether there is a node at an HDF5 path."""
        parent, _, name = path.rpartition("/")
        try:
            group = self._group(parent)
            return group is not None and self._is_there(group, name, path)
        except TrajectoryFormatError:
            raise
        except (KeyError, *HDF5_ERRORS) as error:
            if self._file is None:
                raise
            raise self.damaged(f"/{path} cannot be looked for", error) from error

    def _group(self, path: str) -> h5py.Group | None:
        """Return the group at a path, None when there is no group; no link but hard ones is followed."""
        import h5py

        if not path:
            return self.file
        found = self._groups.get(path)
        if found is None:
            parent, _, name = path.rpartition("/")
            above = self._group(parent)
            if above is None or not self._is_there(above, name, path):
                return None
            found = above[name]
            if not isinstance(found, h5py.Group):
                return None
            self._groups[path] = found
        return found

    def _is_there(self, group: h5py.Group, name: str, path: str) -> bool:
        import h5py

        link = group.get(name, getlink=True)
        if link is not None and not isinstance(link, h5py.HardLink):
            raise self.damaged(f"/{path} leads out of the file or elsewhere, which is refused")
        return link is not None

    def dataset(self, path: str) -> h5py.Dataset:
        """Return the dataset at an HDF5 path, after checking that it holds its own data, and not too much."""
        import h5py

        _ = self.file
        found = self._datasets.get(path)
        if found is not None:
            return found
        try:
            parent, _, name = path.rpartition("/")
            group = self._group(parent)
            if group is None or not self._is_there(group, name, path):
                raise self.damaged(f"/{path} is not there")
            node: Any = group[name]
            if not isinstance(node, h5py.Dataset):
                raise self.damaged(f"/{path} is no dataset")
            if node.dtype.kind == "O":  # before anything else: HDF5 would turn a fill value of that type, too
                self._check_text(path, node.dtype)
            if node.external or node.is_virtual:
                raise self.damaged(f"/{path} has its data in other files, which is refused")
            if node.chunks:
                self.check_size(path, math.prod(node.chunks) * node.dtype.itemsize)
        except TrajectoryFormatError:
            raise
        except KeyError as error:
            raise self.damaged(f"/{path} is not there", error) from error
        except HDF5_ERRORS as error:
            raise self.damaged(f"/{path} cannot be read", error) from error
        self._datasets[path] = node
        return node

    def node_attrs(self, path: str) -> dict[str, Any]:
        """Return the attributes of the dataset at a path, but for those of the dimensions."""
        if path not in self._attrs:
            skipped = ("DIMENSION_LIST", "REFERENCE_LIST", "CLASS", "NAME")
            dataset = self.dataset(path)
            try:
                self._attrs[path] = self._attributes(dataset, path, skipped)
            except TrajectoryFormatError:
                raise
            except (KeyError, *HDF5_ERRORS) as error:
                raise self.damaged(f"the attributes of /{path} cannot be read", error) from error
        return self._attrs[path]

    def _attributes(self, node: Any, path: str, skipped: tuple[str, ...] = ()) -> dict[str, Any]:
        """Return the attributes of a node but for references. An array of texts may name one text often."""
        import h5py

        found = {}
        for name in node.attrs:
            if name in skipped:
                continue
            about = node.attrs.get_id(name)
            if about.dtype.kind == "O":
                if h5py.check_ref_dtype(about.dtype) is not None:
                    continue
                self._check_text(f"{path}@{name}", about.dtype)
                self.check_size(f"{path}@{name}", math.prod(about.shape) * self._size)
            found[name] = plain(node.attrs[name])
        return found

    def _check_text(self, path: str, dtype: np.dtype[Any]) -> None:
        """Raise `TrajectoryFormatError` for objects that are no text: HDF5 crashes on some that are damaged."""
        import h5py

        if h5py.check_string_dtype(dtype) is None:
            raise self.damaged(f"/{path} is no text")

    def check_size(self, path: str, size: int) -> None:
        """Raise `TrajectoryFormatError` for a read of `size` bytes that this file cannot hold."""
        if size > _FLOOR + FACTOR * self._size:
            raise TrajectoryFormatError(
                f"{self.path}: /{path} claims {size:,} bytes, more than a file of {self._size:,} bytes "
                "can hold; read a part of it, or do not trust this file"
            )

    def read(self, path: str, selection: Any) -> Any:
        """Return part of a dataset as numpy gives it; `selection` as h5py takes it, ``...`` for all of it."""
        dataset = self.dataset(path)
        try:
            self._check_claim(path, dataset, selection)
            return dataset[selection]
        except TrajectoryFormatError:
            raise
        except (IndexError, *HDF5_ERRORS) as error:
            if isinstance(selection, tuple) and isinstance(error, IndexError | ValueError | TypeError):
                # One of the caller's that does not fit the array
                raise SelectionError(
                    f"{self.path}: the indices {selection} do not fit /{path} of shape {dataset.shape}: {error}"
                ) from None
            raise self.damaged(f"/{path} cannot be read", error) from error

    def _check_claim(self, path: str, dataset: h5py.Dataset, selection: Any) -> None:
        """Raise `TrajectoryFormatError` when a selection would take more than this file can hold."""
        count = selected(dataset.shape, selection)
        self.check_size(path, count * dataset.dtype.itemsize)
        size = self._size
        # The text of a scalar is one that stands in the file.
        if dataset.dtype.kind != "O" or not dataset.ndim or count * size <= _FLOOR:
            return
        if dataset.ndim != 1:
            raise self.damaged(f"/{path} has texts of shape {dataset.shape}")
        rows = selection if isinstance(selection, slice) else slice(None)
        first, last, _ = rows.indices(len(dataset))
        written, filled = text_bytes(dataset, first, last)
        if written > size:  # every text stands in the file by itself
            raise self.damaged(f"the texts of /{path} claim {written:,} bytes in a file of {size:,} bytes")
        self.check_size(path, filled)

    def read_text(self, path: str, selection: Any = ...) -> list[str]:
        """Return texts of a column, be they characters or of variable length, as a list."""
        import h5py

        dataset = self.dataset(path)
        same = self._one_text(path, dataset, selection)
        if same is not None:
            return same
        raw = self.read(path, selection)
        try:
            if h5py.check_string_dtype(dataset.dtype) is None or dataset.dtype != "S1" or dataset.ndim < 2:
                return [cell.decode("utf-8") for cell in raw.reshape(-1).tolist()]
            width = dataset.shape[1]
            joined = raw.reshape(-1, width).view(f"S{width}").reshape(-1)
            return [cell.decode("utf-8") for cell in joined.tolist()]
        except (ValueError, TypeError, AttributeError) as error:
            raise self.damaged(f"/{path} is no text", error) from error

    def _one_text(self, path: str, dataset: h5py.Dataset, selection: Any) -> list[str] | None:
        """Return the texts of a column of which no chunk was written, so that all are its fill value."""
        if dataset.dtype.kind != "O" or dataset.ndim != 1 or not dataset.chunks:
            return None
        try:
            if dataset.id.get_num_chunks() or not isinstance(dataset.fillvalue, bytes):
                return None
            count = selected(dataset.shape, selection)
            self.check_size(path, count * len(dataset.fillvalue))
            return [dataset.fillvalue.decode("utf-8")] * count
        except TrajectoryFormatError:
            raise
        except HDF5_ERRORS as error:
            raise self.damaged(f"/{path} cannot be read", error) from error


def plain(value: Any) -> Any:
    """Return an attribute as Python has it: text instead of bytes, lists instead of arrays of text."""
    import numpy as np

    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, np.ndarray) and value.dtype.kind in "OSUT":
        return [plain(item) for item in value.reshape(-1).tolist()]
    return value
