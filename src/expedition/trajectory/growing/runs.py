"""Extends ``/runs``: what is known of every run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from expedition.archive.sweep import RunEntry
from expedition.trajectory.file import format as fmt
from expedition.trajectory.file.store import Store
from expedition.trajectory.growing.splice import mark_holes, write_rows
from expedition.trajectory.writing.gather import Gathered
from expedition.trajectory.writing.heading import OPEN
from expedition.trajectory.writing.runs import durations, times, write_seeds
from expedition.trajectory.writing.writer import FileWriter
from expedition.values import loads

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


class RunsGrower:
    """Extends ``/runs`` of a copy of `store`, whose file `writer` writes into, by the ascending `rows`."""

    def __init__(self, store: Store, writer: FileWriter, rows: Array) -> None:
        self._store = store
        self._writer = writer
        self._rows = rows
        self._added = rows[rows >= store.n_runs]
        self.remade: set[str] = set()
        """HDF5 paths of the columns that were made anew."""

    def grow(self, added: Sequence[RunEntry], table: Gathered) -> tuple[bool, int | None]:
        """Write the rows; return whether all runs have ended, and the last start or end of one (µs), if any."""
        import numpy as np

        rows = self._rows.tolist()
        self._chars("id", self._added, [entry.id for entry in added])
        self._chars("key", self._added, [entry.key for entry in added])
        self._chars("folder", self._added, [entry.folder for entry in added])
        self._chars("worker", self._rows, [table.worker[row] for row in rows])
        self._chars("error", self._rows, [table.error[row] for row in rows])
        self._chars("status", self._rows, [table.status[row] for row in rows])
        started = self._times("start", times(table.start[row] for row in rows))
        stopped = self._times("stop", times(table.stop[row] for row in rows))
        seconds = durations(started[self._rows], stopped[self._rows])
        holes = bool((started == fmt.INT64_MIN).any() or (stopped == fmt.INT64_MIN).any())
        self._numbers("duration", self._rows, seconds, np.nan if holes else None)
        replicates = np.array([entry.replicate for entry in added], np.int64)
        self._numbers("replicate", self._added, replicates)
        self._numbers("attempt", self._rows, np.array([table.attempt[row] for row in rows], np.int64))
        self._seeds([table.seed[row] for row in rows])
        ends = [int(moments.max()) for moments in (started, stopped)]
        return self._all_ended(), max(ends) if max(ends) != fmt.INT64_MIN else None

    def _all_ended(self) -> bool:
        import numpy as np

        raw = self._writer.file[f"{fmt.RUNS}/status"][:]
        statuses = np.ascontiguousarray(raw).view(f"S{raw.shape[1]}")[:, 0]
        return not np.isin(statuses, [status.encode() for status in OPEN]).any()

    def _chars(self, name: str, rows: Array, texts: list[str]) -> None:
        """Write text into a column of characters, which is made anew when another width suits it."""
        import numpy as np

        if not len(rows):
            return
        path = f"{fmt.RUNS}/{name}"
        dataset = self._writer.file[path]
        cells = [text.replace("\0", "�").encode("utf-8", "replace") for text in texts]
        if dataset.ndim != 2 or self._width(dataset, rows, max(map(len, cells))) != dataset.shape[1]:
            merged = self._store.read_text(path)
            merged.extend([""] * (self._writer.n_runs - len(merged)))
            for row, text in zip(rows.tolist(), texts, strict=True):
                merged[row] = text
            self._writer.remove(path)
            self._writer.chars(path, merged)
            self.remade.add(path)
            return
        width = dataset.shape[1]
        dataset.resize(self._writer.n_runs, axis=0)
        write_rows(dataset, rows, np.array(cells, dtype=f"S{width}").view("S1").reshape(-1, width))

    def _width(self, dataset: Any, rows: Array, longest: int) -> int:
        """Return the width of the longest text of the rows that stay and of the new ones, at least 1."""
        import numpy as np

        width = int(dataset.shape[1])
        replaced = rows[rows < self._store.n_runs]
        if longest >= width or not len(replaced):
            return max(longest, width)
        first = int(replaced[0])
        last_letters = dataset[first : int(replaced[-1]) + 1, width - 1]
        if not (last_letters[replaced - first] != b"").any():
            return width
        stay = np.ones(len(dataset), bool)
        stay[replaced] = False
        used = (dataset[:][stay] != b"").any(axis=0)
        return max(longest, int(np.flatnonzero(used)[-1]) + 1 if used.any() else 0, 1)

    def _times(self, name: str, moments: Array) -> Array:
        """Write times; return those of all rows."""
        import numpy as np

        merged = np.full(self._writer.n_runs, fmt.INT64_MIN, np.int64)
        merged[: self._store.n_runs] = self._store.read(f"{fmt.RUNS}/{name}", ...)
        merged[self._rows] = moments
        fill = fmt.INT64_MIN if (merged == fmt.INT64_MIN).any() else None
        self._numbers(name, self._rows, moments, fill)
        return merged

    def _numbers(self, name: str, rows: Array, values: Array, fill: Any = None) -> None:
        dataset = self._writer.file[f"{fmt.RUNS}/{name}"]
        dataset.resize(self._writer.n_runs, axis=0)
        if len(rows):
            write_rows(dataset, rows, values)
        mark_holes(dataset, {} if fill is None else {"_FillValue": fill})

    def _seeds(self, seeds: list[int | None]) -> None:
        import numpy as np

        path = f"{fmt.RUNS}/seed"
        dataset = self._writer.file[path]
        whole = dataset.dtype == np.int64
        small = all(seed is None or -(2**63) < seed < 2**63 for seed in seeds)
        if whole and small:
            merged = np.full(self._writer.n_runs, fmt.INT64_MIN, np.int64)
            merged[: self._store.n_runs] = self._store.read(path, ...)
            merged[self._rows] = times(seeds)
            fill = fmt.INT64_MIN if (merged == fmt.INT64_MIN).any() else None
            self._numbers("seed", self._rows, times(seeds), fill)
            return
        if whole:
            found = [None if seed == fmt.INT64_MIN else seed for seed in dataset[:].tolist()]
        else:
            found = [loads(text) if text else None for text in self._store.read_text(path)]
        found.extend([None] * (self._writer.n_runs - len(found)))
        for row, seed in zip(self._rows.tolist(), seeds, strict=True):
            found[row] = seed
        self._writer.remove(path)
        write_seeds(self._writer, found)
