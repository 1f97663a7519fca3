"""The observations of a series that several inputs have, in the order of the merged runs and in blocks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from expedition.trajectory.file import format as fmt
from expedition.trajectory.file.raw import pick_rows
from expedition.trajectory.merging.plan import Part
from expedition.values import encode, loads
from expedition.values.columns import State, restore

if TYPE_CHECKING:
    import h5py
    import numpy as np

_BLOCK = 1 << 16
"""Observations that are read at once."""
_BLOCK_BYTES = 4 << 20
_TEXTS = 1 << 12


class SeriesPiece:
    """A series of one input."""

    def __init__(self, part: Part, path: str, entry: dict[str, Any]) -> None:
        self.part = part
        self.path = path
        self.entry = entry
        self.at: str = entry["at"]
        self._read: dict[str, tuple[int, Any]] = {}

    @property
    def kind(self) -> str:
        """The kind of the values."""
        return str(self.entry["kind"])

    @property
    def attrs(self) -> dict[str, Any]:
        """The attributes of the values."""
        return self.part.store.node_attrs(f"{self.at}/value")

    @property
    def signature(self) -> tuple[Any, ...]:
        """What pieces must have in common to be joined as they are."""
        dtype = self.part.store.dataset(f"{self.at}/value").dtype.str
        axes = self.shapes.shape[1] if self.kind == "array" else 0
        return self.kind, axes, dtype, str(self.attrs.get("dtype_orig", ""))

    @property
    def is_per_run(self) -> bool:
        """Whether the values are arrays of a shape that each run has for itself."""
        return self.entry.get("encoding") == fmt.PER_RUN

    @cached_property
    def shapes(self) -> np.ndarray[Any, Any]:
        """Of arrays: the shape that those of each run have, int64 (k, axes)."""
        import numpy as np

        store = self.part.store
        if self.is_per_run:
            store.column(f"{self.at}/shape")
            return pick_rows(partial(store.read, f"{self.at}/shape"), self.part.rows)  # type: ignore[no-any-return]
        inner = np.array(store.dataset(f"{self.at}/value").shape[1:], np.int64)
        return np.tile(inner, (len(self.part.rows), 1))

    @cached_property
    def _elements(self) -> np.ndarray[Any, Any]:
        """Of arrays with a shape for each run: where the elements of each run start, int64 (k,)."""
        store, path = self.part.store, f"{self.at}/value_start"
        store.column(path)
        starts = pick_rows(partial(store.read, path), self.part.rows)
        ends = starts + self.places[1] * self.shapes.prod(axis=1)
        total = store.dataset(f"{self.at}/value").shape[0]
        if len(starts) and (min(starts.min(), self.shapes.min(initial=0)) < 0 or ends.max() > total):
            raise store.damaged(f"arrays lie outside of /{self.at}")
        return starts  # type: ignore[no-any-return]

    @cached_property
    def places(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Start and number of the observations of each run, int64 (k,)."""
        store = self.part.store
        paths = [f"{self.at}/{name}" for name in ("obs_start", "obs_count")]
        for path in paths:
            store.column(path)
        starts, counts = (pick_rows(partial(store.read, path), self.part.rows) for path in paths)
        total = len(store.dataset(f"{self.at}/step"))
        if len(starts) and (min(starts.min(), counts.min()) < 0 or (starts + counts).max() > total):
            raise store.damaged(f"observations lie outside of /{self.at}")
        return starts, counts

    @property
    def has_states(self) -> bool:
        """Whether some value of the series is no plain one."""
        return self.part.store.has(f"{fmt.STATE}/{self.at}")

    def read(self, name: str, start: int, stop: int) -> Any:
        """Return observations of a dataset of the series: `step`, `time`, `value`, or `state`."""
        import numpy as np

        if name == "state" and not self.has_states:
            return np.full(stop - start, State.VALUE, np.uint8)
        first, block = self._read.get(name, (stop + 1, ()))
        if not first <= start <= stop <= first + len(block):
            # Runs follow each other in most files, so what comes next is read with what is asked for.
            dataset = self._dataset(name)
            first, end = start, min(max(stop, start + self.ahead(name)), dataset.shape[0])
            store, path = self.part.store, dataset.name.lstrip("/")
            read = store.read_text if dataset.dtype.kind == "O" else store.read
            block = read(path, slice(first, end))
            self._read[name] = first, block
        return block[start - first : stop - first]

    def ahead(self, name: str) -> int:
        """Return how many observations of a dataset make a block."""
        dataset = self._dataset(name)
        if dataset.dtype.kind == "O":
            return _TEXTS
        size = math.prod(dataset.shape[1:]) * dataset.dtype.itemsize
        return max(1, min(_BLOCK, _BLOCK_BYTES // max(int(size), 1)))

    def _dataset(self, name: str) -> h5py.Dataset:
        return self.part.store.dataset(f"{fmt.STATE}/{self.at}" if name == "state" else f"{self.at}/{name}")

    def forget(self) -> None:
        """Let go of what was read ahead."""
        self._read.clear()

    def arrays(self, position: int) -> Iterator[np.ndarray[Any, Any]]:
        """Yield the arrays of a run as (n, d1, …), a block at a time, as the file has them."""
        start, count = (int(numbers[position]) for numbers in self.places)
        shape = tuple(self.shapes[position].tolist())
        size = math.prod(shape)
        itemsize = self.part.store.dataset(f"{self.at}/value").dtype.itemsize
        step = max(1, min(_BLOCK, _BLOCK_BYTES // max(size * itemsize, 1)))
        for first in range(0, count, step):
            last = min(first + step, count)
            if self.is_per_run:
                begin = int(self._elements[position])
                flat = self.read("value", begin + first * size, begin + last * size)
                yield flat.reshape(last - first, *shape)
            else:
                yield self.read("value", start + first, start + last)

    def cells(self, position: int) -> Iterator[list[Any]]:
        """Yield the observations of a run as tagged cells, a block at a time."""
        start, count = (int(numbers[position]) for numbers in self.places)
        if self.kind == "array":
            import numpy as np

            dtype = np.dtype(str(self.attrs["dtype_orig"]))
            for block in self.arrays(position):
                yield [encode(value) for value in block.astype(dtype, copy=False)]
            return
        step = self.ahead("value")
        for first in range(start, start + count, step):
            last = min(first + step, start + count)
            raw = self.read("value", first, last)
            if self.kind == "json":
                yield [loads(text) for text in raw]
            elif self.kind == "file":
                yield [{"$": "file", "file": text} for text in raw]
            else:
                states = self.read("state", first, last)
                yield [encode(value) for value in restore(self.kind, self.attrs, raw, states)]

    def refers(self) -> bool:
        """Tell whether JSON of the series refers to files of the run folders."""
        if self.kind != "json":
            return False
        starts, counts = self.places
        for start, count in zip(starts.tolist(), counts.tolist(), strict=True):
            for first in range(start, start + count, _TEXTS):
                texts = self.read("value", first, min(first + _TEXTS, start + count))
                if any('"$":"bin"' in text or '"file":' in text for text in texts):
                    return True
        return False


class Joined:
    """All observations of a series, in the order of the merged runs."""

    def __init__(self, pieces: Sequence[SeriesPiece], n_runs: int) -> None:
        import numpy as np

        self.pieces = pieces
        self.counts = np.zeros(n_runs, np.int64)
        self._starts = np.zeros(n_runs, np.int64)
        self._which = np.zeros(n_runs, np.int64)
        self._positions = np.zeros(n_runs, np.int64)
        for number, piece in enumerate(pieces):
            targets = piece.part.targets
            self._starts[targets], self.counts[targets] = piece.places
            self._which[targets] = number
            self._positions[targets] = np.arange(len(targets))
        self.total = int(self.counts.sum())

    @property
    def starts(self) -> np.ndarray[Any, Any]:
        """Where the observations of each run start in the merged file; 0 for runs without any."""
        import numpy as np

        return np.where(self.counts, np.cumsum(self.counts) - self.counts, 0)

    def slices(self) -> Iterator[tuple[SeriesPiece, int, int]]:
        """Yield (piece, start, stop) of observations that stand together, in their order and at most a block."""
        segments = self._segments()
        last = {which: number for number, (which, _, _) in enumerate(segments)}
        for number, (which, first, end) in enumerate(segments):
            piece = self.pieces[which]
            step = piece.ahead("value")
            for start in range(first, end, step):
                yield piece, start, min(start + step, end)
            if last[which] == number:
                piece.forget()

    def _segments(self) -> list[tuple[int, int, int]]:
        """Return (number of the piece, start, stop) of observations that stand together there and here."""
        found: list[tuple[int, int, int]] = []
        rows = self._rows()
        starts, counts = self._starts[rows], self.counts[rows]
        stops = (starts + counts).tolist()
        for which, start, stop in zip(self._which[rows].tolist(), starts.tolist(), stops, strict=True):
            if found and found[-1][0] == which and found[-1][2] == start:
                found[-1] = which, found[-1][1], stop
            else:
                found.append((which, start, stop))
        return found

    def runs(self) -> Iterator[tuple[int, SeriesPiece, int]]:
        """Yield (row, piece, position in the piece) of each run that has observations."""
        rows = self._rows()
        for row, which, position in zip(
            rows.tolist(), self._which[rows].tolist(), self._positions[rows].tolist(), strict=True
        ):
            yield row, self.pieces[which], position

    def _rows(self) -> np.ndarray[Any, Any]:
        import numpy as np

        return np.flatnonzero(self.counts)
