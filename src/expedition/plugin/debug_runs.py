"""Debug runs: sweeps that stand in ``<namespace>/debug``, where each takes the place of the one before.

Such a sweep is made in a hidden folder beside it, whose lock is held from before there is a folder until it stands in
its place. Whatever hidden folder has a lock that is free was left by a process that was killed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from expedition.archive.liveness import is_held
from expedition.plugin import locks
from expedition.plugin.folder_exchange import exchange
from expedition.recording import layout

FOLDER = layout.DEBUG_FOLDER
_UNDER_WAY = ".debug-"
_DISCARDED = ".discarded-"
_LOCK = ".lock"


class DebugRuns:
    """The folders of the debug runs of one invocation, until they stand in their place."""

    def __init__(self) -> None:
        self._locks: dict[Path, Any] = {}

    def begin(self, namespace: Path, name: str) -> Path:
        """Make the folder of a debug run, hidden until it is whole; remove what runs that were killed left.

        Raises `FileExistsError` when there is one of that name, and `OSError`.
        """
        for left in set(_left(namespace)):
            _clear(namespace, left)
        lock = locks.hold(namespace / f"{_UNDER_WAY}{name}{_LOCK}")
        if lock is None:
            raise FileExistsError(name)
        path = namespace / f"{_UNDER_WAY}{name}"
        try:
            path.mkdir()
        except OSError:
            locks.release(lock)
            raise
        self._locks[path] = lock
        return path

    def place_of(self, path: Path) -> Path:
        """Where the folder of a debug run will stand."""
        return path.parent / FOLDER

    def swap_in(self, path: Path) -> None:
        """Put the folder of a debug run in the place of the last one.

        Of two that end at once each stands there in its turn, whole. Raises `OSError`.
        """
        target, discarded = self.place_of(path), _discarded(path)
        while True:
            try:
                if exchange(path, target):
                    # The one before has the hidden name now.
                    os.rename(path, discarded)
                    break
                os.rename(target, discarded)
            except FileNotFoundError:
                if not path.exists():
                    raise
            try:
                os.rename(path, target)
                break
            except OSError:
                if not (target / layout.SWEEP_FILE).exists():
                    raise
                # Another one was faster, and this takes its place in turn.
                shutil.rmtree(discarded, ignore_errors=True)
        shutil.rmtree(discarded, ignore_errors=True)
        locks.release(self._locks.pop(path))

    def release(self) -> None:
        """Give up the folders that did not get so far: the next debug run removes them."""
        for lock in self._locks.values():
            locks.release(lock)
        self._locks.clear()


def _discarded(path: Path) -> Path:
    return path.with_name(f"{_DISCARDED}{path.name.removeprefix(_UNDER_WAY)}")


def _left(namespace: Path) -> Iterator[str]:
    """Yield the names of debug runs of which there is a folder or a lock."""
    for prefix in (_UNDER_WAY, _DISCARDED):
        for path in namespace.glob(f"{prefix}*"):
            yield path.name.removeprefix(prefix).removesuffix(_LOCK)


def _clear(namespace: Path, name: str) -> None:
    """Remove what is left of a debug run, unless one of its processes is alive."""
    path = namespace / f"{_UNDER_WAY}{name}"
    lock = locks.hold(namespace / f"{_UNDER_WAY}{name}{_LOCK}")
    if lock is None:
        return
    try:
        # Workers may outlive the process that started them.
        if any(is_held(writer) for writer in (path / layout.JOURNALS_FOLDER).glob(f"*{_LOCK}")):
            return
        # Where two folders cannot exchange their names, the last one may have been taken out of its place only.
        with contextlib.suppress(OSError):
            if not (namespace / FOLDER).exists():
                os.rename(_discarded(path), namespace / FOLDER)
        for folder in (path, _discarded(path)):
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        locks.release(lock)
