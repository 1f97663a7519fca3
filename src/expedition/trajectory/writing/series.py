"""Writes the series of all runs as CF ragged arrays, run by run from their journals."""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any

from expedition.archive.replay import is_entry
from expedition.recording import layout
from expedition.recording.journal import read_journal
from expedition.recording.plain_files import open_plain
from expedition.trajectory.file import format as fmt
from expedition.trajectory.file.array_source import read_bin
from expedition.trajectory.file.dtypes import storage
from expedition.trajectory.file.stored import Spill, is_plain
from expedition.trajectory.writing.arrays import as_kept, write_index
from expedition.trajectory.writing.gather import Gathered, RunFolders
from expedition.trajectory.writing.packing import Packer
from expedition.trajectory.writing.tape import Tape
from expedition.trajectory.writing.writer import FileWriter, array_chunks, compresses
from expedition.values import decode, dumps, encode

if TYPE_CHECKING:
    import numpy as np

_BATCH = fmt.OBS_CHUNK
_JSON_BATCH = 256
_BUFFERED = 1 << 18
"""Observations of all series together that wait in memory at most."""


_ArrayForm = tuple[str, tuple[int, ...]]


class Observations:
    """The observations of one series while they are gathered: batches in the spill file, run by run."""

    def __init__(self, n_runs: int, spill: Spill) -> None:
        self.counts = array("q", bytes(8 * n_runs))
        self.total = 0
        self.arrays = 0
        self.forms: dict[int, _ArrayForm | None] = {}
        """Per run the dtype and shape of its arrays, None where they differ."""
        self.files = 0
        self.packer = Packer()
        self._spill = spill
        self._batches: list[tuple[int, int, int]] = []  # offset, observations, bytes of JSON (0: packed)
        self._steps = array("q")
        self._times = array("q")
        self._cells: list[Any] = []

    def add(self, row: int, step: int, time: int, cell: Any) -> int:
        """Take one observation; return by how many the number of waiting ones changed."""
        self.counts[row] += 1
        self.total += 1
        self._steps.append(step)
        self._times.append(time)
        special = type(cell) is dict and cell.get("$") in ("array", "bin", "file")
        if special:
            self._note(row, cell)
        self._cells.append(cell)
        waiting = len(self._cells)
        if waiting >= _BATCH or (special and waiting >= _JSON_BATCH):
            self.flush()
            return 1 - waiting
        return 1

    def _note(self, row: int, cell: dict[str, Any]) -> None:
        if cell["$"] == "file":
            self.files += 1
            return
        dtype, shape = (cell["dtype"], cell["shape"]) if cell["$"] == "array" else (cell["d"], cell["sh"])
        self.arrays += 1
        form = dtype if is_plain(dtype) else "", tuple(shape)
        if self.forms.setdefault(row, form) != form:
            self.forms[row] = None

    @property
    def shapes(self) -> set[_ArrayForm | None]:
        """The distinct dtypes and shapes of arrays among the values, None where they differ within a run."""
        return set(self.forms.values())

    def flush(self) -> None:
        """Move what waits to the spill file."""
        if not self._cells:
            return
        head = self._steps.tobytes() + self._times.tobytes()
        packed = self.packer.pack(self._cells)
        text = b"" if packed else dumps(self._cells).encode()
        offset = self._spill.append(head + (b"".join(packed) if packed else text))
        self._batches.append((offset, len(self._cells), len(text)))
        self._steps, self._times, self._cells = array("q"), array("q"), []

    @property
    def is_packed(self) -> bool:
        """Whether every value is a number, a bool or None."""
        return not any(size for _, _, size in self._batches)

    def times(self) -> Iterator[tuple[int, np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
        """Yield (position, steps, times) of each batch."""
        import numpy as np

        position = 0
        for offset, count, _ in self._batches:
            both = np.frombuffer(self._spill.read(offset, 16 * count), np.int64)
            yield position, both[:count], both[count:]
            position += count

    def packed(self) -> Iterator[tuple[int, np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
        """Yield (position, codes, values) of each batch of a packed series."""
        import numpy as np

        position = 0
        for offset, count, _ in self._batches:
            data = self._spill.read(offset + 16 * count, 9 * count)
            yield position, np.frombuffer(data, np.uint8, count), np.frombuffer(data[count:], np.int64)
            position += count

    def cells(self) -> Iterator[tuple[int, list[Any]]]:
        """Yield (position, tagged cells) of each batch, whatever they are."""
        import numpy as np

        position = 0
        for offset, count, size in self._batches:
            data = self._spill.read(offset + 16 * count, size or 9 * count)
            if size:
                yield position, json.loads(data)
            else:
                codes = np.frombuffer(data, np.uint8, count)
                yield position, self.packer.tags(codes, np.frombuffer(data[count:], np.int64))
            position += count


def collect_series(table: Gathered, folders: RunFolders) -> dict[str, Observations]:
    """Read the journals of all runs that have series, one after another, each line once."""
    found = {name: Observations(table.n_runs, table.spill) for name in table.series}
    waiting = 0
    for row in sorted({row for rows in table.series.values() for row in rows}):
        for line in read_journal(folders[row] / layout.JOURNAL_FILE):
            if not is_entry(line):
                continue
            series = found.get(line["n"])
            if series is None:  # a line that came after the commit line of a run that was given up
                continue
            waiting += series.add(row, line["s"], line["t"], line["v"])
            if waiting > _BUFFERED:
                for each in found.values():
                    each.flush()
                waiting = 0
    for each in found.values():
        each.flush()
    return found


def write_series(
    writer: FileWriter, name: str, series: Observations, folders: RunFolders
) -> tuple[dict[str, Any], list[tuple[int, str]]]:
    """Write one series; return its entry of the schema and the rows of which data could not be read."""
    import numpy as np

    path = writer.place([fmt.SERIES, *name.split("/")])
    group = writer.file.require_group(path)
    group.attrs["encoding"] = "ragged"
    scale = writer.dimension(f"{path}/{path.rpartition('/')[2]}_obs", series.total)
    steps = writer.observations(f"{path}/step", series.total, np.int64, {})
    time_attrs = {"units": fmt.TIME_UNITS, "calendar": fmt.CALENDAR}
    times = writer.observations(f"{path}/time", series.total, np.int64, time_attrs)
    for position, step, time in series.times():
        steps[position : position + len(step)] = step
        times[position : position + len(time)] = time
    writer.attach(steps, 0, scale)
    writer.attach(times, 0, scale)
    counts = np.frombuffer(series.counts, np.int64) if writer.n_runs else np.empty(0, np.int64)
    starts = np.where(counts, np.cumsum(counts) - counts, 0)
    write_index(writer, path, starts, counts, scale)
    entry: dict[str, Any] = {"encoding": "ragged", "at": path}
    failed: list[tuple[int, str]] = []
    if series.is_packed and (column := _packable(series)):
        entry |= _write_packed(writer, path, series, column, scale)
    elif (dtype := _common_dtype(series)) is not None:
        entry["kind"] = "array"
        if len(series.shapes) == 1 and 0 not in series.forms[min(series.forms)][1]:  # type: ignore[index]
            failed = _write_arrays(writer, path, series, scale, folders, counts)
        else:
            group.attrs["encoding"] = entry["encoding"] = fmt.PER_RUN
            failed = _write_arrays_per_run(writer, path, series, dtype, folders, counts)
    else:
        entry["kind"] = "file" if series.files == series.total else "json"
        _write_text(writer, path, series, entry["kind"], scale, folders, counts)
    return entry, failed


def _packable(series: Observations) -> tuple[str, np.dtype[Any], dict[str, Any]] | None:
    if not series.total:  # the journals of all runs that have it are lost, or being set aside
        import numpy as np

        return "float", np.dtype("<f8"), {}
    column = series.packer.column()
    if column is None or not all(series.packer.fits(codes, bits) for _, codes, bits in series.packed()):
        return None
    return column


def _write_packed(
    writer: FileWriter,
    path: str,
    series: Observations,
    column: tuple[str, np.dtype[Any], dict[str, Any]],
    scale: Any,
) -> dict[str, Any]:
    import numpy as np

    kind, dtype, attrs = column
    values = writer.observations(f"{path}/value", series.total, dtype, attrs)
    writer.attach(values, 0, scale)
    states = None
    for position, codes, bits in series.packed():
        part, state = series.packer.unpack(codes, bits, dtype)
        values[position : position + len(part)] = part
        if states is None and (state != fmt.VALUE).any():
            flags = {"flag_values": np.arange(6, dtype=np.uint8), "flag_meanings": fmt.STATE_MEANINGS}
            states = writer.observations(f"{fmt.STATE}/{path}", series.total, np.uint8, flags)
            for start in range(0, position, _BATCH):
                stop = min(start + _BATCH, position)
                states[start:stop] = np.full(stop - start, fmt.VALUE, np.uint8)
            # Its own dimension: netCDF finds one only in the group of a variable and above.
            writer.attach(states, 0, writer.dimension(f"{fmt.STATE}/{path}_obs", series.total))
        if states is not None:
            states[position : position + len(state)] = state
    return {"kind": kind}


def _common_dtype(series: Observations) -> str | None:
    """Return the dtype of a series of arrays that have one shape in each run; None for any other series."""
    if series.arrays != series.total or None in series.shapes:
        return None
    kinds = {(dtype, len(shape)) for dtype, shape in series.shapes}  # type: ignore[misc]
    dtype, ndim = kinds.pop()
    return dtype if dtype and ndim and not kinds else None


def _rows(counts: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    import numpy as np

    return np.repeat(np.arange(len(counts)), counts)


def _write_arrays(
    writer: FileWriter,
    path: str,
    series: Observations,
    scale: Any,
    folders: RunFolders,
    counts: np.ndarray[Any, Any],
) -> list[tuple[int, str]]:
    """Write arrays of one shape as (M, *shape), a chunk at a time."""
    import numpy as np

    form = next(iter(series.forms.values()))
    assert form is not None
    dtype, shape = form
    kept, fill, attrs = storage(dtype, holes=False)
    chunks = array_chunks(series.total, shape, kept.itemsize)
    rows, failed, values = _rows(counts), [], None
    source = _SeriesFiles(folders)
    for position, cells in series.cells():
        for start in range(0, len(cells), chunks[0]):
            part = cells[start : start + chunks[0]]
            buffer = np.full((len(part), *shape), fill, kept)
            for number, cell in enumerate(part):
                row = int(rows[position + start + number])
                try:
                    buffer[number] = as_kept(source.read(row, cell), kept)
                except (OSError, ValueError) as error:
                    failed.append((row, f"series {path.partition('/')[2]!r}: {error}"))
            if values is None:
                packing = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
                options: dict[str, Any] = {"fillvalue": fill, **(packing if compresses(buffer) else {})}
                values = writer.empty(f"{path}/value", (series.total, *shape), kept, chunks, **options)
            values[position + start : position + start + len(part)] = buffer
    source.close()
    assert values is not None
    for name, value in attrs.items():
        values.attrs[name] = value
    writer.attach(values, 0, scale)
    for axis, size in enumerate(shape, 1):
        writer.attach(values, axis, writer.dimension(f"{path}/value_dim{axis}", size))
    return failed


def _write_arrays_per_run(
    writer: FileWriter,
    path: str,
    series: Observations,
    dtype: str,
    folders: RunFolders,
    counts: np.ndarray[Any, Any],
) -> list[tuple[int, str]]:
    """Write arrays that have one shape in each run, one after another in C order, and the shapes."""
    import numpy as np

    kept, fill, attrs = storage(dtype, holes=False)
    shapes = np.zeros((writer.n_runs, len(next(iter(series.forms.values()))[1])), np.int64)  # type: ignore[index]
    for row, form in series.forms.items():
        assert form is not None
        shapes[row] = form[1]
    sizes = counts * shapes.prod(axis=1)
    total = int(sizes.sum())
    tape = Tape(writer.observations(f"{path}/value", total, kept, attrs))
    rows, failed, source = _rows(counts), [], _SeriesFiles(folders)
    for position, cells in series.cells():
        for number, cell in enumerate(cells):
            row = int(rows[position + number])
            try:
                tape.add(as_kept(source.read(row, cell), kept).reshape(-1))
            except (OSError, ValueError) as error:
                failed.append((row, f"series {path.partition('/')[2]!r}: {error}"))
                tape.add(np.full(shapes[row].prod(), fill, kept))
    source.close()
    tape.flush()
    name = path.rpartition("/")[2]
    writer.attach(tape.dataset, 0, writer.dimension(f"{path}/{name}_element", total))
    starts = np.where(sizes > 0, np.cumsum(sizes) - sizes, 0)
    writer.column(f"{path}/value_start", starts, {})
    axis = writer.dimension(f"{path}/{name}_axis", shapes.shape[1])
    writer.table(f"{path}/shape", shapes, axis, writer.runs)
    return failed


class _SeriesFiles:
    """Reads arrays out of the ``series.bin`` files; the file of the last run stays open."""

    def __init__(self, folders: RunFolders) -> None:
        self._folders = folders
        self._row = -1
        self._file: IO[bytes] | None = None

    def read(self, row: int, cell: dict[str, Any]) -> np.ndarray[Any, Any]:
        """Return the array of a tag ``array`` or ``bin``; OSError or ValueError when it is damaged."""
        if cell["$"] == "array":
            return decode(cell)  # type: ignore[no-any-return]
        if row != self._row:
            self.close()
            self._file = open_plain(self._folders[row] / layout.SERIES_FILE)
            self._row = row
        assert self._file is not None
        return read_bin(self._file, cell)

    def close(self) -> None:
        """Close the open file."""
        if self._file is not None:
            self._file.close()
        self._file, self._row = None, -1


def _write_text(
    writer: FileWriter,
    path: str,
    series: Observations,
    kind: str,
    scale: Any,
    folders: RunFolders,
    counts: np.ndarray[Any, Any],
) -> None:
    """Write values that are no numbers: relative paths of files, or tagged JSON.

    Arrays of ``series.bin`` become part of the JSON, unless they are large or cannot be read.
    """
    import h5py
    import numpy as np

    attrs = {"encoding": "json"} if kind == "json" else {"encoding": "file"}
    tape = Tape(writer.observations(f"{path}/value", series.total, h5py.string_dtype(), attrs))
    rows, source = _rows(counts), _SeriesFiles(folders)
    for position, cells in series.cells():
        for number, cell in enumerate(cells):
            text = (
                cell["file"]
                if kind == "file"
                else dumps(_inlined(source, int(rows[position + number]), cell))
            )
            tape.add(np.array([text], dtype=object), len(text))
    source.close()
    tape.flush()
    writer.attach(tape.dataset, 0, scale)


def _inlined(source: _SeriesFiles, row: int, cell: Any) -> Any:
    if type(cell) is not dict or cell.get("$") != "bin":
        return cell
    import numpy as np

    if math.prod(cell["sh"]) * np.dtype(cell["d"]).itemsize > fmt.INLINE_LIMIT:
        return cell
    try:
        return encode(source.read(row, cell))
    except (OSError, ValueError):
        return cell
