"""The code of nested runs: files that the digest of the run which calls them does not tell of."""

from __future__ import annotations

import contextlib
import inspect
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from expedition.authoring.code import reach
from expedition.authoring.lineage import Lineage
from expedition.authoring.source_digest import normal_form
from expedition.plugin.nested_hooks import NestedHooks
from expedition.recording.inputs import CODE, content_hash, place_below


def describe_code(path: Path, root: Path) -> dict[str, Any]:
    """Return what is recorded of a file of code: `kind`, `path` and `sha256`, of a Python file that of what counts.

    Layout, comments and docstrings do not. Raises `OSError`.
    """
    content = path.read_bytes()
    if path.suffix == ".py":
        with contextlib.suppress(SyntaxError, ValueError):  # then it is known by its bytes
            content = normal_form(content.decode()).encode("utf-8", "backslashreplace")
    return {"kind": CODE, "path": place_below(path, root), "sha256": content_hash(content)}


class ChildCodes:
    """Finds the files of code that children bring into a run, of each child once in a process."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[tuple[object, ...], tuple[Lineage, Lineage, list[dict[str, Any]]]] = {}

    def inputs(
        self, outer: Lineage, outer_hooks: Callable[[], NestedHooks], child: Lineage, hooks: NestedHooks
    ) -> list[dict[str, Any]]:
        """Return what the run of `outer` records of the code of `child`, of which it does not reach all by itself.

        These are the files of the child's lineage, and those of the functions of the project that the child and its
        hooks reach; files of `outer` itself do not count, nor those of which it reaches the same functions.
        """
        key = _identity(outer), _identity(child)
        if key not in self._known:
            # Both are kept: their modules are known by their identity.
            self._known[key] = outer, child, self._described(outer, outer_hooks(), child, hooks)
        return self._known[key][2]

    def _described(
        self, outer: Lineage, outer_hooks: NestedHooks, child: Lineage, hooks: NestedHooks
    ) -> list[dict[str, Any]]:
        files = {str(source.path) for source in child.sources}
        # An object of the user's may not let itself be looked at: the files of the child alone count then.
        with contextlib.suppress(Exception):
            covered = self._reached(outer.body, outer_hooks.functions)
            is_covered = len(files) == 1 and _place(child.body) in covered
            new = {file for file, _ in self._reached(child.body, hooks.functions) - covered}
            files = new if is_covered else files | new
        own = {str(source.path) for source in outer.sources}
        return [describe_code(Path(file), self._root) for file in sorted(files - own) if os.path.isfile(file)]

    def _reached(self, body: Callable[..., Any], hooks: Iterable[Callable[..., Any]]) -> set[tuple[str, str]]:
        """File and name of the functions and classes that a function and its hooks reach."""
        found = reach(body, *hooks, root=self._root, is_exact=False)
        written = {(os.path.realpath(item.file), item.name) for item in found.written.values()}
        return written | {_place(item) for item in found.code.values()}


def _place(item: Any) -> tuple[str, str]:
    code = getattr(inspect.unwrap(item), "__code__", None)
    if code is not None:
        return os.path.realpath(code.co_filename), str(code.co_qualname)
    return os.path.realpath(inspect.getfile(item)), str(item.__qualname__)


def _identity(lineage: Lineage) -> tuple[object, ...]:
    files = tuple((source.path, id(source.module)) for source in lineage.sources)
    return lineage.own.function.__name__, lineage.body.__qualname__, files
