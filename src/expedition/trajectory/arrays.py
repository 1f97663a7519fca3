"""Writes columns of arrays: stacked where all runs agree on the shape, ragged where only on the dtype."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any

from expedition.errors import DamagedError
from expedition.trajectory import format as fmt
from expedition.trajectory.gather import RunFolders, Spill, StoredArray
from expedition.trajectory.writer import FileWriter, array_chunks, compresses
from expedition.values.files import resolve_file

if TYPE_CHECKING:
    import h5py
    import numpy as np

_BLOCK = 1 << 20  # bytes read at once


class ArraySource:
    """Reads stored arrays in blocks, from the spill file and the run folders."""

    def __init__(self, spill: Spill, folders: RunFolders) -> None:
        self._spill = spill
        self._folders = folders

    def blocks(self, row: int, stored: StoredArray) -> Iterator[np.ndarray[Any, Any]]:
        """Yield the array of a row as flat blocks in C order, of at most 1 MiB.

        Raises `DamagedError` when the file is missing or is not what the tag says, at the latest at the end.
        """
        import numpy as np

        if not isinstance(stored.place, dict):
            yield self._spill.array(stored).reshape(-1)
            return
        path = resolve_file(self._folders[row], stored.place["file"])
        crc = 0
        try:
            with path.open("rb") as file:
                for block in _npy_blocks(file, path.stat().st_size, stored):
                    crc = zlib.crc32(block.view(np.uint8).data, crc)
                    yield block
        except (OSError, ValueError) as error:
            raise DamagedError(f"{path}: not the .npy file that was stored: {error}") from error
        if f"{crc:08x}" != stored.place["crc"]:
            raise DamagedError(f"{path}: its content is not what was stored (wrong CRC)")


def _npy_blocks(file: IO[bytes], size: int, stored: StoredArray) -> Iterator[np.ndarray[Any, Any]]:
    import numpy as np
    from numpy.lib import format as npy

    read = npy.read_array_header_1_0 if npy.read_magic(file) == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if shape != stored.shape or dtype != np.dtype(stored.dtype):
        raise ValueError(f"shape {shape} and dtype {dtype}")
    if size - file.tell() != stored.size * dtype.itemsize:
        raise ValueError(f"{size - file.tell()} bytes of data")
    if fortran and len(shape) > 1:
        # Rows of a Fortran array lie apart: let the system page it, a slab of rows at a time.
        mapped = np.memmap(file, dtype, "r", file.tell(), shape, "F")
        step = max(1, _BLOCK * shape[0] // max(mapped.nbytes, 1))
        for start in range(0, shape[0], step):
            yield np.ascontiguousarray(mapped[start : start + step]).reshape(-1)
        return
    left = stored.size
    while left:
        count = min(left, max(1, _BLOCK // dtype.itemsize))
        block = np.fromfile(file, dtype, count)
        if len(block) != count:
            raise ValueError("its data end early")
        yield block
        left -= count


def storage(dtype: str, holes: bool) -> tuple[np.dtype[Any], Any, dict[str, Any]]:
    """Return the dtype in the file, the fill of missing runs and the attributes for arrays of a dtype."""
    import numpy as np

    original = np.dtype(dtype)
    attrs: dict[str, Any] = {"dtype_orig": original.str}
    if original.kind == "b":
        if holes:
            flags = {"flag_values": np.array([0, 1], np.int8), "flag_meanings": "false true"}
            return np.dtype(np.int8), np.int8(-1), {**attrs, **flags}
        return np.dtype(np.int8), np.int8(0), {**attrs, "dtype": "bool"}
    kept = original.newbyteorder("<")
    if kept.kind == "f" and kept.itemsize == 2:
        kept = np.dtype("<f4")  # netCDF-C crashes on half precision
    if kept.kind in "fc":
        return kept, kept.type(math.nan), attrs
    limits = np.iinfo(kept)
    return kept, kept.type(limits.min if kept.kind == "i" else limits.max), attrs


def write_stacked(
    writer: FileWriter, path: str, cells: list[tuple[int, StoredArray]], source: ArraySource, holes: bool
) -> list[tuple[int, str]]:
    """Write arrays of one shape and dtype as (N, d1, …); return the rows that could not be read, and why."""
    shape, (dtype, fill, attrs) = cells[0][1].shape, storage(cells[0][1].dtype, holes)
    chunks = array_chunks(writer.n_runs, shape, dtype.itemsize)
    options: dict[str, Any] = {"fillvalue": fill}
    if _gains(cells, source, dtype):
        options |= {"compression": "gzip", "compression_opts": 1, "shuffle": True}
    dataset = writer.empty(path, (writer.n_runs, *shape), dtype, chunks, **options)
    for name, value in attrs.items():
        dataset.attrs[name] = value
    if holes and dtype.kind != "c":  # netCDF has no complex numbers
        dataset.attrs["_FillValue"] = fill
    writer.attach(dataset, 0, writer.run)
    for axis, size in enumerate(shape, 1):
        writer.attach(dataset, axis, writer.dimension(f"{path}_dim{axis}", size))
    return _fill_stack(dataset, sorted(cells, key=lambda cell: cell[0]), source, chunks)


def _gains(cells: list[tuple[int, StoredArray]], source: ArraySource, dtype: np.dtype[Any]) -> bool:
    """Probe the compression with the first arrays that can be read, up to the size of a chunk."""
    import numpy as np

    sample: list[np.ndarray[Any, Any]] = []
    size = 0
    for row, stored in cells[:64]:
        try:
            block = next(source.blocks(row, stored), None)
        except DamagedError:
            continue
        if block is not None:
            sample.append(block[: fmt.ARRAY_CHUNK_BYTES // dtype.itemsize].astype(dtype))
            size += sample[-1].nbytes
        if size >= fmt.ARRAY_CHUNK_BYTES:
            break
    return bool(sample) and compresses(np.concatenate(sample))


def _fill_stack(
    dataset: h5py.Dataset, cells: list[tuple[int, StoredArray]], source: ArraySource, chunks: tuple[int, ...]
) -> list[tuple[int, str]]:
    import numpy as np

    shape, step, failed = dataset.shape[1:], chunks[0], []
    row_bytes = math.prod(shape) * dataset.dtype.itemsize
    if row_bytes > fmt.MAX_CHUNK_BYTES:
        for row, stored in cells:
            try:
                _fill_large(dataset, row, source.blocks(row, stored), chunks[1:])
            except DamagedError as error:
                failed.append((row, str(error)))
                _erase(dataset, row, chunks[1:])
        return failed
    position = 0
    while position < len(cells):
        first = cells[position][0] // step * step
        buffer = np.full(
            (min(step, dataset.shape[0] - first), *shape), dataset.fillvalue, dtype=dataset.dtype
        )
        while position < len(cells) and cells[position][0] < first + step:
            row, stored = cells[position]
            try:
                parts = list(source.blocks(row, stored))
                if parts:
                    buffer[row - first] = np.concatenate(parts).reshape(shape)
            except DamagedError as error:
                failed.append((row, str(error)))
            position += 1
        if buffer.size:
            dataset[first : first + len(buffer)] = buffer
    return failed


def _fill_large(
    dataset: h5py.Dataset, row: int, blocks: Iterator[np.ndarray[Any, Any]], chunk: tuple[int, ...]
) -> None:
    """Write one array in slabs that are runs of whole chunks, so that no chunk is written twice."""
    import numpy as np

    rest: np.ndarray[Any, Any] = np.empty(0, dtype=dataset.dtype)
    for place, count in _walk(dataset.shape[1:], chunk):
        parts, have = [rest], len(rest)
        while have < count:
            block = next(blocks).astype(dataset.dtype, copy=False)
            parts.append(block)
            have += len(block)
        flat = np.concatenate(parts) if len(parts) > 1 else rest
        dataset[(row, *place)] = flat[:count].reshape([s.stop - s.start for s in place])
        rest = flat[count:].copy()
    for _ in blocks:  # the end of the blocks checks the CRC
        raise DamagedError("an array is longer than its shape")


def _erase(dataset: h5py.Dataset, row: int, chunk: tuple[int, ...]) -> None:
    import numpy as np

    for place, _ in _walk(dataset.shape[1:], chunk):
        sizes = [s.stop - s.start for s in place]
        dataset[(row, *place)] = np.full(sizes, dataset.fillvalue, dtype=dataset.dtype)


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
    writer: FileWriter, path: str, cells: list[tuple[int, StoredArray]], source: ArraySource
) -> list[tuple[int, str]]:
    """Write arrays of one dtype and number of axes, but not of one shape: values, starts and counts."""
    import numpy as np

    dtype, _, attrs = storage(cells[0][1].dtype, holes=False)
    ndim, total = len(cells[0][1].shape), sum(stored.size for _, stored in cells)
    starts, counts = np.zeros(writer.n_runs, np.int64), np.zeros(writer.n_runs, np.int64)
    shapes = np.zeros((writer.n_runs, ndim), np.int64)
    name = path.rpartition("/")[2]
    writer.file.create_group(path).attrs["encoding"] = "ragged"
    values = writer.observations(f"{path}/value", total, dtype, attrs)
    failed, end = [], 0
    for row, stored in sorted(cells, key=lambda cell: cell[0]):
        starts[row], position = end, end
        try:
            for block in source.blocks(row, stored):
                values[position : position + len(block)] = block
                position += len(block)
        except DamagedError as error:
            failed.append((row, str(error)))
            starts[row] = 0
            continue
        counts[row], shapes[row], end = stored.size, stored.shape, position
    values.resize((end,))
    scale = writer.dimension(f"{path}/{name}_obs", end)
    writer.attach(values, 0, scale)
    write_index(writer, path, starts, counts, scale)
    dims = writer.empty(f"{path}/shape", shapes.shape, np.int64, (fmt.ROW_CHUNK, ndim), **_GZIP)
    dims[...] = shapes
    writer.attach(dims, 0, writer.run)
    writer.attach(dims, 1, writer.dimension(f"{path}/{name}_axis", ndim))
    return failed


def write_index(
    writer: FileWriter,
    path: str,
    starts: np.ndarray[Any, Any],
    counts: np.ndarray[Any, Any],
    scale: h5py.Dataset,
) -> None:
    """Write where the observations of each run are: ``obs_start`` and ``obs_count``, CF ragged arrays."""
    writer.column(f"{path}/obs_start", starts, {})
    sample = {"sample_dimension": scale.name.rpartition("/")[2]}
    writer.column(f"{path}/obs_count", counts, sample)


_GZIP: dict[str, Any] = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
