"""Extends the last trajectory of a sweep by what arrived since: the cost is that of what is new, and of a copy."""

from __future__ import annotations

import contextlib
import shutil
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expedition.archive.commits import ChangedError, KnownRuns, Reading, later_commits
from expedition.archive.sweep import SweepFolder
from expedition.errors import TrajectoryFormatError
from expedition.recording import layout, outcomes
from expedition.trajectory.compile import compile_trajectory
from expedition.trajectory.file import format as fmt
from expedition.trajectory.file.array_source import ArraySource
from expedition.trajectory.file.output import open_output
from expedition.trajectory.file.publish import (
    OvertakenError,
    is_whole,
    replacing,
    reserve_checksum,
    seal,
    stamp_of,
    temporary_of,
)
from expedition.trajectory.file.store import Store
from expedition.trajectory.growing.growth import GrownSweep, Growth, UnfitError
from expedition.trajectory.growing.leaf import LeafGrower
from expedition.trajectory.growing.new_rows import NewRows
from expedition.trajectory.growing.notes import NotesGrower
from expedition.trajectory.growing.runs import RunsGrower
from expedition.trajectory.growing.series import SeriesGrower
from expedition.trajectory.writing.finishing import write_heading
from expedition.trajectory.writing.gather import Cells, Columns, Gathered, RunFolders, gather
from expedition.trajectory.writing.heading import Schema, flat_links, generator, label, relink
from expedition.trajectory.writing.leaves import LeafWriter, warn_of_arrays
from expedition.trajectory.writing.parameters import (
    describe_parameter,
    flattened,
    parameter_cells,
    parameter_segments,
)
from expedition.trajectory.writing.writer import FileWriter
from expedition.values import loads
from expedition.values.columns import MISSING

if TYPE_CHECKING:
    import h5py
    import numpy as np

    Array = np.ndarray[Any, Any]

_META = frozenset(name.partition("/")[2] for name in (fmt.SCHEMA, fmt.GROWTH, fmt.CHECKSUM))
_MOST_WASTE = 0.25
"""Part of the file that may be unused before it is written as a whole again, …"""
_ANY_WASTE = 1 << 20
"""… and bytes of it that nobody minds."""
_BLOCKS = 4096
"""Bytes that HDF5 sets aside for small pieces when it opens a file, and then lets lie."""


def update_trajectory(folder: Path | str | SweepFolder) -> Path:
    """Bring ``trajectory.h5`` of a sweep folder up to date; return its path.

    The file is then what `compile_trajectory` would make of the folder: the same columns, values, types, states
    and attributes, though not the same bytes. Where the last file is whole, a copy of it is extended by the runs
    that were added, started or ended since; otherwise, and where the new runs change what only all runs together
    decide, everything is compiled anew. It is put into place in one step as well.

    Raises and warns as `compile_trajectory` does.
    """
    path = folder.path if isinstance(folder, SweepFolder) else Path(folder)
    try:
        return extend_trajectory(path)
    except Exception:  # the sweep folder has everything, whatever is wrong with the last file
        return compile_trajectory(folder)


def extend_trajectory(path: Path) -> Path:
    """Extend the last trajectory file of the sweep folder `path`; return the path of the file.

    Raises `UnfitError` where only `compile_trajectory` can make the next one; nothing is changed then.
    """
    target = path / layout.TRAJECTORY_FILE
    stamp = stamp_of(target)
    with _open_last(target) as (store, place):
        growth = Growth.from_json(store.read(fmt.GROWTH, ()))
        schema = store.read(fmt.SCHEMA, ())
        if zlib.crc32(schema) != growth.schema:
            raise UnfitError("the last file lost columns, or got some, since it was compiled")
        sweep = GrownSweep.read(path, growth, store)
        try:
            lines, reading = later_commits(sweep, growth.reading, _known_runs(store))
        except ChangedError as error:
            raise UnfitError(str(error)) from error
        if not lines and not sweep.added:
            return target
        table = gather(sweep, lines.values())
        try:
            with replacing(target, only=stamp) as temporary, _apart(target) as scratch:
                shutil.copyfile(target, temporary)
                if store.is_replaced():
                    raise UnfitError("another process has put a new file into place")
                with open_output(temporary, "r+") as file:
                    extension = _Extension(store, schema, file, scratch, sweep, growth, table, lines)
                    failed = extension.write()
                    _finish_growth(file, growth, sweep, reading, table, failed)
                    place = reserve_checksum(file)
                seal(temporary, place)
        except OvertakenError as error:
            raise UnfitError(str(error)) from error
        finally:
            table.spill.close()
    warn_of_arrays(failed)
    return target


