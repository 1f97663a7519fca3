"""Writes columns into the HDF5 file: chunks, filters, dimension scales and names that every reader takes."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from expedition.trajectory.file import format as fmt

if TYPE_CHECKING:
    import h5py
    import numpy as np

_TEXT_BATCH = 1 << 20  # characters of text that wait in memory


@dataclass(frozen=True)
class RowAxis:
    """The first axis of a column: `size` rows, labelled with a dimension scale."""

    size: int
    scale: h5py.Dataset


class FileWriter:
    """An HDF5 file under construction, of `n_runs` rows; one that has rows already is taken over as it is.

    Every dataset made here has a dimension scale on each axis: one half-labelled dataset makes the whole file
    unreadable for netCDF.
    """

    def __init__(self, file: h5py.File, n_runs: int) -> None:
        import numpy as np

        self.file = file
        self.n_runs = n_runs
        self._leaves: set[str] = set()
        self._groups: set[str] = set(fmt.ROOT_NAMES)
        self._attached: dict[str, int] = {}
        self._is_taken_over = "run" not in file
        """Whether the names of a file that was there before are known; few writers ask for them."""
        if "run" in file:
            self._attached["/run"] = len(file["run"].attrs.get("REFERENCE_LIST", ()))
            self.run = file["run"]
        else:
            self.run = self._create("run", np.arange(n_runs, dtype=np.int64), chunks=(fmt.ROW_CHUNK,))
            self.run.make_scale("run")
        self.runs = RowAxis(n_runs, self.run)

    def _take_over(self) -> None:
        for path, node in walk_nodes(self.file):
            is_leaf = hasattr(node, "shape") or "encoding" in node.attrs
            (self._leaves if is_leaf else self._groups).add(path)
        self._is_taken_over = True

    # names -------------------------------------------------------------------------------------------------

    def place(self, segments: Sequence[str]) -> str:
        """Return the free HDF5 path for the logical path `segments`; odd and taken names are altered."""
        if not self._is_taken_over:
            self._take_over()
        parts = [segments[0], *(fmt.link_name(part) for part in segments[1:])]
        for depth in range(1, len(parts)):
            while "/".join(parts[:depth]) in self._leaves:  # a dataset, or the group of a leaf
                parts[depth - 1] += "_"
            self._groups.add("/".join(parts[:depth]))
        path = "/".join(parts)
        while path in self._leaves or path in self._groups:
            path += "_"
        self._leaves.add(path)
        return path

    # datasets ----------------------------------------------------------------------------------------------

    def column(
        self,
        path: str,
        values: np.ndarray[Any, Any],
        attrs: Mapping[str, Any],
        fill: Any = None,
        axis: RowAxis | None = None,
    ) -> h5py.Dataset:
        """Write a numeric column (N,) over runs, or over `axis`; `fill` is its ``_FillValue`` if it has holes."""
        dataset = self._create(path, values, chunks=(fmt.ROW_CHUNK,), fill=fill)
        self._label(dataset, attrs, fill)
        self.attach(dataset, 0, (axis or self.runs).scale)
        return dataset

    def text(self, path: str, values: Sequence[str], attrs: Mapping[str, Any]) -> h5py.Dataset:
        """Write a column of text over runs as variable-length UTF-8.

        HDF5 never compresses such text, so what can is left to the fill value, which costs nothing: the one
        text of a constant column, and blocks of empty cells.
        """
        import h5py

        fill = values[0] if values and values.count(values[0]) == len(values) else ""
        dataset = self.file.create_dataset(
            path,
            shape=(len(values),),
            maxshape=(None,),
            dtype=h5py.string_dtype(),
            chunks=(min(fmt.ROW_CHUNK, max(len(values), 1)),),
            compression="gzip",
            compression_opts=1,
            shuffle=True,
            fillvalue=fill or None,
        )
        self._leaves.add(path)
        for start in range(0, len(values), fmt.ROW_CHUNK):
            block = values[start : start + fmt.ROW_CHUNK]
            if block.count(fill) != len(block):
                dataset[start : start + len(block)] = block
        self._label(dataset, attrs, None)
        self.attach(dataset, 0, self.run)
        return dataset

    def texts(
        self,
        path: str,
        cells: Iterable[tuple[int, str]],
        attrs: Mapping[str, Any],
        axis: RowAxis | None = None,
    ) -> h5py.Dataset:
        """Write a column of text from (row, text) in the order of rows, a part at a time; ``""`` elsewhere."""
        import h5py

        axis = axis or self.runs
        chunks = (min(fmt.ROW_CHUNK, max(axis.size, 1)),)
        packing = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
        dataset = self.empty(path, (axis.size,), h5py.string_dtype(), chunks, **packing)
        first, batch, size = 0, list[str](), 0
        for row, text in cells:
            if batch and (row != first + len(batch) or size > _TEXT_BATCH):
                dataset[first : first + len(batch)] = batch
                batch, size = [], 0
            first = first if batch else row
            batch.append(text)
            size += len(text)
        if batch:
            dataset[first : first + len(batch)] = batch
        self._label(dataset, attrs, None)
        self.attach(dataset, 0, axis.scale)
        return dataset

    def chars(self, path: str, values: Sequence[str]) -> h5py.Dataset:
        """Write text over runs as a netCDF character array (N, longest), which HDF5 can compress.

        Variable-length text is never compressed and costs 16 bytes and more per cell. Where one text is
        longer than `fmt.CHARS_LIMIT` bytes it is used nevertheless.
        """
        import numpy as np

        whole = "".join(values)
        if "\0" in whole:
            values = [value.replace("\0", "�") for value in values]
        # numpy turns ASCII into bytes by itself, and several times faster.
        cells: Sequence[Any] = values if whole.isascii() else [v.encode("utf-8", "replace") for v in values]
        longest = max(map(len, cells), default=0) or 1
        if longest > fmt.CHARS_LIMIT:
            return self.text(path, [value.encode("utf-8", "replace").decode() for value in values], {})
        self._leaves.add(path)
        dataset = self.file.create_dataset(
            path,
            shape=(len(cells), longest),
            maxshape=(None, longest),
            dtype="S1",
            chunks=(min(fmt.ROW_CHUNK, max(len(cells), 1)), longest),
            compression="gzip",
            compression_opts=1,
        )
        for start in range(0, len(cells), 16 * fmt.ROW_CHUNK):
            block = np.array(cells[start : start + 16 * fmt.ROW_CHUNK], dtype=f"S{longest}")
            dataset[start : start + len(block)] = block.view("S1").reshape(len(block), longest)
        dataset.attrs["_Encoding"] = "utf-8"
        self.attach(dataset, 0, self.run)
        # At the root, since netCDF looks for a dimension only in the group of a variable and above.
        name = f"_string{longest}"
        self.attach(dataset, 1, self.file[name] if name in self.file else self.dimension(name, longest))
        return dataset

    def empty(
        self, path: str, shape: tuple[int, ...], dtype: Any, chunks: tuple[int, ...], **options: Any
    ) -> h5py.Dataset:
        """Make a dataset that is filled piece by piece; its first axis may grow."""
        # A chunk has at least one element, and must fit into an axis that cannot grow.
        limits = (None, *(size or None for size in shape[1:]))
        dataset = self.file.create_dataset(
            path, shape=shape, maxshape=limits, dtype=dtype, chunks=chunks, **options
        )
        self._leaves.add(path)
        return dataset

    def observations(self, path: str, count: int, dtype: Any, attrs: Mapping[str, Any]) -> h5py.Dataset:
        """Make the dataset of `count` observations of ragged data, without a dimension as yet."""
        dataset = self.empty(
            path, (count,), dtype, (fmt.OBS_CHUNK,), compression="gzip", compression_opts=1, shuffle=True
        )
        self._label(dataset, attrs, None)
        return dataset

    def dimension(self, path: str, size: int) -> h5py.Dataset:
        """Make a dimension without values: a scale that is never written."""
        while path in self.file:
            path += "_"
        # A chunked layout allocates nothing for values that are never written; it cannot be empty.
        layout = {"chunks": (min(size, fmt.OBS_CHUNK),)} if size else {"chunks": (1,), "maxshape": (None,)}
        dataset = self.file.create_dataset(path, shape=(size,), dtype=">f4", **layout)
        dataset.make_scale(fmt.NO_VARIABLE % size)
        self._leaves.add(path)
        return dataset

    def attach(self, dataset: h5py.Dataset, axis: int, scale: h5py.Dataset) -> None:
        """Label an axis with a scale, without a back reference where the scale has too many of them."""
        name = scale.name
        count = self._attached[name] = self._attached.get(name, 0) + 1
        if count <= fmt.SCALE_LIMIT:
            dataset.dims[axis].attach_scale(scale)
        else:
            list_dimensions(dataset, axis, scale)

    def remove(self, path: str) -> None:
        """Take a dataset out of the file, its name free again and its scales without a reference to it."""
        dataset = self.file[path]
        for dimension in dataset.dims:
            for scale in dimension.values():
                dimension.detach_scale(scale)
        del self.file[path]
        self._leaves.discard(path)

    def state(self, path: str, states: np.ndarray[Any, Any]) -> None:
        """Write the states of the column at `path`, unless every cell is a plain value."""
        import numpy as np

        if (states == fmt.VALUE).all():
            return
        attrs = {"flag_values": np.arange(6, dtype=np.uint8), "flag_meanings": fmt.STATE_MEANINGS}
        self.column(f"{fmt.STATE}/{path}", states.astype(np.uint8, copy=False), attrs)

    # -------------------------------------------------------------------------------------------------------

    def _create(
        self, path: str, values: np.ndarray[Any, Any], *, chunks: tuple[int, ...], fill: Any = None
    ) -> h5py.Dataset:
        self._leaves.add(path)
        return self.file.create_dataset(
            path,
            data=values,
            shape=(len(values),),
            maxshape=(fmt.MAX_RUNS if path == "run" else None,),
            chunks=(min(chunks[0], max(len(values), 1)),),
            compression="gzip",
            compression_opts=1,
            shuffle=True,
            fillvalue=fill,
        )

    def table(self, path: str, values: np.ndarray[Any, Any], width: h5py.Dataset, axis: RowAxis) -> None:
        """Write integers (rows, width), such as the shapes of arrays; `width` labels the second axis."""
        chunks = (min(fmt.ROW_CHUNK, max(len(values), 1)), max(values.shape[1], 1))
        packing = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
        dataset = self.empty(path, values.shape, values.dtype, chunks, **packing)
        dataset[...] = values
        self.attach(dataset, 0, axis.scale)
        self.attach(dataset, 1, width)

    @staticmethod
    def _label(dataset: h5py.Dataset, attrs: Mapping[str, Any], fill: Any) -> None:
        import numpy as np

        for name, value in attrs.items():
            dataset.attrs[name] = value
        if fill is not None:
            dataset.attrs["_FillValue"] = np.array(fill, dtype=dataset.dtype)


def walk_nodes(file: h5py.File) -> Iterator[tuple[str, Any]]:
    """Yield path and node of every group and dataset of a file, without the flat links at its root."""
    import h5py

    waiting = [(name, file[name]) for name in file if name in fmt.ROOT_NAMES or name.startswith("_")]
    while waiting:
        path, node = waiting.pop()
        yield path, node
        if isinstance(node, h5py.Group):
            waiting.extend((f"{path}/{name}", below) for name, below in node.items())


def array_chunks(n_runs: int, shape: Sequence[int], itemsize: int) -> tuple[int, ...]:
    """Return the chunk shape of a stacked array (N, *shape): whole runs where they fit, at most 1 MiB."""
    row = itemsize
    for size in shape:
        row *= size
    rows = max(1, min(n_runs, fmt.ARRAY_CHUNK_BYTES // max(row, 1)))
    tail = [max(size, 1) for size in shape]
    axis = 0
    while row > fmt.MAX_CHUNK_BYTES and axis < len(tail):
        # Cut the outermost axes first, so that a chunk stays contiguous in the array.
        rest = row // tail[axis]
        tail[axis] = max(1, min(tail[axis], fmt.MAX_CHUNK_BYTES // max(rest, 1)))
        row = rest * tail[axis]
        axis += 1
    return (rows, *tail)


def compresses(sample: np.ndarray[Any, Any]) -> bool:
    """Tell whether shuffle and gzip-1 shrink a sample, at most 256 KiB of it, by a fifth or more."""
    import numpy as np

    raw = np.ascontiguousarray(sample).reshape(-1)[: fmt.ARRAY_CHUNK_BYTES // max(sample.itemsize, 1)]
    if not raw.nbytes:
        return False
    shuffled = raw.view(np.uint8).reshape(-1, raw.itemsize).T.tobytes()
    return raw.nbytes >= fmt.COMPRESSION_GAIN * len(zlib.compress(shuffled, 1))


def list_dimensions(dataset: h5py.Dataset, axis: int, scale: h5py.Dataset) -> None:
    """Write the forward reference of a dimension only; netCDF and xarray need no other."""
    import h5py
    import numpy as np

    kind = h5py.vlen_dtype(h5py.ref_dtype)
    if "DIMENSION_LIST" in dataset.attrs:
        lists = dataset.attrs["DIMENSION_LIST"]
    else:
        lists = np.empty(dataset.ndim, dtype=object)
        for number in range(dataset.ndim):
            lists[number] = np.array([], dtype=h5py.ref_dtype)
    lists[axis] = np.array([scale.ref], dtype=h5py.ref_dtype)
    dataset.attrs.create("DIMENSION_LIST", lists, shape=(dataset.ndim,), dtype=kind)
