"""No module of the package imports itself by way of others, not even inside a function or for types only."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import expedition

Graph = dict[str, set[str]]


def imports(tree: ast.AST, package: str, modules: set[str]) -> Iterator[str]:
    """Yield the modules out of `modules` that the import statements of a module of `package` name.

    A package imports its submodules when Python loads them, so only names that are no module lead to it.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = package.split(".")
            relative = ".".join(start[: len(start) + 1 - node.level]) if node.level else ""
            base = ".".join(filter(None, [relative, node.module]))
            submodules = [f"{base}.{alias.name}" for alias in node.names]
            names = [name if name in modules else base for name in submodules]
        else:
            continue
        yield from (name for name in names if name in modules)


def import_graph(root: Path) -> Graph:
    """Return which modules of the package at `root` each of them imports, anywhere in its text."""
    files = {}
    for path in sorted(root.rglob("*.py")):
        parts = (root.name, *path.relative_to(root).with_suffix("").parts)
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    graph = {}
    for name, path in files.items():
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        graph[name] = set(imports(ast.parse(path.read_bytes()), package, set(files)))
    return graph


def cycles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Return every group of modules that import each other, directly or through the others (Tarjan)."""
    numbers: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        numbers[name] = lowest[name] = len(numbers)
        stack.append(name)
        for other in graph[name]:
            if other not in numbers:
                visit(other)
                lowest[name] = min(lowest[name], lowest[other])
            elif other in stack:
                lowest[name] = min(lowest[name], numbers[other])
        if lowest[name] == numbers[name]:
            group = stack[stack.index(name) :]
            del stack[-len(group) :]
            if len(group) > 1 or name in graph[name]:
                found.append(sorted(group))

    for name in graph:
        if name not in numbers:
            visit(name)
    return sorted(found)


def test_no_module_imports_itself_by_way_of_others() -> None:
    root = Path(expedition.__file__).parent
    graph = import_graph(root)
    # its public names are lazy: nothing but the version is imported with it
    graph["expedition"] &= {"expedition.version", "expedition.lazily"}
    assert cycles(graph) == []


def test_cycles_are_found_wherever_the_imports_are(tmp_path: Path) -> None:
    root = tmp_path / "pkg"
    (root / "low").mkdir(parents=True)
    sources = {
        "__init__.py": "",
        "a.py": "import os\nfrom pkg.low import b\n",
        "low/__init__.py": "from pkg.low.d import D\n",
        "low/b.py": "def f():\n    from ..c import C\n",
        "c.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pkg.a\n",
        "low/d.py": "import json\nclass D: ...\n",
        "low/e.py": "from . import d, g\n",
        "low/f.py": "from pkg.low import D\n",
        "low/g.py": "from .e import x\n",
    }
    for name, text in sources.items():
        (root / name).write_text(text)
    graph = import_graph(root)
    assert graph["pkg.low.f"] == {"pkg.low"}
    assert cycles(graph) == [["pkg.a", "pkg.c", "pkg.low.b"], ["pkg.low.e", "pkg.low.g"]]
