"""Locks of a process that none of its forked children hold: one of these may live longer than it does."""

from __future__ import annotations

import contextlib
import os
import weakref
from typing import Any

_locks: weakref.WeakSet[Any] = weakref.WeakSet()


def keep_from_children(lock: Any) -> None:
    """Have every process that is forked from now on let go of the file lock `lock`, without giving it back.

    A lock belongs to an open file, which a forked child has as well: the lock would stay held after the death of its
    process, and a child that ends in order would give it back while its parent works on.
    """
    _locks.add(lock)


def _let_go() -> None:
    for lock in list(_locks):
        context = getattr(lock, "_context", None)
        descriptor = getattr(context, "lock_file_fd", None)
        if context is not None and descriptor is not None:  # later versions of filelock have done it by now
            context.lock_file_fd = None
            with contextlib.suppress(OSError):
                os.close(descriptor)
    _locks.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)
