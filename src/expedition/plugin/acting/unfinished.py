"""The hidden folders of an archive root that imports unpack to, and what killed ones leave in them."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expedition.archive.liveness import is_held
from expedition.plugin.locks import hold, release
from expedition.recording.plain_files import read_plain

_BEGINS = ".import-"
_LOCK = "lock"
_PLACES = "places.json"
"""Names the sweeps into which runs are about to be put: they are not compiled before the end."""
_ABANDONED = 3600.0
"""Seconds after which a folder without a lock belongs to nobody."""


class Work:
    """The hidden folder of an import that is going on."""

    def __init__(self, path: Path, lock: Any) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def begin(cls, root: Path) -> Work:
        """Make the folder, and lock it. Raises `OSError`."""
        path = root / f"{_BEGINS}{os.getpid()}-{secrets.token_hex(3)}"
        path.mkdir()
        lock = hold(path / _LOCK)
        if lock is None:
            raise OSError(f"{path} is locked by somebody else")
        return cls(path, lock)

    def note(self, places: Sequence[str]) -> None:
        """Write down which sweeps of the archive get runs. Raises `OSError`."""
        if places:
            (self.path / _PLACES).write_text(json.dumps(places), encoding="utf-8")

    def finish(self) -> None:
        """Forget the sweeps: all of them are whole. Raises `OSError`."""
        (self.path / _PLACES).unlink(missing_ok=True)

    def end(self) -> None:
        """Remove the folder with all that is still in it; what is not finished stays written down."""
        if (self.path / _PLACES).exists():
            with contextlib.suppress(OSError):
                Unfinished(self.path, ()).empty()
            release(self._lock)
        else:
            release(self._lock)
            shutil.rmtree(self.path, ignore_errors=True)


@dataclass(frozen=True)
class Unfinished:
    """What an import left that was killed; `places` are sweeps into which it may have put some of its runs."""

    path: Path
    places: tuple[str, ...]

    def empty(self) -> None:
        """Remove what was unpacked: it is imported again, or not at all. Raises `OSError`."""
        for path in self.path.iterdir():
            if path.name in (_LOCK, _PLACES):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path, ignore_errors=True)


def unfinished_of(root: Path) -> list[Unfinished]:
    """Return what killed imports left in an archive root."""
    found = []
    for path in sorted(root.glob(f"{_BEGINS}*")):
        with contextlib.suppress(OSError):
            lock, places = path / _LOCK, path / _PLACES
            if lock.exists():
                is_busy = is_held(lock)
            else:  # it is locked before anything is written into it
                is_busy = not places.exists() and time.time() - path.stat().st_mtime <= _ABANDONED
            if not is_busy:
                found.append(Unfinished(path, _places(places)))
    return found


def _places(file: Path) -> tuple[str, ...]:
    try:
        names = json.loads(read_plain(file))
    except (OSError, ValueError):
        return ()
    if not isinstance(names, list):
        return ()
    return tuple(name for name in names if isinstance(name, str) and not {"", ".", ".."} & {*name.split("/")})
