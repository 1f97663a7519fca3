"""Writes columns of arrays: stacked where all agree on the shape, ragged where only on the dtype."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from expedition.errors import DamagedError
from expedition.trajectory.file import format as fmt
from expedition.trajectory.file.array_source import ArraySource
from expedition.trajectory.file.dtypes import storage
from expedition.trajectory.file.stored import StoredArray
from expedition.trajectory.writing.tape import Tape
from expedition.trajectory.writing.writer import FileWriter, RowAxis, array_chunks, compresses

if TYPE_CHECKING:
    import h5py
    import numpy as np


class Item(NamedTuple):
    """An array for a column: the row of the column, the run whose folder has it, and where it is."""

    slot: int
    row: int
    stored: StoredArray


def as_kept(block: np.ndarray[Any, Any], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Return numbers in the dtype that the file keeps them in, times as their ticks."""
    if block.dtype.kind in "mM":
        return block.astype(block.dtype.newbyteorder("="), copy=False).view(dtype)
    return block.astype(dtype, copy=False)


def write_stacked(
    writer: FileWriter,
    path: str,
    items: Sequence[Item],
    source: ArraySource,
    holes: bool,
    rows: RowAxis | None = None,
    dtype: str | None = None,
    scales: Sequence[h5py.Dataset] = (),
) -> list[tuple[int, str]]:
    """Write arrays of one shape as (rows, d1, …) over runs, or over `rows`.

    `dtype` is one that keeps them all exactly, that of the first if it is not given; `scales` label the first
    axes of the arrays. Returns the runs whose array could not be read, and why; their rows hold the fill.
    """
    rows = rows or writer.runs
    shape = items[0].stored.shape
    kept, fill, attrs = storage(dtype or items[0].stored.dtype, holes)
    chunks = array_chunks(rows.size, shape, kept.itemsize)
    options: dict[str, Any] = {"fillvalue": fill}
    if _gains(items, source, kept):
        options |= _GZIP
    dataset = writer.empty(path, (rows.size, *shape), kept, chunks, **options)
    for name, value in attrs.items():
        dataset.attrs[name] = value
    if holes and kept.kind != "c":  # netCDF has no complex numbers
        dataset.attrs["_FillValue"] = fill
    writer.attach(dataset, 0, rows.scale)
    for axis, size in enumerate(shape, 1):
        known = scales[axis - 1] if axis <= len(scales) else None
        writer.attach(dataset, axis, known or writer.dimension(f"{path}_dim{axis}", size))
    return _fill_stack(dataset, sorted(items, key=lambda item: item.slot), source, chunks)


