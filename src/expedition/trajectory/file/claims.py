"""What a selection of a dataset would take in memory, found out before it is read.

A small file may claim a large array, or name one text a million times.
"""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import h5py
    import numpy as np

_REFERENCE = 16
"""Bytes of a text of variable length in its column: 4 of length, 12 of where it is."""
_GZIP, _SHUFFLE = 1, 2


def selected(shape: tuple[int, ...], selection: Any) -> int:
    """Return how many elements of an array of `shape` a selection takes, as h5py understands it."""
    parts = selection if isinstance(selection, tuple) else (selection,)
    if any(part is Ellipsis for part in parts):
        place = next(number for number, part in enumerate(parts) if part is Ellipsis)
        middle = (slice(None),) * max(len(shape) - len(parts) + 1, 0)
        parts = (*parts[:place], *middle, *parts[place + 1 :])
    counts = [_count(part, size) for part, size in zip(parts, shape, strict=False)]
    return math.prod(counts) * math.prod(shape[len(counts) :])


def _count(part: Any, size: int) -> int:
    if isinstance(part, slice):
        return len(range(*part.indices(size)))
    if hasattr(part, "dtype") and part.dtype == bool:
        return int(part.sum())
    return len(part) if hasattr(part, "__len__") else 1


def text_bytes(dataset: h5py.Dataset, first: int, last: int) -> tuple[int, int]:
    """Return how many bytes the texts of the rows `first` to `last` (not included) have by their references.

    The first number is that of texts in the file, the second that of the fill value where no chunk was written.
    Raises ValueError for a layout that no trajectory has, and what h5py raises for a damaged one.
    """
    if dataset.chunks is None:
        return _whole(dataset), 0
    written, filled = 0, 0
    step = dataset.chunks[0]
    fill = len(dataset.fillvalue) if dataset.fillvalue else 0
    for start in range(first // step * step, last, step):
        rows = slice(max(first - start, 0), min(last - start, step))
        if dataset.id.get_chunk_info_by_coord((start,)).byte_offset is None:
            filled += fill * (rows.stop - rows.start)
        else:
            written += int(_lengths(dataset, start)[rows].sum(dtype="u8"))
    return written, filled


def _whole(dataset: h5py.Dataset) -> int:
    """Return the bytes of the texts of a dataset whose references stand in one piece."""
    import numpy as np

    offset = dataset.id.get_offset()
    if offset is None:
        return 0
    with open(dataset.file.filename, "rb") as file:
        file.seek(offset)
        raw = file.read(_REFERENCE * dataset.size)
    return int(_first_words(np.frombuffer(raw, np.uint8)).sum(dtype="u8"))


def _lengths(dataset: h5py.Dataset, start: int) -> np.ndarray[Any, Any]:
    """Return the lengths of the texts of a chunk: its references, unpacked."""
    import numpy as np

    size = _REFERENCE * dataset.chunks[0]
    mask, raw = dataset.id.read_direct_chunk((start,))
    plan = dataset.id.get_create_plist()
    for number in reversed(range(plan.get_nfilters())):
        if mask >> number & 1:
            continue
        kind = plan.get_filter(number)[0]
        if kind == _GZIP:
            raw = zlib.decompressobj().decompress(raw, size)
        elif kind == _SHUFFLE:
            raw = np.frombuffer(raw, np.uint8).reshape(_REFERENCE, -1).T.tobytes()
        else:
            raise ValueError(f"its text is packed by the HDF5 filter {kind}")
    return _first_words(np.frombuffer(raw, np.uint8))


def _first_words(raw: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    import numpy as np

    words = np.ascontiguousarray(raw[: len(raw) // _REFERENCE * _REFERENCE].reshape(-1, _REFERENCE)[:, :4])
    return words.view("<u4").reshape(-1)
