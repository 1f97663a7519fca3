"""The columns of some runs of a trajectory: by natural naming, by the names of expressions, and as an outline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expedition.authoring.quoting import split_name
from expedition.errors import AmbiguousNameError, DamagedError, NameNotFoundError, near_matches
from expedition.trajectory.file import format as fmt
from expedition.trajectory.file.store import Store
from expedition.trajectory.reading.array_column import column_at
from expedition.trajectory.reading.brief import number_of
from expedition.trajectory.reading.column import Column
from expedition.trajectory.reading.html import outline_html
from expedition.trajectory.reading.naming import Group, NodeInfo
from expedition.trajectory.reading.outline import HTML_LINES, Outliner, outline_text
from expedition.trajectory.reading.read_only import ReadOnly
from expedition.trajectory.reading.run_field import fields_of, run_field
from expedition.trajectory.reading.run_view import RunFields
from expedition.trajectory.reading.tree import Node, resolve

if TYPE_CHECKING:
    import numpy as np

FIELD_ALIASES = {"started": "start", "stopped": "stop", "rep": "replicate"}
"""Names that expressions have for fields of runs, as those over an archive do."""
_BRANCH_ALIASES = {"params": fmt.PARAMETERS, "data": fmt.RESULTS, "derived": fmt.DERIVED}


class ColumnSet(ReadOnly):
    """The columns of some runs, in the order of the runs."""

    def __init__(self, store: Store, tree: Node, rows: np.ndarray[Any, Any] | None) -> None:
        self._store = store
        self._tree = tree
        self._rows = rows

    def __len__(self) -> int:
        return self._store.n_runs if self._rows is None else len(self._rows)

    @property
    def path(self) -> Path:
        """The file."""
        return self._store.path

    @property
    def attrs(self) -> dict[str, Any]:
        """Attributes of the file, of all its runs: title, created, complete, explored, grid_dims and so on."""
        return dict(self._store.attrs)

    @property
    def rows(self) -> np.ndarray[Any, Any]:
        """The rows of these runs in the file, int64."""
        import numpy as np

        return np.arange(self._store.n_runs) if self._rows is None else self._rows

    def __repr__(self) -> str:
        if not self._store.is_open:
            return f"<{self._title()}, closed>"
        entries = Outliner(self._column).branches(self._tree)
        return f"<{self._title()}: {self._counts()}>\n{outline_text(entries)}".rstrip()

    def _repr_html_(self) -> str:
        if not self._store.is_open:
            return outline_html(f"{self._title()}, closed", [])
        entries = Outliner(self._column, HTML_LINES).branches(self._tree)
        return outline_html(self._title(), entries, [("runs", self._counts())])

    def _title(self) -> str:
        return f"{len(self):,} of {number_of(self._store.n_runs, 'run')} of {str(self._store.path)!r}"

    def _counts(self) -> str:
        """How many runs there are of which status."""
        try:
            counts = Counter(self.runs.status.values.tolist())
        except DamagedError:  # an outline must not fail
            return number_of(len(self), "run")
        statuses = ", ".join(f"{count:,} {name}" for name, count in counts.items())
        return f"{number_of(len(self), 'run')} ({statuses})" if statuses else number_of(0, "run")

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
        return sorted({*super().__dir__(), *self._tree.children, *self._tree.links, *fmt.ABBREVIATIONS})

    def _ipython_key_completions_(self) -> list[str]:
        return [*(leaf.path for leaf in self._tree.leaves()), *self._tree.links]

    def _root(self) -> Group:
        return Group(self._tree, self._column)

    def _column(self, node: Node) -> Column:
        return column_at(self._store, node.path, self._rows)

    def get(self, path: str, default: Any = None) -> Any:
        """Return the column or group that `path` means, `default` when there is none.

        Raises `AmbiguousNameError` for a shortened name that fits several nodes.
        """
        return self._root().get(path, default)

    def leaves(self, branch: str | None = None) -> Iterator[Column]:
        """Yield the columns of all branches, or of one."""
        if branch is None:
            return self._root().leaves()
        branch = fmt.ABBREVIATIONS.get(branch, branch)
        if branch not in self._tree.children:
            raise NameNotFoundError(
                f"there is no branch {branch!r}{near_matches(branch, self._tree.children)}"
            )
        return (self._column(leaf) for leaf in self._tree.children[branch].leaves())

    def get_all(self, name: str) -> list[Any]:
        """Return every column and group whose own name is `name`, the least deep first."""
        return self._root().get_all(name)

    def to_dict(self, *, nested: bool = True) -> dict[str, Any]:
        """Return all columns as nested dicts, or by their slashed paths."""
        return self._root().to_dict(nested=nested)

    def info(self, path: str = "") -> NodeInfo:
        """Return where a column or group stands in the tree, and what it is; of the root without a path."""
        return self._root().info(path)

    # names of expressions ----------------------------------------------------------------------------------

    def _names(self) -> set[str]:
        """All that `_lookup` takes, for near matches."""
        names = {*fields_of(self._store), *FIELD_ALIASES, *self._tree.links}
        for leaf in self._tree.leaves():
            names |= {leaf.path.replace("/", "."), leaf.path.partition("/")[2].replace("/", "."), leaf.name}
        return names

    def _lookup_strictly(self, name: str) -> Column:
        """Return what `_lookup` does, but refuse the name of a field of runs that a column has as well."""
        return self._lookup(name, strict=True)

    def _lookup(self, name: str, *, strict: bool = False) -> Column:
        """Return the column that a name means in an expression.

        Columns go before fields of runs. Raises `AmbiguousNameError` for a bare name that several branches have, or,
        when it is `strict`, a branch and the fields of runs.
        """
        linked = self._tree.linked(name)
        if linked is not None and linked.is_leaf:
            return self._column(linked)
        if (quoted := self._quoted_path(name)) is not None:
            return self._column(Node(quoted))
        branch, dot, rest = name.partition(".")
        if branch == fmt.RUNS and rest in fields_of(self._store):
            return run_field(self._store, rest, self._rows)
        if dot and branch in _BRANCH_ALIASES:
            name = f"{_BRANCH_ALIASES[branch]}/{rest.replace('.', '/')}"
        field = FIELD_ALIASES.get(name, name)
        is_field = field in fields_of(self._store)
        known = [f"{fmt.RUNS}/{field}"] if is_field and strict else []
        for node in (fmt.PARAMETERS, fmt.RESULTS, fmt.DERIVED):
            # A value with a dot in its own name yields: it can be said with brackets.
            paths = (f"{node}/{name.replace('.', '/')}", f"{node}/{name}")
            known += [path for path in paths if path in self._store.schema][:1]
        if len(known) > 1:
            either = " or ".join(repr(path.replace("/", ".")) for path in known)
            raise AmbiguousNameError(f"{name!r} is ambiguous in {self.path}: write {either}")
        if known and not known[0].startswith(f"{fmt.RUNS}/"):
            return self._column(Node(known[0]))
        if is_field:
            return run_field(self._store, field, self._rows)
        found = resolve(self._tree, name)
        if not found.is_leaf:
            raise NameNotFoundError(f"{name!r} is a group, not a column: {', '.join(found.children)}")
        return self._column(found)

    def _quoted_path(self, name: str) -> str | None:
        """Return the path of a column that expressions name with brackets, as in ``data['a.b']``; else None."""
        if "['" not in name and '["' not in name:
            return None
        first, *rest = split_name(name) or [name]
        places = [f"{node}/{'/'.join([first, *rest])}" for node in (fmt.PARAMETERS, fmt.RESULTS, fmt.DERIVED)]
        places.insert(0, "/".join([_BRANCH_ALIASES.get(first, first), *rest]))
        return next((path for path in places if path in self._store.schema), None)

    def collect(self, path: str) -> Any:
        """Return the values of a column aligned with the runs.

        It is an array as `Column.values` is, when every run has a value. Else floats are an array with NaN for the
        runs that have none, and all else is an array of the objects that were stored, with None for these runs.
        """
        import numpy as np

        if not isinstance(path, str):
            raise NameNotFoundError(
                f"collect() takes the name of one column, such as 'rmse/mean', not {path!r}: call it for each, or "
                "to_pandas(columns=[…]) for a table"
            )
        column = self._column(Node(path)) if path in self._store.schema else self._lookup(path)
        if column.kind == "float" and not column.path.startswith(f"{fmt.SERIES}/"):
            return column.values
        gaps = column._gaps
        if gaps is None or not gaps.any():
            return column.values
        values = np.empty(len(column), dtype=object)
        for position, value in enumerate(column.tolist(None)):
            values[position] = value
        return values
