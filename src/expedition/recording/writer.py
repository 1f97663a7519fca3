"""What one process writes in a sweep folder: its lock and its commit log."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from expedition.recording import layout
from expedition.recording.files import Encoded, replace_file
from expedition.recording.forks import keep_from_children
from expedition.recording.journal import Journal
from expedition.recording.syncer import Syncer
from expedition.values import dumps


class SweepWriter:
    """Holds the lock of one process in one sweep folder, and appends its commit lines.

    The lock is free as soon as the process is gone, however it went; a run that names this writer and has no
    end record then reads as crashed. The log is a file of its own, never continued by another process.

    Attributes
    ----------
    name : ``<worker>-<pid>-<random>``, the stem of its files in ``journal/``.
    process : where the runs of this process run, as their meta files say it.
    syncer : forces the journals of this process to the disk.
    """

    def __init__(self, sweep: Path, worker: str) -> None:
        from filelock import FileLock

        self.sweep = sweep
        self.worker = worker
        self.pid = os.getpid()
        # By the system: the module `secrets` would be imported for every report
        self.name = f"{worker}-{self.pid}-{os.urandom(3).hex()}"
        folder = sweep / layout.JOURNALS_FOLDER
        folder.mkdir(exist_ok=True)
        self._lock_path = folder / f"{self.name}.lock"
        self._live_path = folder / f"{self.name}.live"
        self._lock = FileLock(self._lock_path)
        self._lock.acquire(timeout=5)
        keep_from_children(self._lock)
        self.syncer = Syncer()
        self._log = Journal(folder / f"{self.name}.jsonl", exclusive=True, syncer=self.syncer)
        self._announced = 0.0
        self.process = Encoded.of(process_identity(worker, self.name))

    def commit(self, line: Mapping[str, Any]) -> None:
        """Append the commit line of one finished run; it begins with ``index`` and ``attempt``."""
        self._log.write(dumps(dict(line)))

    def announce(self, state: Mapping[str, Any], *, force: bool = False) -> None:
        """Tell the controller what a run is doing, at most twice a second; losing it does no harm."""
        now = time.monotonic()
        if not force and now - self._announced < 0.5:
            return
        self._announced = now
        with contextlib.suppress(OSError):
            replace_file(self._live_path, json.dumps(state).encode())

    def close(self) -> None:
        """Close the log and give the lock back."""
        self.syncer.close()
        self._log.close(durable=True)
        self._lock.release()
        for path in (self._lock_path, self._live_path):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


@cache
def host_identity() -> tuple[str, str]:
    """Host name, and the id of the current boot where the system tells it."""
    boot = ""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return socket.gethostname(), boot


def process_identity(worker: str = "", writer: str = "") -> dict[str, Any]:
    """Where a run runs: host, boot and process, and what this process is called in the sweep."""
    host, boot = host_identity()
    return {"host": host, "boot_id": boot, "pid": os.getpid(), "worker": worker, "writer": writer}
