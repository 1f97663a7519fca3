"""Puts the series of several trajectories together, in blocks: as they are where their types agree."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from expedition.trajectory.file import format as fmt
from expedition.trajectory.file.dtypes import storage
from expedition.trajectory.file.stored import Spill
from expedition.trajectory.merging.observations import Joined, SeriesPiece
from expedition.trajectory.merging.plan import MergePlan
from expedition.trajectory.writing.arrays import write_index
from expedition.trajectory.writing.gather import RunFolders
from expedition.trajectory.writing.series import Observations, write_series
from expedition.trajectory.writing.writer import FileWriter, array_chunks, compresses
from expedition.values import dumps
from expedition.values.columns import State

if TYPE_CHECKING:
    import h5py
    import numpy as np

_NUMBERS = frozenset({"bool", "int", "float"})
_GZIP: dict[str, Any] = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
_WAITING = 8 << 20
"""Bytes that are put together before they are written."""


class _NoFolders(RunFolders):
    """No run folder is needed for values that stand in the inputs."""

    def __init__(self) -> None:
        pass


def write_all_series(writer: FileWriter, plan: MergePlan, spill: Spill) -> dict[str, dict[str, Any]]:
    """Write the series of all inputs; return their entries of the schema by logical path."""
    found: dict[str, list[SeriesPiece]] = {}
    for part in plan.parts:
        for path, entry in part.store.schema.items():
            if path.startswith(f"{fmt.SERIES}/"):
                found.setdefault(path, []).append(SeriesPiece(part, path, entry))
    schema = {}
    for path in list(found):
        joined = Joined(found.pop(path), plan.n_runs)
        if joined.total:
            schema[path] = _write(writer, path, joined, spill)
    return schema


def _write(writer: FileWriter, path: str, joined: Joined, spill: Spill) -> dict[str, Any]:
    pieces = [piece for piece in joined.pieces if piece.places[1].any()]
    kinds = {piece.kind for piece in pieces}
    alike = len({piece.signature for piece in pieces}) == 1
    if alike and kinds <= _NUMBERS and _share_a_type(codes := _codes(joined)):
        return _write_numbers(writer, path, joined, pieces[0], codes)
    if alike and kinds == {"array"}:
        return _write_arrays(writer, path, joined, pieces[0])
    if kinds == {"file"} or any(piece.refers() for piece in pieces):
        return _write_texts(writer, path, joined, pieces)
    return _write_mixed(writer, path, joined, spill)


# numbers -----------------------------------------------------------------------------------------------------


def _codes(joined: Joined) -> set[int]:
    """Return the states that occur."""
    import numpy as np

    if not any(piece.has_states for piece in joined.pieces):
        return {State.VALUE}
    found: set[int] = set()
    for piece, start, stop in joined.slices():
        found.update(np.unique(piece.read("state", start, stop)).tolist())
    return found


def _share_a_type(codes: set[int]) -> bool:
    """Tell whether values of one kind with these states are one column: that of its inputs.

    Without a plain value it would be another one; an int and a numpy scalar among floats share none.
    """
    return State.VALUE in codes and not {State.INT, State.NUMPY} <= codes


def _write_numbers(
    writer: FileWriter, path: str, joined: Joined, first: SeriesPiece, codes: set[int]
) -> dict[str, Any]:
    import numpy as np

    at, scale = _frame(writer, path, joined)
    dtype = first.part.store.dataset(f"{first.at}/value").dtype
    original = first.attrs.get("dtype_orig")
    attrs: dict[str, Any] = {}
    if original is not None or first.kind == "bool":
        attrs = dict(storage(str(original or "|b1"), State.NONE in codes)[2])
        if original is None:
            del attrs["dtype_orig"]
    values = writer.observations(f"{at}/value", joined.total, dtype, attrs)
    writer.attach(values, 0, scale)
    _fill(values, (piece.read("value", start, stop) for piece, start, stop in joined.slices()))
    if codes != {State.VALUE}:
        flags = {"flag_values": np.arange(6, dtype=np.uint8), "flag_meanings": fmt.STATE_MEANINGS}
        states = writer.observations(f"{fmt.STATE}/{at}", joined.total, np.uint8, flags)
        writer.attach(states, 0, writer.dimension(f"{fmt.STATE}/{at}_obs", joined.total))
        _fill(states, (piece.read("state", start, stop) for piece, start, stop in joined.slices()))
    return {"encoding": "ragged", "at": at, "kind": first.kind}


# arrays ------------------------------------------------------------------------------------------------------


def _write_arrays(writer: FileWriter, path: str, joined: Joined, first: SeriesPiece) -> dict[str, Any]:
    """Write arrays of one dtype: as (M, d1, …) where all have one shape, else with a shape for each run."""
    import numpy as np

    at, scale = _frame(writer, path, joined)
    dtype, fill, attrs = storage(str(first.attrs["dtype_orig"]), holes=False)
    shapes = np.zeros((writer.n_runs, first.shapes.shape[1]), np.int64)
    for row, piece, position in joined.runs():
        shapes[row] = piece.shapes[position]
    distinct = np.unique(shapes[joined.counts > 0], axis=0)
    blocks = (block for _, piece, position in joined.runs() for block in piece.arrays(position))
    if len(distinct) > 1 or not distinct.all():
        _write_arrays_per_run(writer, at, joined, shapes, (dtype, attrs), blocks)
        return {"encoding": fmt.PER_RUN, "at": at, "kind": "array"}
    shape = tuple(distinct[0].tolist())
    head = next(blocks)
    options: dict[str, Any] = {"fillvalue": fill, **(_GZIP if compresses(head) else {})}
    chunks = array_chunks(joined.total, shape, dtype.itemsize)
    values = writer.empty(f"{at}/value", (joined.total, *shape), dtype, chunks, **options)
    for name, value in attrs.items():
        values.attrs[name] = value
    _fill(values, itertools.chain([head], blocks))
    writer.attach(values, 0, scale)
    for axis, size in enumerate(shape, 1):
        writer.attach(values, axis, writer.dimension(f"{at}/value_dim{axis}", size))
    return {"encoding": "ragged", "at": at, "kind": "array"}


def _write_arrays_per_run(
    writer: FileWriter,
    at: str,
    joined: Joined,
    shapes: np.ndarray[Any, Any],
    kept: tuple[np.dtype[Any], dict[str, Any]],
    blocks: Iterator[np.ndarray[Any, Any]],
) -> None:
    import numpy as np

    writer.file[at].attrs["encoding"] = fmt.PER_RUN
    sizes = joined.counts * shapes.prod(axis=1)
    values = writer.observations(f"{at}/value", int(sizes.sum()), *kept)
    _fill(values, (block.reshape(-1) for block in blocks))
    name = at.rpartition("/")[2]
    writer.attach(values, 0, writer.dimension(f"{at}/{name}_element", int(sizes.sum())))
    writer.column(f"{at}/value_start", np.where(sizes > 0, np.cumsum(sizes) - sizes, 0), {})
    writer.table(f"{at}/shape", shapes, writer.dimension(f"{at}/{name}_axis", shapes.shape[1]), writer.runs)


# text, and what shares no type -------------------------------------------------------------------------------


def _write_texts(
    writer: FileWriter, path: str, joined: Joined, pieces: Sequence[SeriesPiece]
) -> dict[str, Any]:
    """Write paths of files, or JSON as soon as one input has it: what it refers to stays in the run folders."""
    import h5py

    at, scale = _frame(writer, path, joined)
    kind = "json" if any(piece.kind != "file" for piece in pieces) else "file"
    values = writer.observations(f"{at}/value", joined.total, h5py.string_dtype(), {"encoding": kind})

    def texts() -> Iterator[list[str]]:
        for _, piece, position in joined.runs():
            if piece.kind != kind:
                for cells in piece.cells(position):
                    yield [dumps(cell) for cell in cells]
                continue
            start, count = (int(numbers[position]) for numbers in piece.places)
            for first in range(start, start + count, piece.ahead("value")):
                yield piece.read("value", first, min(first + piece.ahead("value"), start + count))

    _fill(values, texts())
    writer.attach(values, 0, scale)
    entry: dict[str, Any] = {"encoding": "ragged", "at": at, "kind": kind}
    codecs: dict[str, int] = {}
    for piece in pieces:
        for name, version in piece.entry.get("codecs", {}).items():
            codecs[name] = max(version, codecs.get(name, 1))
    return {**entry, "codecs": dict(sorted(codecs.items()))} if codecs else entry


def _write_mixed(writer: FileWriter, path: str, joined: Joined, spill: Spill) -> dict[str, Any]:
    """Write values whose kinds differ between inputs, as the compiler writes what the runs tracked."""
    series = Observations(writer.n_runs, spill)
    waiting = 0
    for row, piece, position in joined.runs():
        at, count = (int(numbers[position]) for numbers in piece.places)
        steps, times = (piece.read(name, at, at + count).tolist() for name in ("step", "time"))
        observed = zip(steps, times, strict=True)
        for cells in piece.cells(position):
            for cell in cells:
                series.add(row, *next(observed), cell)
                waiting += len(str(cell.get("b64", ""))) if type(cell) is dict else 0
            if waiting > _WAITING:
                series.flush()
                waiting = 0
    series.flush()
    entry, _ = write_series(writer, path.partition("/")[2], series, _NoFolders())
    return entry


# -------------------------------------------------------------------------------------------------------------


def _frame(writer: FileWriter, path: str, joined: Joined) -> tuple[str, h5py.Dataset]:
    """Write what every series has: steps, times and the places of the runs; return its HDF5 path and dimension."""
    import numpy as np

    at = writer.place(path.split("/"))
    writer.file.require_group(at).attrs["encoding"] = "ragged"
    scale = writer.dimension(f"{at}/{at.rpartition('/')[2]}_obs", joined.total)
    for name, attrs in (("step", {}), ("time", {"units": fmt.TIME_UNITS, "calendar": fmt.CALENDAR})):
        dataset = writer.observations(f"{at}/{name}", joined.total, np.int64, attrs)
        _fill(dataset, (piece.read(name, start, stop) for piece, start, stop in joined.slices()))
        writer.attach(dataset, 0, scale)
    write_index(writer, at, joined.starts, joined.counts, scale)
    return at, scale


def _fill(dataset: h5py.Dataset, blocks: Iterator[Any]) -> None:
    """Write blocks one behind the other; short ones are put together first."""
    import numpy as np

    position, size = 0, 0
    waiting: list[Any] = []

    def write() -> None:
        nonlocal position, size
        if not waiting:
            return
        block = (
            [text for part in waiting for text in part]
            if isinstance(waiting[0], list)
            else np.concatenate(waiting)
        )
        dataset[position : position + len(block)] = block
        position, size = position + len(block), 0
        waiting.clear()

    for block in blocks:
        waiting.append(block)
        size += sum(map(len, block)) if isinstance(block, list) else block.nbytes
        if size >= _WAITING:
            write()
    write()
