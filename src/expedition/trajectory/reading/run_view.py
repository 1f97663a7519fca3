"""One run of a trajectory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expedition.archive.record import RunRecord
from expedition.errors import NameNotFoundError, RecordNotFoundError, near_matches
from expedition.recording import layout, outcomes
from expedition.trajectory.file import format as fmt
from expedition.trajectory.file.store import Store
from expedition.trajectory.reading.brief import brief_value
from expedition.trajectory.reading.extras import library
from expedition.trajectory.reading.frames import cells, table, text_cells
from expedition.trajectory.reading.html import values_html
from expedition.trajectory.reading.naming import RunGroup
from expedition.trajectory.reading.outline import HTML_LINES
from expedition.trajectory.reading.read_only import ReadOnly
from expedition.trajectory.reading.run_field import fields_of, run_field
from expedition.trajectory.reading.tree import Node, resolve

if TYPE_CHECKING:
    import pandas as pd

    from expedition.trajectory.reading.column import Column

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


class RunView(ReadOnly):
    """A run: what is known of it, and its values, read when they are asked for.

    ``run.params.alpha``, ``run.results["rmse/mean"]``, ``run.res.rmse.mean``, ``run.series["fold/rmse"]``,
    ``run.derived``, ``run.config``; a name that is nothing else is looked for in all of them. What the run
    does not have raises `NameNotFoundError`.
    """

    def __init__(self, store: Store, tree: Node, column: Callable[[Node], Column], index: int) -> None:
        self._store = store
        self._tree = tree
        self._column = column
        self._index = index

    def __repr__(self) -> str:
        if not self._store.is_open:
            return f"<run {self.index}, closed>"
        return f"<run {self.index} {self.id!r} {self.status}>"

    def _repr_html_(self) -> str:
        if not self._store.is_open:
            return values_html(f"run {self.index}, closed", [])
        fields = ("status", "error", "start", "duration", "worker", "seed")
        known = ((name, self._field(name)) for name in fields)
        facts = [(name, value if isinstance(value, str) else brief_value(value)) for name, value in known]
        sections = []
        for branch in (fmt.PARAMETERS, fmt.DERIVED, fmt.RESULTS, fmt.SERIES):
            group = RunGroup(self._tree.children[branch], self, self._column)
            sections.append((branch, *group.shown(HTML_LINES)))
        return values_html(f"run {self.index} {self.id}", sections, facts)

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

    def __contains__(self, path: object) -> bool:
        """Tell whether the run has a value, or a group with one, of that name."""
        return path in RunGroup(self._tree, self, self._column)

    def to_dict(self, *, nested: bool = True) -> dict[str, Any]:
        """Return all that the run has, by branch: as nested dicts, or by slashed paths."""
        return RunGroup(self._tree, self, self._column).to_dict(nested=nested)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RunView) and (self._store.path, self.index) == (
            other._store.path,
            other.index,
        )

    def __hash__(self) -> int:
        return hash((self._store.path, self.index))

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *_BRANCH_NAMES})

    def _ipython_key_completions_(self) -> list[str]:
        return RunGroup(self._tree, self, self._column)._ipython_key_completions_()

    def _field(self, name: str) -> Any:
        return run_field(self._store, name).get(self.index)

    @property
    def index(self) -> int:
        """The row of the run in the file."""
        return self._index

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
        """The run folder, whether or not it is there."""
        return self._store.folder(self.index)

    @property
    def record(self) -> RunRecord:
        """The run at rest: its log, notes, error with traceback, and all else that its run folder has.

        Raises `RecordNotFoundError` when the run was never started or its folder is gone.
        """
        folder = self.folder
        if not (folder / layout.META_FILE).is_file():
            if self.status == outcomes.PENDING:
                raise RecordNotFoundError(
                    f"run {self.index} ({self.id}) was never started: it has no run folder"
                )
            raise RecordNotFoundError(
                f"the run folder {folder} of run {self.index} ({self.id}) is gone: the trajectory was moved "
                "without it; parameters, results and series are in the file, artifacts and log were not"
            )
        return RunRecord(folder)

    @property
    def artifacts(self) -> Mapping[str, Path]:
        """Paths of the committed files by name, in the run folder. Raises as `record`."""
        return self.record.artifacts


class RunFields(ReadOnly):
    """What is known of every run, a column each: ``traj.runs.status``."""

    def __init__(self, store: Store, rows: Any) -> None:
        self._store = store
        self._rows = rows
        self._fields = fields_of(store)

    def __repr__(self) -> str:
        return f"<runs: {', '.join(self._fields)}>"

    def __getattr__(self, name: str) -> Column:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, name: str) -> Column:
        if not isinstance(name, str):
            raise NameNotFoundError(
                f"runs has the fields of all runs, by name: runs.status; the run of number {name!r} is traj[{name!r}]"
            )
        if name not in self._fields:
            raise NameNotFoundError(f"runs have no {name!r}{near_matches(name, self._fields)}")
        return run_field(self._store, name, self._rows)

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __contains__(self, name: object) -> bool:
        return name in self._fields

    def to_pandas(self) -> pd.DataFrame:
        """Return a DataFrame of all that is known of the runs, index ``run``.

        Raises `MissingLibraryError` without pandas.
        """
        library("pandas", "to_pandas() of the runs")
        data = {name: self._cells(self[name]) for name in self._fields if name != "index"}
        return table(data, self._rows)

    @staticmethod
    def _cells(column: Column) -> Any:
        import pandas as pd

        if column.kind not in ("int", "text"):
            return cells(column)
        values = column.tolist()  # None where it is not known, which these columns have no state for
        if column.kind == "text":
            return text_cells(values)
        return pd.array(values, dtype="Int64") if column.name == "seed" else column.values

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._fields})

    def _ipython_key_completions_(self) -> list[str]:
        return list(self._fields)
