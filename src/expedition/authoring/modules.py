"""Python files that an experiment names by their path: those that it extends, and mixins."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from expedition.errors import ExperimentError, near_matches

_LOADED: dict[Path, tuple[ModuleType, int]] = {}
_root: Path | None = None


def find_file(text: str, *, beside: Path, what: str) -> Path:
    """Return the absolute path of a file that is named relative to the file `beside`.

    Raises `ExperimentError`, with near matches, when there is none. `what` says what the file is for.
    """
    try:
        path = (beside.parent / text).resolve()
        if path.is_file():
            return path
    except (OSError, ValueError) as error:  # too long, or with a NUL in it
        reason = error.strerror if isinstance(error, OSError) else error
        shown = text if len(text) <= 100 else f"{text[:99]}…"
        raise ExperimentError(f"{what} {shown!r} can be no path: {reason}") from None
    folder = path.parent
    names = [p.name for p in folder.iterdir() if p.suffix == path.suffix] if folder.is_dir() else []
    fault = "is a folder, not a file" if path.is_dir() else f"is not there{near_matches(path.name, names)}"
    raise ExperimentError(f"{what} {text!r} {fault}; the path is relative to {beside.name}, and means {path}")


def load_file(path: Path, *, what: str, name: str | None = None, root: Path | None = None) -> ModuleType:
    """Import a Python file by its path, once as long as it does not change.

    It is a module of its own, apart from one that was imported by name, and belongs to the package that it is in.
    Its folder and the one of that package come to ``sys.path``, as pytest does for the files that it imports, so
    that it finds its neighbours. Its classes stand in run keys by the name of the module: below the root folder,
    that is the same wherever the project lies. `name` is another name for it, that which it has when it is imported
    by name, and `root` another root folder than that of the process.

    Raises `ExperimentError` naming `path` when the import fails; what the file raises of that kind goes on.
    """
    stamp = path.stat().st_mtime_ns
    top, packages = _package_of(path)
    own = f"_expedition_{path.stem}_{hashlib.sha256(_place(path, root or _root).encode()).hexdigest()[:8]}"
    name = ".".join((*packages, name or own))
    known = _LOADED.get(path)
    if known is not None and known[1] == stamp and known[0].__name__ == name:
        return known[0]
    spec = importlib.util.spec_from_file_location(name, path, loader=_rewriting_loader())
    if spec is None or spec.loader is None:
        raise ExperimentError(f"{what} {path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    for folder in (str(path.parent), str(top)):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    sys.modules[name] = module  # dataclasses and pickles look for their module there
    try:
        spec.loader.exec_module(module)
    except ExperimentError:
        del sys.modules[name]
        raise
    except Exception as error:
        del sys.modules[name]
        line = line_in(error, path)
        where = f" (line {line})" if line else ""
        raise ExperimentError(
            f"{what} {path} cannot be imported: {type(error).__name__}: {error}{where}"
        ) from error
    _LOADED[path] = module, stamp
    return module


def use_root(root: Path) -> None:
    """Say which folder is the root of the project: names of modules are made of the path below it."""
    global _root
    _root = root


def _place(path: Path, root: Path | None) -> str:
    try:
        return path.as_posix() if root is None else Path(os.path.relpath(path, root)).as_posix()
    except ValueError:  # another drive
        return path.as_posix()


def _package_of(path: Path) -> tuple[Path, list[str]]:
    """Return the folder above the topmost package of a file, and the names of its packages."""
    top, packages = path.parent, list[str]()
    while (top / "__init__.py").is_file() and top.name.isidentifier():
        packages.insert(0, top.name)
        top = top.parent
    return top, packages


def _rewriting_loader() -> Any:
    """Return the loader by which pytest rewrites asserts, where it is at work.

    Criteria in a file that is extended are to say as much when they fail as those in a collected one.
    """
    for finder in sys.meta_path:
        if type(finder).__name__ == "AssertionRewritingHook" and hasattr(finder, "exec_module"):
            return finder
    return None


def line_in(error: BaseException, path: Path) -> int:
    """Return the line of the file `path` in which an exception came up, 0 where it did not."""
    if isinstance(error, SyntaxError) and error.lineno and error.filename == str(path):
        return error.lineno
    trace, line = error.__traceback__, 0
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
