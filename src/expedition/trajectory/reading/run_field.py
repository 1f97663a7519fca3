"""What is known of every run, as columns: the fields of ``traj.runs``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from expedition.archive.liveness import derive_status, is_held
from expedition.archive.meta_file import load_meta
from expedition.errors import DamagedError
from expedition.recording import layout, outcomes
from expedition.trajectory.file import format as fmt
from expedition.trajectory.file.raw import pick_rows
from expedition.trajectory.file.store import Store
from expedition.trajectory.reading.column import Column
from expedition.values.columns import MISSING

if TYPE_CHECKING:
    import numpy as np

_FIELD_KINDS = {
    "id": "text",
    "key": "text",
    "status": "text",
    "start": "datetime",
    "stop": "datetime",
    "duration": "float",
    "worker": "text",
    "seed": "int",
    "replicate": "int",
    "attempt": "int",
    "error": "text",
    "folder": "text",
    "origin": "int",
    "origin_index": "int",
}
_UNKNOWN = frozenset({"seed", "worker", "error"})
"""Fields that not every run has, whose dtype has no NaN or NaT to say so."""
_OPEN = frozenset({outcomes.RUNNING, outcomes.UNKNOWN})
_ORIGINS = ("origin", "origin_index")
FIELDS = ("index", *(name for name in _FIELD_KINDS if name not in _ORIGINS))
"""Names of the columns of ``traj.runs`` that every trajectory has."""


class RunField(Column):
    """A column of ``/runs``: what is known of every run; None where it is not known yet."""

    def __init__(self, store: Store, name: str, rows: np.ndarray[Any, Any] | None = None) -> None:
        entry = {"at": f"{fmt.RUNS}/{name}", "kind": _FIELD_KINDS[name]}
        if name == "seed" and store.dataset(entry["at"]).dtype.kind == "O":
            entry["kind"] = "json"
        super().__init__(store, f"{fmt.RUNS}/{name}", entry, rows)

    @property
    def _has_state(self) -> bool:
        return False

    def _holes(self, rows: slice | np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
        import numpy as np

        if self.name not in _UNKNOWN or self.kind == "json":
            return None
        raw = self._raw(rows) if isinstance(rows, slice) else pick_rows(self._raw, rows)
        return np.array([not text for text in raw], bool) if self.kind == "text" else raw == fmt.INT64_MIN

    def _cells(self) -> list[Any]:
        return [_known(self.kind, value) for value in super()._cells()]

    def _exact(self, row: int) -> Any:
        return _known(self.kind, super()._exact(row))


class StatusField(RunField):
    """The outcomes of the runs; what the file says has no end yet is looked up in the sweep folder it stands in.

    The writer of the file may be gone for good, and a run with it. A file that stands alone keeps what it says.
    """

    def _raw(self, rows: slice) -> Any:
        said: list[str] = super()._raw(rows)
        if _OPEN.isdisjoint(said) or not self._store.is_of_sweep:
            return said
        numbers = range(*rows.indices(self._store.n_runs))
        return [
            self._now(row, status) if status in _OPEN else status
            for row, status in zip(numbers, said, strict=True)
        ]

    def _now(self, row: int, said: str) -> str:
        folder = self._store.folder(row)
        try:
            meta = load_meta(folder)
            status = derive_status(meta, folder, self._store.root)
        except (DamagedError, OSError, ValueError, TypeError):
            return said
        if meta["status"] == outcomes.RUNNING:
            return status
        # It has ended since. While the sweep is written, the next file says so, with the values of the run.
        return said if self._is_written() else status

    def _is_written(self) -> bool:
        return any(map(is_held, (self._store.root / layout.JOURNALS_FOLDER).glob("*.lock")))


class IndexField(RunField):
    """The numbers of the runs."""

    def __init__(self, store: Store, rows: np.ndarray[Any, Any] | None = None) -> None:
        Column.__init__(self, store, f"{fmt.RUNS}/index", {"at": "run", "kind": "int"}, rows)


def fields_of(store: Store) -> tuple[str, ...]:
    """Return the names of the columns of ``traj.runs``; merged runs have an origin."""
    return (*FIELDS, *_ORIGINS) if store.is_merged else FIELDS


def run_field(store: Store, name: str, rows: np.ndarray[Any, Any] | None = None) -> Column:
    """Return the column `name` of what is known of every run."""
    if name == "index":
        return IndexField(store, rows)
    return (StatusField if name == "status" else RunField)(store, name, rows)


def _known(kind: str, value: Any) -> Any:
    """Return a value of a run's field, None for the fills of what is not known."""
    if value is MISSING or (kind == "int" and value == fmt.INT64_MIN) or (kind == "float" and value != value):
        return None
    return None if kind == "text" and value == "" else value