@contextlib.contextmanager
def _open_last(target: Path) -> Iterator[tuple[Store, int]]:
    """Open the last file, which must be whole and of this version, and tell the place of its checksum."""
    if not target.is_file():
        raise UnfitError("there is no last file")
    try:
        store = Store(target)
    except TrajectoryFormatError as error:
        raise UnfitError(str(error)) from error
    with contextlib.closing(store):
        if (
            store.attrs.get("format_version") != fmt.FORMAT_VERSION
            or store.attrs.get("generator") != generator()
        ):
            raise UnfitError("another version wrote the last file")
        if not (store.has(fmt.GROWTH) and store.has(fmt.CHECKSUM)) or not store.n_runs:
            raise UnfitError("the last file does not say how it was made")
        place = int(store.dataset(fmt.CHECKSUM).id.get_offset())
        if not is_whole(target, place):
            raise UnfitError("the last file is not what was written")
        yield store, place


@contextlib.contextmanager
def _apart(target: Path) -> Iterator[h5py.File]:
    """Give an HDF5 file for the data of the new rows, which is gone afterwards."""
    path = temporary_of(target)
    try:
        with open_output(path, "w") as file:
            yield file
    finally:
        with contextlib.suppress(OSError):
            path.unlink()


def _known_runs(store: Store) -> KnownRuns:
    import numpy as np

    raw = store.read(f"{fmt.RUNS}/status", ...)
    if raw.ndim != 2 or raw.dtype != "S1":
        raise UnfitError("/runs/status is not made of characters")
    statuses = np.ascontiguousarray(raw).view(f"S{raw.shape[1]}")[:, 0]
    attempts = store.read(f"{fmt.RUNS}/attempt", ...)
    settled = np.isin(statuses, [status.encode() for status in outcomes.SETTLED])
    return KnownRuns(
        store.n_runs,
        lambda index: bytes(statuses[index]).decode(),
        lambda index: int(attempts[index]),
        frozenset(np.flatnonzero(~settled).tolist()),
    )


def _finish_growth(
    file: h5py.File,
    growth: Growth,
    sweep: GrownSweep,
    reading: Reading,
    table: Gathered,
    failed: Sequence[object],
) -> None:
    """Note what this file has taken in, and whether the next one may still be made from it."""
    growth.reading, growth.files = reading, sweep.files
    growth.declared, growth.swept = sweep.parameters, sweep.swept
    growth.steps += 1
    growth.waste += int(file.id.get_freespace()) + _BLOCKS
    growth.fit = not failed and growth.waste < max(_ANY_WASTE, _MOST_WASTE * file.id.get_filesize())
    growth.write(file)


