"""`Archive`: all sweeps and runs below one folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from expedition.archive.index import ArchiveIndex, RunPlace, index_root
from expedition.archive.naming import Found, find_named
from expedition.archive.record import RunRecord, summary_of
from expedition.archive.row_names import ArchiveNames
from expedition.archive.rows import CHOICES, MOMENTS, RunRow, read_row
from expedition.archive.run_folders import run_folders
from expedition.archive.selection import RunSelection
from expedition.archive.sweep import SweepFolder
from expedition.errors import DamagedError, RecordNotFoundError
from expedition.recording import layout

if TYPE_CHECKING:
    from expedition.archive.bundle import Bundle


class Archive:
    """The runs below `root`, whether it is an archive root, a namespace, a sweep folder or a copy of one.

    A zip file with any of these is read where it is: what needs a file of its own, such as an artifact, is unpacked
    to a temporary folder when it is asked for, and removed with the archive and what was taken from it.
    """

    def __init__(self, root: Path | str) -> None:
        """Raises `RecordNotFoundError` when there is no archive, `DamagedError` for a zip that may not be unpacked."""
        self.root = Path(root)
        self._bundle: Bundle | None = None
        if self.root.is_file():
            from expedition.archive.bundle import Bundle

            self._bundle = Bundle(self.root)
        elif not self.root.is_dir():
            raise RecordNotFoundError(f"there is no archive at {self.root}: no such folder or zip file")

    def sweeps(self) -> Iterator[SweepFolder]:
        """Yield the sweep folders below the root, by name of their folders; unreadable ones are left out."""
        if self._bundle is not None:
            yield from self._bundle.open_sweeps()
            return
        for folder in self.sweep_folders():
            try:
                yield SweepFolder.open(folder)
            except DamagedError:
                continue

    def sweep_folders(self) -> list[Path]:
        """Return the sweep folders below the root, oldest first, whether or not they can be read.

        Those in a zip are places in it, which only `Archive` and `Trajectory.open` can read.
        """
        if self._bundle is not None:
            return self._bundle.sweep_paths()
        return _sweep_folders(self.root)

    def runs(self, select: str | None = None) -> RunSelection:
        """Return the runs, oldest sweep first; with `select` those that match the expression, as in `rows`.

        Iterating yields their records; `RunSelection.table` and `RunSelection.to_pandas` give them as a table.
        Runs that cannot be read are left out: see `damaged`.
        """
        return RunSelection(lambda: self.rows(select), self.names)

    def rows(self, select: str | None = None, *, keep_index: bool = False) -> Iterator[RunRow]:
        """Yield a row for each run, oldest sweep first; with `select` for those that match the expression.

        Names in the expression are facts such as ``status``, ``duration``, ``started``, ``tags``, ``experiment``,
        ``error``, ``size``, parameters (``alpha`` or ``params.alpha``) and stored values (``data.rmse.mean``). What
        a run lacks does not match. Rows of runs that cannot be read have the status ``damaged``. Where any run has a
        parameter or a stored value ``size``, that is what ``size`` means for all of them; ``run.size`` is the fact.

        Rows come from the index of the archive as far as it is up to date; with `keep_index` it is brought up to
        date, else nothing is written.

        Raises `ExpressionError`, also at the end when a name means nothing to any run.
        """
        if select is None:
            yield from self._rows(keep_index)
            return
        from expedition.authoring.expressions import check_names, compile_expression

        expression = compile_expression(select, moments=MOMENTS, choices=CHOICES)
        unknown = set(expression.names)
        seen: set[str] = set()
        last: frozenset[str] | None = None
        for row in self._rows(keep_index):
            if unknown and row.names is not last:
                last = row.names
                seen |= last
                unknown -= last
            if expression.matches(row.value):
                yield row
        if unknown and seen:
            check_names(expression, seen)

    def names(self) -> frozenset[str]:
        """Return all names that the select language knows for any run. All rows are read."""
        return self._names().all

    def _names(self) -> ArchiveNames:
        return ArchiveNames(lambda: (row.names for row in self._places_read(keep_index=False)))

    def _rows(self, keep_index: bool) -> Iterator[RunRow]:
        among = self._names()
        for row in self._places_read(keep_index):
            yield row.join(among)

    def _places_read(self, keep_index: bool) -> Iterator[RunRow]:
        if self._bundle is not None:
            yield from self._bundle.rows()
            return
        root = index_root(self.root)
        # A sweep or a run that was copied out of its archive stays as it is.
        part = any((self.root / name).is_file() for name in (layout.SWEEP_FILE, layout.META_FILE))
        write = keep_index and (root is not None or not part)
        with ArchiveIndex(root or self.root, write=write) as index:
            yield from index.rows(self._places())
            if root is None or root.samefile(self.root):
                index.forget_missing()

    def summaries(self) -> Iterator[RunRecord]:
        """Yield what functions marked ``@experiment.after_sweep`` recorded, oldest sweep first.

        A summary is a record like that of a run, but no run of the sweep: `runs` does not yield it.
        """
        if self._bundle is not None:
            yield from self._bundle.summaries()
            return
        for folder in _sweep_folders(self.root):
            try:
                summary = summary_of(folder)
            except DamagedError:
                continue
            if summary is not None:
                yield summary

    def damaged(self) -> Iterator[tuple[Path, str]]:
        """Yield run folders whose meta or data file cannot be read, with the reason."""
        for row in self.rows():
            if row.problem:
                yield row.path, row.problem

    def run(self, which: str | Path) -> RunRecord:
        """Return one run by its folder, ``sweep/run folder``, run key (or 6 digits of it at least) or id.

        ``sweep/summary`` is the summary of a sweep. Where the same run of an experiment was made in several sweeps,
        the latest is meant, and one of testing mode only when there is no other.

        Raises `RecordNotFoundError` with near matches, `AmbiguousRunError` with the candidates when different runs go
        by that name, `DamagedError` when it cannot be read.
        """
        return self.find(which).record()

    def find(self, which: str | Path) -> Found:
        """Return what `run` would read, without reading it, and how many runs go by that name.

        Raises the errors of `run`, damage excepted.
        """
        row = self._bundle.row_at(which) if self._bundle is not None else None
        return Found(row) if row is not None else find_named(which, self.root, self.rows(), self.summaries())

    def row(self, which: str | Path | Found) -> RunRow:
        """Return the row of the run that `run` would return, also where that cannot be read.

        Raises the errors of `run`, damage excepted.
        """
        found = (which if isinstance(which, Found) else self.find(which)).what
        if isinstance(found, RunRow):
            return found
        path = found if isinstance(found, Path) else found.path
        place = os.path.realpath(path)
        for row in self.rows():
            if os.path.realpath(row.path) == place:
                return row
        return read_row(path, None, namespace="")

    def _places(self) -> Iterator[RunPlace]:
        if not (self.root / layout.SWEEP_FILE).is_file() and (self.root / layout.META_FILE).is_file():
            yield RunPlace(os.fspath(self.root), None, self.root, self.root.name)
            return
        base = index_root(self.root) or self.root
        for sweep in _sweep_folders(self.root):
            namespace = Path(os.path.relpath(sweep.parent, base)).as_posix()
            above = os.fspath(sweep)
            for name in run_folders(sweep):
                place = "" if name == "." else name.replace("/", os.sep)
                yield RunPlace(os.path.join(above, place) if place else above, sweep, place, namespace)


def _sweep_folders(root: Path) -> list[Path]:
    """Sweep folders below `root`, oldest first (names begin with the time); their inside is not searched."""
    if (root / layout.SWEEP_FILE).is_file():
        return [root]
    found: list[Path] = []
    waiting = [root]
    while waiting:
        for entry in _folders(waiting.pop()):
            if entry.name.startswith("."):
                continue
            if os.path.isfile(os.path.join(entry.path, layout.SWEEP_FILE)):
                found.append(Path(entry.path))
            else:
                waiting.append(Path(entry.path))
    return sorted(found, key=lambda path: (path.name, str(path)))


def _folders(path: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as listing:
            found = [entry for entry in listing if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return sorted(found, key=lambda entry: entry.name)
