"""What a trajectory and a selection of its runs have in common: columns, runs, search and tables."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from expedition.errors import (
    AmbiguousNameError,
    ExperimentError,
    NameNotFoundError,
    RecordNotFoundError,
    near_matches,
)
from expedition.trajectory import format as fmt
from expedition.trajectory.array_column import make_column
from expedition.trajectory.column import FIELDS, Column, run_field
from expedition.trajectory.export import frame
from expedition.trajectory.naming import Group
from expedition.trajectory.query import find_equal, find_matching, find_where
from expedition.trajectory.run_view import RunFields, RunView
from expedition.trajectory.store import Store
from expedition.trajectory.tree import Node, resolve
from expedition.values.columns import MISSING

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_KEY = re.compile(r"[0-9a-f]{4,64}")
_PLAIN = frozenset({bool, int, float, str})
_FIELD_ALIASES = {"started": "start", "stopped": "stop", "rep": "replicate"}
_BRANCH_ALIASES = {"params": fmt.PARAMETERS, "data": fmt.RESULTS, "derived": fmt.DERIVED}


class RunSet:
    """Runs of a trajectory in their order; a position here is the number of a run among them."""

    def __init__(self, store: Store, tree: Node, rows: np.ndarray[Any, Any] | None) -> None:
        self._store = store
        self._tree = tree
        self._rows = rows

    def __len__(self) -> int:
        return self._store.n_runs if self._rows is None else len(self._rows)

    @property
    def rows(self) -> np.ndarray[Any, Any]:
        """The rows of these runs in the file, int64."""
        import numpy as np

        return np.arange(self._store.n_runs) if self._rows is None else self._rows

    # natural naming ----------------------------------------------------------------------------------------

    @property
    def runs(self) -> RunFields:
        """What is known of every run: id, key, index, status, start, stop, duration, worker and so on."""
        return RunFields(self._store, self._rows)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self._root()[name]

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._tree.children, *fmt.ABBREVIATIONS})

    def _ipython_key_completions_(self) -> list[str]:
        return [leaf.path for leaf in self._tree.leaves()]

    def _root(self) -> Group:
        return Group(self._tree, self._column)

    def _column(self, node: Node) -> Column:
        return make_column(self._store, node.path, self._store.schema[node.path], self._rows)

    def _leaves(self, branch: str) -> Iterator[Column]:
        return (self._column(leaf) for leaf in self._tree.children[branch].leaves())

    def get(self, path: str, default: Any = None) -> Any:
        """Return the column or group that `path` means, `default` when there is none."""
        return self._root().get(path, default)

    # runs --------------------------------------------------------------------------------------------------

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            row = self._row_of(key)
            return self._root()[key] if row is None else self._view(row)
        import operator

        try:
            number = operator.index(key)
        except TypeError:
            return self._selected(self.rows[key])
        count = len(self)
        if not -count <= number < count:
            raise RecordNotFoundError(f"there is no run {number}: there are {count:,}")
        number %= count
        return self._view(number if self._rows is None else int(self._rows[number]))

    def __iter__(self) -> Iterator[RunView]:
        return (self[number] for number in range(len(self)))

    def __bool__(self) -> bool:
        return len(self) > 0

    def _view(self, row: int) -> RunView:
        def column(node: Node) -> Column:
            return make_column(self._store, node.path, self._store.schema[node.path])

        return RunView(self._store, self._tree, column, row)

    def _row_of(self, name: str) -> int | None:
        """Return the row of an id, a key or the beginning of a key; None when it is none of these."""
        found: list[int] = []
        if "::" in name or "[" in name:
            ids = self.runs.id.values.tolist()
            found = [row for row, each in zip(self.rows.tolist(), ids, strict=True) if each == name]
            if not found and self.get(name) is None:
                raise RecordNotFoundError(f"there is no run {name!r}{near_matches(name, ids)}")
        elif _KEY.fullmatch(name):
            found = self._rows_of_key(name)
            column = self.get(name) if len(name) < 64 else None
            if not found and column is None:
                raise RecordNotFoundError(
                    f"there is no run with the key {name!r}, and no column of that name"
                )
            if found and column is not None:
                run = self._view(found[0]).id
                raise AmbiguousNameError(f"{name!r} is ambiguous: it may be the run {run!r} or {column!r}")
        if len(found) > 1:
            first, second = (self._view(row).id for row in found[:2])
            raise AmbiguousNameError(f"{name!r} is ambiguous: it may be {first!r} or {second!r}")
        return found[0] if found else None

    def _rows_of_key(self, start: str) -> list[int]:
        import numpy as np

        keys = self._store.read(f"{fmt.RUNS}/key", (slice(None), slice(0, len(start))))
        if keys.shape[1:] != (len(start),):
            return []
        rows = np.flatnonzero((keys == np.frombuffer(start.encode(), "S1")).all(axis=1))
        return (rows if self._rows is None else np.intersect1d(self._rows, rows)).tolist()

    # search ------------------------------------------------------------------------------------------------

    def find(
        self, condition: str | Callable[..., Any] | None = None, /, **wanted: Any
    ) -> np.ndarray[Any, Any]:
        """Return the positions of runs that match, int64, in order.

        `condition` is an expression (``"alpha < 1 and status == 'done'"``) or a function whose arguments are
        named like columns; keywords ask for equality. Names are those of runs (``status``, ``duration``),
        then of parameters, results and all natural names. Only the columns that are named are read.

        Raises `ExpressionError` or `NameNotFoundError`, with near matches.
        """
        import numpy as np

        if condition is None and not wanted:
            raise ExperimentError("find() needs an expression, a function or values: find(alpha=0.1)")
        mask = np.ones(len(self), bool)
        if isinstance(condition, str):
            mask &= find_matching(self._lookup, condition, len(self), self._names)
        elif condition is not None:
            mask &= find_where(self._lookup, condition, len(self))
        if wanted:
            mask &= find_equal(self._lookup, wanted)
        return np.flatnonzero(mask).astype(np.int64)

    def select(self, condition: Any = None, /, **wanted: Any) -> RunSet:
        """Return a view of the runs that `find` finds, or of those at given positions (int or bool array)."""
        if condition is None or isinstance(condition, str) or callable(condition):
            return self._selected(self.rows[self.find(condition, **wanted)])
        chosen = self._selected(self.rows[condition])
        return chosen.select(**wanted) if wanted else chosen

    def _selected(self, rows: np.ndarray[Any, Any]) -> RunSet:
        return RunSet(self._store, self._tree, rows)

    def _names(self) -> set[str]:
        """All that `_lookup` takes, for near matches."""
        names = {*FIELDS, *_FIELD_ALIASES}
        for leaf in self._tree.leaves():
            names |= {leaf.path.replace("/", "."), leaf.path.partition("/")[2].replace("/", "."), leaf.name}
        return names

    def _lookup(self, name: str) -> Column:
        """Return the column that a name means in an expression."""
        field = _FIELD_ALIASES.get(name, name)
        if field in FIELDS:
            return run_field(self._store, field, self._rows)
        branch, dot, rest = name.partition(".")
        if dot and branch in _BRANCH_ALIASES:
            name = f"{_BRANCH_ALIASES[branch]}/{rest.replace('.', '/')}"
        plain = name.replace(".", "/")
        for node in (fmt.PARAMETERS, fmt.RESULTS, fmt.DERIVED):
            for path in (f"{node}/{name}", f"{node}/{plain}"):
                if path in self._store.schema:
                    return self._column(Node(path))
        found = resolve(self._tree, name)
        if not found.is_leaf:
            raise NameNotFoundError(f"{name!r} is a group, not a column: {', '.join(found.children)}")
        return self._column(found)

    def collect(self, path: str) -> Any:
        """Return the values of a column aligned with the runs.

        Numbers are a numpy array with NaN for the runs that have none; text, JSON and ragged arrays are a
        list with None for them, and stacked arrays an array with the fill.
        """
        import numpy as np

        column = self[path] if path in self._store.schema else self._lookup(path)
        if column.kind not in ("bool", "int", "float", "complex"):
            return column.values if column.ndim > 1 else column.tolist(None)
        if not column._has_state:
            return column.values
        nan = float("nan")
        exact = column.tolist(MISSING)
        values = [nan if value is MISSING or value is None else value for value in exact]
        if column.kind == "complex":
            return np.array(values, np.complex128)
        if column.kind == "int" and any(isinstance(v, int) and abs(v) > 2**53 for v in values):
            return values
        return np.array(values, np.float64)

    def unique_points(self) -> list[dict[str, Any]]:
        """Return the distinct assignments of the swept parameters, in the order of the runs."""
        from expedition.values import canonical

        swept = {
            str(entry.get("name", path.partition("/")[2])): self._column(Node(path)).tolist()
            for path, entry in self._store.schema.items()
            if path.startswith(fmt.PARAMETERS + "/") and entry.get("swept")
        }
        plain = all(type(v) in _PLAIN and v == v for column in swept.values() for v in column)
        points: dict[Any, dict[str, Any]] = {}
        for values in zip(*swept.values(), strict=True):
            point = dict(zip(swept, values, strict=True))
            # Equal values of one type are one point: True is not 1, and NaN is NaN.
            key = tuple((type(v), v) for v in values) if plain else canonical(point)
            points.setdefault(key, point)
        return list(points.values()) if swept else [{}] * min(len(self), 1)

    def to_pandas(self) -> pd.DataFrame:
        """Return a DataFrame of parameters, replicate, status and scalar results, index ``run``."""
        return frame(self.rows, self.runs, self._leaves)

    def to_csv(self, path: Any) -> None:
        """Write the table of `to_pandas` as CSV."""
        self.to_pandas().to_csv(path)
