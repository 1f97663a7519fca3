"""The code of an experiment as its sweep folder keeps it: imported again, wherever the project is."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Container, Iterator
from pathlib import Path
from types import ModuleType

from expedition.archive.record import RunRecord
from expedition.archive.sweep import SweepFolder
from expedition.authoring.modules import load_file
from expedition.errors import RecordNotFoundError, near_matches
from expedition.recording import layout
from expedition.recording.snapshot import code_file_of

_MODULES: dict[Path, dict[str, ModuleType]] = {}
"""By the folder of their files, the modules that were imported from there."""


def code_file(record: RunRecord, file: str) -> Path:
    """Return where the sweep folder of a run keeps the file that was `file` below the root folder.

    Raises `RecordNotFoundError`, with near matches, when it keeps no such file.
    """
    source = (record.sweep_path / layout.SOURCE_FOLDER).resolve()
    path = (source / file).resolve()
    if not path.is_file() and file == str(record.meta["experiment"].get("file", "")):
        path = source / code_file_of(Path(file))
    if not path.is_file() or not path.is_relative_to(source):
        known = [p.relative_to(source).as_posix() for p in source.rglob("*") if p.is_file()]
        raise RecordNotFoundError(
            f"{source} has no file {file!r}{near_matches(file, known)}: it was outside of the root folder, or "
            f"nothing showed that the experiment needs it"
        )
    return path


def import_code(record: RunRecord, file: str) -> ModuleType:
    """Import a file of the code that the sweep folder of a run keeps, and what it imports from there too.

    This executes it. Nothing of the project is needed, and no file is written. Raises `RecordNotFoundError` when
    the file is not there, `ExperimentError` naming file and line when it cannot be imported.
    """
    path = code_file(record, file)
    source = (record.sweep_path / layout.SOURCE_FOLDER).resolve()
    folders = _import_folders(record, source, path)
    wrote_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        with _modules_of(source, folders):
            # Values of a record find their classes by the names that the modules had when it was made.
            is_own = file == record.meta["experiment"].get("file")
            return load_file(path, what="the code", name=Path(file).stem if is_own else None, root=source)
    finally:
        sys.dont_write_bytecode = wrote_bytecode


@contextlib.contextmanager
def _modules_of(source: Path, folders: list[str]) -> Iterator[None]:
    """For the time of a block, let imports find what stands in `folders`, and no module of another place.

    The project itself, or another of its sweeps, may have been imported in this process under the same names.
    """
    sys.path[:] = [*folders, *(entry for entry in sys.path if entry not in folders)]
    importlib.invalidate_caches()
    names = {
        file.stem if file.is_file() else file.name for folder in folders for file in Path(folder).iterdir()
    }
    names -= sys.stdlib_module_names
    others = {n: m for n, m in _modules_called(names) if not _is_in(source, m) and not _is_library(m)}
    for name in others:
        del sys.modules[name]
    sys.modules.update(_MODULES.setdefault(source, {}))
    try:
        yield
    finally:
        _MODULES[source] = {n: m for n, m in _modules_called(names) if _is_in(source, m)}
        sys.modules.update(others)


def _modules_called(names: Container[str]) -> list[tuple[str, ModuleType]]:
    return [(name, m) for name, m in list(sys.modules.items()) if name.partition(".")[0] in names]


def _is_in(source: Path, module: ModuleType) -> bool:
    return Path(getattr(module, "__file__", None) or "").is_relative_to(source)


def _is_library(module: ModuleType) -> bool:
    return not {"site-packages", "dist-packages"}.isdisjoint(
        Path(getattr(module, "__file__", None) or "").parts
    )


def _import_folders(record: RunRecord, source: Path, path: Path) -> list[str]:
    """The folders in which imports find the kept files where the experiment found those of the project."""
    known = SweepFolder.open(record.sweep_path).manifest.get("provenance", {}).get("import_paths", ["."])
    top = path.parent
    while (top / "__init__.py").is_file():
        top = top.parent
    # The last one is where the experiment imported the file by its path.
    folders = [top, *(source / name for name in known), path.parent]
    inside = [folder for folder in folders if folder.is_dir() and folder.resolve().is_relative_to(source)]
    return list(dict.fromkeys(map(str, inside)))
