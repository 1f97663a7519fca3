"""What a Python file says of the names in it, read without being imported."""

from __future__ import annotations
import __future__

import ast
import contextlib
import copy
import importlib.util
import os
import textwrap
import warnings
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from expedition.authoring.named import Names, names_in
from expedition.authoring.source_digest import form_of

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_INNER = (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_NO_NAMES = Names(frozenset(), (), frozenset())


@dataclass(frozen=True)
class Import:
    """What an import gives to a name: a member of a module, or the module itself where `member` is empty."""

    level: int
    module: str
    member: str

    def __str__(self) -> str:
        module = "." * self.level + self.module
        return f"from {module} import {self.member}" if self.member else f"import {module}"


@dataclass(frozen=True)
class Statement:
    """What makes the value of a name of a module.

    Attributes
    ----------
    form : what counts of the source. names : what it names.
    source : the text of the one function or class that the name is defined as, empty for anything else.
    imports : what the name is imported as, where it is.
    is_import : whether it is only that.
    """

    form: str
    names: Names
    source: str
    imports: tuple[Import, ...]
    is_import: bool


class ModuleText:
    """The text of one module.

    Attributes
    ----------
    stars : level and name of the modules of which everything is imported.
    imported : level and name of the modules that it imports when it is imported itself.
    """

    def __init__(self, text: str) -> None:
        self._lines = text.splitlines(keepends=True)
        self._statements: dict[str, Statement | None] = {}
        self._binding: dict[str, list[ast.stmt]] = {}
        self._touching: dict[str, list[ast.stmt]] = {}
        self._imports: dict[str, list[Import]] = {}
        self._ours = frozenset[str]()
        self.stars: list[tuple[int, str]] = []
        self.imported: set[tuple[int, str]] = set()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the user's string escapes; not ours to report
            body = ast.parse(text).body
        for statement in body:
            self._take(statement)
        self._ours = frozenset(
            name
            for name, found in self._imports.items()
            for one in found
            if one.member == "experiment" and one.module.partition(".")[0] == "expedition"
        )

    def _take(self, statement: ast.stmt) -> None:
        bound: dict[str, None] = {}
        touched: dict[str, None] = {}
        waiting: list[ast.AST] = [statement]
        while waiting:
            node = waiting.pop()
            if isinstance(node, ast.Import | ast.ImportFrom):
                self._take_import(node, bound)
            elif isinstance(node, _DEFINITIONS):
                bound[node.name] = None
            elif isinstance(node, _INNER):
                continue
            else:
                if isinstance(node, ast.Expr):  # such as TABLE.append(…), or register(TABLE)
                    touched |= {n.id: None for n in ast.walk(node) if isinstance(n, ast.Name)}
                bound |= dict.fromkeys(_bound_by(node))
                waiting.extend(ast.iter_child_nodes(node))
        for name in bound:
            self._binding.setdefault(name, []).append(statement)
        for name in touched:
            self._touching.setdefault(name, []).append(statement)

    def _take_import(self, node: ast.Import | ast.ImportFrom, bound: dict[str, None]) -> None:
        for alias in node.names:
            if isinstance(node, ast.Import):
                self.imported.add((0, alias.name))
                name = alias.asname or alias.name.partition(".")[0]
                found = Import(0, alias.name if alias.asname else name, "")
            else:
                module = node.module or ""
                self.imported |= {(node.level, module), (node.level, f"{module}.{alias.name}".strip("."))}
                if alias.name == "*":
                    self.stars.append((node.level, module))
                    continue
                name, found = alias.asname or alias.name, Import(node.level, module, alias.name)
            bound[name] = None
            known = self._imports.setdefault(name, [])
            if found not in known:
                known.append(found)

    @property
    def names(self) -> Collection[str]:
        """All names that the module gives a value to."""
        return self._binding.keys()

    def statement(self, name: str) -> Statement | None:
        """Return what makes the value of a name, None where nothing in the text does."""
        if name not in self._statements:
            self._statements[name] = self._statement(name) if name in self._binding else None
        return self._statements[name]

    def _statement(self, name: str) -> Statement:
        nodes = self._binding[name]
        imports = tuple(self._imports.get(name, ()))
        if all(isinstance(node, ast.Import | ast.ImportFrom) for node in nodes):
            return Statement("; ".join(map(str, imports)), _NO_NAMES, "", imports, True)
        is_defined = all(isinstance(node, _DEFINITIONS) for node in nodes)
        if not is_defined:
            nodes = sorted({*nodes, *self._touching.get(name, ())}, key=lambda node: node.lineno)
        tree = ast.Module([copy.deepcopy(node) for node in nodes], [])
        form = form_of(tree, self._ours)
        source = self._source(nodes[0]) if is_defined and len(nodes) == 1 else ""
        return Statement(form, _names_of(tree), source, imports, False)

    def _source(self, node: Any) -> str:
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        return textwrap.dedent("".join(self._lines[first - 1 : node.end_lineno]))


def _bound_by(node: ast.AST) -> Iterator[str]:
    """Yield the names that a node by itself gives a value to, or whose value it changes."""
    if isinstance(node, ast.Name | ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load):
        root: ast.expr = node
        while isinstance(root, ast.Attribute | ast.Subscript):
            root = root.value
        if isinstance(root, ast.Name):
            yield root.id
    elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
        yield node.name


def _names_of(tree: ast.Module) -> Names:
    flags = __future__.annotations.compiler_flag  # annotations compute nothing
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.fix_missing_locations(tree)
            return names_in(compile(tree, "<text>", "exec", flags, dont_inherit=True))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return _NO_NAMES


def text_of(file: Path) -> ModuleText | None:
    """Return the text of a Python file, None where it cannot be read."""
    try:
        status = file.stat()
    except OSError:
        return None
    return _text_of(str(file), status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=1024)
def _text_of(file: str, _mtime: int, _size: int) -> ModuleText | None:
    try:
        return ModuleText(importlib.util.decode_source(Path(file).read_bytes()))
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None


@dataclass(frozen=True)
class Place:
    """Where a module is: its file, where it has one, and for a package the folders with its modules."""

    name: str
    file: Path | None
    folders: tuple[str, ...]

    @property
    def text(self) -> ModuleText | None:
        """What stands in the file."""
        return None if self.file is None else text_of(self.file)

    @property
    def package(self) -> str:
        """The name that relative imports in it begin from."""
        return self.name if self.folders else self.name.rpartition(".")[0]

    def submodules(self) -> frozenset[str]:
        """Names of the modules that stand in a package."""
        found: set[str] = set()
        for folder in self.folders:
            with contextlib.suppress(OSError):
                found |= {name.removesuffix(".py") for name in os.listdir(folder)}
        return frozenset(name for name in found if name.isidentifier())


class Places:
    """Finds the files of modules by their names, as importing them would, but without that."""

    def __init__(self) -> None:
        self._known: dict[str, Place | None] = {}

    def of(self, name: str) -> Place | None:
        """Return where a module is, None where there is none."""
        if name not in self._known:
            try:
                self._known[name] = self._find(name)
            except Exception:  # of an import hook of somebody else's
                self._known[name] = None
        return self._known[name]

    def _find(self, name: str) -> Place | None:
        parent = name.rpartition(".")[0]
        spec: ModuleSpec | None
        if not parent:
            spec = importlib.util.find_spec(name)
        else:
            above = self.of(parent)
            spec = PathFinder.find_spec(name, above.folders) if above is not None and above.folders else None
        if spec is None:
            return None
        file = Path(spec.origin) if spec.has_location and spec.origin else None
        is_text = file is not None and file.suffix == ".py"
        return Place(name, file if is_text else None, tuple(spec.submodule_search_locations or ()))


def absolute_name(level: int, module: str, package: str) -> str:
    """Return the name of a module that is imported in `package`, empty where there is none."""
    try:
        return importlib.util.resolve_name("." * level + module, package) if level else module
    except ImportError:
        return ""
