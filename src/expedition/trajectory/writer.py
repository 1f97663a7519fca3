"""Writes columns into the HDF5 file: chunks, filters, dimension scales and names that every reader takes."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from expedition.trajectory import format as fmt

if TYPE_CHECKING:
    import h5py
    import numpy as np

_ODD = re.compile(r"[\x00-\x1f\x7f/]|^\.+$|^\s|\s$|^_")
_LONGEST_NAME = 200  # bytes; netCDF allows 256 for a name


class FileWriter:
    """An HDF5 file under construction, of `n_runs` rows.

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
        self.run = self._create("run", np.arange(n_runs, dtype=np.int64), chunks=(fmt.ROW_CHUNK,))
        self.run.make_scale("run")

    # names -------------------------------------------------------------------------------------------------

    def place(self, segments: Sequence[str]) -> str:
        """Return the free HDF5 path for the logical path `segments`; odd and taken names are altered."""
        parts = [segments[0], *(link_name(part) for part in segments[1:])]
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
        self, path: str, values: np.ndarray[Any, Any], attrs: Mapping[str, Any], fill: Any = None
    ) -> h5py.Dataset:
        """Write a numeric column (N,) over runs; `fill` is its ``_FillValue`` when there are holes."""
        dataset = self._create(path, values, chunks=(fmt.ROW_CHUNK,), fill=fill)
        self._label(dataset, attrs, fill)
        self.attach(dataset, 0, self.run)
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
        dataset = self.file.create_dataset(
            path, shape=shape, maxshape=(None, *shape[1:]), dtype=dtype, chunks=chunks, **options
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
            _list_dimensions(dataset, axis, scale)

    def state(self, path: str, states: np.ndarray[Any, Any]) -> None:
        """Write the states of the column at `path`, unless every cell is a plain value."""
        import numpy as np

        if (states == fmt.VALUE).all():
            return
        attrs = {"flag_values": np.arange(6, dtype=np.uint8), "flag_meanings": fmt.STATE_MEANINGS}
        self.column(f"{fmt.STATE}/{path}", states.astype(np.uint8, copy=False), attrs)

    def link_flat(self, flat: Iterable[tuple[str, str, str]]) -> dict[str, str]:
        """Link columns at the root; `flat` yields (name, name on a clash, path). Returns name → path."""
        taken = {*fmt.ROOT_NAMES, *self.file}
        names: dict[str, str] = {}
        for name, longer, path in flat:
            chosen = next((n for n in (link_name(name), link_name(longer)) if n not in taken), None)
            if chosen is None:
                continue
            taken.add(chosen)
            self.file[chosen] = self.file[path]
            names[chosen] = path
        return names

    # -------------------------------------------------------------------------------------------------------

    def _create(
        self, path: str, values: np.ndarray[Any, Any], *, chunks: tuple[int, ...], fill: Any = None
    ) -> h5py.Dataset:
        self._leaves.add(path)
        return self.file.create_dataset(
            path,
            data=values,
            shape=(len(values),),
            maxshape=(None,),
            chunks=(min(chunks[0], max(len(values), 1)),),
            compression="gzip",
            compression_opts=1,
            shuffle=True,
            fillvalue=fill,
        )

    @staticmethod
    def _label(dataset: h5py.Dataset, attrs: Mapping[str, Any], fill: Any) -> None:
        import numpy as np

        for name, value in attrs.items():
            dataset.attrs[name] = value
        if fill is not None:
            dataset.attrs["_FillValue"] = np.array(fill, dtype=dataset.dtype)


def link_name(segment: str) -> str:
    """Return the HDF5 link name for one segment of a logical path; readers find the segment in the schema.

    A segment that HDF5 or netCDF cannot use, or that is very long, keeps what it can and gets a hash.
    """
    raw = segment.encode("utf-8", "surrogatepass")
    if not _ODD.search(segment) and len(raw) <= _LONGEST_NAME and segment.isprintable():
        return segment
    stem = "".join(c if c.isprintable() and c != "/" else "-" for c in segment).strip("._ ")
    while len(stem.encode("utf-8", "replace")) > _LONGEST_NAME - 10:
        stem = stem[:-1]
    return f"{stem}~{hashlib.sha256(raw).hexdigest()[:8]}"


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


def _list_dimensions(dataset: h5py.Dataset, axis: int, scale: h5py.Dataset) -> None:
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