class _Extension:
    """One extension: all that is written into the copy."""

    def __init__(
        self,
        store: Store,
        schema: bytes,
        file: h5py.File,
        scratch: h5py.File,
        sweep: GrownSweep,
        growth: Growth,
        table: Gathered,
        lines: dict[int, dict[str, Any]],
    ) -> None:
        import numpy as np

        self.file = file
        self.sweep = sweep
        self.growth = growth
        self.table = table
        self.rows = np.array(sorted({*lines, *range(store.n_runs, table.n_runs)}), np.int64)
        self.replaced = self.rows[self.rows < store.n_runs]
        self.added = self.rows[self.rows >= store.n_runs]
        self.lines = lines
        columns = sorted(loads(schema)["columns"].items(), key=lambda item: int(item[1]["order"]))
        self.before: Schema = dict(columns)
        self.schema = {path: dict(entry) for path, entry in columns}
        self._check(store)
        self.writer = FileWriter(file, table.n_runs)
        folders = RunFolders(sweep)
        self.new = NewRows(scratch, self.rows, table, folders)
        leaves = LeafWriter(self.writer, table.spill, ArraySource(table.spill, folders))
        self.leaves = LeafGrower(store, self.schema, growth, leaves, self.new)
        self.series = SeriesGrower(store, self.schema, growth.mixed, self.writer, self.new, folders)
        self.runs = RunsGrower(store, self.writer, self.rows)

    def _check(self, store: Store) -> None:
        """Refuse at once what cannot go well."""
        chunk = self.file["run"].chunks[0]
        if chunk < fmt.ROW_CHUNK and self.table.n_runs > 2 * chunk:
            raise UnfitError("the chunks of the last file are too small for as many runs as there are now")
        if len(self.file["run"].attrs["REFERENCE_LIST"]) > fmt.SCALE_LIMIT - fmt.ROW_CHUNK:
            raise UnfitError("the last file has too many columns")
        unknown = [name for name in self.file if name.startswith("_") and name not in fmt.ROOT_NAMES]
        unknown = [name for name in unknown if not name.startswith("_string")]
        unknown += [f"{fmt.META}/{name}" for name in self.file[fmt.META] if name not in _META]
        if unknown:
            raise UnfitError(f"the last file has a part that is not known here: {unknown[0]}")
        for branch, columns in self._branches():
            if columns.merged:
                raise UnfitError(f"a name of {branch} is leaf and group")
            leaves = {path for path in self.before if path.startswith(branch + "/")}
            fresh = {f"{branch}/{name}" for name in columns} - leaves
            leaves |= fresh
            if len(leaves) > fmt.LEAF_LIMIT:
                raise UnfitError(f"there are too many leaves in {branch}")
            above = {path[:i] for path in leaves for i, letter in enumerate(path) if letter == "/"}
            if above & leaves:
                raise UnfitError(f"a name of {branch} is leaf and group")
            if fresh and any(entry["at"] != fmt.natural_path(path) for path, entry in self.before.items()):
                raise UnfitError("a name that is not its own, and new names")

    def _branches(self) -> list[tuple[str, Columns]]:
        return [(fmt.DERIVED, self.table.derived), (fmt.RESULTS, self.table.results)]

    def write(self) -> list[tuple[int, str]]:
        """Write everything; return the cells that could not be read, and why."""
        import numpy as np

        file = self.file
        if len(self.added):
            file["run"].resize(self.table.n_runs, axis=0)
            file["run"][int(self.added[0]) :] = np.arange(self.added[0], self.table.n_runs)
        parameters = self._grow_parameters()
        for branch, columns in self._branches():
            self._grow_branch(branch, columns)
        self._grow_config()
        failed = self.series.grow()
        self._order(parameters)
        complete, moment = self.runs.grow(self.sweep.added, self.table)
        notes = NotesGrower(self.writer, self.rows, self.replaced, self.table)
        noted = notes.grow(self.growth.notes, self.before, self.schema)
        changed = self.leaves.remade | self.series.remade | noted
        label(file, (self.schema[path] for path in changed))
        for name in [n for n in file if n.startswith("_string") and "REFERENCE_LIST" not in file[n].attrs]:
            del file[name]
        links = flat_links(self.schema)
        remade = {self.schema[path]["at"] for path in self.leaves.remade} | self.runs.remade
        relink(file, flat_links(self.before), links, frozenset(remade))
        write_heading(self.writer, self.schema, self.sweep, complete=complete, moment=moment, links=links)
        self._check_lengths()
        return [*self.leaves.failed, *self.new.failed(), *failed]

    def _grow_parameters(self) -> list[str]:
        """Extend the parameters by the added runs; return their logical paths in their order."""
        names = self.sweep.parameters
        paths = []
        for name, about in names.items():
            path = "/".join([fmt.PARAMETERS, *parameter_segments(name, names)])
            paths.append(path)
            column = parameter_cells(self.sweep.added, name, about, self.table.spill)
            if path in self.schema:
                self.leaves.grow(path, self.added, _aligned(column, self.added))
                self.schema[path]["swept"] = bool(about.get("swept"))
            else:
                self.leaves.make(path, column)
                describe_parameter(self.schema[path], name, about)
        if {path for path in self.schema if path.startswith(fmt.PARAMETERS + "/")} != set(paths):
            raise UnfitError("the parameters have other names now")
        return paths

    def _grow_branch(self, branch: str, columns: Columns) -> None:
        for path in [path for path in self.schema if path.startswith(branch + "/")]:
            column = columns.get(path.partition("/")[2])
            self.leaves.grow(path, self.rows, _aligned(column, self.rows))
        for name, column in columns.items():
            path = f"{branch}/{name}"
            if path not in self.schema:
                self.leaves.make(path, column)

    def _grow_config(self) -> None:
        if not len(self.added):
            return
        for segments, value in flattened(self.sweep.manifest.get("options", {}), ()):
            self.leaves.grow("/".join([fmt.CONFIG, *segments]), self.added, [value] * len(self.added))

    # order -------------------------------------------------------------------------------------------------

    def _order(self, parameters: list[str]) -> None:
        """Bring the schema into the order that a whole compile gives it."""
        order = list(parameters)
        for branch, columns in self._branches():
            order += self._order_branch(branch, columns)
        order += [path for path in self.schema if path.startswith(fmt.CONFIG + "/")]
        order += self._order_series()
        former = [path for path in order if path in self.before]
        if former != list(self.before):
            raise UnfitError("the columns stand in another order now")
        entries = {path: self.schema[path] for path in order}
        self.schema.clear()
        self.schema.update(entries)

    def _order_branch(self, branch: str, columns: Columns) -> list[str]:
        keys: dict[str, tuple[int, int]] = {}
        moved: dict[int, bool] = {}
        for number, path in enumerate(path for path in self.schema if path.startswith(branch + "/")):
            column = columns.get(path.partition("/")[2])
            before, after = self.leaves.first_rows(path, self.replaced) if path in self.before else (-1, None)
            if column is not None and (after is None or column.first < after):
                keys[path] = column.first, column.order
                continue
            assert after is not None
            # Of two columns that have the same first run now, but had not before, the file does not tell the order.
            if after in moved and (moved[after] or before != after):
                raise UnfitError(f"the place of {path} among the columns is uncertain")
            moved[after] = before != after
            keys[path] = after, number
        return sorted(keys, key=lambda path: keys[path])

    def _order_series(self) -> list[str]:
        keys = {}
        for path in [path for path in self.schema if path.startswith(fmt.SERIES + "/")]:
            name = path.partition("/")[2]
            first = list(self.table.series.get(name, ()))
            if path in self.before:
                after = self.series.first_rows(path)[1]
                first += [] if after is None else [after]
            keys[path] = min(first), name
        return sorted(keys, key=lambda path: keys[path])

    def _check_lengths(self) -> None:
        """Every column over runs must have all rows, those of which this module knows nothing included."""
        for reference, axis in self.file["run"].attrs["REFERENCE_LIST"]:
            dataset = self.file[reference]
            if dataset.shape[axis] != self.table.n_runs:
                raise UnfitError(f"{dataset.name} did not grow")


def _aligned(column: Cells | None, rows: Array) -> list[Any]:
    """Return the cells of ascending rows, `MISSING` where the column has none."""
    wanted = rows.tolist()
    if column is None:
        return [MISSING] * len(wanted)
    if column.rows == wanted:
        return column.values
    found = dict(zip(column.rows, column.values, strict=True))
    return [found.get(row, MISSING) for row in wanted]
