"""Forces journals to the disk while their runs go on, so that a power loss takes no more than the last second."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import Protocol

INTERVAL = 1.0
"""Seconds between two looks, and so the longest that a line waits while its run is silent."""

_sync = getattr(os, "fdatasync", os.fsync)


class Unsynced(Protocol):
    """A file that was written to."""

    def take_descriptor(self) -> int:
        """Return the descriptor of the file, -1 when it is closed; what is written from now on is unsynced again."""


class Syncer:
    """One thread of a process, that sleeps a second, and forces to the disk what was written to in the meantime.

    The thread begins with the first file. Writing a line costs nothing more: only the first one after a look says so.
    """

    def __init__(self) -> None:
        self._unsynced: set[Unsynced] = set()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, file: Unsynced) -> None:
        """Force `file` to the disk at the next look."""
        self._unsynced.add(file)
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="expedition-journals", daemon=True)
            self._thread.start()

    def discard(self, file: Unsynced) -> None:
        """Forget a file that is closed."""
        self._unsynced.discard(file)

    def close(self) -> None:
        """End the thread."""
        self._stop.set()

    def _watch(self) -> None:
        while not self._stop.wait(INTERVAL):
            for _ in range(len(self._unsynced)):
                try:
                    file = self._unsynced.pop()
                except KeyError:  # it was closed just now
                    break
                with contextlib.suppress(OSError):  # so it was here
                    _sync(file.take_descriptor())
