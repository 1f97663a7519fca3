"""Lock files that one invocation holds, and removes when it gives them back."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import Any

from expedition.archive.liveness import is_held
from expedition.errors import ExperimentError
from expedition.recording import layout
from expedition.recording.forks import keep_from_children

_TRIES = 10
"""How often a lock is taken anew that was given back at the same moment."""


def hold(file: Path) -> Any:
    """Take the lock `file`, or return None when another process has it. Raises `OSError`."""
    from filelock import FileLock, Timeout

    if file.is_symlink():  # older versions of filelock would empty what it leads to
        raise OSError(errno.ELOOP, "a link in the place of a lock", str(file))
    for _ in range(_TRIES):
        lock = FileLock(file)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if is_held(file):
                break
            continue
        if _is_in_place(lock):
            keep_from_children(lock)
            return lock
        lock.release()  # whoever had it before removed the file after it was opened here
    else:
        # Nobody has it, so it may be one that cannot be written.
        with contextlib.suppress(FileNotFoundError):
            os.close(os.open(file, os.O_RDWR))
    return None


def release(lock: Any) -> None:
    """Give back a lock that `hold` took, and remove its file."""
    with contextlib.suppress(OSError):  # Windows removes no open file
        Path(lock.lock_file).unlink(missing_ok=True)  # still held: nobody takes it for a free one
    lock.release()


def hold_sweep(path: Path) -> Any:
    """Take the lock that one invocation holds while it works on the sweep folder `path`.

    Raises `ExperimentError` when another one has it.
    """
    lock = hold(path / layout.JOURNALS_FOLDER / layout.INVOCATION_LOCK)
    if lock is None:
        raise ExperimentError(
            f"{path} cannot be resumed: another invocation is at it; wait for its end, or end it with SIGTERM"
        )
    return lock


def _is_in_place(lock: Any) -> bool:
    """Tell whether the locked file is the one that others find."""
    try:
        return os.path.samestat(os.fstat(lock._context.lock_file_fd), os.stat(lock.lock_file))
    except FileNotFoundError:
        return False
