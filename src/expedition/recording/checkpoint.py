"""The checkpoint of a run: a folder that the next attempt of the same run finds as the last one left it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from expedition.errors import ArtifactError
from expedition.recording import layout

_UNFINISHED = ".tmp-"
"""How the name of a file begins that is being written."""


class Checkpoint:
    """The checkpoint of the run in `folder`; `attempt` is 0 where there was none before."""

    def __init__(self, folder: Path, attempt: int) -> None:
        self._folder = folder / layout.CHECKPOINT_FOLDER
        self._may_be_left = attempt > 0
        self._is_resumed: bool | None = None

    @property
    def folder(self) -> Path:
        """The folder, made when it is first asked for; what a killed attempt was writing is removed then."""
        if self._is_resumed is None:
            self._is_resumed = self.is_resumed
            self._folder.mkdir(exist_ok=True)
            self._clear()
        return self._folder

    @property
    def is_resumed(self) -> bool:
        """Whether an earlier attempt left a file here."""
        if self._is_resumed is not None:
            return self._is_resumed
        if not self._may_be_left:
            return False
        return any(not path.name.startswith(_UNFINISHED) for path in self._files())

    @contextlib.contextmanager
    def file(self, name: str) -> Iterator[Path]:
        """Give the path of a new file, which takes the place of `name` when the block is over; see `Run`."""
        target = self._place_of(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        # The ending stays: many a library goes by it, or adds its own.
        temporary = target.with_name(f"{_UNFINISHED}{os.getpid()}-{target.name}")
        try:
            yield temporary
            if not temporary.is_file():
                raise ArtifactError(
                    f"checkpoint file {name!r}: nothing was written to {temporary}, the path that the block was given"
                )
            _sync(temporary)
            os.replace(temporary, target)
            _sync(target.parent)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)

    def _place_of(self, name: str) -> Path:
        pure = PurePosixPath(name) if isinstance(name, str) else PurePosixPath()
        parts = pure.parts
        if not parts or pure.is_absolute() or ".." in parts or "\\" in name or "\0" in name:
            raise ArtifactError(
                f"checkpoint file {name!r}: a name is a path inside of the checkpoint folder, such as 'state.npz'"
            )
        if any(part.startswith(_UNFINISHED) for part in parts):
            raise ArtifactError(f"checkpoint file {name!r}: names that begin with {_UNFINISHED} are taken")
        place = self.folder.joinpath(*parts)
        if not place.parent.resolve().is_relative_to(self.folder.resolve()):
            raise ArtifactError(f"checkpoint file {name!r}: a link leads out of the checkpoint folder")
        return place

    def _files(self) -> Iterator[Path]:
        for base, _, names in os.walk(self._folder):
            for name in names:
                yield Path(base, name)

    def _clear(self) -> None:
        if self._may_be_left:
            for path in self._files():
                if path.name.startswith(_UNFINISHED):
                    with contextlib.suppress(OSError):
                        path.unlink()


def _sync(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk."""
    with contextlib.suppress(OSError, PermissionError):  # some file systems cannot do it for folders
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
