"""Extends series by the observations of new rows, which go in among the others in the order of the runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from expedition.trajectory.file import format as fmt
from expedition.trajectory.file.store import Store
from expedition.trajectory.growing.growth import UnfitError
from expedition.trajectory.growing.new_rows import NewRows
from expedition.trajectory.growing.splice import RaggedPlan, grow_index, prune, renew_scale
from expedition.trajectory.writing.gather import Gathered, RunFolders
from expedition.trajectory.writing.heading import Schema
from expedition.trajectory.writing.series import Observations, collect_series, write_series
from expedition.trajectory.writing.writer import FileWriter
from expedition.values import loads

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_NUMBERS = frozenset({"bool", "int", "float"})
_KINDS = _NUMBERS | {"array", "file", "json"}
_OWN = frozenset({"at", "order", "comment", "unit"})
"""Members of an entry that do not come from the observations."""
_SEEN = 1024


class SeriesGrower:
    """Extends the series of a copy of `store`, whose file `writer` writes into."""

    def __init__(
        self,
        store: Store,
        schema: Schema,
        mixed: list[str],
        writer: FileWriter,
        new: NewRows,
        folders: RunFolders,
    ) -> None:
        self._store = store
        self._schema = schema
        self._mixed = mixed
        self._writer = writer
        self._new = new
        self._folders = folders
        self._replaced = new.rows[new.rows < store.n_runs]
        self.remade: set[str] = set()

    def counts(self, path: str) -> Array:
        """Return the number of observations of each row before."""
        return self._store.read(f"{self._schema[path]['at']}/obs_count", ...)  # type: ignore[no-any-return]

    def first_rows(self, path: str) -> tuple[int, int | None]:
        """Return the first row that had observations, and the first of those not replaced that has some."""
        import numpy as np

        has = self.counts(path) > 0
        before = int(np.argmax(has))
        has[self._replaced] = False
        return before, int(np.argmax(has)) if has.any() else None

    def grow(self) -> list[tuple[int, str]]:
        """Extend every series; return the rows of which data could not be read, and why."""
        table, places = self._new.table, self._new.places
        known = {name: rows for name, rows in table.series.items() if f"{fmt.SERIES}/{name}" in self._schema}
        apart = {name: {places[row]: about for row, about in rows.items()} for name, rows in known.items()}
        found = collect_series(Gathered(len(places), table.spill, series=apart), self._new.folders)
        failed: list[tuple[int, str]] = []
        for path in [path for path in self._schema if path.startswith(f"{fmt.SERIES}/")]:
            name = path.partition("/")[2]
            series = found.get(name)
            if series is not None and not all(series.counts[place] for place in apart[name]):
                raise UnfitError(f"the journals of some runs lack the observations of {path}")
            failed.extend(self._grow(path, name, series))
        fresh = {name: rows for name, rows in table.series.items() if name not in known}
        for name, series in collect_series(
            Gathered(self._writer.n_runs, table.spill, series=fresh), self._folders
        ).items():
            failed.extend(self._make(name, series))
        return failed

    def _make(self, name: str, series: Observations) -> list[tuple[int, str]]:
        path = f"{fmt.SERIES}/{name}"
        rows = self._new.table.series[name]
        if not all(series.counts[row] for row in rows):
            raise UnfitError(f"the journals of some runs lack the observations of {path}")
        entry, failed = write_series(self._writer, name, series, self._folders)
        if entry["at"] != fmt.natural_path(path):
            raise UnfitError(f"the name of {path} is taken")
        if entry["kind"] == "json" and (series.shapes or series.files):
            self._mixed.append(path)
        self._schema[path] = entry
        self.remade.add(path)
        return failed

    def _grow(self, path: str, name: str, series: Observations | None) -> list[tuple[int, str]]:
        import numpy as np

        entry, before = self._schema[path], self.counts(path)
        counts = np.zeros(len(self._new.rows), np.int64)
        if series is not None:
            counts[:] = series.counts
        lost = bool((before[self._replaced] > 0).any())
        if series is None and not lost:
            if self._writer.n_runs > self._store.n_runs:
                self._check(path, entry)
                plan = RaggedPlan.make(before, self._writer.n_runs, self._new.rows, counts)
                grow_index(self._writer, entry["at"], plan)
            return []
        self._check(path, entry)
        if series is None:
            raise UnfitError(f"a run has no {path} any more")
        if entry["kind"] == "json" and (series.shapes or series.files or path in self._mixed):
            raise UnfitError(f"{path} has arrays or pictures among other values")
        if entry["kind"] == "json" and lost and not self._stays_json(entry, before):
            raise UnfitError(f"{path} may have values of one type now")
        made, failed = write_series(self._new.writer, name, series, self._new.folders)
        if {n: v for n, v in made.items() if n not in _OWN} != {
            n: v for n, v in entry.items() if n not in _OWN
        }:
            raise UnfitError(f"{path} has values of another kind now")
        plan = RaggedPlan.make(before, self._writer.n_runs, self._new.rows, counts)
        self._merge(path, entry["at"], made["at"], plan)
        return [(int(self._new.rows[place]), reason) for place, reason in failed]

    def _check(self, path: str, entry: dict[str, Any]) -> None:
        parts = {name.rstrip("_0123456789") for name in self._writer.file[entry["at"]]}
        own = f"{entry['at'].rpartition('/')[2]}_obs".rstrip("_0123456789")
        known = {"step", "time", "value", "value_dim", "obs_start", "obs_count", own}
        if entry.get("encoding") != "ragged" or entry["kind"] not in _KINDS or not parts <= known:
            raise UnfitError(f"{path} is laid out in a way that is not known here")

    def _stays_json(self, entry: dict[str, Any], before: Array) -> bool:
        """Tell whether one of the first observations that stay could not be in a series of numbers or files."""
        import numpy as np

        rows = np.repeat(np.arange(len(before)), before)[:_SEEN]
        texts = self._store.read_text(f"{entry['at']}/value", slice(0, len(rows)))
        stay = ~np.isin(rows, self._replaced)
        values = [loads(text) for text, stays in zip(texts, stay.tolist(), strict=True) if stays]
        return any(isinstance(value, str | list) for value in values)

    def _merge(self, path: str, at: str, made: str, plan: RaggedPlan) -> None:
        file, new = self._writer.file, self._new.file
        old, added = self._store.dataset(f"{at}/value"), new[f"{made}/value"]
        names = ("dtype_orig", "dtype", "flag_meanings", "encoding")
        if old.dtype != added.dtype or old.shape[1:] != added.shape[1:]:
            raise UnfitError(f"{path} has values of another type now")
        if any(old.attrs.get(name) != added.attrs.get(name) for name in names):
            raise UnfitError(f"{path} has values of another type now")
        self._merge_states(path, at, made, plan)
        targets = []
        for name in ("step", "time", "value"):
            target = file[f"{at}/{name}"]
            target.resize(plan.total, axis=0)
            plan.merge(self._store.dataset(f"{at}/{name}"), new[f"{made}/{name}"], target)
            targets.append(target)
        renew_scale(self._writer, targets, plan.total)
        grow_index(self._writer, at, plan)

    def _merge_states(self, path: str, at: str, made: str, plan: RaggedPlan) -> None:
        import numpy as np

        place = f"{fmt.STATE}/{at}"

        def states_of(known: Array | None, size: int) -> Array:
            return np.full(size, fmt.VALUE, np.uint8) if known is None else known

        has_states = self._store.has(place)
        former = self._store.read(place, ...) if has_states else None
        added = self._new.file[f"{fmt.STATE}/{made}"][:] if f"{fmt.STATE}/{made}" in self._new.file else None
        if former is None and added is None and self._schema[path]["kind"] not in _NUMBERS:
            return
        states = np.full(plan.total, fmt.VALUE, np.uint8)
        old = states_of(former, len(self._store.dataset(f"{at}/step")))
        new = states_of(added, int(plan.counts[plan.taken].sum()))
        states[: plan.begin] = old[: plan.begin]
        plan.merge(old, new, states)
        codes = set(np.unique(states).tolist())
        if self._schema[path]["kind"] in _NUMBERS and (
            fmt.VALUE not in codes or codes >= {fmt.INT_IN_FLOAT, fmt.NUMPY}
        ):
            raise UnfitError(f"{path} has values of other types now")
        if codes == {fmt.VALUE}:
            if has_states:
                scale = self._writer.file[place].dims[0][0].name
                self._writer.remove(place)
                del self._writer.file[scale]
                prune(self._writer.file, place)
            return
        if has_states:
            target = self._writer.file[place]
            target.resize(plan.total, axis=0)
            target[plan.begin :] = states[plan.begin :]
            renew_scale(self._writer, [target], plan.total)
            return
        flags = {"flag_values": np.arange(6, dtype=np.uint8), "flag_meanings": fmt.STATE_MEANINGS}
        target = self._writer.observations(place, plan.total, np.uint8, flags)
        target[...] = states
        self._writer.attach(target, 0, self._writer.dimension(f"{place}_obs", plan.total))
