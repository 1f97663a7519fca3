"""The files of a run at rest, wherever they are: in a folder, or in a zip that is not unpacked."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from expedition.errors import DamagedError
from expedition.recording import layout
from expedition.recording.plain_files import read_plain


class RunFiles(Protocol):
    """Where a run has its files.

    Attributes
    ----------
    is_closed : whether nobody can be writing them, so that a run without an end has died.
    """

    is_closed: bool

    def read(self, name: str) -> bytes:
        """Return the content of a file. Raises `FileNotFoundError`, or `DamagedError` when it is damaged."""
        ...

    def size(self, name: str) -> int | None:
        """Return the bytes of a file, None when the run has no such file."""
        ...

    def read_of_sweep(self, sweep: Path, name: str) -> bytes:
        """Return the content of a file of the sweep folder. Raises `FileNotFoundError` or `DamagedError`."""
        ...

    def folder_with(self, *names: str) -> Path:
        """Return a folder in which the files of these names stand, as far as the run has them."""
        ...

    def folder_for(self, tagged: Any) -> Path:
        """Return a folder in which all files stand that a value in tagged JSON refers to."""
        ...

    def paths(self, names: Sequence[str]) -> Mapping[str, Path]:
        """Return the paths of files by their names."""
        ...

    def children(self) -> Iterator[tuple[Path, RunFiles]]:
        """Yield the places of the runs that the run ran inside of it, and their files, in no order."""
        ...

    def attempts(self) -> Iterator[tuple[Path, RunFiles]]:
        """Yield the places of the earlier attempts, and their files, in no order."""
        ...


class FolderFiles:
    """The files of a run that has a folder of its own: they stand there."""

    is_closed = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        return read_plain(self._folder / name)

    def size(self, name: str) -> int | None:
        """Return the bytes of a file of the run folder."""
        file = self._folder / name
        try:
            return file.stat().st_size if file.is_file() else None
        except (OSError, ValueError):
            return None

    def read_of_sweep(self, sweep: Path, name: str) -> bytes:
        """Return the content of a file of the sweep folder; one to which a link leads from there is none of it."""
        file = Path(os.path.realpath(sweep / name))  # `Path.resolve` raises RuntimeError for a loop of links
        if not file.is_relative_to(os.path.realpath(sweep)):
            raise DamagedError(f"{sweep}: the file {name!r} lies outside of the sweep folder")
        return read_plain(file)

    def folder_with(self, *names: str) -> Path:
        """Return the run folder."""
        return self._folder

    def folder_for(self, tagged: Any) -> Path:
        """Return the run folder."""
        return self._folder

    def paths(self, names: Sequence[str]) -> Mapping[str, Path]:
        """Return the paths of files in the run folder.

        Asking for one that a link leads to from there raises `DamagedError`; the others are there.
        """
        return _PathsInFolder(self._folder, names)

    def children(self) -> Iterator[tuple[Path, RunFiles]]:
        """Yield the folders below ``children/``."""
        return self._below(layout.CHILDREN_FOLDER)

    def attempts(self) -> Iterator[tuple[Path, RunFiles]]:
        """Yield the folders below ``attempts/``."""
        return self._below(layout.ATTEMPTS_FOLDER)

    def _below(self, name: str) -> Iterator[tuple[Path, RunFiles]]:
        folder = self._folder / name
        for path in folder.iterdir() if folder.is_dir() else ():
            yield path, FolderFiles(path)


class NamedPaths(Mapping[str, Path]):
    """Paths of files by their names, each made when it is asked for; to know the names costs nothing."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = dict.fromkeys(names)

    @abstractmethod
    def path_of(self, name: str) -> Path:
        """Return the path of a file that is among the names. Raises `DamagedError`."""

    def __getitem__(self, name: str) -> Path:
        if name not in self._names:
            raise KeyError(name)
        return self.path_of(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names  # also one that cannot be had


class _PathsInFolder(NamedPaths):
    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        super().__init__(names)
        self._folder = folder

    def path_of(self, name: str) -> Path:
        """Return the path of a file in the folder. Raises `DamagedError` for one behind a link."""
        path = self._folder / name
        # By the rule of committing: a folder may be a link to another one of the run.
        if path.is_symlink() or not Path(os.path.realpath(path.parent)).is_relative_to(
            os.path.realpath(self._folder)
        ):
            raise DamagedError(
                f"{path} is a link or behind one, which leads out of the run: put the file in its place, or leave it"
            )
        return path

    def __repr__(self) -> str:
        return repr({name: self._folder / name for name in self._names})


def files_named_in(tagged: Any) -> Iterator[str]:
    """Yield the names of files that a value in tagged JSON refers to."""
    waiting = [tagged]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if "$" in value and isinstance(value.get("file"), str):
                yield value["file"]
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
