"""Opens trajectories."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Self

from expedition.trajectory.run_set import RunSet
from expedition.trajectory.store import Store
from expedition.trajectory.tree import build_tree


class Trajectory(RunSet):
    """All runs of a sweep: columns by natural naming, runs by number, key or id, search and tables.

    ``traj.res.rmse.mean`` is a lazy column, ``traj[3]`` a run, ``traj.select("alpha < 1")`` a view of some
    runs. The file is opened read-only and never locks out the sweep that writes the next one; `refresh`
    opens that.
    """

    def __init__(self, store: Store) -> None:
        super().__init__(store, build_tree(store.schema), None)

    @classmethod
    def open(cls, path: Path | str) -> Trajectory:
        """Open a trajectory file, or that of a sweep folder.

        Raises `RecordNotFoundError` when there is none, `TrajectoryFormatError` when it is damaged, foreign
        or of a newer format.
        """
        return cls(Store(path))

    def __repr__(self) -> str:
        if not self._store.is_open:
            return f"<Trajectory {str(self.path)!r}, closed>"
        return f"<Trajectory {str(self.path)!r}: {len(self):,} runs, {len(self._store.schema):,} columns>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def path(self) -> Path:
        """The file."""
        return self._store.path

    @property
    def attrs(self) -> dict[str, Any]:
        """Attributes of the file: title, created, complete, explored, grid_dims and so on."""
        return dict(self._store.attrs)

    def close(self) -> None:
        """Close the file; columns and runs taken from it can no longer be read."""
        self._store.close()

    def refresh(self) -> bool:
        """Open the file again when it was replaced; return whether it was.

        Selections made before keep their runs: rows are never reassigned.
        """
        if self._store.is_open and not self._store.is_replaced():
            return False
        self._store.open()
        self._tree = build_tree(self._store.schema)
        return True
