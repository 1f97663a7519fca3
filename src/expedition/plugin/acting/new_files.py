"""Files that an action makes: whole under the name that was asked for, or not there, and never over another one."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from expedition.errors import FolderNotFoundError, OutputExistsError


def check_target(target: Path) -> None:
    """Raise `OutputExistsError` when something has that name, `FolderNotFoundError` when it would have no folder."""
    if os.path.lexists(target):
        raise OutputExistsError(f"{target} exists already; give another name, or move it away")
    if not target.parent.is_dir():
        raise FolderNotFoundError(
            f"there is no folder {target.parent} to write {target.name} to: make it first"
        )


def temporary_name(target: Path) -> Path:
    """Return the name beside `target` under which it is written until it is whole."""
    return target.with_name(f"{target.name}.tmp-{os.getpid()}")


def put_in_place(temporary: Path, target: Path) -> None:
    """Give a whole file or folder its name, unless somebody else was faster.

    Raises `OutputExistsError`, and `OSError` as the system does.
    """
    if temporary.is_dir():
        if os.path.lexists(target):
            raise OutputExistsError(f"{target} has come into being meanwhile")
        os.rename(temporary, target)
    else:
        try:
            os.link(temporary, target)  # unlike a rename it never replaces
        except FileExistsError:
            raise OutputExistsError(f"{target} has come into being meanwhile") from None
        except OSError:  # a file system without hard links
            if os.path.lexists(target):
                raise OutputExistsError(f"{target} has come into being meanwhile") from None
            os.replace(temporary, target)
    with contextlib.suppress(OSError):  # not everywhere can a folder be opened
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
