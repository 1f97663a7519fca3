"""One run of a trajectory."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expedition.errors import near_matches
from expedition.trajectory import format as fmt
from expedition.trajectory.column import FIELDS, run_field
from expedition.trajectory.naming import RunGroup
from expedition.trajectory.store import Store
from expedition.trajectory.tree import Node, resolve

if TYPE_CHECKING:
    from expedition.trajectory.column import Column

_BRANCH_NAMES = {
    "params": fmt.PARAMETERS,
    "par": fmt.PARAMETERS,
    "parameters": fmt.PARAMETERS,
    "derived": fmt.DERIVED,
    "dpar": fmt.DERIVED,
    "derived_parameters": fmt.DERIVED,
    "results": fmt.RESULTS,
    "res": fmt.RESULTS,
    "config": fmt.CONFIG,
    "conf": fmt.CONFIG,
    "series": fmt.SERIES,
}


class RunView:
    """A run: what is known of it, and its values, read when they are asked for.

    ``run.params.alpha``, ``run.results["rmse/mean"]``, ``run.res.rmse.mean``, ``run.series["fold/rmse"]``,
    ``run.derived``, ``run.config``; a name that is nothing else is looked for in all of them. What the run
    does not have raises `NameNotFoundError`.

    Attributes
    ----------
    index : the row of the run in the file.
    """

    def __init__(self, store: Store, tree: Node, column: Callable[[Node], Column], index: int) -> None:
        self._store = store
        self._tree = tree
        self._column = column
        self.index = index

    def __repr__(self) -> str:
        return f"<run {self.index} {self.id!r} {self.status}>"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        branch = _BRANCH_NAMES.get(name)
        if branch is not None:
            return RunGroup(self._tree.children[branch], self, self._column)
        return self[name]

    def __getitem__(self, path: str) -> Any:
        return RunGroup(self._tree, self, self._column)._value(resolve(self._tree, path))

    def get(self, path: str, default: Any = None) -> Any:
        """Return the value that `path` means, `default` when the run has none."""
        return RunGroup(self._tree, self, self._column).get(path, default)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RunView) and (self._store.path, self.index) == (
            other._store.path,
            other.index,
        )

    def __hash__(self) -> int:
        return hash((self._store.path, self.index))

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *_BRANCH_NAMES})

    def _field(self, name: str) -> Any:
        return run_field(self._store, name).get(self.index)

    @property
    def id(self) -> str:
        """The id, as pytest shows it."""
        return str(self._field("id"))

    @property
    def key(self) -> str:
        """The run key, 64 hex digits."""
        return str(self._field("key"))

    @property
    def status(self) -> str:
        """The outcome, or ``pending``."""
        return str(self._field("status"))

    @property
    def start(self) -> datetime | None:
        """When the run started (UTC), None before."""
        return self._field("start")  # type: ignore[no-any-return]

    @property
    def stop(self) -> datetime | None:
        """When the run ended (UTC), None before."""
        return self._field("stop")  # type: ignore[no-any-return]

    @property
    def duration(self) -> float | None:
        """Seconds from start to end, None before."""
        return self._field("duration")  # type: ignore[no-any-return]

    @property
    def worker(self) -> str | None:
        """The process that executed the run."""
        return self._field("worker")  # type: ignore[no-any-return]

    @property
    def seed(self) -> int | None:
        """The seed of the run, None before it started."""
        return self._field("seed")  # type: ignore[no-any-return]

    @property
    def replicate(self) -> int:
        """The number of the repetition of the point."""
        return int(self._field("replicate"))

    @property
    def attempt(self) -> int:
        """How often the run was started before."""
        return int(self._field("attempt"))

    @property
    def error(self) -> str | None:
        """Type and message of the error that ended the run."""
        return self._field("error")  # type: ignore[no-any-return]

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self._store.folder(self.index)


class RunFields:
    """What is known of every run, a column each: ``traj.runs.status``."""

    def __init__(self, store: Store, rows: Any) -> None:
        self._store = store
        self._rows = rows

    def __repr__(self) -> str:
        return f"<runs: {', '.join(FIELDS)}>"

    def __getattr__(self, name: str) -> Column:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, name: str) -> Column:
        if name not in FIELDS:
            from expedition.errors import NameNotFoundError

            raise NameNotFoundError(f"runs have no {name!r}{near_matches(name, FIELDS)}")
        return run_field(self._store, name, self._rows)

    def __iter__(self) -> Any:
        return iter(FIELDS)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *FIELDS})

    def _ipython_key_completions_(self) -> list[str]:
        return list(FIELDS)
