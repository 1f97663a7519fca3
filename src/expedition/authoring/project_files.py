"""Which files belong to a project, and what things in them are called."""

from __future__ import annotations

import inspect
import os
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

_OWN_PACKAGE = Path(os.path.realpath(__file__)).parents[1]
_LIBRARIES = frozenset({"site-packages", "dist-packages", "node_modules", ".venv", ".tox", ".nox"})


class ProjectFiles:
    """The files of the project at `root`."""

    def __init__(self, root: Path) -> None:
        self._root = Path(os.path.realpath(root))

    def has(self, file: Path | None) -> bool:
        """Tell whether a file belongs to the project, and not to a library that is installed there."""
        return file is not None and _is_below(file, self._root)

    def has_item(self, item: Any) -> bool:
        """Tell whether a function, class or module is written in a file of the project."""
        return self.has(file_of(item))

    def label(self, file: Path | None, otherwise: str = "") -> str:
        """Return what a file is called: its path below the root folder, without the suffix."""
        return otherwise if file is None else _label(file, self._root)


@lru_cache(maxsize=4096)
def _is_below(file: Path, root: Path) -> bool:
    if not file.is_absolute():
        return False
    real = Path(os.path.realpath(file))
    environment = Path(os.path.realpath(sys.prefix))
    if not real.is_relative_to(root) or real.is_relative_to(_OWN_PACKAGE):
        return False
    if environment != root and environment.is_relative_to(root) and real.is_relative_to(environment):
        return False
    return not _LIBRARIES.intersection(real.relative_to(root).parts)


@lru_cache(maxsize=4096)
def _label(file: Path, root: Path) -> str:
    real = Path(os.path.realpath(file))
    if file.is_absolute() and real.is_relative_to(root):
        return real.relative_to(root).with_suffix("").as_posix()
    return file.parent.name if file.stem == "__init__" else file.stem


def file_of(item: Any) -> Path | None:
    """Return the file in which a function, class or module is written, None where it has none."""
    code = getattr(item, "__code__", None)
    if code is not None:
        return Path(code.co_filename)
    try:
        return Path(inspect.getfile(item))
    except (TypeError, OSError):
        return None


def is_own(file: Path) -> bool:
    """Tell whether a file is one of this package."""
    return file.is_relative_to(_OWN_PACKAGE)
