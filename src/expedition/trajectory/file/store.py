"""Opens a trajectory file that may come from anyone: checks it, and every dataset before it is read."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from expedition.errors import DamagedError, TrajectoryFormatError
from expedition.recording import layout
from expedition.trajectory.file import format as fmt
from expedition.trajectory.file.absent import no_trajectory
from expedition.trajectory.file.guarded import FACTOR, HDF5_ERRORS, REMEDY, GuardedFile
from expedition.trajectory.file.notes import Notes
from expedition.trajectory.file.publish import NO_FILE, Stamp, stamp_of
from expedition.trajectory.file.sources import find_run_folder, parse_sources
from expedition.values import loads

if TYPE_CHECKING:
    import h5py


class Store(GuardedFile):
    """An open trajectory file, read-only.

    Attributes
    ----------
    path : the file. root : the sweep folder it stands in.
    schema : logical path → what ``/_meta/schema`` says of the column. n_runs : number of rows.
    attrs : attributes of the file. notes : what was said of groups and columns, and links.
    tails : within `keeping_tails` what columns have read that share one dataset, else None.
    openings : how often a file was opened; what was found in the one before may have changed.
    holder : what has to be there as long as the file is read, such as the folder that it was unpacked to.
    """

    def __init__(self, path: Path | str) -> None:
        super().__init__(self.path_of(path))
        self.root = self.path.parent
        self._stamp: tuple[Stamp, int] = (NO_FILE, 0)
        self._sources: list[dict[str, Any]] | None = None
        self.openings = 0
        self.holder: object = None
        self.schema: dict[str, dict[str, Any]] = {}
        self.attrs: dict[str, Any] = {}
        self.notes = Notes()
        self.n_runs = 0
        self.tails: dict[Any, Any] | None = None
        self._negative: dict[str, bool] = {}
        self.open()

    @staticmethod
    def path_of(path: Path | str) -> Path:
        """Return the path of a trajectory file: that of a sweep folder, or the one that was given."""
        given = Path(path)
        return given / layout.TRAJECTORY_FILE if given.is_dir() else given

    def open(self) -> None:
        """Open the file that is at `path` now, and check it."""
        if not self.path.is_file():
            raise no_trajectory(self.path)
        stamp = self._now()  # before opening: a file that comes between is then seen as a new one
        self._open(stamp[0].size)
        self._stamp = stamp
        self.openings += 1
        try:
            self._check()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        super().close()
        self._sources = None
        self._negative.clear()

    @contextlib.contextmanager
    def keeping_tails(self) -> Iterator[None]:
        """Have the columns that share one JSON column read it once, while a table is made of many of them."""
        outer, self.tails = self.tails, {} if self.tails is None else self.tails
        try:
            yield
        finally:
            self.tails = outer

    def is_replaced(self) -> bool:
        """Tell whether another file has taken the place of the open one."""
        return self._now() != self._stamp

    @property
    def is_of_sweep(self) -> bool:
        """Whether this is the trajectory of the sweep folder that it stands in, whose notes are its own."""
        return self.path.name == layout.TRAJECTORY_FILE and (self.root / layout.SWEEP_FILE).is_file()

    def _now(self) -> tuple[Stamp, int]:
        stamp = stamp_of(self.path)
        if stamp == NO_FILE:
            return self._stamp
        notes = 0
        if self.path.name == layout.TRAJECTORY_FILE:
            with contextlib.suppress(OSError):
                notes = os.stat(self.root / layout.NOTES_FILE).st_size
        return stamp, notes

    def _check(self) -> None:
        file = self.file
        try:
            self.attrs = self._attributes(file, "")
        except TrajectoryFormatError:
            raise
        except (KeyError, *HDF5_ERRORS) as error:
            raise self.damaged("its attributes cannot be read", error) from error
        if self.attrs.get("format") != fmt.FORMAT:
            raise TrajectoryFormatError(f"{self.path} is an HDF5 file, but no trajectory of Expedition")
        version = str(self.attrs.get("format_version", ""))
        major, _, minor = version.partition(".")
        reads = int(fmt.FORMAT_VERSION.partition(".")[0])
        if not re.fullmatch("[0-9]{1,9}", major) or not re.fullmatch("[0-9]*", minor) or int(major) < reads:
            what = "no format version" if not version else f"the format version {version[:40]!r}"
            raise TrajectoryFormatError(
                f"{self.path} has {what}: this Expedition reads {reads}.x, of which the first is {reads}.0, so the "
                f"file is malformed or older than that; {REMEDY}"
            )
        if int(major) > reads:
            raise TrajectoryFormatError(
                f"{self.path} has format version {version}, this Expedition reads {reads}.x: read it with a newer "
                "pytest-expedition"
            )
        run = self.dataset("run")
        if run.ndim != 1 or run.dtype.kind not in "iu":
            raise self.damaged("/run is not one number for each run")
        self.n_runs = len(run)
        # Its numbers are all there, so that a small file cannot claim millions of rows.
        if self.n_runs * run.dtype.itemsize > FACTOR * self._size:
            raise self.damaged(
                f"/run claims {self.n_runs:,} runs, more than a file of {self._size:,} bytes can hold"
            )
        try:
            document = loads(self.read(fmt.SCHEMA, ()))
            columns = document["columns"]
            if not all(isinstance(entry[name], str) for entry in columns.values() for name in ("at", "kind")):
                raise TypeError("an entry says no place or kind")
            # HDF5 lists names by the alphabet; the schema has the order in which the runs made them.
            self.schema = dict(sorted(columns.items(), key=lambda item: int(item[1]["order"])))
            self.notes = Notes.of_document(document)
        except TrajectoryFormatError:
            raise
        except (DamagedError, LookupError, TypeError, ValueError, AttributeError) as error:
            raise self.damaged(f"/{fmt.SCHEMA} is not its table of columns", error) from error
        if self.is_of_sweep and (self.root / layout.NOTES_FILE).is_file():
            self.notes.update(Notes.of_sweep(self.root))
            self.notes.label(self.schema)

    # datasets ----------------------------------------------------------------------------------------------

    def column(self, path: str) -> h5py.Dataset:
        """Return the dataset of a column, which must have as many rows as there are runs."""
        dataset = self.dataset(path)
        if not dataset.ndim or len(dataset) != self.n_runs:
            raise self.damaged(f"/{path} has the shape {dataset.shape} in a file of {self.n_runs:,} runs")
        return dataset

    def numbers(self, path: str) -> h5py.Dataset:
        """Return the dataset of a column that must be whole numbers: states, counts, places."""
        dataset = self.column(path)
        if dataset.ndim != 1 or dataset.dtype.kind not in "iu":
            raise self.damaged(
                f"/{path} is of dtype {dataset.dtype} and shape {dataset.shape}, not whole numbers"
            )
        return dataset

    def has_negative(self, path: str) -> bool:
        """Tell whether there is a number below zero in a column of whole numbers; it is read once."""
        if path not in self._negative:
            self.numbers(path)
            self._negative[path] = bool((self.read(path, ...) < 0).any())
        return self._negative[path]

    # run folders -------------------------------------------------------------------------------------------

    @property
    def is_merged(self) -> bool:
        """Whether the runs come from several sweeps, or once did."""
        return "n_sources" in self.attrs

    @property
    def sources(self) -> list[dict[str, Any]]:
        """The sweeps that a merged trajectory is made of, in the order of their numbers; else none."""
        if self._sources is None:
            try:
                self._sources = parse_sources(self.read(fmt.SOURCES, ())) if self.is_merged else []
            except TrajectoryFormatError:
                raise
            except (DamagedError, ValueError, TypeError) as error:
                raise self.damaged(f"/{fmt.SOURCES} does not list its sources", error) from error
        return self._sources

    def names_run_file(self, text: str) -> bool:
        """Tell whether a message is about a file of a run, not about this file."""
        roots = [self.root, *(self.root.joinpath(source["path"]).parent for source in self.sources)]
        return any(str(root) in text or os.path.realpath(root) in text for root in roots)

    def folder(self, row: int) -> Path:
        """Return the folder of a run, which must lie inside its sweep folder.

        Raises `RecordNotFoundError` when the file is merged and the folder of the run is not where it was.
        """
        name = self.read_text(f"{fmt.RUNS}/folder", slice(row, row + 1))[0]
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts or "\\" in name or ":" in name or "\0" in name:
            raise self.damaged(f"the folder {name!r} of run {row} leaves the sweep folder")
        if not self.sources:
            return self.root.joinpath(*pure.parts)
        number = int(self.read(f"{fmt.RUNS}/origin", row))
        if not 0 <= number < len(self.sources):
            raise self.damaged(f"run {row} comes from source {number}, of which there is none")
        name, key = (self.read_text(f"{fmt.RUNS}/{field}", slice(row, row + 1))[0] for field in ("id", "key"))
        return find_run_folder(self.root, self.sources[number], pure, f"run {row} ({name})", key)
