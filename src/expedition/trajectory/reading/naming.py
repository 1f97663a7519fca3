"""Groups of columns, of all runs or of one, with attributes, slashed paths and tab completion."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from expedition.errors import AmbiguousNameError, NameNotFoundError, near_matches
from expedition.trajectory.reading.brief import brief_cell, number_of, one_line
from expedition.trajectory.reading.html import outline_html, values_html
from expedition.trajectory.reading.outline import HTML_LINES, TEXT_LINES, Outliner, outline_text
from expedition.trajectory.reading.read_only import ReadOnly
from expedition.trajectory.reading.tree import Node, lookup, resolve
from expedition.values.columns import MISSING

if TYPE_CHECKING:
    from expedition.trajectory.reading.column import Column


@dataclass(frozen=True)
class NodeInfo:
    """Where a group or column stands in the tree, and what it is.

    `kind` is None for a group, and `children` are the names below it; the root has the path ``""``, depth 0
    and no branch.
    """

    path: str
    name: str
    branch: str
    parent: str | None
    depth: int
    kind: str | None
    unit: str | None
    comment: str | None
    children: tuple[str, ...]

    @property
    def is_leaf(self) -> bool:
        """Whether the node is a column."""
        return self.kind is not None


class Group(ReadOnly, Mapping[str, Any]):
    """A group of columns: ``group.rmse.mean``, ``group["rmse/mean"]``.

    As a mapping it has the names right below it. A name that is also one of a method here (``keys``,
    ``leaves``) is reached by ``[]``, like one that is no identifier.
    """

    def __init__(self, node: Node, column: Callable[[Node], Column]) -> None:
        self._node = node
        self._column = column

    def __repr__(self) -> str:
        leaves = sum(1 for _ in self._node.leaves())
        head = f"<group {self._node.path!r}: {leaves:,} column{'' if leaves == 1 else 's'}>"
        entry = Outliner(self._column).entry(self._node)
        more = f"\n… {entry.hidden:,} more" if entry.hidden else ""
        return "\n".join(filter(None, [head, outline_text(entry.entries)])) + more

    def _repr_html_(self) -> str:
        entry = Outliner(self._column, HTML_LINES).entry(self._node)
        return outline_html(f"group {self._node.path}", [entry])

    def __getitem__(self, path: str) -> Any:
        return self._wrap(resolve(self._node, _checked(path)))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def get(self, path: str, default: Any = None) -> Any:
        """Return the column or group that `path` means, `default` when there is none.

        Raises `AmbiguousNameError` for a shortened name that fits several nodes.
        """
        node = lookup(self._node, _checked(path))
        return default if node is None else self._wrap(node)

    def __contains__(self, item: object) -> bool:
        """Tell whether there is something of that name, or of the path of that column."""
        path = item if isinstance(item, str) else getattr(item, "path", None)
        if not isinstance(path, str):
            return False
        if path is not item and self._node.path:  # the path of a column is a full one
            return path.startswith(f"{self._node.path}/") and lookup(self._node.root, path) is not None
        try:
            return lookup(self._node, path) is not None
        except AmbiguousNameError:
            return True

    def __iter__(self) -> Iterator[str]:
        return iter(self._node.children)

    def __len__(self) -> int:
        return len(self._node.children)

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *filter(str.isidentifier, self._node.children)})

    def _ipython_key_completions_(self) -> list[str]:
        return list(relative_leaves(self._node))

    def leaves(self) -> Iterator[Column]:
        """Yield the columns below this group, in the order of the runs that made them."""
        return (self._column(leaf) for leaf in self._node.leaves())

    def get_all(self, name: str) -> list[Any]:
        """Return every column and group below this one whose own name is `name`, the least deep first."""
        return [self._wrap(node) for node in self._node.named(_checked(name))]

    def to_dict(self, *, nested: bool = True) -> dict[str, Any]:
        """Return the columns below this group as nested dicts, or by their slashed paths."""
        if not nested:
            return {path: self._column(leaf) for path, leaf in relative_leaves(self._node).items()}
        return {
            name: self._column(node) if node.is_leaf else Group(node, self._column).to_dict()
            for name, node in self._node.children.items()
        }

    def info(self, path: str = "") -> NodeInfo:
        """Return where the group, or what `path` means below it, stands in the tree, and what it is."""
        node = resolve(self._node, path) if path else self._node
        column = self._column(node) if node.is_leaf else None
        return NodeInfo(
            path=node.path,
            name=node.name,
            branch=node.path.partition("/")[0],
            parent=None if node.parent is None else node.parent.path,
            depth=node.path.count("/") + 1 if node.path else 0,
            kind=column.kind if column is not None else None,
            unit=column.unit if column is not None else node.said("unit"),
            comment=column.comment if column is not None else node.said("comment"),
            children=tuple(node.children),
        )

    def _wrap(self, node: Node) -> Any:
        return self._column(node) if node.is_leaf else Group(node, self._column)


def relative_leaves(node: Node) -> dict[str, Node]:
    """Return the leaves below a node by their paths from there."""
    start = len(node.path) + 1 if node.path else 0
    return {leaf.path[start:]: leaf for leaf in node.leaves()}


def _checked(path: object) -> str:
    if not isinstance(path, str):
        raise NameNotFoundError(f"a name is text, like 'rmse/mean', not {path!r}; runs are in the trajectory")
    return path


class OneRun(Protocol):
    """What a group knows of the run whose values it has: its row in the file and its id."""

    @property
    def index(self) -> int:
        """The row of the run in the file."""

    @property
    def id(self) -> str:
        """The id, as pytest shows it."""


class RunGroup(ReadOnly, Mapping[str, Any]):
    """The values of one run in a group: exactly as they were stored, only those that the run has."""

    def __init__(self, node: Node, run: OneRun, column: Callable[[Node], Column]) -> None:
        self._node = node
        self._run = run
        self._column = column

    def __repr__(self) -> str:
        shown, hidden = self.shown(TEXT_LINES)
        head = f"<{self._node.path or 'values'} of run {self._run.index}: {number_of(len(shown) + hidden, 'value')}>"
        more = [f"… {hidden:,} more"] if hidden else []
        return "\n".join([head, *(f"{path} = {text}" for path, text in shown), *more])

    def _repr_html_(self) -> str:
        shown, hidden = self.shown(HTML_LINES)
        return values_html(f"{self._node.path} of run {self._run.index}", [(self._node.name, shown, hidden)])

    def __getitem__(self, path: str) -> Any:
        return self._value(resolve(self._node, _checked(path)))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def get(self, path: str, default: Any = None) -> Any:
        """Return the value or group that `path` means, `default` when the run has none."""
        node = lookup(self._node, _checked(path))
        if node is None or not self._has(node):
            return default
        return self._value(node)

    def __contains__(self, path: object) -> bool:
        if not isinstance(path, str):
            return False
        try:
            node = lookup(self._node, path)
        except AmbiguousNameError:
            return True
        return node is not None and self._has(node)

    def __iter__(self) -> Iterator[str]:
        return (name for name, node in self._node.children.items() if self._has(node))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __eq__(self, other: object) -> bool:
        return self.to_dict() == (other.to_dict() if isinstance(other, RunGroup) else other)

    __hash__ = None  # type: ignore[assignment]

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *filter(str.isidentifier, self)})

    def _ipython_key_completions_(self) -> list[str]:
        leaves = relative_leaves(self._node).items()
        return [path for path, leaf in leaves if self._column(leaf).has(self._run.index)]

    def flat(self) -> dict[str, Any]:
        """Return all values of the run in this group by their slashed paths."""
        found = (
            (path, self._column(leaf).get(self._run.index, MISSING))
            for path, leaf in relative_leaves(self._node).items()
        )
        return {path: value for path, value in found if value is not MISSING}

    def to_dict(self, *, nested: bool = True) -> dict[str, Any]:
        """Return all values of the run in this group as nested dicts, or by their slashed paths."""
        if not nested:
            return self.flat()
        tree: dict[str, Any] = {}
        for path, value in self.flat().items():
            *groups, name = path.split("/")
            below = tree
            for group in groups:
                below = below.setdefault(group, {})
            below[name] = value
        return tree

    def shown(self, limit: int) -> tuple[list[tuple[str, str]], int]:
        """Return paths and values in words of as many as `limit` values, and how many more there are."""
        there = {
            path: column
            for path, leaf in relative_leaves(self._node).items()
            if (column := self._column(leaf)).has(self._run.index)
        }
        shown = [(one_line(path), brief_cell(there[path], self._run.index)) for path in islice(there, limit)]
        return shown, len(there) - len(shown)

    def _has(self, node: Node) -> bool:
        return any(self._column(leaf).has(self._run.index) for leaf in node.leaves())

    def _value(self, node: Node) -> Any:
        if not node.is_leaf:
            return RunGroup(node, self._run, self._column)
        value = self._column(node).get(self._run.index, MISSING)
        if value is MISSING:
            known = [path for path in self._node.children if path != node.name]
            raise NameNotFoundError(
                f"run {self._run.index} ({self._run.id}) has no {node.path}{near_matches(node.name, known)}"
            )
        return value
