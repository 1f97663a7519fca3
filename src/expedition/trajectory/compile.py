"""Compiles the trajectory of a sweep from its folder: a whole new file, put into place in one step."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from expedition.archive.commits import Reading, latest_commits
from expedition.archive.edited_sweep import EditedSweep
from expedition.archive.sweep import SweepFolder
from expedition.errors import DamagedError, ExpeditionError
from expedition.recording import layout
from expedition.trajectory.file import format as fmt
from expedition.trajectory.file.array_source import ArraySource
from expedition.trajectory.file.output import open_output
from expedition.trajectory.file.publish import (
    TRIES,
    OvertakenError,
    Stamp,
    replacing,
    reserve_checksum,
    seal,
    stamp_of,
)
from expedition.trajectory.growing.growth import Growth
from expedition.trajectory.writing.annotations import annotate, note
from expedition.trajectory.writing.finishing import write_heading
from expedition.trajectory.writing.gather import Columns, Gathered, RunFolders, gather
from expedition.trajectory.writing.heading import OPEN
from expedition.trajectory.writing.leaves import LeafWriter, warn_of_arrays
from expedition.trajectory.writing.parameters import (
    describe_parameter,
    flattened,
    parameter_cells,
    parameter_segments,
)
from expedition.trajectory.writing.runs import write_runs
from expedition.trajectory.writing.series import collect_series, write_series
from expedition.trajectory.writing.writer import FileWriter

if TYPE_CHECKING:
    import h5py

_MALFORMED = (LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)
"""What reading and laying out raises for members of other types than those that runs are recorded with."""


def compile_trajectory(folder: Path | str | SweepFolder) -> Path:
    """Write ``trajectory.h5`` of a sweep folder anew from its commit logs and run folders; return its path.

    The same folder gives the same file. The file that is there is replaced in one step, when the new one is
    whole and on the disk, so a reader never sees a part and a kill leaves the last one. Memory grows with the
    number of scalars, not with arrays and series.

    The attribute ``complete`` is 1 when every run of the design has ended.

    Raises `DamagedError` when `folder` is no sweep folder, has names that UTF-8 cannot write, or says what no run
    records, and `OSError` when
    the file cannot be written.
    Warns of arrays that cannot be read; their cells stay empty.
    """
    path = folder.path if isinstance(folder, SweepFolder) else Path(folder)
    for _ in range(TRIES - 1):
        last = stamp_of(path / layout.TRAJECTORY_FILE)  # before anything is read
        with contextlib.suppress(OvertakenError):
            return _compile(folder if isinstance(folder, SweepFolder) else SweepFolder.open(path), last)
        folder = path  # who was faster may have read more than what is known here
    return _compile(SweepFolder.open(path), None)


def _compile(sweep: SweepFolder, last: Stamp | None) -> Path:
    """Compile a sweep. Raises `OvertakenError` when another file than the `last` one stands there at the end."""
    target = sweep.path / layout.TRAJECTORY_FILE
    reading = Reading()
    growth = Growth.begin(sweep, reading)
    table: Gathered | None = None
    try:
        table = gather(sweep, latest_commits(sweep, reading))
        with replacing(target, only=last) as temporary:
            with open_output(temporary, "w") as file:
                place = reserve_checksum(file)
                _write(file, EditedSweep.of(sweep, table.edited) if table.edited else sweep, table, growth)
            seal(temporary, place)
    except _MALFORMED as error:
        if isinstance(error, ExpeditionError):
            raise
        # A checksum says that a line is whole, not that whoever wrote it meant well.
        if isinstance(error, UnicodeEncodeError):
            raise _unwritable(error) from error
        raise DamagedError(
            f"{sweep.path}: its runs say what none records ({type(error).__name__}: {error}), and cannot be put into "
            f"one file; pytest --archive-list and the run folders have what can be read"
        ) from error
    finally:
        if table is not None:
            table.spill.close()
    return target


def _unwritable(error: UnicodeEncodeError) -> DamagedError:
    """The error for names of records that an earlier version wrote."""
    begin = max(error.start - 20, 0)
    return DamagedError(
        f"a name in its records cannot be written as UTF-8 (in "
        f"{error.object[begin : error.end + 20]!r}); rename it with --archive-modify"
    )


def _write(file: h5py.File, sweep: SweepFolder, table: Gathered, growth: Growth) -> None:
    folders = RunFolders(sweep)
    writer = FileWriter(file, table.n_runs)
    leaves = LeafWriter(writer, table.spill, ArraySource(table.spill, folders))
    for branch in (*fmt.BRANCHES, fmt.SERIES, fmt.RUNS):
        file.require_group(branch)
    _write_parameters(leaves, sweep)
    for branch, columns in ((fmt.DERIVED, table.derived), (fmt.RESULTS, table.results)):
        growth.fit = growth.fit and not columns.merged and len(columns) <= fmt.LEAF_LIMIT
        _write_branch(leaves, branch, columns, growth)
    for path, value in flattened(sweep.manifest.get("options", {}), ()):
        leaves.constant(fmt.CONFIG, path, value)
    for name, series in collect_series(table, folders).items():
        entry, failed = write_series(writer, name, series, folders)
        leaves.schema[f"{fmt.SERIES}/{name}"] = entry
        leaves.failed.extend(failed)
        growth.fit = growth.fit and all(series.counts[row] for row in table.series[name])
        if entry["kind"] == "json" and (series.shapes or series.files):
            growth.mixed.append(f"{fmt.SERIES}/{name}")
    write_runs(writer, sweep, table)
    growth.notes = note(table.annotations)
    annotate(writer, leaves.schema, table)
    moments = [t for t in (*table.start, *table.stop) if t is not None]
    complete = OPEN.isdisjoint(table.status)
    write_heading(writer, leaves.schema, sweep, complete=complete, moment=max(moments, default=None))
    # The next file would have to know which rows do not have the parameters of the design.
    growth.fit = growth.fit and not leaves.failed and not table.edited and growth.knows(sweep)
    growth.write(file)
    warn_of_arrays(leaves.failed)


def _write_parameters(leaves: LeafWriter, sweep: SweepFolder) -> None:
    names = sweep.parameters
    mentioned = {name for entry in sweep.entries for name in (*entry.params, *entry.absent)}
    for name, about in names.items():
        segments = parameter_segments(name, names)
        if "value" in about and name not in mentioned:
            leaves.constant(fmt.PARAMETERS, segments, about["value"])
        else:
            column = parameter_cells(sweep.entries, name, about, leaves.spill)
            leaves.leaf(fmt.PARAMETERS, segments, column)
        describe_parameter(leaves.schema["/".join([fmt.PARAMETERS, *segments])], name, about)


def _write_branch(leaves: LeafWriter, branch: str, columns: Columns, growth: Growth) -> None:
    names = list(columns)
    for name in names[: fmt.LEAF_LIMIT]:
        column = columns.pop(name)
        leaves.leaf(branch, name.split("/"), column)
        growth.note_cells(f"{branch}/{name}", leaves.schema[f"{branch}/{name}"], column)
    if columns:
        warnings.warn(
            f"the runs have {len(names):,} different {branch.replace('_', ' ')}; those after the first "
            f"{fmt.LEAF_LIMIT:,} share one JSON column of the trajectory: store them as dicts or arrays",
            UserWarning,
            stacklevel=2,
        )
        leaves.tail(branch, columns)
