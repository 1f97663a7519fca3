"""Opens a trajectory file that may come from anyone: checks it, and every dataset before it is read."""

from __future__ import annotations

import math
import os
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from expedition.errors import DamagedError, RecordNotFoundError, TrajectoryFormatError
from expedition.recording import layout
from expedition.trajectory import format as fmt
from expedition.values import loads

if TYPE_CHECKING:
    import h5py

_HDF5_ERRORS = (
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
_FACTOR = 1100
"""Deflate packs at most 1,032 bytes into one; a dataset that claims more was not written by anyone honest."""
REMEDY = "rebuild it from the run folders with expedition.trajectory.compile_trajectory(sweep_folder)"


class Store:
    """An open trajectory file, read-only.

    Attributes
    ----------
    path : the file. root : the sweep folder it stands in.
    schema : logical path → what ``/_meta/schema`` says of the column. n_runs : number of rows.
    attrs : attributes of the file.
    """

    def __init__(self, path: Path | str) -> None:
        given = Path(path)
        self.path = given / layout.TRAJECTORY_FILE if given.is_dir() else given
        self.root = self.path.parent
        self._file: h5py.File | None = None
        self._stamp: tuple[int, int, int] = (0, 0, 0)
        self._datasets: dict[str, h5py.Dataset] = {}
        self._attrs: dict[str, dict[str, Any]] = {}
        self.schema: dict[str, dict[str, Any]] = {}
        self.attrs: dict[str, Any] = {}
        self.n_runs = 0
        self.open()

    def open(self) -> None:
        """Open the file that is at `path` now, and check it."""
        import h5py

        if not self.path.is_file():
            hint = "" if not self.root.is_dir() else f": {REMEDY}"
            raise RecordNotFoundError(f"there is no trajectory {self.path}{hint}")
        stamp = self._now()  # before opening: a file that comes between is then seen as a new one
        try:
            file = h5py.File(self.path, "r", locking="best-effort")
        except OSError as error:
            raise TrajectoryFormatError(
                f"{self.path} is truncated, damaged or no HDF5 file ({error}): {REMEDY}"
            ) from error
        self.close()
        self._file = file
        self._stamp = stamp
        try:
            self._check()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
        self._file = None
        self._datasets.clear()
        self._attrs.clear()

    @property
    def is_open(self) -> bool:
        """Whether the file is open."""
        return self._file is not None

    def is_replaced(self) -> bool:
        """Tell whether another file has taken the place of the open one."""
        return self._now() != self._stamp

    def _now(self) -> tuple[int, int, int]:
        try:
            stat = os.stat(self.path)
        except OSError:
            return self._stamp
        return stat.st_ino, stat.st_mtime_ns, stat.st_size

    def _check(self) -> None:
        file = self.file
        try:
            self.attrs = {name: plain(file.attrs[name]) for name in file.attrs}
        except (KeyError, *_HDF5_ERRORS) as error:
            raise self.damaged("its attributes cannot be read", error) from error
        if self.attrs.get("format") != fmt.FORMAT:
            raise TrajectoryFormatError(f"{self.path} is an HDF5 file, but no trajectory of Expedition")
        version = str(self.attrs.get("format_version", ""))
        if version.partition(".")[0] != fmt.FORMAT_VERSION.partition(".")[0]:
            raise TrajectoryFormatError(
                f"{self.path} has format version {version or '(none)'}, this Expedition reads "
                f"{fmt.FORMAT_VERSION.partition('.')[0]}.x: read it with a newer pytest-expedition"
            )
        run = self.dataset("run")
        if run.ndim != 1:
            raise self.damaged("/run is not one number for each run")
        self.n_runs = len(run)
        self.check_size("run", run.size * 8)
        try:
            columns = loads(self.read(fmt.SCHEMA, ()))["columns"]
            if not all(isinstance(entry[name], str) for entry in columns.values() for name in ("at", "kind")):
                raise TypeError("an entry says no place or kind")
            # HDF5 lists names by the alphabet; the schema has the order in which the runs made them.
            self.schema = dict(sorted(columns.items(), key=lambda item: int(item[1]["order"])))
        except TrajectoryFormatError:
            raise
        except (DamagedError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise self.damaged(f"/{fmt.SCHEMA} is not its table of columns", error) from error

    @property
    def file(self) -> h5py.File:
        """The open file; raises ValueError once it is closed."""
        if self._file is None:
            raise ValueError(f"the trajectory {self.path} is closed")
        return self._file

    def damaged(self, what: str, error: BaseException | None = None) -> TrajectoryFormatError:
        """Return the error for something in the file that is not as it should be."""
        reason = f" ({error})" if error is not None else ""
        return TrajectoryFormatError(f"{self.path}: {what}{reason}: {REMEDY}")

    # datasets ----------------------------------------------------------------------------------------------

    def has(self, path: str) -> bool:
        """Tell whether there is a node at an HDF5 path."""
        try:
            return path in self.file
        except (KeyError, *_HDF5_ERRORS) as error:
            if self._file is None:
                raise
            raise self.damaged(f"/{path} cannot be looked for", error) from error

    def dataset(self, path: str) -> h5py.Dataset:
        """Return the dataset at an HDF5 path, after checking that it holds its own data, and not too much."""
        import h5py

        file = self.file
        found = self._datasets.get(path)
        if found is not None:
            return found
        try:
            node: Any = file
            for part in path.split("/"):
                link = node.get(part, getlink=True)
                if link is not None and not isinstance(link, h5py.HardLink):
                    raise self.damaged(f"/{path} leads out of the file or elsewhere, which is refused")
                node = node[part]
            if not isinstance(node, h5py.Dataset):
                raise self.damaged(f"/{path} is no dataset")
            if node.external or node.is_virtual:
                raise self.damaged(f"/{path} has its data in other files, which is refused")
            if node.chunks:
                self.check_size(path, math.prod(node.chunks) * node.dtype.itemsize)
        except TrajectoryFormatError:
            raise
        except KeyError as error:
            raise self.damaged(f"/{path} is not there", error) from error
        except _HDF5_ERRORS as error:
            raise self.damaged(f"/{path} cannot be read", error) from error
        self._datasets[path] = node
        return node

    def column(self, path: str) -> h5py.Dataset:
        """Return the dataset of a column, which must have as many rows as there are runs."""
        dataset = self.dataset(path)
        if not dataset.ndim or len(dataset) != self.n_runs:
            raise self.damaged(f"/{path} has the shape {dataset.shape} in a file of {self.n_runs:,} runs")
        return dataset

    def node_attrs(self, path: str) -> dict[str, Any]:
        """Return the attributes of the dataset at a path, but for those of the dimensions."""
        if path not in self._attrs:
            skipped = ("DIMENSION_LIST", "REFERENCE_LIST", "CLASS", "NAME")
            attrs = self.dataset(path).attrs
            try:
                self._attrs[path] = {name: plain(attrs[name]) for name in attrs if name not in skipped}
            except (KeyError, *_HDF5_ERRORS) as error:
                raise self.damaged(f"the attributes of /{path} cannot be read", error) from error
        return self._attrs[path]

    def check_size(self, path: str, size: int) -> None:
        """Raise `TrajectoryFormatError` for a read of `size` bytes that this file cannot hold."""
        if size > _FLOOR + _FACTOR * self._stamp[2]:
            raise TrajectoryFormatError(
                f"{self.path}: /{path} claims {size:,} bytes, more than a file of {self._stamp[2]:,} bytes "
                "can hold; read a part of it, or do not trust this file"
            )

    def read(self, path: str, selection: Any) -> Any:
        """Return part of a dataset as numpy gives it; `selection` as h5py takes it, ``...`` for all of it."""
        dataset = self.dataset(path)
        if selection is Ellipsis:
            self.check_size(path, dataset.size * dataset.dtype.itemsize)
        try:
            return dataset[selection]
        except (IndexError, *_HDF5_ERRORS) as error:
            if isinstance(selection, tuple) and isinstance(error, IndexError | ValueError | TypeError):
                raise  # a selection of the caller's that does not fit the array
            raise self.damaged(f"/{path} cannot be read", error) from error

    def read_text(self, path: str, selection: Any = ...) -> list[str]:
        """Return texts of a column, be they characters or of variable length, as a list."""
        import h5py

        dataset = self.dataset(path)
        raw = self.read(path, selection)
        try:
            if h5py.check_string_dtype(dataset.dtype) is None or dataset.dtype != "S1" or dataset.ndim < 2:
                return [cell.decode("utf-8") for cell in raw.reshape(-1).tolist()]
            width = dataset.shape[1]
            joined = raw.reshape(-1, width).view(f"S{width}").reshape(-1)
            return [cell.decode("utf-8") for cell in joined.tolist()]
        except (ValueError, TypeError, AttributeError) as error:
            raise self.damaged(f"/{path} is no text", error) from error

    # run folders -------------------------------------------------------------------------------------------

    def folder(self, row: int) -> Path:
        """Return the folder of a run, which must lie inside the sweep folder."""
        name = self.read_text(f"{fmt.RUNS}/folder", slice(row, row + 1))[0]
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts or "\\" in name or ":" in name or "\0" in name:
            raise self.damaged(f"the folder {name!r} of run {row} leaves the sweep folder")
        return self.root.joinpath(*pure.parts)


def plain(value: Any) -> Any:
    """Return an attribute as Python has it: text instead of bytes, lists instead of arrays of text."""
    import numpy as np

    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, np.ndarray) and value.dtype.kind in "OSUT":
        return [plain(item) for item in value.reshape(-1).tolist()]
    return value
