"""Puts rows into datasets that have rows already: rows of columns, stacked arrays, and parts of ragged data."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from expedition.trajectory.file import format as fmt

if TYPE_CHECKING:
    import h5py
    import numpy as np

    from expedition.trajectory.writing.writer import FileWriter

    Array = np.ndarray[Any, Any]

_BATCH_BYTES = 4 << 20
"""Bytes of array data that are in memory at once."""
_LONGEST_SPAN = 64 * fmt.ROW_CHUNK
_TEXT_GAP = 16
"""Rows of text between two others that are rather written again than left out; numbers come by whole chunks."""


def write_rows(dataset: h5py.Dataset, rows: Array, values: Any) -> None:
    """Write `values` into the ascending `rows` of a column; rows between them stay what they are."""
    gap = _TEXT_GAP if dataset.dtype.kind == "O" else fmt.ROW_CHUNK
    for first, last in _spans(rows, gap):
        start, stop = int(rows[first]), int(rows[last - 1]) + 1
        if stop - start == last - first:
            dataset[start:stop] = values[first:last]
        else:
            block = dataset[start:stop]
            block[rows[first:last] - start] = values[first:last]
            dataset[start:stop] = block


def _spans(rows: Array, gap: int) -> Iterator[tuple[int, int]]:
    """Yield positions (from, to) in `rows` of those that lie so close together that one block holds them."""
    import numpy as np

    cuts = np.flatnonzero(np.diff(rows) > gap) + 1
    for first, last in itertools.pairwise([0, *cuts.tolist(), len(rows)]):
        while first < last:
            end = first + int(np.searchsorted(rows[first:last], rows[first] + _LONGEST_SPAN))
            yield first, end
            first = end


def mark_holes(dataset: h5py.Dataset, attrs: dict[str, Any]) -> None:
    """Give a column those of `attrs` that say how its holes look, and take the others of this sort away."""
    import numpy as np

    for name in ("_FillValue", "dtype", "flag_values", "flag_meanings"):
        if name not in attrs:
            if name in dataset.attrs:
                del dataset.attrs[name]
        elif name not in dataset.attrs:
            value = attrs[name]
            dataset.attrs[name] = np.array(value, dtype=dataset.dtype) if name == "_FillValue" else value


def copy_stack(source: h5py.Dataset, numbers: Array, target: h5py.Dataset, rows: Array) -> None:
    """Copy the arrays `numbers` of one stack into the `rows` of another, both ascending; chunk by chunk."""
    row_bytes = max(target.dtype.itemsize * math.prod(target.shape[1:]), 1)
    if row_bytes > _BATCH_BYTES:
        for number, row in zip(numbers.tolist(), rows.tolist(), strict=True):
            for box in _boxes(target.shape[1:], target.chunks[1:]):
                target[(row, *box)] = source[(number, *box)]
        return
    chunk = target.chunks[0]
    most = max(1, _BATCH_BYTES // row_bytes // chunk) * chunk
    position = 0
    while position < len(rows):
        # A batch ends where the rows part, and at a chunk of the target, which is then packed but once.
        limit = (int(rows[position]) // chunk) * chunk + most
        end = position + 1
        while (
            end < len(rows)
            and rows[end] == rows[end - 1] + 1
            and numbers[end] == numbers[end - 1] + 1
            and rows[end] < limit
        ):
            end += 1
        target[int(rows[position]) : int(rows[end - 1]) + 1] = source[
            int(numbers[position]) : int(numbers[end - 1]) + 1
        ]
        position = end


def fill_stack(target: h5py.Dataset, rows: Array, fill: Any) -> None:
    """Write the fill of missing arrays into rows of a stack."""
    import numpy as np

    large = target.dtype.itemsize * math.prod(target.shape[1:]) > _BATCH_BYTES
    for row in rows.tolist():
        for box in _boxes(target.shape[1:], target.chunks[1:]) if large else [()]:
            sizes = [side.stop - side.start for side in box] or target.shape[1:]
            target[(row, *box)] = np.full(sizes, fill, dtype=target.dtype)


class StackRows:
    """The elements of some arrays of a stack in one row, as those of ragged data: takes slices only."""

    def __init__(self, stack: h5py.Dataset, numbers: Array) -> None:
        self._stack = stack
        self._numbers = numbers.tolist()
        self._size = math.prod(stack.shape[1:])

    def __getitem__(self, part: slice) -> Array:
        import numpy as np

        first = part.start // self._size
        numbers = self._numbers[first : -(-part.stop // self._size)]
        flat = np.concatenate([self._stack[number].reshape(-1) for number in numbers])
        return flat[part.start - first * self._size :][: part.stop - part.start]


def _boxes(shape: Sequence[int], chunk: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    sides = [
        [slice(start, min(start + step, size)) for start in range(0, size, step)]
        for size, step in zip(shape, chunk, strict=True)
    ]
    return itertools.product(*sides)


@dataclass(frozen=True)
class RaggedPlan:
    """How the ragged data of some rows go in among those of the others, all in the order of the rows.

    Attributes
    ----------
    counts, starts : int64 (N,), observations of every row and where they begin, afterwards.
    begin : the first observation that is not where it was.
    taken : bool (N,), the rows that come from the new data; `places` where they begin there, `old` where the
        others began before.
    """

    counts: Array
    starts: Array
    begin: int
    taken: Array
    places: Array
    old: Array

    @classmethod
    def make(cls, old: Array, n_rows: int, rows: Array, counts: Array) -> RaggedPlan:
        """Plan for the counts `old` of the rows so far, and `counts` of the ascending `rows` that are new data."""
        import numpy as np

        before = np.zeros(n_rows, np.int64)
        before[: len(old)] = old
        after = before.copy()
        after[rows] = counts
        taken = np.zeros(n_rows, bool)
        taken[rows] = True
        places = np.zeros(n_rows, np.int64)
        places[rows] = np.cumsum(counts) - counts
        ends = np.cumsum(after)
        starts = np.where(after, ends - after, 0)
        moved = rows[(counts > 0) | (before[rows] > 0)]
        begin = int(ends[moved[0]] - after[moved[0]]) if len(moved) else int(ends[-1])
        return cls(after, starts, begin, taken, places, np.cumsum(before) - before)

    @property
    def total(self) -> int:
        """Number of observations afterwards."""
        return int(self.counts.sum())

    def merge(self, old: Any, new: Any, target: Any) -> None:
        """Fill `target`, which begins as `old` and has the length `total`, from `begin` on.

        All three are datasets or arrays; `new` has the data of the new rows one after another.
        """
        row_bytes = max(target.dtype.itemsize * math.prod(target.shape[1:]), 1)
        batch = max(1, min(_BATCH_BYTES // row_bytes, 16 * fmt.OBS_CHUNK))
        waiting: list[_Segment] = []
        for segment in self._segments(batch):
            if waiting and segment.last - waiting[0].first > batch:
                _assemble(waiting, old, new, target)
                waiting = []
            waiting.append(segment)
        if waiting:
            _assemble(waiting, old, new, target)

    def _segments(self, batch: int) -> Iterator[_Segment]:
        """Yield the observations from `begin` on, those together that lie together in their source."""
        import numpy as np

        rows = np.flatnonzero(self.counts)
        rows = rows[np.searchsorted(self.starts[rows], self.begin) :]
        if not len(rows):
            return
        sources = np.where(self.taken[rows], self.places[rows], self.old[rows])
        lengths = self.counts[rows]
        parts = np.diff(self.taken[rows].astype(np.int8)) != 0
        parts |= sources[1:] != sources[:-1] + lengths[:-1]
        heads = np.concatenate([[0], np.flatnonzero(parts) + 1])
        sizes = np.add.reduceat(lengths, heads)
        for head, size in zip(heads.tolist(), sizes.tolist(), strict=True):
            row = rows[head]
            for done in range(0, size, batch):
                first = int(self.starts[row]) + done
                last = min(first + batch, int(self.starts[row]) + size)
                yield _Segment(bool(self.taken[row]), first, last, int(sources[head]) + done)


class _Segment(NamedTuple):
    is_new: bool
    first: int
    last: int
    place: int
    """Where it begins in its source."""


def _assemble(segments: list[_Segment], old: Any, new: Any, target: Any) -> None:
    """Write segments that follow each other in the target, with one reading of each source."""
    import numpy as np

    first, last = segments[0].first, segments[-1].last
    buffer = np.empty((last - first, *target.shape[1:]), target.dtype)
    for is_new in (False, True):
        parts = [segment for segment in segments if segment.is_new is is_new]
        if not parts:
            continue
        source = new if is_new else old
        assert source is not None
        begin, end = parts[0].place, parts[-1].place + parts[-1].last - parts[-1].first
        # What lies between is of rows that are replaced: seldom much.
        block = source[begin:end] if end - begin <= 4 * (last - first) else None
        for part in parts:
            size = part.last - part.first
            found = (
                source[part.place : part.place + size]
                if block is None
                else block[part.place - begin : part.place - begin + size]
            )
            buffer[part.first - first : part.last - first] = found
    target[first:last] = buffer


def grow_index(writer: FileWriter, at: str, plan: RaggedPlan) -> None:
    """Bring ``obs_start`` and ``obs_count`` of ragged data up to date."""
    import numpy as np

    for name, values in (("obs_start", plan.starts), ("obs_count", plan.counts)):
        dataset = writer.file[f"{at}/{name}"]
        before = dataset[:]
        dataset.resize(len(values), axis=0)
        changed = np.flatnonzero(values[: len(before)] != before)
        first = int(changed[0]) if len(changed) else len(before)
        if first < len(values):
            dataset[first:] = values[first:]


def renew_scale(writer: FileWriter, datasets: Sequence[h5py.Dataset], size: int) -> None:
    """Make the dimension of the first axis of some datasets anew, with another size."""
    scale = datasets[0].dims[0][0]
    if len(scale) == size:
        return
    path = scale.name.lstrip("/")
    for dataset in datasets:
        dataset.dims[0].detach_scale(scale)
    del writer.file[path]
    made = writer.dimension(path, size)
    for dataset in datasets:
        writer.attach(dataset, 0, made)


def prune(file: h5py.File, path: str) -> None:
    """Remove the groups above `path` that have become empty."""
    group = path.rpartition("/")[0]
    while group and not len(file[group]):
        del file[group]
        group = group.rpartition("/")[0]
