"""Groups of columns, of all runs or of one, with attributes, slashed paths and tab completion."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from expedition.errors import NameNotFoundError, near_matches
from expedition.trajectory.tree import Node, resolve
from expedition.values.columns import MISSING

if TYPE_CHECKING:
    from expedition.trajectory.column import Column


class Group(Mapping[str, Any]):
    """A group of columns: ``group.rmse.mean``, ``group["rmse/mean"]``; iterates over the names below."""

    def __init__(self, node: Node, column: Callable[[Node], Column]) -> None:
        self._node = node
        self._column = column

    def __repr__(self) -> str:
        return f"<group {self._node.path!r}: {', '.join(self._node.children) or 'empty'}>"

    def __getitem__(self, path: str) -> Any:
        return self._wrap(resolve(self._node, path))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def get(self, path: str, default: Any = None) -> Any:
        """Return the column or group that `path` means, `default` when there is none."""
        try:
            return self[path]
        except NameNotFoundError:
            return default

    def __contains__(self, path: object) -> bool:
        return isinstance(path, str) and self.get(path) is not None

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
        start = len(self._node.path) + 1 if self._node.path else 0
        return [leaf.path[start:] for leaf in self._node.leaves()]

    def _wrap(self, node: Node) -> Any:
        return self._column(node) if node.is_leaf else Group(node, self._column)


class OneRun(Protocol):
    """What a group knows of the run whose values it has: its row in the file and its id."""

    index: int

    @property
    def id(self) -> str:
        """The id, as pytest shows it."""


class RunGroup(Mapping[str, Any]):
    """The values of one run in a group: exactly as they were stored, only those that the run has."""

    def __init__(self, node: Node, run: OneRun, column: Callable[[Node], Column]) -> None:
        self._node = node
        self._run = run
        self._column = column

    def __repr__(self) -> str:
        return f"<{self._node.path!r} of run {self._run.index}: {', '.join(self)}>"

    def __getitem__(self, path: str) -> Any:
        return self._value(resolve(self._node, path))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def get(self, path: str, default: Any = None) -> Any:
        """Return the value or group that `path` means, `default` when the run has none."""
        try:
            return self[path]
        except NameNotFoundError:
            return default

    def __contains__(self, path: object) -> bool:
        if not isinstance(path, str):
            return False
        try:
            return self._has(resolve(self._node, path))
        except NameNotFoundError:
            return False

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
        return list(self.flat())

    def flat(self) -> dict[str, Any]:
        """Return all values of the run in this group by their slashed paths."""
        start = len(self._node.path) + 1
        values = ((leaf.path[start:], self._column(leaf)) for leaf in self._node.leaves())
        found = ((path, column.get(self._run.index, MISSING)) for path, column in values)
        return {path: value for path, value in found if value is not MISSING}

    def to_dict(self) -> dict[str, Any]:
        """Return all values of the run in this group as nested dicts."""
        return {
            name: value.to_dict() if isinstance(value, RunGroup) else value
            for name, value in ((name, self[name]) for name in self)
        }

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
