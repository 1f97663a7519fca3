"""The cells of columns that are not simply joined: tagged JSON, or what waits in the spill file."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from expedition.trajectory.file import format as fmt
from expedition.trajectory.file.raw import pick_rows
from expedition.trajectory.file.stored import Spill, StoredArray, StoredValue, compact
from expedition.trajectory.merging.columns import Piece
from expedition.trajectory.merging.plan import MergePlan, Part
from expedition.trajectory.reading.array_column import make_column
from expedition.trajectory.reading.stored_column import StoredColumn
from expedition.trajectory.writing.gather import Cells
from expedition.values import decode, encode, loads
from expedition.values.columns import MISSING, State

if TYPE_CHECKING:
    import numpy as np

_BLOCK_BYTES = 4 << 20
_BLOCK_ROWS = 1024


class Tails:
    """The leaves that share a JSON column, taken apart once per input."""

    def __init__(self) -> None:
        self._trees: dict[tuple[int, str], tuple[Part, list[dict[str, Any]]]] = {}

    def cells(self, piece: Piece) -> Iterator[tuple[int, Any]]:
        """Yield (target, tagged cell) of one leaf."""
        part, at = piece.part, piece.entry["at"]
        if (id(part), at) not in self._trees:
            texts = pick_rows(partial(part.store.read_text, at), part.rows)
            self._trees[id(part), at] = part, [loads(text) if text else {} for text in texts]
        name = piece.path.partition("/")[2]
        for target, tree in zip(part.targets.tolist(), self._trees[id(part), at][1], strict=True):
            if name in tree:
                yield target, tree[name]


def gather_cells(pieces: Sequence[Piece], order: int, tails: Tails, spill: Spill) -> Cells:
    """Return the cells of all pieces of a column in the order of their rows.

    Arrays go to the spill file; what stands in a file of a run folder stays there.
    """
    column = Cells(order)
    for piece in pieces:
        for target, cell in exact_cells(piece, tails, spill):
            column.add(target, compact(cell, spill) if type(cell) is dict else cell)
    _keep_references(column)
    return in_order(column)


def exact_cells(piece: Piece, tails: Tails, spill: Spill) -> Iterator[tuple[int, Any]]:
    """Yield (target, cell) of the runs that have one, whatever the encoding of the piece."""
    if piece.encoding == "tail":
        yield from tails.cells(piece)
    elif piece.is_typed or piece.is_json:
        for target, cell in zip(piece.part.targets.tolist(), piece.cells(), strict=True):
            if cell is not MISSING:
                yield target, cell
    else:
        yield from _stored_cells(piece, spill)


def _stored_cells(piece: Piece, spill: Spill) -> Iterator[tuple[int, Any]]:
    """Yield the cells of a column with arrays, which go to the spill file a block at a time."""
    import numpy as np

    part, states, targets = piece.part, piece.states, piece.part.targets
    column = make_column(part.store, piece.path, piece.entry, part.rows)
    assert isinstance(column, StoredColumn)
    for position in np.flatnonzero(states == State.NONE).tolist():
        yield int(targets[position]), None
    for position in np.flatnonzero(states == State.JSON).tolist():
        yield int(targets[position]), column.reference(position)
    given = np.flatnonzero(states == State.VALUE)
    if piece.kind == "array" and piece.encoding is None:
        yield from zip(targets[given].tolist(), _stacked(piece, given, spill), strict=True)
    elif piece.kind == "array" and piece.encoding == "ragged":
        yield from zip(targets[given].tolist(), _ragged(piece, given, spill), strict=True)
    else:
        shared: dict[int, Any] = {}  # what several runs have in common is taken once
        for position in given.tolist():
            number = column.distinct(position)
            if number is None:
                yield int(targets[position]), _spilled(column[position], piece.path, spill)
                continue
            if number not in shared:
                shared[number] = _spilled(column[position], piece.path, spill)
            yield int(targets[position]), shared[number]


def _spilled(value: Any, name: str, spill: Spill) -> Any:
    tag = spill.take(value) or encode(value, name=name)
    return compact(tag, spill) if type(tag) is dict else tag


def _stacked(piece: Piece, given: np.ndarray[Any, Any], spill: Spill) -> Iterator[StoredArray]:
    import numpy as np

    store, at = piece.part.store, piece.entry["at"]
    shape, dtype = store.column(at).shape[1:], np.dtype(piece.entry["dtype"])
    row_bytes = math.prod(shape) * dtype.itemsize
    rows = piece.part.rows[given]
    if row_bytes > 2 * _BLOCK_BYTES:
        for row in rows.tolist():
            yield _large(partial(store.read, at), row, shape, dtype, spill)
        return
    step = max(1, min(_BLOCK_ROWS, _BLOCK_BYTES // max(row_bytes, 1)))
    for start in range(0, len(rows), step):
        block = pick_rows(partial(store.read, at), rows[start : start + step], gap=1)
        for array in block.astype(dtype, copy=False):
            yield _put(array, spill)


def _large(read: Any, row: int, shape: tuple[int, ...], dtype: np.dtype[Any], spill: Spill) -> StoredArray:
    """Move an array that is too large for memory, a slab of its first axis at a time."""
    import numpy as np

    slab = max(1, _BLOCK_BYTES * shape[0] // (math.prod(shape) * dtype.itemsize))
    offset, crc = -1, 0
    for start in range(0, shape[0], slab):
        data = np.asarray(read((row, slice(start, start + slab)))).astype(dtype, copy=False).tobytes()
        place = spill.append(data)  # one behind the other
        offset, crc = place if offset < 0 else offset, zlib.crc32(data, crc)
    return StoredArray(dtype.str, shape, offset, f"{crc:08x}")


def _ragged(piece: Piece, given: np.ndarray[Any, Any], spill: Spill) -> Iterator[StoredArray]:
    import numpy as np

    store, at, rows = piece.part.store, piece.entry["at"], piece.part.rows[given]
    dtype, data = np.dtype(piece.entry["dtype"]), store.dataset(f"{at}/value")
    for name in ("obs_start", "obs_count", "shape"):
        store.column(f"{at}/{name}")
    starts, counts, shapes = (
        pick_rows(partial(store.read, f"{at}/{name}"), rows) for name in ("obs_start", "obs_count", "shape")
    )
    ends = starts + counts
    if len(rows) and (min(starts.min(), counts.min()) < 0 or ends.max() > data.shape[0]):
        raise store.damaged(f"arrays lie outside of /{at}")
    if not (shapes.prod(axis=1) == counts).all():
        raise store.damaged(f"an array in /{at} is not whole")
    ahead = max(1, _BLOCK_BYTES // dtype.itemsize)
    first, block = 0, np.empty(0, dtype)
    for start, end, shape in zip(starts.tolist(), ends.tolist(), shapes.tolist(), strict=True):
        if not first <= start <= end <= first + len(block):
            # Runs follow each other in most files, so what comes next is read with what is asked for.
            first = start
            raw = store.read(f"{at}/value", slice(start, min(max(end, start + ahead), data.shape[0])))
            block = raw.astype(dtype, copy=False)
        yield _put(block[start - first : end - first].reshape(shape), spill)


def _put(array: np.ndarray[Any, Any], spill: Spill) -> StoredArray:
    data = array.tobytes()
    return StoredArray(array.dtype.str, array.shape, spill.append(data), f"{zlib.crc32(data):08x}")


def _keep_references(column: Cells) -> None:
    """Take arrays in run folders for what they are, references, where the column would be read from these.

    Only among arrays of other shapes does a large one stay in its folder.
    """
    arrays = [value for value in column.values if type(value) is StoredArray]
    files = [array for array in arrays if isinstance(array.place, dict)]
    if not files:
        return
    if len({array.shape for array in arrays}) > 1 and all(array.nbytes > fmt.INLINE_LIMIT for array in files):
        return
    column.values = [
        value.place if type(value) is StoredArray and isinstance(value.place, dict) else value
        for value in column.values
    ]


def in_order(column: Cells) -> Cells:
    """Return cells sorted by their rows."""
    positions = sorted(range(len(column.rows)), key=column.rows.__getitem__)
    column.values = [column.values[position] for position in positions]
    column.rows.sort()
    return column


def first_cell(piece: Piece, tails: Tails, spill: Spill) -> Any:
    """Return the tagged cell of the first run of a piece, `MISSING` when it has none."""
    part = piece.part
    head = Piece(Part(part.store, part.rows[:1], part.targets[:1]), piece.path, piece.entry)
    for _, cell in exact_cells(head, tails, spill):
        return spill.tag(cell) if isinstance(cell, StoredArray | StoredValue) else cell
    return MISSING


def shifted(column: Cells, pieces: Sequence[Piece], plan: MergePlan) -> Cells:
    """Return the cells of the trial parameter, each raised by the shift of its input; others as they are."""
    shifts = {
        target: piece.part.shift
        for piece in pieces
        if piece.path == plan.trial and piece.part.shift
        for target in piece.part.targets.tolist()
    }
    for position, row in enumerate(column.rows):
        if row in shifts:
            value = decode(column.values[position])
            column.values[position] = encode(type(value)(int(value) + shifts[row]))
    return column
