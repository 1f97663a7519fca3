"""The tree of a trajectory, or a part of it, as an outline of bounded length."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from expedition.trajectory.reading.brief import brief_column, one_line
from expedition.trajectory.reading.columnar import ColumnLike
from expedition.trajectory.reading.tree import Node

TEXT_LINES = 20
"""Nodes of one branch in a text; HTML folds branches and shows more."""
HTML_LINES = 100
_CELLS = 2_000_000
"""Cells that an outline reads at most: what comes after is told by the first rows."""
_NAME_WIDTH = 40


@dataclass(frozen=True)
class Entry:
    """A node of an outline: a group with entries below it, or a leaf with what is said of it."""

    name: str
    path: str
    kind: str = ""
    """The kind of a leaf, ``""`` of a group."""
    unit: str = ""
    comment: str = ""
    brief: str = ""
    """Values, range or shape of a leaf."""
    entries: list[Entry] = field(default_factory=list)
    hidden: int = 0
    """Leaves below a group that are not shown."""


class Outliner:
    """Makes the entries of nodes, reading from their columns what there is room for."""

    def __init__(self, column: Callable[[Node], ColumnLike], lines: int = TEXT_LINES) -> None:
        self._column = column
        self._limit = lines
        self._cells = _CELLS

    def entry(self, node: Node) -> Entry:
        """Return the entry of a node, with at most the limit of entries below it."""
        return self._entry(node, [self._limit])

    def branches(self, root: Node) -> list[Entry]:
        """Return the entry of every branch that has a leaf, each with a limit of its own, and the links."""
        found = [self.entry(branch) for branch in root.children.values() if any(branch.leaves())]
        links = [
            Entry(one_line(name, _NAME_WIDTH), target, "link", brief=f"→ {one_line(target)}")
            for name, target in islice(root.links.items(), self._limit)
        ]
        hidden = len(root.links) - len(links)
        return [*found, Entry("links", "", entries=links, hidden=hidden)] if links else found

    def _entry(self, node: Node, room: list[int]) -> Entry:
        name = one_line(node.name, _NAME_WIDTH)
        if node.is_leaf:
            return self._leaf(node, name)
        entries: list[Entry] = []
        hidden = 0
        for child in node.children.values():
            if room[0] > 0:
                room[0] -= 1
                entries.append(self._entry(child, room))
            else:
                hidden += sum(1 for _ in child.leaves())
        comment, unit = one_line(node.said("comment") or "", 200), one_line(node.said("unit") or "")
        return Entry(name, node.path, "", unit, comment, "", entries, hidden)

    def _leaf(self, node: Node, name: str) -> Entry:
        column = self._column(node)
        self._cells -= len(column)
        return Entry(
            name,
            node.path,
            column.kind,
            one_line(column.unit or ""),
            one_line(column.comment or "", 200),
            brief_column(column, whole=self._cells > 0),
        )


def outline_text(entries: list[Entry]) -> str:
    """Return entries as lines of text, indented by depth, with columns for names, kinds and values."""
    lines = list(_lines(entries, 0))
    left = max((len(name) for name, kind, _ in lines if kind), default=0)
    middle = max((len(kind) for _, kind, _ in lines), default=0)
    return "\n".join(
        f"{name:<{left}}  {kind:<{middle}}  {brief}".rstrip() if kind else name for name, kind, brief in lines
    )


def _lines(entries: list[Entry], depth: int) -> Iterator[tuple[str, str, str]]:
    for entry in entries:
        indent = "  " * depth
        kind = f"{entry.kind} [{entry.unit}]" if entry.unit else entry.kind
        yield f"{indent}{entry.name}", kind, entry.brief
        yield from _lines(entry.entries, depth + 1)
        if entry.hidden:
            yield f"{indent}  … {entry.hidden:,} more", "", ""
