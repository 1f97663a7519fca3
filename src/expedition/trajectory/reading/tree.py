"""Natural naming: the branches of a trajectory as a tree of groups and leaves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from expedition.errors import AmbiguousNameError, NameNotFoundError, near_matches
from expedition.trajectory.file import format as fmt
from expedition.trajectory.file.notes import Notes

_SHOWN_NAMES = 8


class Node:
    """A group, or a leaf, of the tree; `path` is its logical path, ``""`` that of the root.

    The root has a `label`, which says what trajectory the tree is of, and `notes` with its links.
    """

    __slots__ = ("children", "is_leaf", "label", "notes", "parent", "path")

    def __init__(self, path: str, parent: Node | None = None) -> None:
        self.path = path
        self.parent = parent
        self.children: dict[str, Node] = {}
        self.is_leaf = False
        self.label = "the trajectory"
        self.notes: Notes | None = None

    def become(self, other: Node) -> None:
        """Take the place of another root: whoever has this one sees what is there now."""
        self.children, self.notes, self.label = other.children, other.notes, other.label
        for child in self.children.values():
            child.parent = self

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def root(self) -> Node:
        """The node that all others are below."""
        node = self
        while node.parent is not None:
            node = node.parent
        return node

    @property
    def links(self) -> dict[str, str]:
        """Where the links lead that go out from this node, by name: links are at the root."""
        return self.notes.links if self.notes is not None else {}

    def said(self, name: str) -> str | None:
        """The comment or unit that somebody gave this group."""
        notes = self.root.notes
        return notes.about.get(self.path, {}).get(name) or None if notes is not None else None

    def linked(self, name: str) -> Node | None:
        """Return the node that a link of that name leads to, None without one or when that is not there."""
        node: Node | None = self if name in self.links else None
        for part in self.links.get(name, "").split("/"):
            node = node and node.children.get(part)
        return node

    def add(self, parts: Iterable[str]) -> Node:
        """Return the node below this one, made when it is not there."""
        node = self
        for part in parts:
            below = node.children.get(part)
            if below is None:
                below = node.children[part] = Node(f"{node.path}/{part}" if node.path else part, node)
            node = below
        return node

    def leaves(self) -> Iterator[Node]:
        """Yield the leaves of this branch in their order."""
        if self.is_leaf:
            yield self
        for child in self.children.values():
            yield from child.leaves()

    def named(self, name: str) -> list[Node]:
        """Return every node below this one that has a name, those that are least deep first."""
        found: list[Node] = []
        level = [self]
        while level:
            found.extend(below for each in level if (below := each.children.get(name)) is not None)
            level = [below for each in level for below in each.children.values()]
        return found


def build_tree(paths: Iterable[str], label: str = "the trajectory", notes: Notes | None = None) -> Node:
    """Return the root of the tree of logical paths; the branches are there even when they are empty."""
    root = Node("")
    root.label = label
    root.notes = notes
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
    found = lookup(node, path)
    if found is None:
        raise NameNotFoundError(_not_found(node, path))
    return found


def lookup(node: Node, path: str) -> Node | None:
    """Return what `resolve` returns, None when there is no such node."""
    found = _walk(node, path.split("/"))
    if found is None and "." in path:
        found = _walk(node, path.replace(".", "/").split("/"))
    return found


def _walk(node: Node, parts: Iterable[str]) -> Node | None:
    start = node
    for part in filter(None, parts):
        if not node.path and part in fmt.ABBREVIATIONS:
            part = fmt.ABBREVIATIONS[part]
        if part in node.links:
            below = node.linked(part)
        else:
            below = node.children.get(part) or _deeper(node, part)
        if below is None:
            return None
        node = below
    return None if node is start else node


def _deeper(node: Node, name: str) -> Node | None:
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
                raise AmbiguousNameError(
                    f"{name!r} is ambiguous in {node.root.label}: it may be {names}; write more of the path"
                )
            if found:
                return found[0]
            level = [below for each in level for below in each.children.values()]
    return None


def _not_found(node: Node, path: str) -> str:
    if not path.strip("/."):
        return f"{path!r} is no name"
    where = f"{node.path!r} of {node.root.label}" if node.path else node.label
    first = path.partition("/")[0]
    if first in node.links and node.linked(first) is None:
        target = node.links[first]
        return f"{where} has a link {first!r} to {target!r}, which is not there; remove it with unlink({first!r})"
    leaves = {leaf.path[len(node.path) :].lstrip("/"): leaf.name for leaf in node.leaves()}
    near = near_matches(path, {*leaves, *leaves.values(), *node.links})
    if near:
        return f"{where} has no {path!r}{near}"
    names = ", ".join(islice(leaves, _SHOWN_NAMES))
    more = ", …" if len(leaves) > _SHOWN_NAMES else ""
    return f"{where} has no {path!r}; it has {names or 'nothing'}{more}"
