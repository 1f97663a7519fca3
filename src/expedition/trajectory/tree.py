"""Natural naming: the branches of a trajectory as a tree of groups and leaves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from expedition.errors import AmbiguousNameError, NameNotFoundError, near_matches
from expedition.trajectory import format as fmt


class Node:
    """A group, or a leaf, of the tree; `path` is its logical path."""

    __slots__ = ("children", "is_leaf", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self.children: dict[str, Node] = {}
        self.is_leaf = False

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    def add(self, parts: Iterable[str]) -> Node:
        """Return the node below this one, made when it is not there."""
        node = self
        for part in parts:
            below = node.children.get(part)
            if below is None:
                below = node.children[part] = Node(f"{node.path}/{part}" if node.path else part)
            node = below
        return node

    def leaves(self) -> Iterator[Node]:
        """Yield the leaves of this branch in their order."""
        if self.is_leaf:
            yield self
        for child in self.children.values():
            yield from child.leaves()


def build_tree(paths: Iterable[str]) -> Node:
    """Return the root of the tree of logical paths; the branches are there even when they are empty."""
    root = Node("")
    for branch in (*fmt.BRANCHES, fmt.SERIES):
        root.add([branch])
    for path in paths:
        root.add(path.split("/")).is_leaf = True
    return root


def resolve(node: Node, path: str) -> Node:
    """Return the node that `path` means below `node`.

    Parts are joined by slashes; a name may leave out groups, and then the node of that name that is least
    deep is meant. Dots may stand for slashes where no name has them.

    Raises `NameNotFoundError` with near matches, or `AmbiguousNameError` naming two that are equally deep.
    """
    parts = [part for part in path.split("/") if part]
    try:
        return _walk(node, parts, path)
    except NameNotFoundError:
        if "." not in path:
            raise
        try:
            return _walk(node, [part for part in path.replace(".", "/").split("/") if part], path)
        except NameNotFoundError:
            pass
        raise


def _walk(node: Node, parts: list[str], path: str) -> Node:
    if not parts:
        raise NameNotFoundError(f"{path!r} is no name")
    for part in parts:
        if not node.path and part in fmt.ABBREVIATIONS:
            part = fmt.ABBREVIATIONS[part]
        node = node.children.get(part) or _deeper(node, part, path)
    return node


def _deeper(node: Node, name: str, path: str) -> Node:
    """Find a name that leaves out groups, level by level."""
    # Series often have the name of the result that sums them up: they are looked at last.
    groups = [list(node.children.values())]
    if not node.path:
        groups = [
            [c for c in groups[0] if c.name != fmt.SERIES],
            [c for c in groups[0] if c.name == fmt.SERIES],
        ]
    for level in groups:
        while level:
            found = [below for each in level if (below := each.children.get(name)) is not None]
            if len(found) > 1:
                names = " and ".join(repr(each.path) for each in found[:2])
                raise AmbiguousNameError(f"{name!r} is ambiguous: it may be {names}; write more of the path")
            if found:
                return found[0]
            level = [below for each in level for below in each.children.values()]
    known = {leaf.path for leaf in node.leaves()} | {leaf.name for leaf in node.leaves()}
    where = node.path or "the trajectory"
    raise NameNotFoundError(f"{where} has no {path!r}{near_matches(path, known)}")
