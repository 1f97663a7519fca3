"""Whether a run without an end record is still running: found out from its lock, never from a timer alone."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from expedition.archive.shapes import is_count, is_writer
from expedition.recording import layout, outcomes
from expedition.recording.writer import host_identity

FOREIGN_SILENCE = 24 * 3600.0
"""Seconds without a sign of life after which a run of another host counts as crashed."""


def derive_status(meta: Mapping[str, Any], run_folder: Path, sweep_folder: Path) -> str:
    """Return the status of a run; one that says ``running`` is looked at more closely.

    On this host it runs while its writer's lock is held, else it crashed. Of another host nothing certain can
    be said (``unknown``) until its files were untouched for 24 hours.
    """
    status = str(meta.get("status", outcomes.UNKNOWN))
    if status != outcomes.RUNNING:
        return status
    process = meta.get("process", {})
    host, boot = host_identity()
    if process.get("host") != host:
        return outcomes.UNKNOWN if _silence(run_folder) < FOREIGN_SILENCE else outcomes.CRASHED
    if boot and process.get("boot_id") and process["boot_id"] != boot:
        return outcomes.CRASHED
    if not process.get("writer"):
        pid = process.get("pid", 0)
        return outcomes.RUNNING if is_count(pid) and process_exists(pid) else outcomes.CRASHED
    if not is_writer(process["writer"]):  # it would name a file elsewhere
        return outcomes.CRASHED
    lock = sweep_folder / layout.JOURNALS_FOLDER / f"{process['writer']}.lock"
    return outcomes.RUNNING if is_held(lock) else outcomes.CRASHED


def is_held(lock: Path) -> bool:
    """Whether some process holds the lock file; probing changes nothing, a missing file is not held."""
    try:
        # A pipe of that name would keep whoever opens it waiting, and a link may lead anywhere.
        descriptor = os.open(lock, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0))
    except OSError:
        return False
    try:
        import fcntl
    except ImportError:  # Windows: an open lock file cannot be locked a second time
        import msvcrt

        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError:
            return True
        return False
    else:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        return False
    finally:
        os.close(descriptor)


def _silence(folder: Path) -> float:
    newest = 0.0
    for name in (layout.META_FILE, layout.JOURNAL_FILE, layout.LOG_FILE):
        try:
            newest = max(newest, (folder / name).stat().st_mtime)
        except OSError:
            continue
    return time.time() - newest


def process_exists(pid: int) -> bool:
    """Whether a process of this host has that number."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OverflowError:  # no system has such numbers
        return False
    except OSError:
        return True
    return True
