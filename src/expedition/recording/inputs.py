"""Declared inputs: files and folders that a run reads, each known by what is in it."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from expedition.errors import ExperimentError, near_matches
from expedition.recording.meta import isoformat

FILE, FOLDER, RUN = "file", "folder", "run"
"""Kinds of an input."""

MOST_IN_LINE = 16
"""Inputs of a run that its commit line names; of more of them it has the number."""

_BLOCK = 1 << 20

_Stamp = tuple[int, int, int, int]


class InputFiles:
    """Finds the hashes of files, of each once in a process as long as nothing shows that it was changed.

    `root` is the folder of the project, below which paths are recorded as relative ones.
    """

    def __init__(self, root: Path) -> None:
        self._root = Path(os.path.abspath(root))
        self._hashes: dict[str, tuple[_Stamp, str]] = {}

    def resolve(self, path: Path | str, *, beside: Path) -> Path:
        """Return the absolute path of an input; a relative one is below the folder of the file `beside`.

        Raises `ExperimentError`, with near matches, when there is nothing.
        """
        text = os.fspath(path)
        if not isinstance(text, str) or not text:
            raise ExperimentError(f"an input is the path of a file or folder, but got {path!r}")
        found = Path(os.path.abspath(beside.parent / Path(text).expanduser()))
        if not found.exists():
            known = sorted(p.name for p in found.parent.iterdir()) if found.parent.is_dir() else []
            relative = "" if Path(text).is_absolute() else f"; a relative path begins beside {beside.name}"
            raise ExperimentError(
                f"the input {text!r} is not there: there is no {found}{near_matches(found.name, known)}{relative}"
            )
        return found

    def describe(self, path: Path) -> dict[str, Any]:
        """Return what is recorded of the file or folder at the absolute `path`. Raises `OSError`.

        These are `kind`, `path`, `sha256`, `size` in bytes and `mtime`; of a folder `size` is that of all files in
        it, `files` their number, `mtime` the latest, and `sha256` that of their names and hashes.
        """
        place = (
            path.relative_to(self._root).as_posix() if path.is_relative_to(self._root) else path.as_posix()
        )
        if not path.is_dir():
            status = os.stat(path)
            if not stat.S_ISREG(status.st_mode):
                raise ExperimentError(
                    f"the input {path} is neither a file nor a folder, so it has no fixed content"
                )
            return {
                "kind": FILE,
                "path": place,
                "sha256": self._sha256(path, status),
                "size": status.st_size,
                "mtime": isoformat(status.st_mtime_ns // 1000),
            }
        digest, size, latest, number = hashlib.sha256(), 0, 0, 0
        for name, file in _files_below(path):
            status = os.stat(file)
            digest.update(f"{name}\0{self._sha256(file, status)}\n".encode("utf-8", "surrogateescape"))
            size, latest, number = size + status.st_size, max(latest, status.st_mtime_ns), number + 1
        return {
            "kind": FOLDER,
            "path": place,
            "sha256": digest.hexdigest(),
            "size": size,
            "files": number,
            "mtime": isoformat(latest // 1000),
        }

    def place_of(self, recorded: str) -> Path:
        """Return where the input is now whose recorded path is given."""
        return self._root / recorded

    def _sha256(self, path: Path, status: os.stat_result) -> str:
        stamp = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        known = self._hashes.get(str(path))
        if known is not None and known[0] == stamp:
            return known[1]
        digest = hashlib.sha256()
        with open(path, "rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
        self._hashes[str(path)] = stamp, digest.hexdigest()
        return self._hashes[str(path)][1]


def _files_below(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield name below the folder and path of every file in it, sorted; links to folders are not followed."""
    found: list[tuple[str, Path]] = []
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            if path.is_file():
                found.append((path.relative_to(folder).as_posix(), path))
    return iter(sorted(found))


def in_line(inputs: list[dict[str, Any]]) -> list[dict[str, Any]] | int:
    """Return what a commit line says of inputs: all of them, or of many their number."""
    return inputs if len(inputs) <= MOST_IN_LINE else len(inputs)
