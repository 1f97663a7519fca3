"""Declared inputs: files and folders that a run reads, each known by what is in it."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from expedition.errors import ExperimentError, near_matches
from expedition.recording.meta import isoformat
from expedition.values import dumps

FILE, FOLDER, CODE, RUN, QUERY = "file", "folder", "code", "run", "query"
"""Kinds of an input; code is a file of a nested run, a query what past runs were found by."""

MOST_IN_LINE = 16
"""Inputs of a run that its commit line names; of more of them it has the number."""

_BLOCK = 1 << 20

_Stamp = tuple[int, int, int, int]


class InputFiles:
    """Finds the hashes of files, of each once in a process as long as nothing shows that it was changed.

    Attributes
    ----------
    root : the folder of the project, below which paths are recorded as relative ones.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.abspath(root))
        self._hashes: dict[str, tuple[_Stamp, str]] = {}

    def resolve(self, path: Path | str, *, beside: Path) -> Path:
        """Return the absolute path of an input; a relative one is below the folder of the file `beside`.

        Raises `ExperimentError`, with near matches, when there is nothing.
        """
        text = os.fspath(path) if isinstance(path, str | os.PathLike) else None
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
        place = place_below(path, self.root)
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
        return self.root / recorded

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


Changes = Callable[[Sequence[Mapping[str, Any]]], Sequence[str]]
"""Tells what of recorded inputs is another by now, a text for each."""


class InputNotes:
    """What a run has read so far. `write` writes a line of its journal, `changes` compares inputs to what is there."""

    def __init__(self, write: Callable[[str], None], changes: Changes | None) -> None:
        self._write = write
        self._changes = changes
        self._known: dict[tuple[object, ...], dict[str, Any]] = {}
        self._collecting: list[list[dict[str, Any]]] = []

    @property
    def listing(self) -> list[dict[str, Any]]:
        """All inputs, each once."""
        return list(self._known.values())

    def note(self, inputs: Iterable[Mapping[str, Any]]) -> None:
        """Record that the run reads what is described; what is recorded already is passed over."""
        given = {tuple(map(_hashable, one.values())): dict(one) for one in inputs}
        for found in self._collecting:
            found += given.values()
        new = {identity: one for identity, one in given.items() if identity not in self._known}
        if new:
            self._write(dumps({"e": "inputs", "v": list(new.values())}))
            self._known.update(new)

    @contextmanager
    def collected(self) -> Iterator[list[dict[str, Any]]]:
        """Give a list that gets what the run reads in a block, also what it has read before."""
        found: list[dict[str, Any]] = []
        self._collecting.append(found)
        try:
            yield found
        finally:
            self._collecting = [other for other in self._collecting if other is not found]

    def changes(self, inputs: Sequence[Mapping[str, Any]]) -> Sequence[str]:
        """Return what of inputs that were read before is another by now."""
        return self._changes(inputs) if self._changes is not None else ()


def _hashable(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def place_below(path: Path, root: Path) -> str:
    """Return how the absolute `path` of an input is recorded: below the folder `root`, else as it is."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def content_hash(content: bytes) -> str:
    """Return the SHA-256 by which a content is known."""
    return hashlib.sha256(content).hexdigest()


def _files_below(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield name below the folder and path of every file in it, sorted; links to folders are not followed."""
    found: list[tuple[str, Path]] = []
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            if path.is_file():
                found.append((path.relative_to(folder).as_posix(), path))
    return iter(sorted(found))


def query_text(query: Mapping[str, Any]) -> str:
    """Return a recorded query as it is written in code, such as ``results('exp_a', where='n > 1')``."""
    usual = {"where": None, "sweep": "latest", "status": ["done"]}
    others = [f", {name}={query.get(name)!r}" for name, value in usual.items() if query.get(name) != value]
    return f"results({query.get('experiment')!r}{''.join(others)})"


def in_line(inputs: list[dict[str, Any]]) -> list[dict[str, Any]] | int:
    """Return what a commit line says of inputs: all of them, or of many their number."""
    return inputs if len(inputs) <= MOST_IN_LINE else len(inputs)