def _gains(items: Sequence[Item], source: ArraySource, dtype: np.dtype[Any]) -> bool:
    """Probe the compression with the first arrays that can be read, up to the size of a chunk."""
    import numpy as np

    sample: list[np.ndarray[Any, Any]] = []
    size = 0
    for item in items[:64]:
        try:
            block = next(source.blocks(item.row, item.stored), None)
        except DamagedError:
            continue
        if block is not None:
            sample.append(as_kept(block[: fmt.ARRAY_CHUNK_BYTES // dtype.itemsize], dtype))
            size += sample[-1].nbytes
        if size >= fmt.ARRAY_CHUNK_BYTES:
            break
    return bool(sample) and compresses(np.concatenate(sample))


def _fill_stack(
    dataset: h5py.Dataset, items: list[Item], source: ArraySource, chunks: tuple[int, ...]
) -> list[tuple[int, str]]:
    import numpy as np

    shape, step, failed = dataset.shape[1:], chunks[0], []
    row_bytes = math.prod(shape) * dataset.dtype.itemsize
    if row_bytes > fmt.MAX_CHUNK_BYTES:
        for slot, row, stored in items:
            try:
                _fill_large(dataset, slot, source.blocks(row, stored), chunks[1:])
            except DamagedError as error:
                failed.append((row, str(error)))
                _erase(dataset, slot, chunks[1:])
        return failed
    position = 0
    while position < len(items):
        first = items[position].slot // step * step
        buffer = np.full(
            (min(step, dataset.shape[0] - first), *shape), dataset.fillvalue, dtype=dataset.dtype
        )
        while position < len(items) and items[position].slot < first + step:
            slot, row, stored = items[position]
            try:
                parts = list(source.blocks(row, stored))
                if parts:
                    buffer[slot - first] = as_kept(np.concatenate(parts), dataset.dtype).reshape(shape)
            except DamagedError as error:
                failed.append((row, str(error)))
            position += 1
        if buffer.size:
            dataset[first : first + len(buffer)] = buffer
    return failed


def _fill_large(
    dataset: h5py.Dataset, slot: int, blocks: Iterator[np.ndarray[Any, Any]], chunk: tuple[int, ...]
) -> None:
    """Write one array in slabs that are runs of whole chunks, so that no chunk is written twice."""
    import numpy as np

    rest: np.ndarray[Any, Any] = np.empty(0, dtype=dataset.dtype)
    for place, count in _walk(dataset.shape[1:], chunk):
        parts, have = [rest], len(rest)
        while have < count:
            block = as_kept(next(blocks), dataset.dtype)
            parts.append(block)
            have += len(block)
        flat = np.concatenate(parts) if len(parts) > 1 else rest
        dataset[(slot, *place)] = flat[:count].reshape([s.stop - s.start for s in place])
        rest = flat[count:].copy()
    for _ in blocks:  # the end of the blocks checks the CRC
        raise DamagedError("an array is longer than its shape")


def _erase(dataset: h5py.Dataset, slot: int, chunk: tuple[int, ...]) -> None:
    import numpy as np

    for place, _ in _walk(dataset.shape[1:], chunk):
        sizes = [s.stop - s.start for s in place]
        dataset[(slot, *place)] = np.full(sizes, dataset.fillvalue, dtype=dataset.dtype)


def _walk(shape: tuple[int, ...], chunk: tuple[int, ...]) -> Iterator[tuple[tuple[slice, ...], int]]:
    """Yield the boxes of an array that follow each other in C order, with their number of elements.

    `array_chunks` cuts outer axes before inner ones: axes before the cut one have chunks of 1, axes after it
    are whole.
    """
    cut = next((axis for axis, (n, c) in enumerate(zip(shape, chunk, strict=True)) if c > 1 or c == n), 0)
    inner = math.prod(shape[cut + 1 :])

    def boxes(axis: int, before: tuple[slice, ...]) -> Iterator[tuple[tuple[slice, ...], int]]:
        if axis < cut:
            for i in range(shape[axis]):
                yield from boxes(axis + 1, (*before, slice(i, i + 1)))
            return
        for start in range(0, shape[cut], chunk[cut]):
            stop = min(start + chunk[cut], shape[cut])
            after = tuple(slice(0, n) for n in shape[cut + 1 :])
            yield (*before, slice(start, stop), *after), (stop - start) * inner

    return boxes(0, ())


def write_ragged(
    writer: FileWriter, path: str, items: Sequence[Item], source: ArraySource, rows: RowAxis | None = None
) -> list[tuple[int, str]]:
    """Write arrays of one number of axes, but not of one shape: values, starts, counts and shapes over `rows`.

    Returns the runs whose array could not be read, and why; they have no values.
    """
    import numpy as np

    rows = rows or writer.runs
    dtype, _, attrs = storage(items[0].stored.dtype, holes=False)
    ndim, total = len(items[0].stored.shape), sum(item.stored.size for item in items)
    starts, counts = np.zeros(rows.size, np.int64), np.zeros(rows.size, np.int64)
    shapes = np.zeros((rows.size, ndim), np.int64)
    name = path.rpartition("/")[2]
    writer.file.require_group(path).attrs["encoding"] = "ragged"
    values = writer.observations(f"{path}/value", total, dtype, attrs)
    tape, failed, end = Tape(values), [], 0
    for slot, row, stored in sorted(items, key=lambda item: item.slot):
        try:
            blocks = list(source.blocks(row, stored))
        except DamagedError as error:
            failed.append((row, str(error)))
            continue
        for block in blocks:
            tape.add(as_kept(block, dtype))
        starts[slot], counts[slot], shapes[slot] = end, stored.size, stored.shape
        end += stored.size
    tape.flush()
    values.resize((end,))
    scale = writer.dimension(f"{path}/{name}_obs", end)
    writer.attach(values, 0, scale)
    write_spans(writer, path, "obs", starts, counts, scale, rows)
    writer.table(f"{path}/shape", shapes, writer.dimension(f"{path}/{name}_axis", ndim), rows)
    return failed


def write_spans(
    writer: FileWriter,
    path: str,
    what: str,
    starts: np.ndarray[Any, Any],
    counts: np.ndarray[Any, Any],
    scale: h5py.Dataset,
    rows: RowAxis | None = None,
) -> None:
    """Write where the elements of each row are: ``<what>_start`` and ``<what>_count``, CF ragged arrays."""
    writer.column(f"{path}/{what}_start", starts, {}, axis=rows)
    sample = {"sample_dimension": scale.name.rpartition("/")[2]}
    writer.column(f"{path}/{what}_count", counts, sample, axis=rows)


def write_index(
    writer: FileWriter,
    path: str,
    starts: np.ndarray[Any, Any],
    counts: np.ndarray[Any, Any],
    scale: h5py.Dataset,
) -> None:
    """Write where the observations of each run are: ``obs_start`` and ``obs_count``."""
    write_spans(writer, path, "obs", starts, counts, scale)


_GZIP: dict[str, Any] = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
